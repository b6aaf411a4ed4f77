"""Ball and stick."""

from __future__ import annotations

from ...physics.compartments import ball, stick
from ..links import equal
from ..model import SphericalMeanModel


def ball_stick() -> SphericalMeanModel:
    """Sticks and a ball of one diffusivity.

    ε(b) = v h(bλ) + (1 - v) e^{-bλ} with h(z) = ∫₀¹ e^{-zx²} dx. Free: the diffusivity λ ("stick.lambda_par") and the
    volume fraction v of the sticks ("weight.stick").

    Returns:
        The model, which needs two shells besides b = 0.

    Example:
        >>> import jaxsmt as js
        >>> js.ball_stick().parameter_names
        ['stick.lambda_par', 'weight.stick']

    Source: Behrens et al. 2003, Magn Reson Med 50:1077, doi:10.1002/mrm.10609.
    """
    return SphericalMeanModel(
        {"stick": stick(), "ball": ball()},
        links=[equal("ball.diffusivity", "stick.lambda_par")],
        name="ballstick",
    )
