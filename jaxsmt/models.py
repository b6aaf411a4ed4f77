"""Models of a voxel: named, bounded parameters and the signal they give."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .acquisition import Acquisition
from .errors import InputError
from .signal import zeppelin_legendre, zeppelin_mean


@dataclass(frozen=True)
class Parameter:
    """A free parameter: its name, its closed interval, where searches start in it, and its unit.

    `starts` are parts of the interval, strictly inside (0, 1); a fit begins at the best point of
    the grid that the parameters' starts span.
    """

    name: str
    lower: float
    upper: float
    starts: tuple[float, ...]
    unit: str = ""
    largest: float = math.inf  # that has a meaning; the smallest is 0

    def between(self, lower: float, upper: float) -> Parameter:
        """The same parameter in another interval."""
        if not 0 <= lower < upper <= self.largest:
            raise InputError(
                f"bounds of {self.name} are ({lower}, {upper})", fix=f"0 ≤ lower < upper ≤ {self.largest:g} is needed"
            )
        return replace(self, lower=float(lower), upper=float(upper))


@dataclass(frozen=True)
class SphericalMeanModel:
    """Spherical mean of one voxel's signal as a function of b and a few bounded parameters.

    Attributes:
        name: short name, as in file names. parameters: the free ones, in order.
        mean: `(b, *parameters) -> signal / S0`, a pure JAX function of scalars; b in ms/µm².
        legendre: `(b, lmax, *parameters) -> (lmax/2 + 1,)`, Legendre moments of the kernel, with
            which FODs are convolved; the first is `mean`.
        dependent: `(*parameters) -> {name: value}`, parameters that follow from the free ones.
        derived: `(*parameters) -> {name: value}`, maps of interest beyond the parameters.
        move: `(parameters, step) -> parameters`, how a search goes by a step (solvers.Problem).
        units: unit of every dependent and derived map that has one.
    """

    name: str
    parameters: tuple[Parameter, ...]
    mean: Callable[..., Array]
    legendre: Callable[..., Array]
    dependent: Callable[..., dict[str, Array]]
    derived: Callable[..., dict[str, Array]]
    move: Callable[[tuple, tuple], tuple]
    units: Mapping[str, str] = field(compare=False)  # models are hashed: they select a compiled program

    @property
    def fastest(self) -> float:
        """Largest diffusivity that its parameters can take, µm²/ms."""
        return max(p.upper for p in self.parameters if p.unit == "um2/ms")

    @property
    def parameter_names(self) -> list[str]:
        return [p.name for p in self.parameters]

    def bound(self, **bounds: tuple[float, float]) -> SphericalMeanModel:
        """The same model with other bounds: `model.bound(lambda_par=(0.1, 3.0))`."""
        unknown = set(bounds) - set(self.parameter_names)
        if unknown:
            raise InputError(f"no free parameter {sorted(unknown)}", fix=f"the free ones are {self.parameter_names}")
        moved = (p.between(*bounds[p.name]) if p.name in bounds else p for p in self.parameters)
        return replace(self, parameters=tuple(moved))

    def signal(self, acquisition: Acquisition, parameters: Mapping[str, Any]) -> Array:
        """Signal over S0 of b = 0 and each shell, shape (..., shells), from named parameters (...)."""
        values = [jnp.asarray(parameters[name])[..., None] for name in self.parameter_names]
        return self.mean(jnp.asarray(acquisition.b, dtype=jnp.result_type(float, *values)), *values)


def smt(lambda_par_max: float = 3.05) -> SphericalMeanModel:
    """The Spherical Mean Technique: one zeppelin, whatever the fibre orientations.

    Free: λ∥ in [0, `lambda_par_max`] µm²/ms and f = λ⊥/λ∥ in [0, 1]. The constraint λ⊥ ≤ λ∥ is
    needed: the spherical mean of an oblate tensor can equal that of a prolate one.

    Source: Kaden et al. 2016, Magn Reson Med 75:1752, doi:10.1002/mrm.25734.
    """
    return SphericalMeanModel(
        name="smt",
        parameters=(
            Parameter("lambda_par", 0.0, lambda_par_max, _SMT_STARTS[0], "um2/ms"),
            Parameter("fraction", 0.0, 1.0, _SMT_STARTS[1], largest=1.0),
        ),
        mean=_smt_mean,
        legendre=_smt_legendre,
        dependent=_smt_dependent,
        derived=_smt_derived,
        move=_smt_move,
        units={"lambda_perp": "um2/ms", "md": "um2/ms"},
    )


def _smt_move(x, step):
    """A straight line in mean diffusivity and f: the valley of the cost runs along constant md.

    Straight lines in λ∥ and f leave that valley and need more steps.
    """

    def three_md(x):
        return x[0] * (1 + 2 * x[1])

    value, change = jax.jvp(three_md, (x,), (step,))
    fraction = jnp.clip(x[1] + step[1], 0, 1)
    return (value + change) / (1 + 2 * fraction), fraction


# Denser where diffusion is slow, and never near f = 1: with the mean diffusivity held, the signal
# depends on (1 - f)², so f = 1 is a ridge on which a search would rest, and from the anisotropic
# side it converges monotonically.
_SMT_STARTS = (
    tuple(((i + 0.5) / 12) ** 2 for i in range(12)),
    tuple(0.8 * (i + 0.5) / 6 for i in range(6)),
)


def _smt_mean(b, lambda_par, fraction):
    return zeppelin_mean(b, lambda_par, fraction * lambda_par)


def _smt_legendre(b, lmax, lambda_par, fraction):
    return zeppelin_legendre(b, lambda_par, fraction * lambda_par, lmax)


def _smt_dependent(lambda_par, fraction):
    return {"lambda_perp": fraction * lambda_par}


def _smt_derived(lambda_par, fraction):
    lambda_perp = fraction * lambda_par
    norm = jnp.sqrt(lambda_par**2 + 2 * lambda_perp**2)
    fa = (lambda_par - lambda_perp) / jnp.where(norm > 0, norm, 1)
    return {"md": (lambda_par + 2 * lambda_perp) / 3, "fa": fa, "fapow3": fa**3}
