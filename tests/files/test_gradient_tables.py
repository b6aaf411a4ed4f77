"""Gradient tables in every layout in which they are found, and in those that cannot be read."""

import os

import numpy as np
import pytest

from jaxsmt import Acquisition, InputError
from jaxsmt.files import gradients
from jaxsmt.geometry.quadrature import gradient_directions

# These tables are about reading: a handful of directions is enough.
pytestmark = pytest.mark.filterwarnings("ignore:the (. )?directions")

BVALS = np.array([0.0, 1000, 1000, 2000, 2000])
BVECS = np.array([[0, 0, 0], [1, 0, 0], [0, 0.6, 0.8], [0, 1, 0], [0.8, 0, -0.6]])


def text(rows, sep=" ", end="\n"):
    return end.join(sep.join(f"{v:g}" for v in row) for row in rows) + end


@pytest.mark.parametrize(
    ("bval", "bvec"),
    [
        (text([BVALS]), text(BVECS.T)),
        (text(BVALS[:, None]), text(BVECS)),
        (text([BVALS], end="\r\n"), text(BVECS.T, end="\r\n")),
        ("\ufeff" + text([BVALS]), "\ufeff" + text(BVECS.T)),
        (text([BVALS], sep="\t") + "\n\n", "\n" + text(BVECS.T, sep=" \t ") + "\n"),
        (text([BVALS]), text(BVECS.T).replace("0 ", "nan ", 1)),
    ],
    ids=["rows", "columns", "CRLF", "BOM", "tabs and blank lines", "NaN at b = 0"],
)
def test_layouts(tmp_path, bval, bvec):
    (tmp_path / "bval").write_bytes(bval.encode())
    (tmp_path / "bvec").write_bytes(bvec.encode())
    acquisition = Acquisition.from_fsl(tmp_path / "bval", tmp_path / "bvec", spherical_mean="arithmetic")
    np.testing.assert_array_equal(acquisition.bvals, BVALS)
    np.testing.assert_allclose(acquisition.bvecs, BVECS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no numbers"),
        ("1 0 0".encode("utf-16"), "UTF-16"),
        (b"\x80\x81\x82", "not plain text"),
        (b"0 1000 \0", "binary"),
        (b"0 1000\n0 1\n0", "line 3 has 1 numbers, line 1 has 2"),
        (b"# b-values\n0 1000\n0", "line 3 has 1 numbers, line 2 has 2"),
        (b"0 1000 abc", "line 1, column 3: 'abc'"),
        (b"0 1000\n0,5 1", "line 2, column 1: '0,5' is not a number(.|\n)*decimal point"),
    ],
)
def test_unreadable_tables(tmp_path, content, message):
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(InputError, match=message):
        gradients.read_table(tmp_path / "t")


def test_missing_file_and_folder(tmp_path):
    for path in (tmp_path / "no", tmp_path):
        with pytest.raises(InputError, match=str(path)):
            gradients.read_table(path)


def test_3x3_is_read_by_its_norms(tmp_path):
    directions = np.array([[1, 0, 0], [0.6, 0.8, 0], [0.6, 0, 0.8]])  # rows are unit vectors, columns are not
    for table in (directions, directions.T):
        (tmp_path / "bvec").write_text(text(table))
        np.testing.assert_allclose(gradients.read_bvec(tmp_path / "bvec"), directions)
    rounded = 1.015 * directions  # as of a table of two digits
    (tmp_path / "bvec").write_text(text(rounded.T))
    np.testing.assert_allclose(gradients.read_bvec(tmp_path / "bvec"), rounded)
    (tmp_path / "bvec").write_text(text(np.eye(3)))
    with pytest.raises(InputError, match=r"cannot be told apart(.|\n)*grad="):
        gradients.read_bvec(tmp_path / "bvec")


def test_counts_are_named(tmp_path):
    (tmp_path / "bval").write_text("0 1000 1000\n")
    (tmp_path / "bvec").write_text(text(BVECS))
    with pytest.raises(InputError, match=r"3 b-values(.|\n)*5 directions"):
        Acquisition.from_fsl(tmp_path / "bval", tmp_path / "bvec")


@pytest.mark.parametrize("determinant", [1, -1])
def test_fsl_directions_turn_into_scanner_axes(tmp_path, determinant):
    """A fibre along a known world direction is measured along that direction, whatever the affine."""
    rng = np.random.default_rng(1)
    rotation, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    rotation *= np.sign(np.linalg.det(rotation))
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag([2.0 * determinant, 1.5, 3.0])
    world = gradient_directions(20)
    # By the definition: image axes, each column of the affine normalised; FSL flips x if det > 0.
    image = world @ (affine[:3, :3] / [2.0, 1.5, 3.0])
    fsl = image * [-1 if determinant > 0 else 1, 1, 1]
    (tmp_path / "bvec").write_text("\n".join(" ".join(f"{v:.12f}" for v in row) for row in fsl.T))
    (tmp_path / "bval").write_text(text([np.full(20, 1000.0)]))
    acquisition = Acquisition.from_fsl(tmp_path / "bval", tmp_path / "bvec", affine=affine)
    np.testing.assert_allclose(acquisition.bvecs, world, atol=1e-9)


def test_mrtrix_table(tmp_path):
    (tmp_path / "grad.b").write_text("# command_history: none\n" + text(np.column_stack([BVECS, BVALS])))
    acquisition = Acquisition.from_mrtrix(tmp_path / "grad.b", spherical_mean="arithmetic")
    np.testing.assert_array_equal(acquisition.bvals, BVALS)
    np.testing.assert_allclose(acquisition.bvecs, BVECS)
    (tmp_path / "grad.b").write_text(text(BVECS))
    with pytest.raises(InputError, match="x y z b"):
        Acquisition.from_mrtrix(tmp_path / "grad.b")


def test_what_is_no_table_is_refused_at_once(tmp_path):
    """A pipe would wait for its writer, and its hash would be that of nothing; a huge file is no table."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="is a pipe"):
        gradients.read_bval(tmp_path / "pipe")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(300_000_000)
    with pytest.raises(InputError, match="which no table has"):
        gradients.read_bvec(tmp_path / "huge")
    with pytest.raises(InputError, match="is a device"):
        gradients.read_bval("/dev/zero")
