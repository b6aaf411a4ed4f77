"""Gradient tables: FSL bval/bvec and MRtrix .b, in every layout in which they are found."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ..errors import InputError
from .formats import require_file, require_path

FilePath = str | os.PathLike[str]

_LARGEST = 10_000_000  # bytes of a table


def read_table(path: FilePath) -> np.ndarray:
    """Read a text file of numbers into a 2-D array; rows are lines, blank lines are skipped.

    Raises:
        InputError: the file is missing, empty or not text; its lines differ in length; or a token is no number:
            the text names its line and column.
    """
    require_file(path)
    try:
        if (size := Path(path).stat().st_size) > _LARGEST:
            raise InputError(f"has {size} bytes, which no table has", file=path, fix="give the table")
        raw = Path(path).read_bytes()
    except OSError as error:
        raise InputError(error.strerror or str(error), file=path, fix="check the path") from None
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in raw:
        raise InputError("is not plain text (UTF-16 or binary)", file=path, fix="save it as plain text")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("is not plain text", file=path, fix="save it as plain text") from None
    rows: list[list[float]] = []
    first_line = 0
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        rows.append([_number(token, path, number, column) for column, token in enumerate(line.split(), start=1)])
        first_line = first_line or number
        if len(rows[-1]) != len(rows[0]):
            raise InputError(
                f"line {number} has {len(rows[-1])} numbers, line {first_line} has {len(rows[0])}",
                file=path,
                fix="every line needs the same count",
            )
    if not rows:
        raise InputError("holds no numbers", file=path, fix="give the table")
    return np.array(rows)


def _number(token: str, path: FilePath, line: int, column: int) -> float:
    """A token of a table as a number; an InputError says where it is none."""
    try:
        if "_" in token or not token.isascii():  # which Python takes
            raise ValueError
        return float(token)
    except ValueError:
        fix = "use a decimal point and separate numbers by spaces" if "," in token else "only numbers may stand here"
        raise InputError(f"line {line}, column {column}: {token!r} is not a number", file=path, fix=fix) from None


def read_bval(path: FilePath) -> np.ndarray:
    """Read b-values from a row or a column, (n,) in the file's unit.

    Raises:
        InputError: the file cannot be read, or holds several rows and columns.
    """
    table = read_table(path)
    if 1 not in table.shape:
        raise InputError(f"has {table.shape[0]} lines of {table.shape[1]} numbers", file=path, fix="one row or column")
    return table.ravel()


def read_bvec(path: FilePath) -> np.ndarray:
    """Read directions from 3 rows or 3 columns, (n, 3). In a table of 3×3, the side with unit norms decides.

    Raises:
        InputError: the file cannot be read, has another shape, or is a 3×3 table of which both sides, or none,
            have unit norms.
    """
    table = read_table(path)
    if table.shape == (3, 3):
        columns, rows = (np.abs(np.linalg.norm(table, axis=axis) - 1) < 0.02 for axis in (0, 1))
        if columns.all() == rows.all():
            raise InputError(
                "3×3 numbers: rows and columns cannot be told apart", file=path, fix="use an MRtrix table (grad=)"
            )
        return table.T if columns.all() else table
    if table.shape[0] == 3:
        return table.T
    if table.shape[1] == 3:
        return table
    raise InputError(
        f"has {table.shape[0]} lines of {table.shape[1]} numbers", file=path, fix="3 lines, or 3 numbers a line"
    )


def read_fsl(bval: FilePath, bvec: FilePath) -> tuple[np.ndarray, np.ndarray]:
    """Read FSL files: b-values (n,) in the file's unit, and directions (n, 3) as they are written.

    Raises:
        InputError: a file cannot be read, or the files do not match.
    """
    require_path(bval, "bval")
    require_path(bvec, "bvec")
    bvals, bvecs = read_bval(bval), read_bvec(bvec)
    if len(bvals) != len(bvecs):
        raise InputError(
            f"{len(bvals)} b-values in {os.fspath(bval)} but {len(bvecs)} directions in {os.fspath(bvec)}",
            fix="both need one entry for each volume",
        )
    return bvals, bvecs


def read_mrtrix(path: FilePath) -> tuple[np.ndarray, np.ndarray]:
    """Read an MRtrix `.b` table, rows x y z b: b-values (n,) in s/mm², and directions (n, 3) in scanner axes.

    Raises:
        InputError: the file cannot be read, or has not four numbers a line.
    """
    require_path(path, "grad")
    table = read_table(path)
    if table.shape[1] != 4:
        raise InputError(f"has {table.shape[1]} numbers a line", file=path, fix="an MRtrix table has x y z b")
    return table[:, 3], table[:, :3]


def fsl_to_scanner(bvecs: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Turn FSL directions (image axes, x negated where det > 0) into scanner axes.

    The rotation is the orthogonal polar factor of the affine, so that voxel sizes and shears drop out.

    Args:
        bvecs: (n, 3), as the file has them.
        affine: (4, 4) voxel indices to scanner mm.
    Returns:
        (n, 3).
    """
    with np.errstate(invalid="ignore"):  # directions that are not finite are refused where they matter
        return bvecs @ _turn_of_fsl(affine).T


def scanner_to_fsl(bvecs: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Turn directions in scanner axes into FSL's: what `fsl_to_scanner` undoes.

    Args:
        bvecs: (n, 3).
        affine: (4, 4) voxel indices to scanner mm.
    Returns:
        (n, 3), as an FSL file has them.
    """
    return bvecs @ _turn_of_fsl(affine)


def _turn_of_fsl(affine: np.ndarray) -> np.ndarray:
    """The orthogonal matrix (3, 3) that turns a vector of FSL's axes into scanner axes.

    Raises:
        InputError: the affine is no (4, 4) matrix of finite numbers, or singular.
    """
    values = np.asarray(affine)
    if values.dtype.kind not in "iuf" or values.shape != (4, 4):
        raise InputError(f"affine= has the shape {values.shape} and the type {values.dtype}", fix="give (4, 4) numbers")
    linear = values[:3, :3].astype(float)
    if not np.isfinite(linear).all() or np.linalg.matrix_rank(linear) < 3:
        raise InputError("affine= is singular or not finite", fix="give the voxel-to-scanner matrix of the series")
    u, _, vt = np.linalg.svd(linear)
    return u @ vt @ np.diag([-1.0 if np.linalg.det(linear) > 0 else 1.0, 1.0, 1.0])


def fsl_texts(bvals: np.ndarray, bvecs: np.ndarray) -> tuple[str, str]:
    """The contents of FSL's `bval` and `bvec` files: a row, and three rows.

    Args:
        bvals: (n,) s/mm².
        bvecs: (n, 3), in FSL's axes.

    Example:
        >>> fsl_texts(np.array([0.0, 1000.0]), np.array([[0.0, 0.0, 0.0], [0.0, 0.6, 0.8]]))
        ('0 1000\\n', '0 0\\n0 0.6\\n0 0.8\\n')
    """
    return _text(bvals[None]), _text(bvecs.T)


def mrtrix_text(bvals: np.ndarray, bvecs: np.ndarray) -> str:
    """The content of an MRtrix `.b` table: rows x y z b.

    Args:
        bvals: (n,) s/mm².
        bvecs: (n, 3), in scanner axes.

    Example:
        >>> mrtrix_text(np.array([1000.0]), np.array([[0.0, 0.6, 0.8]]))
        '0 0.6 0.8 1000\\n'
    """
    return _text(np.column_stack([bvecs, bvals]))


def _text(table: np.ndarray) -> str:
    """Lines of numbers with nine digits; 0 has no sign."""
    return "".join(" ".join(f"{value:.9g}" for value in row) + "\n" for row in table + 0.0)
