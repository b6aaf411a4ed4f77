"""NODDI's compartments without orientations."""

from __future__ import annotations

from ...physics.compartments import ball, stick, zeppelin
from ..links import equal, fixed, tortuosity
from ..model import SphericalMeanModel


def smt_noddi() -> SphericalMeanModel:
    """NODDI's compartments with orientations averaged out: sticks, a tortuous zeppelin around them, and free water.

    Fixed: the diffusivities λ∥ = 1.7 µm²/ms of stick and zeppelin and 3 µm²/ms of the ball; λ⊥ = λ∥ v_z/(v_s + v_z).
    Free: the volume fractions v_s of the sticks ("weight.stick") and v_z of the zeppelin ("weight.zeppelin"); that of
    the ball follows.

    Returns:
        The model, which needs two shells besides b = 0.

    Example:
        >>> import jaxsmt as js
        >>> js.smt_noddi().parameter_names
        ['weight.stick', 'weight.zeppelin']

    Source: Zhang et al. 2012, NeuroImage 61:1000, doi:10.1016/j.neuroimage.2012.03.072, for the compartments.
    """
    return SphericalMeanModel(
        {"stick": stick(), "zeppelin": zeppelin(), "ball": ball()},
        links=[
            fixed("stick.lambda_par", 1.7),
            equal("zeppelin.lambda_par", "stick.lambda_par"),
            tortuosity("zeppelin.lambda_perp", "zeppelin.lambda_par", intra="weight.stick", extra="weight.zeppelin"),
            fixed("ball.diffusivity", 3.0),
        ],
        name="smtnoddi",
    )
