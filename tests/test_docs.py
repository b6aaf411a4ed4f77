"""The README and the pages of `docs` are true: their commands and Python blocks run, and name what there is.

The blocks of a page run in their order, in a folder with small data; Python blocks share their names. What is checked
of a block depends on its language:

- `python` is run. `shell` holds commands of jaxsmt, which are run.
- A block with a caption is a file of this name.
- `bash` and the languages of other programs are not run here (the self-test and the scripts of schedulers are, in the
  tests of `app`). Commands of jaxsmt in them must parse, files of maps that they
  read must have been written by the page, and extras, benchmarks and folders that they name must be there.
- `text` and `json` are not looked at.
"""

import dataclasses
import itertools
import json
import re
import shlex
import shutil
import tomllib
from pathlib import Path

import jax
import nibabel as nib
import numpy as np
import pytest

import jaxsmt as js
from benchmarks.__main__ import names as benchmarks
from jaxsmt import simulate
from jaxsmt.app import cli
from jaxsmt.app.parser import make_parser
from jaxsmt.files import series as series_files
from tests.app.cohorts.data_sets import write_hcp, write_raw, write_series
from tests.conftest import ACQUISITION, AFFINE, SHAPE, mask_of

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OTHER_LANGUAGES = {"bash", "snakemake", "nextflow", "r", "matlab"}


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block. where: page and line. caption: the file that it is, if it is one."""

    language: str
    caption: str | None
    text: str
    where: str


_FENCE = re.compile(r"^```(?:\{code-block\} )?(\w+)\n((?::\w+:[^\n]*\n)*)(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks_of(page):
    """The fenced blocks of a page that have a language."""
    text = page.read_text("utf-8")
    for found in _FENCE.finditer(text):
        caption = re.search(r"^:caption: (\S+)$", found[2], re.MULTILINE)
        line = text.count("\n", 0, found.start(3)) + 1
        yield Block(found[1], caption and caption[1], found[3], f"{page.name}:{line}")


def commands_of(text):
    """Commands of a block, without comments; a backslash joins lines."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words:
            yield words


@pytest.fixture(scope="module")
def example(tmp_path_factory, series):
    """A folder with the files that the pages name: series, tables, maps for options, and data sets of every kind."""
    folder, data = tmp_path_factory.mktemp("example"), series[0]
    for name in ("dwi", "sub-01_dwi"):
        write_series(folder / f"{name}.nii.gz", data)
        series_files.write_mrtrix_table(folder / f"{name}.nii.gz", ACQUISITION.bvals, ACQUISITION.bvecs)
    nib.save(nib.Nifti1Image(mask_of(SHAPE), AFFINE), folder / "mask.nii.gz")
    nib.save(nib.Nifti1Image(np.ones(SHAPE, np.float32), AFFINE), folder / "sigma.nii.gz")
    nib.save(nib.Nifti1Image(np.full((*SHAPE, 9), 0.01, np.float32), AFFINE), folder / "grad_dev.nii.gz")
    np.savetxt(folder / "b_shapes.txt", np.ones(len(ACQUISITION.bvals)), fmt="%g")
    np.savetxt(folder / "echo_times.txt", np.full(len(ACQUISITION.bvals), 80.0), fmt="%g")
    (folder / "subjects.txt").write_text("01\n02\n")
    write_raw(folder, data).rename(folder / "study")
    write_hcp(folder, data)
    (folder / "source").rename(folder / "hcp")
    place = folder / "ukb" / "1000001_20250_2_0" / "dMRI" / "dMRI"
    write_series(
        place / "data_ud.nii.gz", data, (place / "bvals", place / "bvecs"), place / "nodif_brain_mask_ud.nii.gz"
    )
    stem = folder / "qsiprep" / "sub-01" / "ses-1" / "dwi" / "sub-01_ses-1_space-ACPC_desc"
    write_series(Path(f"{stem}-preproc_dwi.nii.gz"), data, mask=Path(f"{stem}-brain_mask.nii.gz"))
    return folder


@pytest.fixture
def folder(example, tmp_path, monkeypatch):
    """A copy of the example to work in, and a demo of few voxels."""
    shutil.copytree(example, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(simulate, "coronal_slab", few_voxels)
    return tmp_path / "here"


def few_voxels():
    """The demo's slices with two columns in the mask, in the scheme of the other examples: they share programs."""
    whole = simulate.phantoms.coronal_slab(acquisition=ACQUISITION)
    columns = (np.arange(len(whole.mask)) % 64 == 32)[:, None, None]
    return dataclasses.replace(whole, mask=whole.mask & columns)


@pytest.mark.filterwarnings("ignore::jaxsmt.errors.JaxsmtWarning")
@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_blocks_of_pages_run(page, folder):
    """Whoever copies a block from a page gets what the page promises."""
    namespace = {}
    for block in blocks_of(page):
        if block.caption is not None:
            Path(block.caption).write_text(block.text, "utf-8")
        elif block.language == "python":
            # As users have it: the tests' strict promotion of types is not theirs.
            with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
                exec(compile(block.text, block.where, "exec"), namespace)
        elif block.language == "shell":
            for program, *words in commands_of(block.text):
                assert program == "jaxsmt", f"{block.where}: other programs are in blocks of bash"
                assert cli.main(words) == 0, f"{block.where}: {shlex.join(words)}"
        elif block.language in OTHER_LANGUAGES:
            look_at(block)
        else:
            assert block.language in ("text", "json"), block.where


def look_at(block):
    """Check of a block what can be checked without its program."""
    for line in re.findall(r"^.*\bjaxsmt (?:bids|fit|check|simulate|demo|doctor)\b.*$", block.text, re.MULTILINE):
        command = re.sub(r"\$?\{[\w.]+\}|\$\w+", "1", line).replace('"', "").partition("jaxsmt ")[2]
        make_parser().parse_args(shlex.split(command))
    for path in re.findall(r"""[\w/.-]*\bmaps/[\w/.-]+\.nii\.gz""", block.text):
        assert Path(path).exists(), f"{block.where}: {path}"
    for name in re.findall(r"python -m benchmarks (\w+)", block.text):
        assert name in benchmarks(), f"{block.where}: {name}"
    extras = re.findall(r"pip install '(?:\.|jaxsmt)\[([\w,-]+)\]'", block.text)
    known = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    assert {extra for names in extras for extra in names.split(",")} <= set(known), block.where
    for path in re.findall(r"\b(?:tests|docs|notebooks)/[\w/]+", block.text):
        assert (ROOT / path).exists(), f"{block.where}: {path}"


# But for the page of bad inputs, which has options that are refused.
_OF_OPTIONS = [page for page in PAGES if page.stem != "inputs"]


@pytest.mark.parametrize("page", _OF_OPTIONS, ids=[page.stem for page in _OF_OPTIONS])
def test_commands_within_sentences_are_ours(page):
    """Options that a page names exist, so that a renamed one is found."""
    known = set(re.findall(r"--[\w-]+", " ".join(p.format_help() for p in parsers())))
    text = re.sub(_FENCE, "", page.read_text("utf-8"))
    named = set(re.findall(r"`(--[\w-]+)[^`]*`", text)) - {"--nthreads", "--name"}  # Dask's; an example
    assert named <= known


def parsers():
    """The parsers of all commands."""
    (commands,) = (action.choices for action in make_parser()._actions if isinstance(action.choices, dict))
    return commands.values()


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_links_of_pages_lead_to_files(page):
    """Whoever reads the pages as files follows their links too."""
    for link in re.findall(r"\]\((?!https?:)([^)#]*)[^)]*\)", page.read_text("utf-8")):
        assert (page.parent / link).exists(), link


def test_the_reference_has_all_public_names():
    """The page of names lists them by topic; a new one must be put somewhere."""
    page = (ROOT / "docs" / "api.md").read_text("utf-8")
    listed = list(itertools.chain(*(found.split() for found in re.findall(r"```\{names\}\n(.*?)```", page, re.DOTALL))))
    assert sorted(listed) == sorted(set(js.__all__) - {"__version__"})


def test_all_pages_of_notebooks_are_listed_with_a_reason():
    """Each notebook is in the list of tutorials, begins with what it is for, and holds no outputs."""
    page = (ROOT / "docs" / "tutorials.md").read_text("utf-8")
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    assert sorted(re.findall(r"^notebooks/(\w+)$", page, re.MULTILINE)) == [path.stem for path in notebooks]
    for path in notebooks:
        first, *rest = json.loads(path.read_text("utf-8"))["cells"]
        text = "".join(first["source"])
        assert first["cell_type"] == "markdown", path.stem
        assert re.match(r"# .+\n\n\S", text), path.stem
        assert not any(cell.get("outputs") for cell in rest), path.stem
        of_text = "".join("".join(cell["source"]) for cell in rest if cell["cell_type"] == "markdown")
        assert not re.search(r"\\\\[a-z]", of_text), f"{path.stem}: a command of TeX with two backslashes"


def test_the_readme_is_short():
    """A newcomer reads it to the end."""
    assert len((ROOT / "README.md").read_text("utf-8").split()) < 900


def test_the_citation_is_that_of_this_version():
    """CITATION.cff names the version, and the papers that the models name."""
    text = (ROOT / "CITATION.cff").read_text("utf-8")
    assert re.search(r"^version: (\S+)$", text, re.MULTILINE)[1] == js.__version__
    for model in (js.smt, js.mcsmt):
        doi = re.search(r"doi:(10\.\S+?)\.?$", model.__doc__.strip(), re.MULTILINE)[1]
        assert f"doi: {doi}" in text
