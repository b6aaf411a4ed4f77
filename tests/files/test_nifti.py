"""Reading what can be trusted, refusing what cannot, and writing all or nothing."""

import gzip
import os
import struct
import threading

import nibabel as nib
import numpy as np
import pytest
from isal import igzip

from jaxsmt import InputError, JaxsmtWarning
from jaxsmt.errors import OutputError
from jaxsmt.files import nifti

SHAPE = (5, 4, 3, 7)
DATA = np.random.default_rng(0).normal(500, 100, SHAPE).astype(np.float32)
AFFINE = np.array([[-2, 0.1, 0, 3], [0, 1.9, 0.2, -5], [0, -0.2, 2.1, 7], [0, 0, 0, 1.0]])


def save(path, data=DATA, cls=nib.Nifti1Image, order="<", dtype="f4", slope=1.0, inter=0.0):
    """Write with nibabel's header and plain bytes, so that every field is under control."""
    header = cls(data, AFFINE).header.as_byteswapped(order)
    raw = np.asarray((data - inter) / slope)
    raw = raw.astype(dtype) if np.dtype(dtype).kind == "f" else np.rint(raw).astype(dtype)
    raw = raw.astype(raw.dtype.newbyteorder(order))
    header.set_data_dtype(raw.dtype)
    header["scl_slope"], header["scl_inter"] = slope, inter
    offset = int(header["sizeof_hdr"]) + 4
    header["vox_offset"] = offset
    header["magic"] = b"n+1" if offset == 352 else b"n+2\0\r\n\x1a\n"
    content = header.binaryblock + b"\0" * 4 + raw.tobytes(order="F")
    path.write_bytes(gzip.compress(content, 1) if path.name.endswith(".gz") else content)
    return path


def read_all(path):
    """Through the volume stream, as a fit reads."""
    image = nifti.open_image(path)
    volumes = [v.astype(float) * image.slope + image.inter for v in nifti.read_volumes(image)]
    return np.stack(volumes, axis=-1).reshape(image.shape, order="F")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("cls", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize(("dtype", "slope", "inter"), [("f4", 1, 0), ("f8", 1, 0), ("i2", 0.05, 300), ("u1", 4, 0)])
def test_reads_what_nibabel_reads(tmp_path, name, order, cls, dtype, slope, inter):
    path = save(tmp_path / name, cls=cls, order=order, dtype=dtype, slope=slope, inter=inter)
    oracle = nib.load(path)
    np.testing.assert_allclose(read_all(path), oracle.get_fdata(), rtol=1e-6)
    np.testing.assert_allclose(nifti.read_array(nifti.open_image(path)), oracle.get_fdata(), rtol=1e-6)
    np.testing.assert_allclose(nifti.open_image(path).affine, oracle.affine, atol=1e-5)


def test_extensions_are_skipped(tmp_path):
    image = nib.Nifti1Image(DATA, AFFINE)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 5000))
    nib.save(image, tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_all(tmp_path / "a.nii.gz"), DATA)


def test_several_gzip_members_are_one_stream(tmp_path):
    content = save(tmp_path / "a.nii").read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(
        gzip.compress(content[:500])
        + gzip.compress(content[500:])
        + bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
    )
    np.testing.assert_array_equal(read_all(tmp_path / "b.nii.gz"), DATA)


@pytest.mark.parametrize("time", [0, 0x8B1F])
def test_an_empty_member_at_the_end_is_no_padding(tmp_path, time):
    """Its zeros are its length; a time stamp may look like the beginning of a member. A warning would be an error."""
    content = save(tmp_path / "a.nii.gz").read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(content + gzip.compress(b"", mtime=time))
    np.testing.assert_array_equal(read_all(tmp_path / "b.nii.gz"), DATA)


def test_every_bit_flip_is_found_or_harmless(tmp_path):
    """A flipped bit anywhere: an error, or (in gzip's own file name and time fields) the same data."""
    good = save(tmp_path / "a.nii.gz").read_bytes()
    rng = np.random.default_rng(1)
    refused = 0
    for position in rng.choice(len(good) * 8, 150, replace=False):
        bad = bytearray(good)
        bad[position // 8] ^= 1 << (position % 8)
        (tmp_path / "a.nii.gz").write_bytes(bad)
        try:
            np.testing.assert_array_equal(read_all(tmp_path / "a.nii.gz"), DATA)
        except InputError:
            refused += 1
    assert refused >= 145


@pytest.mark.parametrize("part", [0.3, 0.6, 0.99])
def test_cut_gzip(tmp_path, part):
    path = save(tmp_path / "a.nii.gz")
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    with pytest.raises(InputError, match="the file is cut"):
        read_all(path)


def test_checksum_missing_or_wrong(tmp_path):
    path = save(tmp_path / "a.nii.gz")
    good = path.read_bytes()
    path.write_bytes(good[:-4])
    with pytest.raises(InputError, match="cut"):
        read_all(path)
    path.write_bytes(good[:-8] + bytes([good[-8] ^ 1]) + good[-7:])
    with pytest.raises(InputError, match="checksum"):
        read_all(path)


def test_what_follows_the_data(tmp_path):
    path = save(tmp_path / "a.nii.gz")
    good = path.read_bytes()
    path.write_bytes(good + b"garbage! " * 9)
    with pytest.raises(InputError, match="garbage"):
        read_all(path)
    path.write_bytes(good + b"\0" * 512)
    with pytest.warns(JaxsmtWarning, match="zeros follow"):
        np.testing.assert_array_equal(read_all(path), DATA)
    path.write_bytes(gzip.compress(gzip.decompress(good) + b"\0" * 10))
    with pytest.raises(InputError, match="more data follow"):
        read_all(path)


def test_gzip_bomb_is_not_unpacked(tmp_path):
    """1,000 : 1 beyond the data: one byte more is read, not the gigabyte."""
    content = gzip.decompress(save(tmp_path / "a.nii.gz").read_bytes())
    with igzip.open(tmp_path / "a.nii.gz", "wb") as file:
        file.write(content)
        for _ in range(64):
            file.write(bytes(16 << 20))
    with pytest.raises(InputError, match="more data follow"):
        read_all(tmp_path / "a.nii.gz")


def test_short_raw_data(tmp_path):
    path = save(tmp_path / "a.nii")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="promises"):
        nifti.open_image(path)
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(InputError, match=rf"promises {DATA.nbytes} bytes of data, {DATA.nbytes - 100} are there"):
        read_all(tmp_path / "b.nii.gz")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.nii", b"", "empty"),
        ("a.nii.gz", b"", "empty"),
        ("a.nii", b"<html>" + b" " * 600, "not a NIfTI"),
        ("a.nii.gz", b"plain text", "not gzip"),
        ("a.nii", gzip.compress(b"x" * 600, mtime=0), "is gzip"),
        ("a.nii", struct.pack("<i", 348) + b"\0" * 96, "inside its header"),
        ("a.nii.gz", gzip.compress(struct.pack("<i", 348) + b"\0" * 96, mtime=0), "inside its header"),
        ("a.txt", b"0", "not named"),
    ],
)
def test_no_nifti(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        nifti.open_image(tmp_path / name)


def test_missing_folder_and_unreadable(tmp_path):
    (tmp_path / "d.nii").mkdir()
    for name in ("no.nii", "d.nii"):
        with pytest.raises(InputError, match=name):
            nifti.open_image(tmp_path / name)


def edited(path, **fields):
    """A good file with header fields (name=(offset, format, values)) overwritten."""
    raw = bytearray(save(path).read_bytes())
    for offset, form, *values in fields.values():
        struct.pack_into("<" + form, raw, offset, *values)
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"magic": (344, "4s", b"xyz\0")}, "magic"),
        ({"datatype": (70, "h", 9999)}, "unknown datatype 9999"),
        ({"datatype": (70, "h", 32)}, "complex64"),
        ({"datatype": (70, "h", 128)}, "RGB"),
        ({"dim": (40, "h", 0)}, "0 dimensions"),
        ({"dim": (40, "h", 9)}, "9 dimensions"),
        ({"dim": (42, "h", 0)}, r"dimensions \(0, 4"),
        ({"dim": (44, "h", -4)}, r"dimensions \(5, -4"),
        ({"dim": (42, "4h", *[32767] * 4)}, "more than any memory"),
        ({"dim": (40, "6h", 5, 5, 4, 3, 1, 7)}, "four: x, y, z"),
        ({"offset": (108, "f", 1e9)}, "the file has"),
        ({"offset": (108, "f", np.nan)}, "vox_offset"),
        ({"pixdim": (80, "f", 0.0)}, "voxel sizes"),
        ({"pixdim": (84, "f", np.nan)}, "voxel sizes"),
        ({"sform": (280, "12f", *[0.0] * 12), "codes": (252, "hh", 0, 1)}, "singular sform"),
        ({"sform": (280, "12f", *[np.nan] * 12), "codes": (252, "hh", 0, 1)}, "singular sform"),
    ],
)
def test_headers_that_cannot_be_trusted(tmp_path, fields, message):
    with pytest.raises(InputError, match=message):
        nifti.open_image(edited(tmp_path / "a.nii", **fields))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"bitpix": (72, "h", 16)}, "bitpix"),
        ({"pixdim": (80, "f", -2.0)}, "negative voxel sizes"),
        ({"qfac": (76, "f", 0.0), "codes": (252, "hh", 1, 1)}, "qfac"),
        ({"slope": (112, "ff", 0.0, 0.0)}, "slope 0"),
        ({"slope": (112, "ff", np.nan, 0.0)}, "slope nan"),
        ({"slope": (112, "ff", np.inf, 5.0)}, "slope inf"),
        ({"dim": (40, "6h", 5, *SHAPE, 1)}, "read as"),
    ],
)
def test_headers_that_are_read_with_a_warning(tmp_path, fields, message):
    path = edited(tmp_path / "a.nii", **fields)
    with pytest.warns(JaxsmtWarning, match=message):
        np.testing.assert_array_equal(read_all(path), DATA)


def test_written_map_keeps_the_geometry_and_is_reproducible(tmp_path):
    source = save(tmp_path / "a.nii.gz", order=">", dtype="i2")
    raw = bytearray(gzip.decompress(source.read_bytes()))
    struct.pack_into(">hh", raw, 252, 1, 3)  # qform and sform codes
    struct.pack_into(">80s", raw, 148, b"secret")
    source.write_bytes(gzip.compress(raw))
    image = nifti.open_image(source)
    for name in ("b.nii.gz", "c.nii.gz"):
        nifti.write_image(tmp_path / name, DATA[..., 0], like=image)
    assert (tmp_path / "b.nii.gz").read_bytes() == (tmp_path / "c.nii.gz").read_bytes()
    written, oracle = nib.load(tmp_path / "b.nii.gz"), nib.load(source)
    np.testing.assert_array_equal(written.get_fdata(dtype=np.float32), DATA[..., 0])
    np.testing.assert_allclose(written.affine, oracle.affine)
    assert (int(written.header["qform_code"]), int(written.header["sform_code"])) == (1, 3)
    assert written.header.get_xyzt_units() == oracle.header.get_xyzt_units()
    assert written.header.get_data_dtype() == np.float32
    assert written.header["descrip"].item() == b""


def test_write_is_all_or_nothing(tmp_path):
    (tmp_path / "folder.nii.gz").mkdir()
    with pytest.raises(OutputError) as caught:
        nifti.write_image(tmp_path / "folder.nii.gz", DATA[..., 0], like=None, affine=AFFINE)
    assert caught.value.exit_code == 73
    assert os.listdir(tmp_path) == ["folder.nii.gz"]


def test_stream_can_be_left_early(tmp_path):
    """An error in the reader of the volumes must not leave a thread waiting."""
    threads = threading.active_count()
    stream = nifti.read_volumes(nifti.open_image(save(tmp_path / "a.nii.gz")))
    next(stream)
    assert threading.active_count() == threads + 1
    stream.close()
    assert threading.active_count() == threads


def test_header_of_a_tiny_file_cannot_claim_a_huge_series(tmp_path):
    raw = bytearray(save(tmp_path / "a.nii").read_bytes())
    struct.pack_into("<5h", raw, 40, 4, 6000, 6000, 3000, 32)
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(raw))
    with pytest.raises(InputError, match="promises"):
        nifti.open_image(tmp_path / "b.nii.gz")


def test_raw_file_that_is_too_long(tmp_path):
    path = save(tmp_path / "a.nii")
    path.write_bytes(path.read_bytes() + b"\0" * 10)
    with pytest.raises(InputError, match="promises"):
        nifti.open_image(path)


def test_maps_do_not_inherit_a_broken_sform(tmp_path):
    path = edited(tmp_path / "a.nii", sform=(280, "12f", *[0.0] * 12), codes=(252, "hh", 1, 1))
    with pytest.warns(JaxsmtWarning, match="qform is used"):
        image = nifti.open_image(path)
    nifti.write_image(tmp_path / "b.nii.gz", DATA[..., 0], like=image)
    np.testing.assert_allclose(nib.load(tmp_path / "b.nii.gz").affine, image.affine)
    assert abs(np.linalg.det(image.affine)) > 1
