"""What `jaxsmt check` says: what a fit would do with these files."""

from __future__ import annotations

import sys

import numpy as np

from ..acquisition import plausibility
from ..errors import InputError
from ..files import nifti
from ..files.voxels import InMemory
from . import reading, words, workflow
from .inputs import Inputs, collected_warnings, open_inputs
from .request import Request
from .screen import warn
from .users_models import blamed

# The highest b, ms/µm², that one axially symmetric tensor can be expected to fit. Without any noise, means of sticks in
# a zeppelin with λ = 1.5 µm²/ms and v = 0.3 (grey matter as mcSMT describes it) are fitted by λ∥ = 2.58, 2.87 and 3.03
# if the highest b is 2, 3 and 3.5, and by its bound, 3.05, from 4 on; of λ from 1.3 to 2.3 and v from 0.3 to 0.7
# 30, 33 and 40 % end at the bound, from 4 on 43 % and more.
_HIGHEST_B = 3.5


def check(request: Request, data: bool = False) -> None:
    """Print what a fit would do.

    Args:
        data: read the series too, to its end.
    Raises:
        JaxsmtError: as the fit would; of several the last, when the others have been printed.
    """
    problems: list[InputError] = []
    try:
        inputs = open_inputs(request, problems)
    except InputError:
        for problem in problems[:-1]:
            print(f"jaxsmt: {words.message(problem)}", file=sys.stderr)
        raise
    image, mask = inputs.image, inputs.mask
    scaled = "" if (image.slope, image.inter) == (1, 0) else f", scaled by {image.slope:g} and {image.inter:+g}"
    print(f"{image.path}: {' × '.join(map(str, image.shape))} {image.dtype.name}{scaled}")
    for shell in inputs.acquisition.shells:
        noise = f", noise {shell.amplification:.3f} × that of a plain mean" if shell.order else ""
        print(f"  {shell}{noise}")
    print(f"  mask: {mask.sum()} of {mask.size} voxels")
    with collected_warnings() as texts, blamed(inputs.model.file):
        job = workflow.prepare(request, inputs)
        lines = _expected_errors(job)
    print("\n".join(lines))
    print(f"  the {job.loaded.model.name} fit would take {job.memory}")
    doubts = _doubts(inputs) if data else []
    warn([*inputs.warnings, *texts, *_too_high_b(job), *doubts])
    of_data = "the data themselves are verified when they are read (--data)"
    if data:
        of_data = "the data are whole" + (", and can be what the table says" if not doubts else "")
    print(f"headers and tables can be read and go together; {of_data}")


def _doubts(inputs: Inputs) -> list[str]:
    """What speaks against the series, which is read to its end."""
    nothing = InMemory(0, int(np.count_nonzero(inputs.mask)), inputs.image.dtype)
    with collected_warnings() as texts, reading.Reader(inputs) as reader:
        sample = reader.into(nothing, lambda stage, done, total: None).sample
    return texts + [
        words.in_flags(text) for text in plausibility.doubts_of(sample, inputs.acquisition, inputs.settings.given_sigma)
    ]


def _expected_errors(job: workflow.Job) -> list[str]:
    """Lines with each parameter's typical value and least standard deviation (Cramér-Rao), by tissue.

    Reads the series as far as its first volume at b = 0, if σ is known.
    """
    from ..models import information
    from ..models.units import unit_text

    inputs, model, settings = job.inputs, job.loaded.model, job.inputs.settings
    sigma, snr = information.TYPICAL_SIGMA, "SNR 30"
    if settings.given_sigma is not None:
        sigma = _relative_sigma(inputs)
        snr = f"SNR {1 / sigma:.3g}"
    noise = settings.distribution
    if noise.magnitudes:
        snr += f" ({noise.name} noise)"
    lines = [f"  least standard deviations to expect at {snr}:"]
    expected = information.expected_sd(model, inputs.acquisition, sigma, settings.s0, noise)
    for tissue, parameters in expected.items():
        texts = [
            f"{name} {value:.3g} ± {sd:.2g}{unit_text(model.units.get(name, ''))}"
            for name, (value, sd) in parameters.items()
        ]
        lines.append(f"    {tissue}: {', '.join(texts)}")
    return lines + _second_solutions(job, sigma)


def _second_solutions(job: workflow.Job, sigma: float) -> list[str]:
    """A line with how often a nearly isotropic estimate hides an anisotropic solution, of models whose means tell."""
    from ..fitting.second import SecondSolution, is_known

    model, acquisition = job.loaded.model, job.inputs.acquisition
    if not is_known(model):
        return []
    look = SecondSolution(model, acquisition, job.inputs.settings.s0 == "fit")
    shares = [
        f"{100 * look.expected(values['lambda_par'], values['fraction'], sigma):.1f} % of {tissue}"
        for tissue, values in ((tissue, dict(pairs)) for tissue, pairs in model.tissues)
        if {"lambda_par", "fraction"} <= values.keys()
    ]
    if not shares:
        return []
    return [f"  nearly isotropic estimates of anisotropic tissue to expect (--second-solution): {', '.join(shares)}"]


def _too_high_b(job: workflow.Job) -> list[str]:
    """A warning that one compartment with an axis does not fit signals at so high a b-value."""
    model, highest = job.loaded.model, max(shell.b for shell in job.inputs.acquisition.shells)
    kernel = model.kernel
    if len(kernel.compartments) > 1 or kernel.isotropic or highest <= _HIGHEST_B:
        return []
    return [
        f"the {model.name} model has one compartment, which does not fit tissue up to b = {1000 * highest:.0f} s/mm²: "
        f"beyond {1000 * _HIGHEST_B:.0f} its diffusivity tends to end at its bound; use fewer shells, or --model mcsmt"
    ]


def _relative_sigma(inputs: Inputs) -> float:
    """Median σ/S0 inside the mask, S0 as in the first volume at b = 0."""
    image, b0 = inputs.image, inputs.acquisition.b0
    assert b0 is not None
    first = int(b0.volumes.min())
    volume = next(volume for i, volume in enumerate(nifti.read_volumes(image)) if i == first)
    s0 = volume[inputs.mask.ravel(order="F")] * image.slope + image.inter
    ratio = inputs.settings.given_sigma / np.where(s0 > 0, s0, np.nan)
    if not np.isfinite(ratio).any():
        raise InputError("no signal at b = 0 inside the mask", file=image.path, fix="check series and mask")
    return float(np.nanmedian(ratio))
