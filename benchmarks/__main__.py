"""`python -m benchmarks NAME …` runs one benchmark; without a name it lists them."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path

HERE = Path(__file__).parent
HELPERS = ("__init__", "__main__", "record", "hlo", "described_gpu")


def names() -> dict[str, str]:
    """Each benchmark's name and the first line of its text, without importing it."""
    files = sorted(path for path in HERE.glob("*.py") if path.stem not in HELPERS)
    return {path.stem: (ast.get_docstring(ast.parse(path.read_text())) or "").splitlines()[0] for path in files}


def main(arguments: list[str]) -> None:
    if not arguments or arguments[0] not in names():
        print("python -m benchmarks NAME [--help]\n")
        print("\n".join(f"  {name:20} {line}" for name, line in names().items()))
        raise SystemExit(0 if not arguments or arguments[0] in ("-h", "--help") else 2)
    importlib.import_module(f"benchmarks.{arguments[0]}").main(arguments[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
