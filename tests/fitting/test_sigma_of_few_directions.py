"""σ of series whose shells have few directions each: from repeats of b = 0, or from the misfit of kernel and FOD."""

import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.geometry.quadrature import gradient_directions
from jaxsmt.simulate import rician
from jaxsmt.simulate.signals import zeppelin_signal

SHELLS = (500, 1000, 1500, 2000, 2500, 3000, 4500, 6000)
VOXELS = 400


def scheme(n_b0, directions, shells=SHELLS):
    """Volumes at b = 0, and shells of 13 or so directions."""
    g = np.concatenate([np.zeros((n_b0, 3))] + [gradient_directions(directions, seed=i) for i in range(len(shells))])
    return js.Acquisition(np.repeat([0.0, *shells], [n_b0] + [directions] * len(shells)), g)


def volumes(acquisition, noise, snr, stick):
    """One Watson lobe a voxel, S0 = 1000: a zeppelin; or, with part `stick`, a stick in a zeppelin, which no single one
    fits."""
    rng = np.random.default_rng(5)
    axes = rng.standard_normal((VOXELS, 1, 3))
    axes /= np.linalg.norm(axes, axis=-1, keepdims=True)
    par, lobes = rng.uniform(1.5, 2.2, VOXELS), (axes, np.exp(rng.uniform(0.7, 3, (VOXELS, 1))), np.ones((VOXELS, 1)))
    signal = (1 - stick) * zeppelin_signal(acquisition, par, (0.5 if stick else 0.25) * par, *lobes)
    signal = 1000 * (signal + stick * zeppelin_signal(acquisition, par, 0 * par, *lobes))
    if noise == "rician":
        return rician(signal, 1000 / snr, rng)
    return signal + 1000 / snr * rng.standard_normal(signal.shape)


@pytest.mark.parametrize("noise", ["gaussian", "rician"])
@pytest.mark.parametrize("snr", [15, 60])
def test_eight_shells_of_thirteen_directions(noise, snr):
    """No shell has harmonics enough; six volumes at b = 0 leave 5 degrees of freedom a voxel, 2000 in all."""
    acquisition = scheme(6, 13)
    fit = js.fit(js.smt(), acquisition, volumes(acquisition, noise, snr, 0.0), noise=noise, uncertainty=True)
    assert np.median(fit.sigma) == pytest.approx(1000 / snr, rel=0.05)
    assert fit.sigma_error < 0.05
    assert fit.sigma_from == ("repeats of b = 0" if noise == "gaussian" else "misfit of kernel and FOD")
    # Next to isotropy single precision does not tell λ∥ from λ⊥: the deviation there is infinite.
    anisotropic = (fit.status == js.Status.CONVERGED) & (fit.parameters["fraction"] < 0.995)
    assert anisotropic.sum() > 0.8 * VOXELS
    assert np.isfinite(fit.sd["lambda_par"][anisotropic]).all()
    assert abs(np.median(fit.derived["md"] * 3 / (1 + 2 * 0.25)) - 1.85) < 0.05


def test_a_model_that_does_not_fit_does_not_raise_sigma():
    """Of a stick in a zeppelin the misfit of one zeppelin is 1.8 times the noise: repeats of b = 0 tell so."""
    acquisition = scheme(6, 13)
    fit = js.fit(js.smt(), acquisition, volumes(acquisition, "rician", 60, 0.5), noise="rician")
    assert fit.sigma_from == "repeats of b = 0"
    assert np.median(fit.sigma) == pytest.approx(1000 / 60, rel=0.05)


@pytest.mark.parametrize("noise", ["gaussian", "rician"])
def test_without_repeats_the_misfit_is_taken(noise):
    """One volume at b = 0: σ within 5 %, and an error is told that is no less than that."""
    acquisition = scheme(1, 13)
    fit = js.fit(js.smt(), acquisition, volumes(acquisition, noise, 30, 0.0), noise=noise, uncertainty=True)
    assert np.median(fit.sigma) == pytest.approx(1000 / 30, rel=0.05)
    assert fit.sigma_from == "misfit of kernel and FOD"
    assert 0.05 < fit.sigma_error < 0.2


def test_few_voxels_have_the_error_of_few_degrees_of_freedom():
    """Five of them in a single voxel: a σ that may be a third off, and no more certain."""
    acquisition = scheme(6, 13)
    fit = js.fit(js.smt(), acquisition, volumes(acquisition, "gaussian", 30, 0.0)[:3], uncertainty=True)
    assert fit.sigma_error == pytest.approx(0.35, abs=0.03)


@pytest.mark.parametrize("options", [{"noise": "rician"}, {"uncertainty": True}])
def test_sigma_is_refused_where_nothing_is_left(options):
    """At once, whatever the data: with 25 volumes and one at b = 0, kernel and FOD may follow every volume."""
    acquisition = scheme(1, 8, (1000, 2000, 3000))
    with pytest.raises(js.InputError, match=r"sigma cannot be estimated from 25 volumes") as refusal:
        js.fit(js.smt(), acquisition, np.full((4, 25), np.nan), **options)
    assert "give sigma= a number or a map" in refusal.value.fix


@pytest.mark.parametrize("n_b0", [6, 1])
def test_voxels_without_signal_do_not_matter(n_b0):
    """NaN, and nothing at all: their statuses say so, and σ of the others is found; nor does a fit of nothing fail."""
    acquisition = scheme(n_b0, 13)
    data = volumes(acquisition, "rician", 30, 0.0)
    data[0], data[1, 3] = 0, np.nan
    fit = js.fit(js.smt(), acquisition, data, noise="rician")
    assert fit.status[:2].tolist() == [js.Status.NO_SIGNAL, js.Status.NON_FINITE]
    assert np.median(fit.sigma[2:]) == pytest.approx(1000 / 30, rel=0.05)
    nothing = js.fit(js.smt(), acquisition, data[:2], noise="rician")
    assert np.isin(nothing.status, (js.Status.NO_SIGNAL, js.Status.NON_FINITE)).all()
