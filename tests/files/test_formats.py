"""What is no NIfTI file is told at once, with the command that makes one of it."""

import os
import re
import shutil
import socket
import subprocess

import nibabel as nib
import numpy as np
import pytest

from jaxsmt.errors import InputError
from jaxsmt.files import gradients, nifti

COMMANDS = {
    "dwi.mif": "mrconvert .*dwi.mif .*dwi.nii.gz .*-export_grad_fsl",
    "dwi.mif.gz": "mrconvert .*dwi.mif.gz .*dwi.nii.gz",
    "dwi.mih": "mrconvert",
    "mask.mgz": "mri_convert .*mask.mgz .*mask.nii.gz",
    "mask.mgh": "mri_convert",
    "dwi.nrrd": "c3d .*dwi.nrrd -o .*dwi.nii.gz",
    "dwi.nhdr": "c3d",
    "dwi.nii.zst": "zstd -d .*dwi.nii.zst, then give .*dwi.nii$",
    "dwi.nii.bz2": "bunzip2 -k",
    "dwi.nii.xz": "xz -dk",
    "dwi.hdr": "mrconvert .*dwi.img .*dwi.nii.gz$",
    "dwi.img": "mrconvert .*dwi.img .*dwi.nii.gz$",
    "dwi.IMG.gz": "gunzip -k .*dwi.hdr.gz .*dwi.img.gz, then mrconvert .*dwi.img .*dwi.nii.gz$",
    "0001.DCM": "dcm2niix -z y -o . ",
    "0001.ima": "dcm2niix",
    "dwi.PAR": "dcm2niix",
    "dwi.txt": "give a NIfTI file",
}


@pytest.mark.parametrize(("name", "command"), COMMANDS.items())
def test_the_fix_is_the_command_that_converts(tmp_path, name, command):
    (tmp_path / name).write_bytes(b"anything")
    with pytest.raises(InputError) as raised:
        nifti.open_image(tmp_path / name)
    assert re.search(command, raised.value.fix)
    assert raised.value.file == str(tmp_path / name)
    assert "{" not in raised.value.fix


def test_names_are_quoted_for_the_shell(tmp_path):
    (tmp_path / "my scan.mif").write_bytes(b"")
    with pytest.raises(InputError, match=re.escape(f"mrconvert '{tmp_path}/my scan.mif' '{tmp_path}/my scan'.nii.gz")):
        nifti.open_image(tmp_path / "my scan.mif")


def test_folders_are_taken_for_dicom(tmp_path):
    with pytest.raises(InputError, match=re.escape(f"dcm2niix -z y -o . {tmp_path}")):
        nifti.open_image(tmp_path)
    with pytest.raises(InputError, match="is a folder"):
        gradients.read_bval(tmp_path)


@pytest.mark.parametrize("read", [nifti.open_image, gradients.read_bval, gradients.read_mrtrix])
def test_pipes_sockets_and_devices_are_refused_at_once(tmp_path, read):
    """Opening a pipe that nobody writes to would wait for ever; so would reading a device."""
    os.mkfifo(tmp_path / "pipe.nii")
    here = os.getcwd()
    os.chdir(tmp_path)  # a socket's path must be short
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind("socket.nii")
    finally:
        os.chdir(here)
    (tmp_path / "device.nii").symlink_to("/dev/zero")
    for kind in ("pipe", "socket", "device"):
        with pytest.raises(InputError, match=f"is a {kind}, not a file"):
            read(tmp_path / f"{kind}.nii")


def test_what_is_missing_is_said_to_be_missing(tmp_path):
    """Whatever format its name speaks of."""
    for name in ("dwi.mif", "dwi.nii.gz"):
        with pytest.raises(InputError, match="No such file"):
            nifti.open_image(tmp_path / name)


@pytest.mark.skipif(shutil.which("mrconvert") is None, reason="MRtrix's mrconvert is not installed")
def test_mrtrix_converts_as_the_fix_says(tmp_path):
    """The command of a pair, run as it stands."""
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    nib.save(nib.Nifti1Pair(values, np.eye(4)), tmp_path / "map.img")
    with pytest.raises(InputError) as raised:
        nifti.open_image(tmp_path / "map.hdr")
    subprocess.run(f"{raised.value.fix} -quiet", shell=True, check=True)
    np.testing.assert_array_equal(nifti.read_array(nifti.open_image(tmp_path / "map.nii.gz")), values)
