"""What every benchmark says of itself beside its figures."""

from __future__ import annotations

import json
import os
import platform
from datetime import date
from pathlib import Path

import jax

import jaxsmt as js


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
