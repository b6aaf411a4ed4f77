"""Models to start from. Each is a few lines: read them as examples for one of your own."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ..physics.compartments import FREE, ball, sphere, stick, zeppelin
from .links import Link, equal, fixed, fraction, tortuosity
from .model import SphericalMeanModel


def smt(lambda_par_max: float = FREE) -> SphericalMeanModel:
    """The Spherical Mean Technique: one zeppelin, whatever the fibre orientations.

    Free: λ∥ in [0, `lambda_par_max`] µm²/ms and f = λ⊥/λ∥ in [0, 1]. The constraint λ⊥ ≤ λ∥ is
    needed: the spherical mean of an oblate tensor can equal that of a prolate one.

    Source: Kaden et al. 2016, Magn Reson Med 75:1752, doi:10.1002/mrm.25734.
    """
    tensor = ("lambda_par", "lambda_perp")
    model = SphericalMeanModel(
        zeppelin(),
        links=[fraction("lambda_perp", of="lambda_par", name="fraction")],
        derived=(Link("md", tensor, _md, unit="um2/ms"), Link("fa", tensor, _fa), Link("fapow3", tensor, _fapow3)),
        name="smt",
        move=_along_md,
    )
    return model if lambda_par_max == FREE else model.bound(lambda_par=(0.0, lambda_par_max))


def mcsmt() -> SphericalMeanModel:
    """Multi-compartment SMT: neurites as sticks, what surrounds them as a zeppelin of their λ∥.

    ε = v h(bλ) + (1 - v) e^{-bλ⊥} h(b(λ - λ⊥)), λ⊥ = (1 - v) λ; free: the intra-neurite volume fraction v
    ("weight.stick", map "intra") and the intrinsic diffusivity λ ("stick.lambda_par", map "diff").

    Source: Kaden et al. 2016, NeuroImage 139:346, doi:10.1016/j.neuroimage.2016.06.002.
    """
    return SphericalMeanModel(
        {"stick": stick(), "zeppelin": zeppelin()},
        links=[
            equal("zeppelin.lambda_par", "stick.lambda_par"),
            tortuosity("zeppelin.lambda_perp", "zeppelin.lambda_par", intra="weight.stick", extra="weight.zeppelin"),
            equal("intra", "weight.stick"),
            equal("diff", "stick.lambda_par"),
            equal("extratrans", "zeppelin.lambda_perp"),
        ],
        derived=(Link("extramd", ("zeppelin.lambda_par", "zeppelin.lambda_perp"), _md, unit="um2/ms"),),
        maps=("intra", "diff", "extratrans", "extramd"),
        name="mcsmt",
    )


def ball_stick() -> SphericalMeanModel:
    """Sticks and a ball of one diffusivity.

    Source: Behrens et al. 2003, Magn Reson Med 50:1077, doi:10.1002/mrm.10609.
    """
    return SphericalMeanModel(
        {"stick": stick(), "ball": ball()},
        links=[equal("ball.diffusivity", "stick.lambda_par")],
        name="ballstick",
    )


def smt_noddi() -> SphericalMeanModel:
    """Sticks, a tortuous zeppelin and free water, diffusivities held: NODDI's compartments, orientations averaged out.

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


def sandi() -> SphericalMeanModel:
    """Somas as spheres, neurites as sticks, and a ball between them; needs δ and Δ, and five shells or more.

    Source: Palombo et al. 2020, NeuroImage 215:116835, doi:10.1016/j.neuroimage.2020.116835.
    """
    return SphericalMeanModel(
        {"sphere": sphere(), "stick": stick(), "ball": ball()},
        links=[fixed("sphere.diffusivity", 3.0)],
        name="sandi",
    )


def _md(lambda_par, lambda_perp):
    return (lambda_par + 2 * lambda_perp) / 3


def _fa(lambda_par, lambda_perp):
    square = lambda_par**2 + 2 * lambda_perp**2
    return (lambda_par - lambda_perp) / jnp.sqrt(jnp.where(square > 0, square, 1))


def _fapow3(lambda_par, lambda_perp):
    return _fa(lambda_par, lambda_perp) ** 3


def _along_md(x, step):
    """A straight line in mean diffusivity and f: the valley of the cost runs along constant md.

    Straight lines in λ∥ and f leave that valley and need more steps.
    """

    def three_md(x):
        return x[0] * (1 + 2 * x[1])

    value, change = jax.jvp(three_md, (x,), (step,))
    f = jnp.clip(x[1] + step[1], 0, 1)
    return (value + change) / (1 + 2 * f), f
