"""Real data and the estimates of existing programs; needs JAXSMT_REFERENCE (see conftest)."""

import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.batch.fitters import KernelFitter
from jaxsmt.files import nifti
from jaxsmt.geometry.harmonics import even_harmonics
from jaxsmt.simulate import rician
from tests.conftest import degrees, gauss_mean
from tests.physics.known_lobes import brute_force

pytestmark = pytest.mark.usefixtures("sizes_of_users")  # thousands of voxels


def read(path):
    return nifti.read_array(nifti.open_image(path))


def in_vivo(reference):
    """Acquisition with the plain means of the authors' program, data, mask, and the folder of its maps."""
    folder = reference / "data" / "invivo_b1k_b2k"
    acquisition = js.Acquisition.from_fsl(folder / "b1k_b2k.bval", folder / "b1k_b2k.bvec", spherical_mean="arithmetic")
    data = read(folder / "b1k_b2k_example_slices_24_38.nii.gz")
    mask = read(folder / "b1k_b2k_example_slices_24_38_mask.nii.gz") != 0
    return acquisition, data, mask, folder / "ekaden_smt_reference"


@pytest.fixture(scope="module")
def phantom(reference):
    folder = reference / "data" / "phantom_hcp"
    affine = nifti.open_image(folder / "dwi_noisefree.nii.gz").affine
    return js.Acquisition.from_fsl(folder / "dwi.bval", folder / "dwi.bvec", affine=affine), folder


@pytest.mark.parametrize(("dtype", "median", "p95"), [("float64", 1e-4, 3e-3), ("float32", 3e-4, 1e-2)])
def test_noise_free_phantom(phantom, dtype, median, p95):
    """dmipy: 0.028 and 0.27, the C++ program: 0.006 and 0.030 µm²/ms (λ∥, median and 95th percentile)."""
    acquisition, folder = phantom
    truth = np.load(folder / "truth.npz")
    fit = js.fit(js.smt(), acquisition, read(folder / "dwi_noisefree.nii.gz"), dtype=dtype)
    for name in ("lambda_par", "lambda_perp"):
        error = np.abs(fit.parameters[name].ravel() - truth[name])
        assert np.median(error) <= median
        assert np.percentile(error, 95) <= p95
    assert np.all(np.isin(fit.status, (js.Status.CONVERGED, js.Status.AT_BOUND)))


def test_noise_floor_of_the_phantom(phantom, optimised):
    """Rician SNR 30 against Gaussian noise of the same σ (several draws of both, as one scatters by 1 %).

    λ∥ without correction: bias 0.41, RMSE 0.58 µm²/ms; the C++ program's median error with the true σ: 0.14.
    """
    acquisition, folder = phantom
    truth = np.load(folder / "truth.npz")
    clean, data = (read(folder / f).reshape(8000, -1) for f in ("dwi_noisefree.nii.gz", "dwi_rician_snr30.nii.gz"))
    sigma, rng = truth["S0"] / 30, np.random.default_rng(0)

    def error(fit):
        return fit.parameters["lambda_par"] - truth["lambda_par"]

    def rmse(fit):
        return np.sqrt(np.mean(error(fit) ** 2))

    draws = (clean + sigma[:, None] * rng.standard_normal(clean.shape) for _ in range(20))
    gaussian = np.mean([rmse(js.fit(js.smt(), acquisition, draw)) for draw in draws])
    known, estimated = (js.fit(js.smt(), acquisition, data, noise="rician", sigma=s) for s in (sigma, None))
    assert np.median(np.abs(error(known))) <= 0.14
    assert np.median(estimated.sigma / sigma) == pytest.approx(1, abs=0.05)
    assert rmse(estimated) <= 1.05 * rmse(known)
    draws = (data, *(rician(clean, sigma[:, None], rng) for _ in range(5)))
    joint = js.FodModel(js.smt(), "watson")
    second = [js.fit(joint, acquisition, draw, noise="rician", sigma=sigma).model.kernels for draw in draws]
    assert np.abs(np.mean(error(second[0]))) <= 0.03
    assert np.mean([rmse(fit) for fit in second]) <= 1.08 * gaussian


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_in_vivo_against_the_authors_program(reference, dtype):
    acquisition, data, mask, folder = in_vivo(reference)
    theirs = [read(folder / f"dt_{n}.nii.gz")[mask] * 1e3 for n in ("long", "trans")]
    fit = js.fit(js.smt(), acquisition, data, mask, s0="mean", dtype=dtype)
    ours = [fit.parameters[name][mask] for name in ("lambda_par", "lambda_perp")]
    assert np.median(np.abs(ours[0] - theirs[0])) <= 1e-3

    y = data[mask] @ acquisition.weights.T
    y = y / y[:, :1]
    weights = 1 / acquisition.variances

    def residual(par, perp):  # weighted by the number of directions, as theirs is
        errors = [y[:, k] - gauss_mean(acquisition.b[k], par, perp) for k in (1, 2)]
        return sum(weights[k] / weights.max() * error**2 for k, error in zip((1, 2), errors, strict=True))

    assert np.mean(residual(*ours) <= residual(*theirs) + 1e-6) > 0.999


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("data", "file"), [("clean", "dwi_noisefree.nii.gz"), ("noisy", "dwi_rician_snr30.nii.gz")])
def test_optimum_in_dmipys_objective(reference, phantom, data, file, dtype):
    """Mean squared residual over b = 0 and three means, S0 = b = 0 mean, harmonic orders 6, 8, 10."""
    acquisition, folder = phantom
    weights = acquisition.weights
    for row, shell, order in zip(weights[1:], acquisition.shells[1:], (6, 8, 10), strict=True):
        basis = even_harmonics(acquisition.bvecs[shell.volumes], order)
        row[shell.volumes] = np.linalg.pinv(basis)[0] / np.sqrt(4 * np.pi)
    means = weights @ read(folder / file).reshape(-1, weights.shape[1]).astype(float).T
    model = js.smt().bound(lambda_par=(0.1, 3.0))
    fit = KernelFitter(model, acquisition, fit_s0=False, weights=np.ones(4), dtype=dtype)(means)
    for golden, key in (("dmipy105_smt.npz", f"mse_{data}"), ("optimum_smt.npz", f"{data}_mse")):
        theirs = np.load(reference / "golden" / golden)[key]
        assert np.mean(fit.maps["mse"] <= theirs + 1e-9) >= 0.999


@pytest.fixture(scope="module")
def truth(phantom):
    _, folder = phantom
    truth = dict(np.load(folder / "truth.npz"))
    truth["fraction"] = truth["lambda_perp"] / truth["lambda_par"]
    single = truth["n_lobes"] == 1
    truth["watson"] = single & (truth["beta"][:, 0] == 0)
    truth["bingham"] = single & (truth["beta"][:, 0] > 0)
    return truth


def fods_of(phantom, file, family, n_fibres=1, chosen=slice(None)):
    acquisition, folder = phantom
    data = read(folder / file).reshape(-1, acquisition.bvals.size)[chosen]
    return js.fit(js.fit(js.smt(), acquisition, data).fod_model(family, n_fibres), acquisition, data)


def test_watson_on_the_noise_free_phantom(phantom, truth):
    fods = fods_of(phantom, "dwi_noisefree.nii.gz", "watson")
    angle = degrees(fods.parameters["direction"][:, 0], truth["mu"][:, 0])
    kappa = truth["kappa"][:, 0]
    assert np.median(angle[truth["watson"]]) <= 0.05
    assert angle[truth["watson"] & (truth["fraction"] < 0.5) & (kappa > 2)].max() <= 1
    error = np.abs(fods.parameters["odi"][:, 0] - 2 / np.pi * np.arctan(1 / kappa))[truth["watson"]]
    assert np.median(error) <= 1e-3


def test_watson_on_the_noisy_phantom(phantom, truth):
    fods = fods_of(phantom, "dwi_rician_snr30.nii.gz", "watson")
    chosen = truth["watson"] & (truth["fraction"] < 0.5) & (truth["kappa"][:, 0] > 2)
    assert np.median(degrees(fods.parameters["direction"][:, 0], truth["mu"][:, 0])[chosen]) <= 1.1


def test_bingham_on_the_noise_free_phantom(phantom, truth):
    fods = fods_of(phantom, "dwi_noisefree.nii.gz", "bingham")
    p, chosen = fods.parameters, truth["bingham"] & (fods.n_fibres > 0)
    assert np.all(truth["fraction"][truth["bingham"] & ~chosen] > 0.9)  # whose direction has no meaning
    assert np.median(degrees(p["direction"][:, 0], truth["mu"][:, 0])[chosen]) <= 0.05
    with np.errstate(invalid="ignore"):
        error = np.abs(p["beta"] / p["kappa"] - truth["beta"] / truth["kappa"])[:, 0]
    assert np.median(error[chosen & (truth["kappa"][:, 0] > 2)]) <= 0.01


@pytest.mark.parametrize("family", ["watson", "bingham"])
def test_crossings_on_the_noise_free_phantom(phantom, truth, family):
    """Both lobes Watson: 2×Watson must find them. Others need 2×Bingham, having no Watson lobes."""
    mu = truth["mu"][:, :2]
    chosen = (truth["n_lobes"] == 2) & (truth["fraction"] < 0.5)
    chosen &= (truth["weight"][:, :2].min(axis=1) >= 0.25) & (truth["kappa"][:, :2].min(axis=1) >= 4)
    chosen &= degrees(mu[:, 0], mu[:, 1]) >= 30
    if family == "watson":
        chosen &= np.all(truth["beta"][:, :2] == 0, axis=1)
    mu, estimated = mu[chosen], fods_of(phantom, "dwi_noisefree.nii.gz", family, 2, chosen).parameters["direction"]
    straight = np.maximum(degrees(estimated[:, 0], mu[:, 0]), degrees(estimated[:, 1], mu[:, 1]))
    swapped = np.maximum(degrees(estimated[:, 0], mu[:, 1]), degrees(estimated[:, 1], mu[:, 0]))
    assert len(mu) > 50
    assert np.mean(np.minimum(straight, swapped) <= 3) >= 0.9


@pytest.mark.parametrize("noise", ["clean", "noisy"])
@pytest.mark.parametrize(("family", "lobes", "prefix"), [("watson", 1, ""), ("bingham", 1, ""), ("watson", 2, "two_")])
def test_residuals_against_dmipys(reference, phantom, family, lobes, prefix, noise):
    """Same kernel, same S0, all volumes. dmipy's signal is truncated: where its reported residual is
    lower, the exact residual at its parameters is not."""
    acquisition, folder = phantom
    golden = np.load(reference / "golden" / f"dmipy105_{family}.npz")
    file = {"clean": "dwi_noisefree.nii.gz", "noisy": "dwi_rician_snr30.nii.gz"}[noise]
    index, s0 = golden[prefix + "index"], golden[f"{prefix}S0_{noise}"]
    data = read(folder / file).reshape(-1, acquisition.bvals.size)[index] / s0[:, None]
    par = golden[f"{prefix}kernel_lambda_par_{noise}"] * 1e9
    fraction = golden[f"{prefix}kernel_fraction_{noise}"]
    kernel = js.Fit(
        model=js.smt(),
        acquisition=acquisition,
        settings=js.Settings(),
        parameters={"lambda_par": par, "fraction": fraction, "lambda_perp": fraction * par},
        derived={},
        s0=np.ones(len(index)),
        quality={"mse": np.zeros(len(index)), "r2": np.ones(len(index))},
        status=np.full(len(index), js.Status.CONVERGED, np.uint8),
    )
    fods = js.fit(kernel.fod_model(family, lobes), acquisition, data)
    theirs = golden[f"{prefix}mse_{noise}"]
    directed = fods.n_fibres > 0
    assert np.all(fraction[~directed] > 0.94)  # isotropic kernels have no lobes
    assert directed.mean() > 0.8
    for i in np.flatnonzero(directed & (fods.mse > theirs + 1e-7)):
        assert (family, lobes) == ("watson", 1)
        theta, phi = golden[f"mu_{noise}"][i, 0]
        mu = [np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)]
        kappa = 1 / np.tan(np.pi / 2 * golden[f"odi_{noise}"][i, 0])
        axes = np.linalg.qr(np.column_stack([mu, np.eye(3)]))[0].T
        exact = brute_force(acquisition.bvecs, acquisition.bvals * 1e-3, par[i], fraction[i] * par[i], axes, kappa, 0)
        assert fods.mse[i] <= np.mean((data[i] - exact) ** 2) + 1e-7
        assert fods.mse[i] <= theirs[i] + 1e-6
    assert np.mean((fods.mse <= theirs + 1e-7)[directed]) >= 0.95
