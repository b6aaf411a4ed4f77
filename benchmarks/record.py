"""What every benchmark says of itself beside its figures."""

from __future__ import annotations

import argparse
import json
import os
import platform
from datetime import date
from pathlib import Path

import jax

import jaxsmt as js


def options(doc: str, voxels: int, repeats: int) -> argparse.ArgumentParser:
    """The options that benchmarks of a fit share."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voxels", type=int, default=voxels)
    parser.add_argument("--repeats", type=int, default=repeats)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, help="write the result here too")
    return parser


def publish(benchmark: str, figures: dict, path: Path | None) -> None:
    """Print the figures with date, cores and versions as JSON; write them to `path` too, if given."""
    facts = {
        "benchmark": benchmark,
        "date": date.today().isoformat(),
        "cores": os.cpu_count(),
        "versions": {"jaxsmt": js.__version__, "jax": jax.__version__, "python": platform.python_version()},
    }
    text = json.dumps({**facts, **figures}, indent=2)
    print(text)
    if path:
        path.write_text(text + "\n")
