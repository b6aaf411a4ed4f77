"""A paragraph of methods that can be pasted into a paper, from the facts of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .references import Bibliography

#: What is fitted, by the name of the model, and its references; of a user's model its name and parameters are told.
_MODELS = {
    "smt": (
        "one axially symmetric diffusion tensor in each voxel, whatever the orientations of fibres, with the "
        "diffusivities λ∥ along and λ⊥ across the axis of the microscopic domain",
        ("kaden2016",),
    ),
    "mcsmt": (
        "the multi-compartment Spherical Mean Technique, in which neurites are sticks, and what surrounds them is an "
        "axially symmetric tensor of the same longitudinal diffusivity",
        ("kaden2016mc",),
    ),
    "ballstick": ("sticks and a ball of one diffusivity", ("behrens2003",)),
    "smtnoddi": (
        "the compartments of NODDI with orientations averaged out: sticks, a tortuous zeppelin and free water",
        ("zhang2012",),
    ),
    "sandi": ("somas as spheres, neurites as sticks, and a ball between them", ("palombo2020",)),
}
_DENSITIES = {"watson": ("Watson", ("mardia2000",)), "bingham": ("Bingham", ("bingham1974",))}
_NOISES = {"rician": ("Rician", ("koay2006",)), "noncentral-chi": ("noncentral χ", ("constantinides1997", "koay2006"))}


def paragraph(run: Mapping[str, Any], parameters: Sequence[str], cite: Bibliography) -> str:
    """The paragraph.

    Args:
        run: what run.json says.
        parameters: names of the model's free parameters.
        cite: numbers the references.
    """
    return " ".join(_sentences(run, parameters, cite))


def _sentences(run: Mapping[str, Any], parameters: Sequence[str], cite: Bibliography) -> Iterator[str]:
    """Its sentences."""
    options, voxels = run["options"], run["voxels"]
    inside = sum(count for name, count in voxels.items() if name != "outside")
    yield f"The diffusion MRI series ({_shells(run.get('shells', ()))}) was analysed in {inside:,} voxels."
    text, keys = _MODELS.get(run["model"], (f"the model {run['model']} ({', '.join(parameters)})", ()))
    how = "the plain means over directions" if options.get("spherical_mean") == "arithmetic" else "spherical harmonics"
    yield (
        f"Spherical means of each shell {cite.cite('kaden2016')}, estimated from {how}, were fitted by weighted least "
        f"squares with {text}{' ' + cite.cite(*keys) if keys and keys != ('kaden2016',) else ''}; S0 was "
        + ("the mean of the b = 0 volumes." if options.get("s0") == "mean" else "fitted with it.")
    )
    yield from _noise(options, cite)
    yield from _fods(options, cite)
    if options.get("uncertainty"):
        yield "Standard deviations of the estimates follow from the Fisher information."
    if "grad_dev" in options:
        yield (
            "Deviations of the gradients were corrected in each voxel (they change b by up to "
            f"{100 * options['grad_dev']['largest_b_change']:.2g} %)."
        )
    if "prior" in options:
        yield "A normal prior of the parameters was used."
    yield f"{_status(voxels, inside)} {_software(run)}"


def _shells(shells: Sequence[Mapping[str, Any]]) -> str:
    """Volumes of each shell."""
    parts = [f"{shell['volumes']} at b = {shell['b_s_per_mm2']:.0f}" for shell in shells]
    total = sum(shell["volumes"] for shell in shells)
    return f"{total} volumes: {', '.join(parts)} s/mm²" if parts else "of unknown shells"


def _noise(options: Mapping[str, Any], cite: Bibliography) -> Iterator[str]:
    """What was taken for noise."""
    sigma, noise = options.get("sigma"), options.get("noise", "gaussian")
    level = ""
    if sigma:
        origin = "given" if "relative_error" not in sigma else f"estimated from {sigma['from']}"
        level = f" σ was {origin} (median {sigma['median']:.4g} in units of the series)." if sigma.get("median") else ""
    if noise == "gaussian":
        yield f"Noise was taken to be Gaussian.{level}"
        return
    name, keys = _NOISES.get(noise, (noise, ()))
    coils = f" of {options['coils']} coils" if options.get("coils", 1) > 1 else ""
    yield f"The noise floor of {name} noise{coils}{' ' + cite.cite(*keys) if keys else ''} was removed.{level}"


def _fods(options: Mapping[str, Any], cite: Bibliography) -> Iterator[str]:
    """How orientations were fitted."""
    fod = options.get("fod", "none")
    if fod == "none":
        return
    name, keys = _DENSITIES.get(fod, (fod, ()))
    mark = f" {cite.cite(*keys)}" if keys else ""
    count = options.get("fibres", 1)
    if count == "auto":
        lobes = f"up to three {name} lobes{mark}, their number chosen in each voxel by the Bayesian information "
        lobes += f"criterion {cite.cite('schwarz1978')},"
    else:
        lobes = f"{count} {name} lobe{'s' * (count != 1)}{mark}"
    yield f"Fibre orientation distributions of {lobes} were fitted to all volumes with the kernel of each voxel held."


def _status(voxels: Mapping[str, int], inside: int) -> str:
    """How the fits ended."""
    share = {name: 100 * count / max(inside, 1) for name, count in voxels.items()}
    failed = sum(share.get(name, 0) for name in ("not_converged", "no_signal", "non_finite"))
    return (
        f"Of the voxels {share.get('converged', 0):.1f} % converged inside all bounds, "
        f"{share.get('at_bound', 0):.1f} % ended at a bound, and {failed:.1f} % have no proper fit."
    )


def _software(run: Mapping[str, Any]) -> str:
    """Programs and where they ran."""
    versions = run.get("versions", {})
    names = {"jax": "JAX", "numpy": "NumPy", "nibabel": "NiBabel", "python": "Python"}
    others = ", ".join(f"{label} {versions[name]}" for name, label in names.items() if name in versions)
    place = "a GPU" if str(run.get("device", "")).startswith(("gpu", "cuda")) else "CPUs"
    return f"Computed with jaxsmt {run['software']['version']}{f' ({others})' if others else ''} on {place}."
