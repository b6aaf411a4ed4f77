"""Pictures of fibre orientations: right places, right directions, no display."""

import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.fitting.settings import Settings
from jaxsmt.geometry.quadrature import icosphere
from jaxsmt.report import glyphs
from jaxsmt.report.maps import to_png
from jaxsmt.report.slices import choose_slice
from tests.conftest import ACQUISITION
from tests.physics.known_lobes import frame


def fods_of(direction, shape=(6, 5, 4), density="watson"):
    """The same single lobe in every voxel, as a fit would return it."""
    ones, codes = np.ones(shape, np.float32), np.ones(shape, np.uint8)
    quality = {"mse": ones, "r2": ones}
    kernels = js.Fit(js.smt(), ACQUISITION, Settings(), {}, {}, ones, quality, codes)
    lobe = {"weight": 1.0, "kappa": 20.0, "beta": 0.0, "odi": 2 / np.pi * np.arctan(1 / 20)}
    parameters = {name: np.full((*shape, 1), value, np.float32) for name, value in lobe.items()}
    parameters["direction"] = np.broadcast_to(np.asarray(direction, np.float32), (*shape, 1, 3))
    return js.FodFit(js.FodModel(kernels, density, 1), parameters, codes, quality, codes, ACQUISITION)


def test_the_sphere_of_glyphs():
    """Its vertices are on the unit sphere and its faces look outward, by which hidden ones are left out."""
    vertices, faces = icosphere(3)
    assert vertices.shape == (642, 3)
    assert faces.shape == (1280, 3)
    np.testing.assert_allclose(np.linalg.norm(vertices, axis=1), 1)
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    outward = np.sum(np.cross(b - a, c - a) * (a + b + c), axis=1)
    assert np.all(outward > 0)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2
    assert abs(area / (4 * np.pi) - 1) < 0.01


@pytest.mark.parametrize("handed", [1, -1])
@pytest.mark.parametrize("shape", [(6, 5, 4), (20, 1, 20)])  # slabs across the third axis, and the second
def test_a_fibre_is_drawn_along_its_projection(handed, shape):
    """A fibre along a line of voxels is drawn along it, under oblique affines of both hands."""
    turn = frame(2)
    turn[:, 2] *= np.sign(np.linalg.det(turn)) * handed
    affine = np.eye(4)
    affine[:3, :3] = turn * 2.0
    cut = choose_slice(np.ones(shape, bool), affine)
    right, up = cut.affine[:3, 0] / 2, cut.affine[:3, 1] / 2  # lines of voxels
    lines = {int(np.argmax(np.abs(turn.T @ line))) for line in (right, up)}
    assert lines == ({0, 2} if 1 in shape else {0, 1})
    for tilt in (0.3, 1.0, 2.0):
        fibre = right * np.cos(tilt) + up * np.sin(tilt)
        figure = glyphs.draw_glyphs(fods_of(fibre, shape), np.ones(shape), np.ones(shape), affine, (1, 1), (2, 2))
        (collection,) = figure.axes[0].collections
        points = np.concatenate([path.vertices for path in collection.get_paths()])
        centres = np.round(points)
        assert {tuple(c) for c in centres} == {(0, 0), (0, 1), (1, 0), (1, 1)}
        spread = np.linalg.svd(points - centres, full_matrices=False)[2][0]
        assert abs(spread @ [np.cos(tilt), np.sin(tilt)]) > 0.999
        assert np.abs(points - centres).max() <= 0.5 + 1e-6


def test_colours_are_those_of_the_field():
    colours = glyphs.direction_colours(fods_of([0, -1, 0], (1, 1, 1)))[0, 0, 0]
    assert colours[1] > 0.9
    assert colours[0] == colours[2] == 0


@pytest.mark.parametrize("corner", [None, (0, 0)])
def test_few_voxels_or_none(corner):
    """One voxel inside the mask, in or out of the patch, makes a picture all the same."""
    mask = np.zeros((30, 30, 3), np.uint8)
    mask[25, 25, 1] = 1
    fods = fods_of([0, 0, 1], mask.shape)
    for figure in (
        glyphs.draw_glyphs(fods, np.ones(mask.shape), mask, np.eye(4), corner),
        glyphs.draw_directions(fods, mask, np.eye(4)),
    ):
        assert to_png(figure)[:4] == b"\x89PNG"
