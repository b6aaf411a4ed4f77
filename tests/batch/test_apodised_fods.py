"""Harmonics as the map `fod` has them: as many peaks as lobes, where the lobes are. Judged densely, and by MRtrix."""

import shutil
import subprocess

import nibabel as nib
import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.batch.predictions import mixture_harmonics
from jaxsmt.batch.programs import LobeArrays
from jaxsmt.files.map_table import FOD_ORDER, FOD_RIPPLE
from jaxsmt.geometry.harmonics import even_harmonics
from jaxsmt.geometry.quadrature import icosphere
from jaxsmt.physics.densities import find
from tests.fitting.simulated_fods import WEIGHTS, axes_of

VERTICES, FACES = icosphere(5)
EDGES = np.concatenate([FACES[:, [0, 1]], FACES[:, [1, 2]], FACES[:, [2, 0]]])
AT_VERTICES = even_harmonics(VERTICES, FOD_ORDER).T
#: Of one voxel's lobes; wider ones at 45° merge whatever holds them, as their sum has fewer peaks.
ODI = {1: (0.005, 0.02, 0.05, 0.08, 0.09, 0.1, 0.15, 0.3, 0.5), 2: (0.005, 0.03, 0.06, 0.08), 3: (0.005, 0.03, 0.08)}


def lobes_of(name, axes, odi, ratio):
    """Lobes (n, N) of one ODI; of Bingham ones the second concentration is `ratio` times the first."""
    kappa = np.full(axes.shape[:2], 1 / np.tan(np.pi / 2 * odi), np.float32)
    if name == "watson":
        return LobeArrays(axes.astype(np.float32), None, (kappa,))
    helper = np.roll(axes, 1, axis=-1)
    across = np.cross(axes, helper)
    across /= np.linalg.norm(across, axis=-1, keepdims=True)
    return LobeArrays(axes.astype(np.float32), across.astype(np.float32), (kappa, ratio * kappa))


def written(name, weights, lobes):
    """Harmonics as in the map."""
    return mixture_harmonics(weights, lobes, FOD_ORDER, family=find(name), device=None, ripple=FOD_RIPPLE)


def maxima(values):
    """Numbers of maxima above a tenth of the largest, of values (n, vertices); opposite ones are one."""
    highest = values > 0.1 * values.max(axis=1, keepdims=True)
    for here, there in (EDGES.T, EDGES.T[::-1]):
        np.logical_and.at(highest, (slice(None), here), values[:, here] > values[:, there])
    return highest.sum(axis=1) / 2


def nearest_top(harmonics, axis):
    """Degrees from an axis to the largest value within 3° of it."""
    radius, turn = np.meshgrid(np.radians(np.arange(0, 3.01, 0.1)), np.radians(np.arange(0, 360, 10)))
    frame = np.linalg.svd(axis[None])[2]
    frame[0] = axis
    local = np.stack([np.cos(radius), np.sin(radius) * np.cos(turn), np.sin(radius) * np.sin(turn)], axis=-1)
    values = even_harmonics(local.reshape(-1, 3) @ frame, FOD_ORDER) @ harmonics
    return np.degrees(radius.ravel()[np.argmax(values)])


@pytest.mark.parametrize(("name", "ratio"), [("watson", 1), ("bingham", 0.3)])
@pytest.mark.parametrize(("count", "odi"), [(count, odi) for count, several in ODI.items() for odi in several])
def test_each_lobe_has_one_peak_where_it_is(name, ratio, count, odi):
    """Lobes at least 45° apart (Bingham's, which are wider, 60°), of unequal weights, at random."""
    axes = axes_of(12, count, seed=count, apart=45 if name == "watson" else 60)
    harmonics = written(name, np.tile(WEIGHTS[count], (12, 1)), lobes_of(name, axes, odi, ratio))
    values = harmonics @ AT_VERTICES
    assert np.all(values.min(axis=1) > -0.01 * values.max(axis=1))
    np.testing.assert_allclose(harmonics[:, 0] * np.sqrt(4 * np.pi), 1, rtol=1e-5)
    if name == "watson" or count == 1:
        np.testing.assert_array_equal(maxima(values), count)
        for voxel, truth in zip(harmonics, axes, strict=True):
            assert max(nearest_top(voxel, axis) for axis in truth) <= 1.0


@pytest.mark.skipif(shutil.which("fod2fixel") is None, reason="MRtrix's fod2fixel is not installed")
def test_mrtrix_finds_as_many_fixels_as_lobes(tmp_path):
    """In white matter of the phantom, bundles 45° apart or more; wide lobes of grey matter merge by themselves."""
    scheme = js.simulate.hcp_scheme(n_b0=1, n_directions=6, shells=(1000.0,))
    phantom = js.simulate.phantom((40, 7, 34), acquisition=scheme)
    truth = {name: values[phantom.truth["nfibres"] > 0] for name, values in phantom.truth.items()}
    weight, odi, axes = truth["weight"], truth["odi"], truth["direction"].reshape(-1, 3, 3)
    overlap = np.abs(np.einsum("vif,vjf->vij", axes, axes))[:, *np.triu_indices(3, 1)]
    clear = (odi[:, 0] < 0.2) & np.all(overlap < np.cos(np.radians(45)), axis=1)
    assert clear.sum() > 1000
    weight, odi, axes, count = weight[clear], odi[clear], axes[clear], truth["nfibres"][clear]
    kappa = np.where(weight > 0, 1 / np.tan(np.pi / 2 * np.where(weight > 0, odi, 0.5)), 1)
    anywhere = np.where(weight[..., None] > 0, axes, [0, 0, 1])
    harmonics = written("watson", weight, LobeArrays(anywhere, None, (kappa,)))
    nib.save(nib.Nifti1Image(harmonics.reshape(len(harmonics), 1, 1, -1), np.eye(4)), tmp_path / "fod.nii")
    command = ["fod2fixel", tmp_path / "fod.nii", tmp_path / "fixels", "-dirpeak", "-nii", "-nthreads", "1", "-quiet"]
    subprocess.run(command, check=True)
    index = np.asarray(nib.load(tmp_path / "fixels" / "index.nii").dataobj).reshape(-1, 2).astype(int)
    found = np.asarray(nib.load(tmp_path / "fixels" / "directions.nii").dataobj).reshape(-1, 3)
    right = index[:, 0] == count
    assert np.mean(right) >= 0.99
    angles = []
    for (fixels, first), lobes, present in zip(index[right], axes[right], weight[right] > 0, strict=True):
        cosine = np.abs(found[first : first + fixels] @ lobes[present].T).max(axis=0)
        angles.append(np.degrees(np.arccos(np.minimum(cosine, 1))).max())
    assert np.quantile(angles, 0.99) <= 1.0
