"""FOD fits against known truth, independent optima and hostile voxels; files in the right axes."""

import warnings

import nibabel as nib
import numpy as np
import pytest
import scipy.optimize

import jaxsmt as js
from jaxsmt.batch.runner import compilations
from jaxsmt.files import nifti
from jaxsmt.geometry.harmonics import even_harmonics
from jaxsmt.geometry.quadrature import fibonacci_sphere
from tests.conftest import degrees
from tests.fitting.simulated_fods import ACQUISITION, kernel_of, matched, simulated
from tests.physics.known_lobes import brute_force, frame


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("density", ["watson", "bingham"])
def test_one_lobe_without_noise(density, dtype):
    data, mu, kappa, _ = simulated(40, 1)
    fods = js.fit(kernel_of(data, dtype=dtype).fod_model(density), ACQUISITION, data, dtype=dtype)
    p = fods.parameters
    assert np.all(fods.status == js.Status.CONVERGED)
    assert degrees(p["direction"][:, 0], mu[:, 0]).max() < 0.1
    odi = 2 / np.pi * np.arctan(1 / kappa)
    np.testing.assert_allclose(p["odi"], odi, atol=2e-3)
    np.testing.assert_allclose(p["weight"], 1)
    assert np.all(p["beta"] <= 0.05 * p["kappa"])
    assert fods.mse.max() < 1e-6
    assert fods.r2.min() > 0.9999


@pytest.mark.parametrize("lobes", [2, 3])
def test_crossings_without_noise(lobes):
    """At least nine in ten, here of lobes at least 45° apart; a third lobe has several minima."""
    data, mu, _, weight = simulated(40, lobes)
    fods = js.fit(kernel_of(data).fod_model("watson", lobes), ACQUISITION, data)
    angles, _ = matched(fods.parameters["direction"], mu)
    good = angles.max(axis=1) < 3
    assert np.mean(good) >= 0.9
    np.testing.assert_allclose(np.median(fods.parameters["weight"][good], axis=0), weight, atol=0.01)
    assert np.all(np.diff(fods.parameters["weight"], axis=1) <= 0)


def test_bingham_finds_its_second_axis():
    """Data by brute force; β, and the plane in which the lobe is wide."""
    b, g = ACQUISITION.bvals * 1e-3, ACQUISITION.bvecs
    cases = [(10.0, 5.0), (30.0, 20.0), (6.0, 5.4), (20.0, 2.0), (60.0, 50.0)]
    data = np.array([brute_force(g, b, 2.0, 0.3, frame(i), *case, n=60) for i, case in enumerate(cases)])
    fods = js.fit(kernel_of(data, dtype="float64").fod_model("bingham"), ACQUISITION, data, dtype="float64")
    p = fods.parameters
    for i, (kappa, beta) in enumerate(cases):
        assert degrees(p["direction"][i, 0], frame(i)[0]) < 0.1
        assert degrees(p["across"][i, 0], frame(i)[1]) < 0.5
        assert abs(p["beta"][i, 0] / p["kappa"][i, 0] - beta / kappa) < 0.01
        assert abs(p["kappa"][i, 0] / kappa - 1) < 0.02


def test_noisy_optimum_is_scipys():
    """From many random starts SciPy, on the brute-force signal's own Jacobian, finds nothing lower."""
    data, _, _, _ = simulated(3, 1, seed=4, s0=1.0)
    data = js.simulate.rician(data, 0.03, np.random.default_rng(1))
    kernel = kernel_of(data)
    fods = js.fit(kernel.fod_model("watson"), ACQUISITION, data)
    shells, b = ACQUISITION.shells[1:], ACQUISITION.b
    x, w = np.polynomial.legendre.leggauss(40)
    phi = 2 * np.pi * np.arange(40) / 40

    def signal(voxel, theta, azimuth, kappa):
        par, perp = (float(kernel.parameters[n][voxel]) for n in ("lambda_par", "lambda_perp"))
        density = np.repeat(w * np.exp(kappa * (x**2 - 1)), 40)
        density /= density.sum()
        mu = np.array([np.sin(theta) * np.cos(azimuth), np.sin(theta) * np.sin(azimuth), np.cos(theta)])
        e1 = np.array([np.cos(theta) * np.cos(azimuth), np.cos(theta) * np.sin(azimuth), -np.sin(theta)])
        ring = np.cos(phi)[:, None] * e1 + np.sin(phi)[:, None] * np.cross(mu, e1)
        n = (x[:, None, None] * mu + np.sqrt(1 - x**2)[:, None, None] * ring).reshape(-1, 3)
        out = np.empty(len(ACQUISITION.bvals))
        out[ACQUISITION.b0.volumes] = 1
        for shell, bk in zip(shells, b[1:], strict=True):
            cosine = ACQUISITION.bvecs[shell.volumes] @ n.T
            out[shell.volumes] = np.exp(-bk * perp - bk * (par - perp) * cosine**2) @ density
        return out

    rng = np.random.default_rng(0)
    for voxel in range(3):
        y = data[voxel] / kernel.s0[voxel]
        costs = []
        for _ in range(4):
            start = [np.arccos(rng.uniform(-0.9, 0.9)), rng.uniform(0, np.pi), 5.0]
            optimum = scipy.optimize.least_squares(
                lambda p, voxel=voxel, y=y: signal(voxel, p[0], p[1], abs(p[2])) - y, start, xtol=1e-12, ftol=1e-12
            )
            costs.append(np.mean(optimum.fun**2))
        assert fods.mse[voxel] <= min(costs) + 2e-7


def test_auto_counts_the_fibres():
    """Noisy single fibres and wide crossings; by BIC nearly all get their number."""
    rng = np.random.default_rng(0)
    for lobes, expected in ((1, 1), (2, 2)):
        data, *_ = simulated(40, lobes, seed=7)
        noisy = js.simulate.rician(data, 800 / 100, rng)
        fods = js.fit(kernel_of(noisy).fod_model("watson", "auto"), ACQUISITION, noisy)
        assert np.mean(fods.n_fibres == expected) >= 0.9
        assert fods.parameters["weight"].shape == (40, 3)
        absent = np.arange(3) >= fods.n_fibres[:, None]
        for values in fods.parameters.values():
            assert np.all(values[absent] == 0)
        np.testing.assert_allclose(fods.parameters["weight"].sum(axis=1), fods.n_fibres > 0, atol=1e-6)
    uniform = np.exp(-ACQUISITION.bvals * 1e-3) * 800
    noisy = js.simulate.rician(np.tile(uniform, (40, 1)).astype(np.float32), 8, rng)
    fods = js.fit(kernel_of(noisy).fod_model("watson", "auto"), ACQUISITION, noisy)
    assert np.mean(fods.n_fibres == 0) >= 0.9
    none = fods.n_fibres == 0
    points = fibonacci_sphere(50)
    np.testing.assert_allclose(fods.odf(points)[none], 1 / (4 * np.pi), rtol=1e-6)
    np.testing.assert_allclose(fods.sh(4)[none] @ even_harmonics(points, 4).T, 1 / (4 * np.pi), rtol=1e-5)


@pytest.mark.parametrize(("lobes", "noise", "numbers"), [(2, 25, {0, 1}), (3, 15, {1, 2})])
def test_auto_is_the_best_of_all_numbers(lobes, noise, numbers):
    """Giving up numbers of lobes that do not pay loses none that does: as if each number were fitted to its end."""
    clean, *_ = simulated(60, lobes)
    noisy = clean + noise * np.random.default_rng(5).standard_normal(clean.shape)
    kernels = kernel_of(noisy)
    chosen = js.fit(kernels.fod_model("watson", "auto"), ACQUISITION, noisy)
    each = [js.fit(kernels.fod_model("watson", n), ACQUISITION, noisy) for n in (1, 2, 3)]
    n = len(ACQUISITION.bvals)
    criteria = np.stack([n * np.log(f.mse.astype(float)) + (4 * i - 1) * np.log(n) for i, f in enumerate(each, 1)])
    criteria[2][criteria[1] > criteria[0]] = np.inf  # a third lobe is tried where a second pays
    best = criteria.argmin(axis=0)
    assert numbers <= set(best)
    some = chosen.n_fibres > 0
    assert some.mean() > 0.9
    np.testing.assert_array_equal(chosen.n_fibres[some], best[some] + 1)
    np.testing.assert_allclose(chosen.mse[some], np.stack([f.mse for f in each])[best, np.arange(60)][some], rtol=1e-5)


def test_giving_up_searches_changes_no_number_of_rician_lobes():
    """Against a solver that never gives up; one and two lobes, and none."""
    one, *_ = simulated(20, 1)
    two, *_ = simulated(20, 2)
    none = np.tile(np.exp(-ACQUISITION.bvals * 1e-3) * 800, (20, 1))
    data = js.simulate.rician(np.concatenate([none, one, two]).astype(np.float32), 20, np.random.default_rng(3))
    model, how = js.FodModel(js.smt(), "watson", "auto"), {"noise": "rician", "sigma": 20.0}
    fods = js.fit(model, ACQUISITION, data, **how)
    stubborn = js.fit(model, ACQUISITION, data, solver=js.levenberg_marquardt()._replace(hope=None), **how)
    assert set(fods.n_fibres) >= {0, 1, 2}
    np.testing.assert_array_equal(fods.n_fibres, stubborn.n_fibres)
    np.testing.assert_allclose(fods.mse, stubborn.mse, rtol=1e-4)


def test_no_seam_at_the_poles():
    """Axes at and around the poles and ±π of spherical coordinates, where dmipy's fits stay behind."""
    mu = np.array(
        [[0, 0, 1], [1e-4, 0, 1], [0, -1e-3, -1], [-1, 0, 0], [-1, 1e-6, 0], [-1, -1e-6, 0], [0, 1, 0]], float
    )
    mu /= np.linalg.norm(mu, axis=1, keepdims=True)
    n = len(mu)
    data = js.simulate.zeppelin_signal(
        ACQUISITION, np.full(n, 2.0), np.full(n, 0.3), mu[:, None], np.full((n, 1), 12.0), np.ones((n, 1))
    )
    for density in ("watson", "bingham"):
        fods = js.fit(kernel_of(data).fod_model(density), ACQUISITION, data)
        assert degrees(fods.parameters["direction"][:, 0], mu).max() < 0.05


def test_turning_the_data_turns_the_fit():
    """Equivariance: the same voxel with all directions turned gives the turned axis, the same ODI."""
    data, *_ = simulated(10, 2, seed=3)
    noisy = js.simulate.rician(data, 20.0, np.random.default_rng(2))
    turn = frame(11)
    turned = js.Acquisition(ACQUISITION.bvals, ACQUISITION.bvecs @ turn.T)
    kernel = kernel_of(noisy)
    one = js.fit(kernel.fod_model("watson"), ACQUISITION, noisy)
    other = js.fit(kernel.fod_model("watson"), turned, noisy)
    assert degrees(one.parameters["direction"] @ turn.T, other.parameters["direction"]).max() < 0.2
    np.testing.assert_allclose(one.parameters["odi"], other.parameters["odi"], atol=1e-3)


def test_hostile_voxels_get_their_status():
    data, *_ = simulated(6, 1)
    data[0, 5] = np.nan
    data[1] = 0
    data[2, 7] = np.inf
    kernel = kernel_of(data)
    later = data.copy()
    later[3, 9] = np.nan  # not there when the kernel was fitted
    S = js.Status
    for n_fibres in (1, "auto"):
        fods = js.fit(kernel.fod_model("watson", n_fibres), ACQUISITION, later)
        np.testing.assert_array_equal(fods.status[:4], [S.NON_FINITE, S.NO_SIGNAL, S.NON_FINITE, S.NON_FINITE])
        assert np.all(fods.status[4:] == S.CONVERGED)
        for values in (*fods.parameters.values(), fods.mse, fods.r2, fods.sh(), fods.odf(fibonacci_sphere(5))):
            assert np.all(np.isfinite(values))
            assert np.all(values[:4] == 0)


def test_compiles_once_and_voxels_are_independent():
    data, *_ = simulated(150, 1)
    data = js.simulate.rician(data, 20.0, np.random.default_rng(0))
    model = kernel_of(data)
    together = js.fit(model.fod_model("watson"), ACQUISITION, data)
    before = compilations()
    mask = np.arange(150) % 3 == 0
    apart = js.fit(model.fod_model("watson"), ACQUISITION, data, mask)
    assert compilations() == before
    for name, values in together.parameters.items():
        np.testing.assert_array_equal(values[mask], apart.parameters[name][mask])


def test_peaks_odf_and_floor():
    data, *_ = simulated(4, 2)
    fods = js.fit(kernel_of(data).fod_model("watson", 2), ACQUISITION, data.reshape(2, 2, -1).reshape(4, -1))
    assert fods.peaks().shape == (4, 2, 3)
    np.testing.assert_allclose(np.linalg.norm(fods.peaks(), axis=-1), fods.parameters["weight"], atol=1e-6)
    points = fibonacci_sphere(4000)
    odf, smooth = fods.odf(points), fods.odf(points, odi_floor=0.3)
    for density in (odf, smooth):
        np.testing.assert_allclose(density.mean(axis=1) * 4 * np.pi, 1, atol=2e-3)
    assert np.all(smooth.max(axis=1) < odf.max(axis=1))
    np.testing.assert_allclose(fods.sh(20) @ even_harmonics(points, 20).T, odf, atol=0.05)
    with pytest.raises(js.InputError, match="even order"):
        fods.sh(3)


def test_the_written_harmonics_do_not_ring():
    """`sh` is exact; the map is not below zero by more than 1 % of its peak, of the same integral in each lobe."""
    data, *_ = simulated(12, 2)
    fods = js.fit(kernel_of(data).fod_model("watson", 2), ACQUISITION, data)
    points, written = even_harmonics(fibonacci_sphere(4000), 8), fods.maps()["fod"]
    np.testing.assert_array_equal(written, fods.sh(8, ripple=0.003))
    exact, shown = fods.sh(8) @ points.T, written @ points.T
    assert np.median(exact.min(axis=1) / exact.max(axis=1)) < -0.02
    assert np.all(shown.min(axis=1) > -0.01 * shown.max(axis=1))
    np.testing.assert_allclose(written[:, 0], fods.sh(8)[:, 0], rtol=1e-6)
    for ripple in (-0.1, 0.2, np.nan):
        with pytest.raises(js.InputError, match="ripple="):
            fods.sh(8, ripple=ripple)


@pytest.mark.parametrize("handedness", [1, -1])
def test_written_directions_are_right_in_world_space(tmp_path, handedness):
    """Oblique affines of both hands; FSL's bvec in image axes; a known fibre in scanner axes."""
    turn = frame(5)
    turn[:, 0] *= np.sign(np.linalg.det(turn)) * handedness
    affine = np.eye(4)
    affine[:3, :3] = turn * [2.0, 2.5, 3.0]
    fibre = np.array([0.36, 0.48, -0.8])
    data = 1000 * js.simulate.zeppelin_signal(
        ACQUISITION, np.full(8, 2.0), np.full(8, 0.3), np.tile(fibre, (8, 1, 1)), np.full((8, 1), 15.0), np.ones((8, 1))
    )
    nib.Nifti1Image(data.reshape(2, 2, 2, -1), affine).to_filename(tmp_path / "a_dwi.nii.gz")
    in_image = ACQUISITION.bvecs @ turn * [-1 if np.linalg.det(turn) > 0 else 1, 1, 1]
    np.savetxt(tmp_path / "a_dwi.bval", ACQUISITION.bvals[None])
    np.savetxt(tmp_path / "a_dwi.bvec", in_image.T)

    files = tmp_path / "a_dwi.bval", tmp_path / "a_dwi.bvec"
    acquisition = js.Acquisition.from_fsl(*files, affine=affine)
    series = nifti.read_array(nifti.open_image(tmp_path / "a_dwi.nii.gz"))
    kernel = js.fit(js.smt(), acquisition, series)
    paths = js.fit(kernel.fod_model("watson"), acquisition, series).save(tmp_path / "out", tmp_path / "a_dwi.nii.gz")
    names = {p.name for p in paths}
    maps = ("direction", "weight", "odi", "kappa", "beta", "nfibres", "fod", "mse", "r2", "status")
    assert names == {f"a_model-smtwatson_param-{m}_dwimap.nii.gz" for m in maps}

    def read(name):
        image = nib.load(tmp_path / "out" / f"a_model-smtwatson_param-{name}_dwimap.nii.gz")
        np.testing.assert_allclose(image.affine, affine, atol=1e-5)
        return np.asarray(image.dataobj)

    direction = read("direction")
    assert direction.shape == (2, 2, 2, 3)
    assert degrees(direction, fibre).max() < 0.1
    # The largest amplitude of the written harmonics, MRtrix's basis, points the same way.
    points = fibonacci_sphere(5000)
    amplitude = read("fod") @ even_harmonics(points, 8).T
    assert degrees(points[np.argmax(amplitude, axis=-1)], fibre).max() < 3
    np.testing.assert_allclose(read("fod")[..., 0] * np.sqrt(4 * np.pi), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("density", "n_fibres", "message"),
    [("gauss", 1, "unknown density"), ("watson", 4, "fibres"), ("watson", "many", "fibres")],
)
def test_unknown_models_are_refused(density, n_fibres, message):
    data, *_ = simulated(2, 1)
    with pytest.raises(js.InputError, match=message):
        kernel_of(data).fod_model(density, n_fibres)


def test_shapes_must_agree():
    data, *_ = simulated(4, 1)
    model = kernel_of(data).fod_model("watson")
    with pytest.raises(js.InputError, match="kernels of shape"):
        js.fit(model, ACQUISITION, data[:3])
    with pytest.raises(js.InputError, match="volumes"):
        js.fit(model, ACQUISITION, data[:, :-1])


@pytest.mark.parametrize(("scatter", "told"), [(15.0, False), (45.0, True)])
def test_shells_of_scattered_b_values_are_told(scatter, told):
    """A convolution has one b: what that costs grows with the scatter."""
    above = ACQUISITION.bvals > 0
    bvals = ACQUISITION.bvals + np.where(above, scatter * np.resize(np.linspace(-1, 1, 30), above.size), 0)
    scattered = js.Acquisition(bvals, ACQUISITION.bvecs)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        js.fit(kernel_of(simulated(2, 1)[0]).fod_model("watson"), scattered, simulated(2, 1)[0])
    assert any("differ by up to 4." in str(each.message) for each in caught) == told
