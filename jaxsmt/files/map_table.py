"""What each map is: its description, how it is drawn, and whether it has a standard deviation. No JAX.

The table holds the maps of every fit and of the models that come with jaxsmt. A map that it does not hold, of a user's
model, has sensible texts all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..status import Status

#: Order of the harmonics of the map "fod", their largest ripple over the peak of a lobe, and the ODI below which this
#: order does not hold a lobe: it is widened.
FOD_ORDER, FOD_RIPPLE, FOD_ODI_FLOOR = 8, 0.003, 0.097


@dataclass(frozen=True)
class MapText:
    """What is said of a map, and how it is drawn.

    Attributes:
        description: for its sidecar.
        title: for pictures, with the unit.
        colours: Matplotlib's name of a colour map, or "status" for the colours of `Status`.
        limits: range of the colours; None: 1st to 99th percentile.
        fits: of which fits it is a map whatever the model: "kernel", "fod"; empty: of models that have it.
        has_sd: whether a fit with uncertainty also gives its standard deviation.
        in_report: whether the report shows it.
        in_viewer: whether the report's viewer shows it.
        background: whether the report draws FODs over it.
        sd_description, sd_unit: what the standard deviation is, if it is not that of the map itself.
        facts: more for its sidecar.
    """

    description: str
    title: str
    colours: str = "viridis"
    limits: tuple[float, float] | None = None
    fits: tuple[str, ...] = ()
    has_sd: bool = True
    in_report: bool = True
    in_viewer: bool = True
    background: bool = False
    sd_description: str = ""
    sd_unit: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


_KERNEL, _FOD, _BOTH = ("kernel",), ("fod",), ("kernel", "fod")
MAPS = {
    # Models of kernels.
    "lambda_par": MapText("Diffusivity along the axis of the microscopic domain", "λ∥ [µm²/ms]", "magma", (0, 3.05)),
    "lambda_perp": MapText(
        "Diffusivity across the axis of the microscopic domain", "λ⊥ [µm²/ms]", "magma", (0, 1.5), background=True
    ),
    "fraction": MapText("lambdaperp over lambdapar", "λ⊥/λ∥", "viridis", (0, 1), in_viewer=False),
    "md": MapText(
        "Mean diffusivity of the microscopic domain, (lambdapar + 2 lambdaperp)/3",
        "mean diffusivity [µm²/ms]",
        "magma",
        (0, 3),
        in_viewer=False,
    ),
    "fa": MapText("Microscopic fractional anisotropy", "microscopic FA", "gray", (0, 1)),
    "fapow3": MapText(
        "Third power of the microscopic fractional anisotropy",
        "microscopic FA³",
        "gray",
        (0, 1),
        in_report=False,
        in_viewer=False,
    ),
    "intra": MapText("Intra-neurite volume fraction", "intra-neurite fraction", "viridis", (0, 1)),
    "diff": MapText(
        "Intrinsic diffusivity, along neurites and along what surrounds them",
        "intrinsic diffusivity [µm²/ms]",
        "magma",
        (0, 3.05),
    ),
    "extratrans": MapText(
        "Diffusivity across neurites in what surrounds them, (1 - intra) diff",
        "extra-neurite λ⊥ [µm²/ms]",
        "magma",
        (0, 1.5),
        background=True,
    ),
    "extramd": MapText(
        "Mean diffusivity of what surrounds neurites, diff (1 - 2/3 intra)",
        "extra-neurite MD [µm²/ms]",
        "magma",
        (0, 3),
    ),
    # FODs; "across" is of densities with two axes.
    "direction": MapText(
        "Axes of the lobes, x y z of each in turn, unit vectors in scanner axes; 0 for absent lobes, and "
        "(status 2) where the kernel is isotropic within 5 %, so that a direction has no meaning",
        "direction",
        fits=_FOD,
        sd_description="Expected angle between the estimated and the true axis",
        sd_unit="degrees",
    ),
    "across": MapText(
        "Second axes of the lobes, along which they are wider, x y z of each in turn, unit vectors in scanner axes; 0 "
        "for absent lobes",
        "second axis",
        fits=_FOD,
        has_sd=False,
    ),
    "weight": MapText("Weight of each lobe, the largest first; they sum to 1", "weight", limits=(0, 1), fits=_FOD),
    "odi": MapText("Orientation dispersion index of each lobe, 2/pi arctan(1/kappa)", "ODI", limits=(0, 1), fits=_FOD),
    "kappa": MapText("Concentration of each lobe", "κ", fits=_FOD),
    "beta": MapText("Second concentration of each lobe (Bingham), 0 <= beta <= kappa", "β", fits=_FOD),
    "nfibres": MapText(
        "Number of lobes; 0 is a uniform FOD, as where the kernel is isotropic (status 2), or no fit",
        "lobes",
        limits=(0, 3),
        fits=_FOD,
        has_sd=False,
    ),
    "fod": MapText(
        f"Spherical harmonics of the FOD up to order {FOD_ORDER}, MRtrix basis and order, scanner axes, unit integral; "
        f"lobes below ODI {FOD_ODI_FLOOR} (fans below 0.12) are widened to what this order holds without ringing: one "
        "peak each",
        "FOD",
        fits=_FOD,
        has_sd=False,
        facts={"Apodisation": {"OdiFloor": FOD_ODI_FLOOR, "LargestRipple": FOD_RIPPLE}},
    ),
    # Every fit; "sigma" only where it was estimated.
    "s0": MapText(
        "Signal at b = 0, in units of the input; where compartments have a T2, that at the echo time 0",
        "S0",
        "gray",
        fits=_KERNEL,
    ),
    "mse": MapText(
        "Mean squared residual of the signal over S0: of the kernel over b = 0 and the spherical means, of FODs over "
        "all volumes",
        "mean squared error",
        "cividis",
        fits=_BOTH,
        has_sd=False,
        in_report=False,
        in_viewer=False,
    ),
    "r2": MapText(
        "Coefficient of determination: of the kernel over b = 0 and the spherical means, of FODs over all volumes",
        "R²",
        "cividis",
        (0.9, 1),
        fits=_BOTH,
        has_sd=False,
    ),
    "status": MapText(
        ", ".join(f"{code.value} {code.text}" for code in Status),
        f"status (2: {Status.AT_BOUND.text})",
        "status",
        (-0.5, len(Status) - 0.5),
        fits=_BOTH,
        has_sd=False,
    ),
    "sigma": MapText(
        "Standard deviation of the noise of one volume, estimated from the data, in units of the input",
        "σ",
        fits=_KERNEL,
        has_sd=False,
        in_viewer=False,
    ),
    "second": MapText(
        "1 where a clearly anisotropic kernel (lambdaperp/lambdapar up to 0.7) is within the noise of a nearly "
        "isotropic estimate (above 0.9): likelihood ratio below 95 %",
        "second solution",
        limits=(0, 1),
        fits=_KERNEL,
        has_sd=False,
        in_viewer=False,
    ),
    "second_lambda_par": MapText(
        "Diffusivity along the axis of the most anisotropic kernel within the noise, where second is 1",
        "second λ∥ [µm²/ms]",
        "magma",
        (0, 3.05),
        fits=_KERNEL,
        has_sd=False,
        in_viewer=False,
        in_report=False,
    ),
    "second_fraction": MapText(
        "lambdaperp over lambdapar of the most anisotropic kernel within the noise, where second is 1",
        "second λ⊥/λ∥",
        limits=(0, 1),
        fits=_KERNEL,
        has_sd=False,
        in_viewer=False,
        in_report=False,
    ),
}


def about(name: str) -> MapText:
    """What is said of a map of any name; a T2 of any compartment is described as one.

    Example:
        >>> about("fa").title, about("stick.lambda_par").title
        ('microscopic FA', 'stick.lambda_par')
    """
    *compartment, parameter = name.rsplit(".", 1)
    if parameter == "t2":
        of = f" of the compartment {compartment[0]}" if compartment else ""
        return MapText(f"Transverse relaxation time T2{of}", f"{' '.join([*compartment, 'T2'])} [ms]", limits=(0, 200))
    return MAPS.get(name) or MapText(name, name)


def of_fits(kind: str) -> tuple[str, ...]:
    """Names of the maps that "kernel" or "fod" fits have whatever the model; some of them only at times."""
    return tuple(name for name, text in MAPS.items() if kind in text.fits)


def with_sd(maps: Iterable[str]) -> tuple[str, ...]:
    """Names of the maps that have a standard deviation."""
    return tuple(name for name in maps if about(name).has_sd)
