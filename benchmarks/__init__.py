"""Measurements, each a module with `main(arguments)`; `python -m benchmarks` lists them.

In: jaxsmt, and what a benchmark's first lines name. Out: figures as JSON of one form (`record.py`), kept in `results/`,
from which `python -m benchmarks tables` makes the tables of the docs and the README.
"""
