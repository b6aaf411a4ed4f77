"""The peers' virtual environments, made from the package index where they are not there yet."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SCRIPTS = Path(__file__).parent / "scripts"
ROOT = Path(__file__).parents[2]
#: What is installed, one call of pip after another. The peers' versions are those that were the newest in 2026-11.
PACKAGES = {
    "dmipy": (
        ("numpy==1.23.5", "scipy==1.9.3", "dipy==1.7.0", "numba==0.57.1", "cvxpy", "setuptools<70"),
        ("--no-deps", "dmipy==1.0.5"),
    ),
    "dmipy_fit": (("dmipy-fit[jax]==2.3.0", "jax==0.10.1", "jaxlib==0.10.1"),),
    "amico": (("dmri-amico==2.1.1",),),
    "dipy": (("dipy==1.12.1",),),
}
#: Environments that need one version of Python.
PYTHON = {"dmipy": "3.11"}
_ONE_THREAD = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA", "VECLIB")


class Failed(Exception):
    """Why a peer has no figures, in one line."""


def default_folder() -> Path:
    """Where environments are kept if no folder is given."""
    cache = os.environ.get("XDG_CACHE_HOME", "") or "~/.cache"
    try:
        folder = Path(cache).expanduser()
    except RuntimeError:  # nobody's home
        folder = Path(tempfile.gettempdir())
    return folder / "jaxsmt-benchmark-environments"


def python_of(environment: str | None, folder: Path) -> Path:
    """The interpreter of an environment, which is made if it is not there. None: the one that runs this.

    Raises:
        Failed: it cannot be made.
    """
    if environment is None:
        return Path(sys.executable)
    place, made = folder / environment, folder / environment / "packages.txt"
    wanted = "\n".join(" ".join(step) for step in PACKAGES[environment])
    python = place / ("Scripts" if os.name == "nt" else "bin") / "python"
    if made.exists() and made.read_text() == wanted and python.exists():
        return python
    print(f"making the environment {environment} in {place}", file=sys.stderr, flush=True)
    shutil.rmtree(place, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    _run([_base_python(environment), "-m", "venv", str(place)])
    for step in PACKAGES[environment]:
        _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *step])
    made.write_text(wanted)
    return python


def _base_python(environment: str) -> str:
    version = PYTHON.get(environment)
    if version is None or platform.python_version().startswith(version + "."):
        return sys.executable
    found = shutil.which(f"python{version}")
    if found is None:
        raise Failed(f"needs Python {version}, which is not here")
    return found


def run_script(python: Path, script: str, given: Path, answer: Path, seconds: float) -> None:
    """Run a peer's script on one thread of each library; everybody inherits the cores of this process.

    Raises:
        Failed: it ends with an error, or takes too long.
    """
    surroundings = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    surroundings |= {f"{library}_NUM_THREADS": "1" for library in _ONE_THREAD}
    surroundings |= {"JAXSMT_CACHE": "off", "JAX_PLATFORMS": "cpu"}
    if python == Path(sys.executable):
        surroundings["PYTHONPATH"] = str(ROOT)
    _run([str(python), str(SCRIPTS / script), str(given), str(answer)], seconds, surroundings)


def _run(command: list[str], seconds: float | None = None, surroundings: dict[str, str] | None = None) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=seconds, env=surroundings
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"took more than {seconds:.0f} s") from None
    except OSError as error:
        raise Failed(str(error)) from error
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise Failed(lines[-1] if lines else f"exit code {done.returncode}")
