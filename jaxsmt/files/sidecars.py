"""Names of output files and the JSON beside them."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any


def map_name(prefix: str, model: str, parameter: str, description: str = "") -> str:
    """`<prefix>model-<m>_[desc-<d>_]param-<p>_dwimap`, without extension."""
    desc = f"desc-{description}_" if description else ""
    return f"{prefix}model-{model}_{desc}param-{parameter.replace('_', '').replace('.', '')}_dwimap"


def default_prefix(dwi: Path) -> str:
    """The series' name up to `_dwi`, else its stem; and an underscore."""
    stem = dwi.name.removesuffix(".gz").removesuffix(".nii")
    return stem.partition("_dwi")[0] + "_"


def sha256(path: str | os.PathLike) -> str:
    """Hash of a file's bytes, as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def to_json(content: dict[str, Any]) -> bytes:
    """Sorted, so that equal content is equal bytes."""
    text = json.dumps(content, sort_keys=True, indent=2, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "backslashreplace")  # a path need not be text
