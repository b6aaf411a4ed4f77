"""What `jaxsmt simulate` does."""

from __future__ import annotations

import shlex

from ... import simulate
from ...files import outputs, series
from ..screen import Screen
from . import dataset
from .options import Simulation
from .phantom_files import write_phantom


def run_simulate(simulation: Simulation, screen: Screen) -> None:
    """Simulate and write: a phantom, or a data set of several.

    Args:
        simulation: the options.
        screen: says how it goes.
    Raises:
        InputError: the folder is not empty, or there can be no such phantom.
        OutputError: a file cannot be written.
    """
    with outputs.new_folder(simulation.out):
        if simulation.bids:
            dataset.write_dataset(simulation, screen.say)
        else:
            _write_one(simulation, screen)


def _write_one(simulation: Simulation, screen: Screen) -> None:
    """Write one phantom, and say how it is fitted."""
    shape, scheme = tuple(simulation.shape), simulation.acquisition
    phantom = simulate.phantom(shape, simulation.snr, simulation.seed, scheme)  # type: ignore[arg-type]
    dwi, mask = write_phantom(simulation.out, "phantom", phantom)
    series.write_mrtrix_table(dwi, scheme.bvals, scheme.bvecs)
    size = " × ".join(map(str, phantom.data.shape))
    screen.say(f"{dwi}: {size}, {phantom.mask.sum()} voxels in the mask, σ = {phantom.sigma:g}; truth_* beside it")
    if len(scheme.shells) > 2:  # b = 0 and one shell are too few to fit
        words = ("jaxsmt", "fit", dwi, "--mask", mask, "-o", simulation.out / "maps")
        screen.say(f"fit it: {shlex.join(map(str, words))}")
