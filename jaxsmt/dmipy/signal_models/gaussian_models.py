"""Gaussian diffusion: `G1Ball`, `G2Zeppelin`."""

from __future__ import annotations

from numpy.typing import ArrayLike

from ... import Compartment, ball, zeppelin
from .. import refuse
from .base import SignalModel

__all__ = ["G1Ball", "G2Zeppelin"]
_NOT_COVERED = ("G3TemporalZeppelin",)
__getattr__ = refuse("gaussian_models", __all__, _NOT_COVERED)


class G1Ball(SignalModel):
    """Isotropic diffusion.

    Args:
        lambda_iso: diffusivity, m²/s.

    Example:
        >>> import jaxsmt as js
        >>> from jaxsmt.dmipy.core.acquisition_scheme import acquisition_scheme_from_bvalues
        >>> table = js.simulate.hcp_scheme(n_b0=1, n_directions=12)
        >>> scheme = acquisition_scheme_from_bvalues(table.bvals * 1e6, table.bvecs)
        >>> G1Ball(lambda_iso=1e-9).spherical_mean(scheme).round(3).tolist()
        [1.0, 0.368, 0.135, 0.05]
    """

    _names = ("lambda_iso",)

    def __init__(self, lambda_iso: float | None = None):
        super().__init__(lambda_iso=lambda_iso)

    def _compartment(self) -> Compartment:
        return ball()


class G2Zeppelin(SignalModel):
    """Axially symmetric diffusion.

    Args:
        mu: [θ, φ] of the axis, in radians.
        lambda_par: diffusivity along the axis, m²/s.
        lambda_perp: diffusivity across the axis, m²/s.

    Example:
        >>> list(G2Zeppelin().parameter_names)
        ['mu', 'lambda_par', 'lambda_perp']
    """

    _names = ("mu", "lambda_par", "lambda_perp")

    def __init__(self, mu: ArrayLike | None = None, lambda_par: float | None = None, lambda_perp: float | None = None):
        super().__init__(mu=mu, lambda_par=lambda_par, lambda_perp=lambda_perp)

    def _compartment(self) -> Compartment:
        return zeppelin()
