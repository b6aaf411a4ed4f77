"""`jaxsmt demo`: simulated brain slices, fitted, with the truth beside the maps."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from .. import simulate
from ..files import nifti, outputs, series
from ..simulate import Phantom
from . import result_table, workflow
from .request import Request
from .screen import Screen, warn
from .simulation.phantom_files import write_phantom


def run_demo(folder: Path, device: str, screen: Screen, command: Sequence[str], viewer: bool = False) -> None:
    """Simulate, fit, and draw.

    Args:
        folder: for series, maps and pictures; it is made, or empty.
        device: as of `--device`.
        screen: says how it goes.
        command: the command line.
        viewer: as of `--viewer`.
    Raises:
        InputError: the folder is not empty.
    """
    with outputs.new_folder(folder):
        _simulate_and_fit(folder, device, screen, command, viewer)


def _simulate_and_fit(folder: Path, device: str, screen: Screen, command: Sequence[str], viewer: bool) -> None:
    """What `run_demo` does in its folder."""
    screen.say(
        "simulating three coronal slices with the HCP scheme: b = 0, 1000, 2000, 3000 s/mm², Rician noise, SNR 50"
    )
    phantom = simulate.coronal_slab()  # MRtrix misreads FSL's directions of a series that is one coronal slice
    dwi, mask = write_phantom(folder, "slab", phantom)
    series.write_mrtrix_table(dwi, phantom.acquisition.bvals, phantom.acquisition.bvecs)
    request = Request(
        dwi=dwi,
        mask=mask,
        out=folder,
        fod="watson",
        fibres="auto",
        device=device,
        viewer=viewer,
        settings={"noise": "rician"},
    )
    with screen:
        outcome = workflow.run_fit(request, screen.progress, command)
    fitted = {**outcome.fit.parameters, "s0": outcome.fit.s0}
    shown = {name: outcome.voxels.place(fitted[name]) for name in phantom.truth}
    pictures = _draw(folder, outcome, shown, phantom)
    warn(outcome.run["warnings"])
    screen.say(result_table.text_of(outcome, sys.stdout))
    for name in ("lambda_par", "lambda_perp"):
        error = np.abs(shown[name] - phantom.truth[name])[phantom.mask]
        screen.say(f"|{name} - truth|: median {np.median(error):.3f} µm²/ms")
    screen.say(f"look at {', '.join(map(str, pictures))} and {folder / 'report.html'}")


def _draw(
    folder: Path, outcome: workflow.Outcome, fitted: Mapping[str, np.ndarray], phantom: Phantom
) -> tuple[Path, Path]:
    """Draw maps with the truth below them, and FODs; returns the paths of the pictures."""
    from ..report import glyphs, maps

    assert outcome.fods is not None
    picture, fod_picture = folder / "maps_and_truth.png", folder / "fods.png"
    figure = maps.draw_maps([("fitted", fitted), ("truth", phantom.truth)], phantom.mask, phantom.affine)
    nifti.write_bytes(picture, maps.to_png(figure))
    fods = outcome.fods.changed(outcome.voxels.place)
    figure = glyphs.draw_glyphs(fods, fitted["lambda_perp"], phantom.mask, phantom.affine)
    nifti.write_bytes(fod_picture, maps.to_png(figure))
    return picture, fod_picture
