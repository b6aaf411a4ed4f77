"""Names of output files and the JSON beside them, after BIDS and its proposal for diffusion derivatives, BEP016."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..version import __version__
from .formats import require_file

#: The program, as sidecars and run.json name it.
SOFTWARE = {"name": "jaxsmt", "version": __version__}
#: What the summary of a run is called, after the prefix of its maps.
RUN = "run.json"
#: Of BIDS, which data sets that are written follow.
BIDS_VERSION = "1.10.0"


def label(name: str) -> str:
    """A map's name as file names hold it: lower case letters and digits only.

    Example:
        >>> label("stick.lambda_par")
        'sticklambdapar'
    """
    return re.sub("[^a-z0-9]", "", name.lower())


def map_name(prefix: str, model: str, parameter: str, description: str = "") -> str:
    """`<prefix>model-<m>_param-<p>[_desc-<d>]_dwimap`, without extension.

    Example:
        >>> map_name("sub-01_", "smt", "lambda_par", "sd")
        'sub-01_model-smt_param-lambdapar_desc-sd_dwimap'
    """
    desc = f"_desc-{description}" if description else ""
    return f"{prefix}model-{model}_param-{label(parameter)}{desc}_dwimap"


def default_prefix(dwi: Path) -> str:
    """The series' name up to `_dwi` without `desc-…`, else its stem and an underscore.

    Example:
        >>> default_prefix(Path("sub-01_space-ACPC_desc-preproc_dwi.nii.gz"))
        'sub-01_space-ACPC_'
    """
    stem = _stem(dwi)
    before, suffix, _ = stem.partition("_dwi")
    if not suffix:
        return stem + "_"
    return "".join(f"{entity}_" for entity in before.split("_") if not entity.startswith("desc-"))


def spatial_reference(dwi: Path, prefix: str) -> str | None:
    """The space of maps whose name has `space-`: as the sidecar of the series says, else that of the series."""
    if not re.search("(^|_)space-", prefix):
        return None
    sidecar = dwi.with_name(_stem(dwi) + ".json")
    try:
        require_file(sidecar)
        stated = json.loads(sidecar.read_text("utf-8"))["SpatialReference"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        stated = None
    return stated if isinstance(stated, str) else os.fspath(dwi)


def _stem(path: Path) -> str:
    """A NIfTI file's name without its extension."""
    return path.name.removesuffix(".gz").removesuffix(".nii")


def about_model(name: str, description: str = "", url: str = "", **parameters: Any) -> dict[str, Any]:
    """BEP016's `Model`: what was fitted, where it is described, and how it was fitted."""
    facts: dict[str, Any] = {"Description": description or f"{name} model", "Parameters": {"FitMethod": "nlls"}}
    facts["Parameters"] |= parameters
    return facts | ({"URL": url} if url else {})


def orientation_encoding(parameter: str, values: int) -> dict[str, Any] | None:
    """BEP016's `OrientationEncoding` of maps that hold orientations along their last axis, `values` numbers long."""
    if parameter in ("direction", "across"):
        return {"EncodingAxis": 3, "Reference": "xyz", "Type": "unit3vector", "FillValue": 0}
    if parameter == "fod":
        degree = (math.isqrt(8 * values + 1) - 3) // 2
        # Drafts of the proposal disagree on the name of the basis.
        basis = {"SphericalHarmonicBasis": "MRtrix3", "SphericalHarmonicsBasis": "mrtrix3"}
        return {"EncodingAxis": 3, "Reference": "xyz", "Type": "sh", "SphericalHarmonicDegree": degree, **basis}
    return None


def sha256(path: str | os.PathLike[str]) -> str:
    """Hash of a file's bytes, as hexadecimal digits.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(error.strerror or str(error), file=path, fix="check the disk or the connection") from None


def _finite(value: Any) -> Any:
    """A value with None in place of numbers that are not finite."""
    if isinstance(value, Mapping):
        return {name: _finite(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_json(content: Mapping[str, Any]) -> bytes:
    """Sorted, so that equal content is equal bytes; numbers that are not finite are null, as JSON has no others."""
    text = json.dumps(_finite(content), sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode("utf-8", "backslashreplace")  # a path need not be text


_SEAL = "sha256"


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Content of a JSON file with a digest of itself, as `is_whole` checks it."""
    return {**content, _SEAL: _digest(content)}


def is_whole(content: Mapping[str, Any]) -> bool:
    """Whether content that was read is as it was written; content without a digest of itself counts as whole.

    Example:
        >>> is_whole({**sealed({"a": 1}), "a": 2})
        False
    """
    return _SEAL not in content or content[_SEAL] == _digest(content)


def _digest(content: Mapping[str, Any]) -> str:
    """SHA-256 of content, its own digest aside."""
    return hashlib.sha256(to_json({name: entry for name, entry in content.items() if name != _SEAL})).hexdigest()
