"""Legendre moments of compartments over the whole box of their parameters."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jax import Array

from ..acquisition.shells import Pulse
from ..physics.compartments import Kernel
from ..physics.convolution import ORDER_MAX
from ..physics.signal import legendre_rule

# Most corners of a box, and how many random points within it.
_CORNERS, _RANDOM = 512, 64


def box_points(dimensions: int) -> np.ndarray:
    """Corners of the unit box and random points in it: (dimensions, points)."""
    corners = itertools.islice(itertools.product((0.0, 1.0), repeat=dimensions), _CORNERS)
    random = np.random.default_rng(0).uniform(size=(_RANDOM, dimensions))
    return np.concatenate([np.array(list(corners)).reshape(-1, dimensions), random]).T


def moments_at(kernel: Kernel, pulse: Pulse, values: Mapping[str, Array]) -> Array:
    """Legendre moments up to `ORDER_MAX` of each compartment that is not isotropic.

    Args:
        kernel: the compartments.
        pulse: the diffusion weighting.
        values: (points,) each, of the kernel's parameters by name.

    Returns:
        (1 + compartments × points, 61), a row of zeros first, by quadrature in the precision of the values.
    """
    nodes, weighted = legendre_rule(ORDER_MAX, 128)
    rows = [jnp.zeros((1, weighted.shape[1]))]
    for name, compartment in kernel.compartments:
        if not compartment.isotropic:
            parameters = [values[full] for full in kernel.of(name)]
            rows.append(
                jnp.matmul(compartment.at(pulse, jnp.asarray(nodes), *parameters), weighted, precision="highest")
            )
    return jnp.concatenate(rows)
