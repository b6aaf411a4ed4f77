"""What describes the output data set: its description, README, what validators ignore, whom to cite. No JAX."""

from __future__ import annotations

import json
import os
from importlib import metadata
from pathlib import Path
from typing import Any

from ...errors import InputError, OutputError
from ...files import nifti, outputs, sidecars
from . import layouts

_DESCRIPTION = "dataset_description.json"
#: Folder of the logs, in the output data set.
LOGS = "logs"
# BIDS has no names yet for the maps (they are those of its proposal 16), and none for what else is written.
_IGNORED = ("*_dwimap.*", "*_run.json", "*.html", "group*", f"{LOGS}/")
_REPOSITORY = ("repository", "source", "source code", "homepage")

_README = """\
# Maps of jaxsmt

Microstructure maps from diffusion MRI, fitted by jaxsmt {version} to the series of {source}.

- `sub-*/[ses-*/]dwi/*_model-<model>_param-<parameter>_dwimap.nii.gz`: maps, each with a JSON file that says what it is,
  its unit, and how it was fitted; `param-status` tells which voxels to trust
- `sub-*/[ses-*/]dwi/*_run.json`: inputs with their hashes, options, versions and warnings of each fit
- `sub-*.html`: a page for each series with its maps
- `logs/`: what happened with each series, and `CITATION.md`, whom to cite

Names of maps follow BIDS and its extension proposal 16, which is not part of BIDS yet; hence `.bidsignore`.
"""

_CITATION = """\
# Whom to cite

The maps were computed by jaxsmt {version}, which fits models to the spherical means of diffusion MRI shells.
Please cite it, and the paper of the model that was fitted (`Model.URL` in the JSON file beside each map):

- Kaden E, Kruggel F, Alexander DC. Quantitative mapping of the per-axon diffusion coefficients in brain white matter.
  Magnetic Resonance in Medicine 75:1752-1763, 2016. https://doi.org/10.1002/mrm.25734 (model smt)
- Kaden E, Kelm ND, Carson RP, Does MD, Alexander DC. Multi-compartment microscopic diffusion imaging.
  NeuroImage 139:346-359, 2016. https://doi.org/10.1016/j.neuroimage.2016.06.002 (model mcsmt)
"""


def describe(out: Path, source: Path, kind: str) -> None:
    """Make the output folder and write what describes it. A file that has this content already is left alone.

    Args:
        out: folder of the output.
        source: folder of the data set that is fitted.
        kind: of that data set.
    Raises:
        InputError: the folder is that of the data set itself, or holds the data set of another program.
        OutputError: it cannot be written.
    """
    if out.resolve() == source.resolve():
        raise InputError("is the input itself", file=out, fix=f"choose another folder, as {source}/derivatives/jaxsmt")
    _refuse_others(out)
    outputs.make_folder(out / LOGS)
    stated = {"version": sidecars.SOFTWARE["version"], "source": _stated(_name_of(source))}
    contents = {
        _DESCRIPTION: sidecars.to_json(_description(out, source, kind)),
        "README.md": _README.format(**stated).encode(),
        ".bidsignore": "".join(f"{pattern}\n" for pattern in _IGNORED).encode(),
        f"{LOGS}/CITATION.md": _CITATION.format(**stated).encode(),
    }
    for name, content in contents.items():
        path = out / name
        if _holds(path, content):
            continue
        try:
            nifti.write_bytes(path, content)
        except OutputError:  # jobs of an array begin side by side: another may have written it at this moment
            if not _holds(path, content):
                raise


def _holds(path: Path, content: bytes) -> bool:
    """Whether a file has this content."""
    return path.is_file() and path.read_bytes() == content


def _refuse_others(out: Path) -> None:
    """Raise InputError if the folder holds a data set that jaxsmt has not made."""
    path = out / _DESCRIPTION
    if not os.path.lexists(path):
        return
    if sidecars.SOFTWARE["name"] not in layouts.generators(out):
        raise InputError("is a data set of something else", file=out, fix="choose another folder for the output")


def _description(out: Path, source: Path, kind: str) -> dict[str, Any]:
    """What dataset_description.json says."""
    made_by: dict[str, Any] = {"Name": sidecars.SOFTWARE["name"], "Version": sidecars.SOFTWARE["version"]}
    if address := _code_address():
        made_by["CodeURL"] = address
    return {
        "Name": f"Diffusion MRI maps of {_stated(_name_of(source))}",
        "BIDSVersion": sidecars.BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [made_by],
        "SourceDatasets": [_source(source)],
        "DatasetLinks": {"raw" if kind == "bids" else kind: _link(out, source)},
    }


def _source(source: Path) -> dict[str, str]:
    """BIDS's reference to the data set that was fitted: its DOI if it says one, and its address."""
    found = {"URL": _stated(source.resolve().as_uri())}
    doi = _facts(source).get("DatasetDOI")
    return found | ({"DOI": doi} if isinstance(doi, str) else {})


def _link(out: Path, source: Path) -> str:
    """Where the source is: relative if the output lies inside, so that both can move together."""
    out, source = out.resolve(), source.resolve()
    if out.is_relative_to(source):
        return os.path.relpath(source, out)
    return _stated(source.as_uri())


def _name_of(source: Path) -> str:
    """The data set's own name, else that of its folder."""
    name = _facts(source).get("Name")
    return name if isinstance(name, str) and name.strip() else source.resolve().name


def _facts(source: Path) -> dict[str, Any]:
    """What a data set's description says; nothing if it cannot be read."""
    try:
        found = json.loads((source / _DESCRIPTION).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _stated(text: str) -> str:
    """A text that may be written: a path need not be one."""
    return text.encode("utf-8", "backslashreplace").decode()


def _code_address() -> str | None:
    """Where the program's code is, if the installed package says it."""
    try:
        stated = metadata.metadata(str(sidecars.SOFTWARE["name"])).get_all("Project-URL") or []
    except metadata.PackageNotFoundError:
        return None
    addresses = {label.strip().lower(): url.strip() for label, _, url in (entry.partition(",") for entry in stated)}
    return next((addresses[label] for label in _REPOSITORY if label in addresses), None)
