"""SANDI."""

from __future__ import annotations

from ...physics.compartments import ball, sphere, stick
from ..links import fixed
from ..model import SphericalMeanModel


def sandi() -> SphericalMeanModel:
    """SANDI: somas are spheres, neurites are sticks, and a ball is between them.

    Fixed: the diffusivity 3 µm²/ms inside spheres. Free: the radius of the spheres ("sphere.radius", µm), the
    diffusivities of sticks and ball, and the volume fractions of spheres and sticks; that of the ball follows.

    Returns:
        The model, which needs the duration δ and separation Δ of the pulses, and five shells besides b = 0.

    Example:
        >>> import jaxsmt as js
        >>> js.sandi().parameter_names[:3]
        ['sphere.radius', 'stick.lambda_par', 'ball.diffusivity']

    Source: Palombo et al. 2020, NeuroImage 215:116835, doi:10.1016/j.neuroimage.2020.116835.
    """
    return SphericalMeanModel(
        {"sphere": sphere(), "stick": stick(), "ball": ball()},
        links=[fixed("sphere.diffusivity", 3.0)],
        name="sandi",
    )
