"""What an orientation density must keep to so that everything can use it; run it on one of your own."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...errors import InputError
from ..densities.base import Density
from ..frame_harmonics import Rule, octant_rule

# Parts of the largest concentration at which a density is checked.
_PARTS = (0.0, 0.003, 0.03, 0.3, 1.0)
_ORDER = 12


def check_density(density: Density) -> None:
    """Check an orientation density: its record, values, derivatives, and the quadrature of its coefficients.

    At several concentrations up to the largest, in both precisions.

    Args:
        density: a `Density`, such as `axial_density` makes.
    Raises:
        InputError: the first thing that is wrong, and at which concentration.

    Example:
        >>> import jaxsmt as js
        >>> js.check_density(js.axial_density("power", lambda x, kappa: kappa * x**4))
        >>> js.check_density(js.axial_density("odd", lambda x, kappa: -kappa * x))
        Traceback (most recent call last):
        jaxsmt.errors.InputError: density 'odd': it is larger off the axis than along it at concentration 0.384
          fix: a density is largest along its axis: L(0, 0, 1) = 0 and L ≤ 0
    """
    _check_record(density)
    for x64 in (True, False):
        with jax.enable_x64(x64):
            for part in _PARTS:
                _check_values(density, part * density.largest)
                _check_coefficients(density, part * density.largest)


def _refuse(density: Density, fact: str, fix: str) -> None:
    raise InputError(f"density {density.name!r}: {fact}", fix=fix)


def _check_record(density: Density) -> None:
    if not density.name.isalnum():
        _refuse(density, f"its name is {density.name!r}", "letters and digits only: it goes into file names")
    if density.axes not in (1, 2):
        _refuse(density, f"it has {density.axes} axes", "1, symmetric about μ; or 2, μ and μ₂")
    if not 0 < density.largest < np.inf:
        _refuse(density, f"its largest concentration is {density.largest}", "finite, above 0")
    try:
        hash(density)
    except TypeError:
        _refuse(density, "cannot be hashed", "a plain function, not an object with a list or an array in it")


def _log(density: Density, rule: Rule, concentration: float) -> Any:
    """L at the nodes, all concentrations equal."""
    dtype = jnp.result_type(float)
    nodes = [jnp.asarray(x, dtype) for x in rule[:3]]
    spread = [jnp.full_like(nodes[0], concentration)] * density.axes
    try:
        return jax.jit(density.log_density)(*nodes, *spread)
    except Exception as error:  # whatever the user's function may raise
        _refuse(density, f"cannot be called: {str(error).splitlines()[0]}", "pure JAX, elementwise: jnp instead of np")


def _check_values(density: Density, concentration: float) -> None:
    where = f"at concentration {concentration:.3g}"
    rule = octant_rule(24, 8)
    value = _log(density, rule, concentration)
    if value.shape != rule.w.shape or value.dtype != jnp.result_type(float):
        _refuse(
            density,
            f"L is {value.dtype}{value.shape}, its arguments are {jnp.result_type(float)}{rule.w.shape}",
            "an elementwise function that keeps the type",
        )
    if not np.isfinite(value).all():
        _refuse(density, f"L is not finite {where}", "the logarithm of a density that is positive everywhere")
    if concentration == 0 and np.ptp(value) > 1e-5:
        _refuse(density, "it is not uniform at concentration 0", "L is constant there")
    pole = Rule(np.zeros(1), np.zeros(1), np.ones(1), np.ones(1))
    top = float(np.asarray(_log(density, pole, concentration))[0])
    slack = 1e-4 * (1 + abs(concentration))
    if np.max(value) > slack or abs(top) > slack:
        _refuse(
            density,
            f"it is larger off the axis than along it {where}",
            "a density is largest along its axis: L(0, 0, 1) = 0 and L ≤ 0",
        )
    turned = Rule(rule.v, rule.u, rule.w, rule.weights)
    if density.axes == 1 and np.max(np.abs(value - _log(density, turned, concentration))) > slack:
        _refuse(
            density, f"it is not symmetric about its axis {where}", "a function of w and the concentration, or axes=2"
        )


def _check_coefficients(density: Density, concentration: float) -> None:
    """Those of the quadrature that fits use, against many nodes; derivatives against differences."""
    where = f"at concentration {concentration:.3g}"
    double = jnp.result_type(float) == np.float64

    def coefficients(c: Any, nodes: tuple[int, int]) -> tuple[np.ndarray, list[np.ndarray]]:
        values, slopes = density.coefficients(density.basis(_ORDER, nodes), (jnp.asarray(c, float),) * density.axes)
        return np.asarray(values), [np.asarray(slope) for slope in slopes]

    values, slopes = coefficients(concentration, density.nodes)
    exact, _ = coefficients(concentration, (200, 60))
    if np.max(np.abs(values - exact)) > 1e-4:
        _refuse(density, f"{density.nodes[0]} nodes do not integrate it {where}", "more nodes=, or a smaller largest=")
    if not all(np.isfinite(slope).all() for slope in slopes):
        _refuse(density, f"a derivative by the concentration is not finite {where}", "jnp.where with safe arguments")
    if double and concentration > 0:
        h = 1e-4 * concentration
        up, down = (coefficients(concentration + s * h, density.nodes)[0] for s in (1, -1))
        difference = (up - down) / (2 * h)
        if np.max(np.abs(sum(slopes) - difference)) > 1e-4 * (1 + np.max(np.abs(difference))):
            _refuse(density, f"its derivative is not that of its values {where}", "check custom derivatives")
