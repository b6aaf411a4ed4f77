"""Pictures and the report.

In: results of `fitting`, and the facts of a run. Out: figures, PNG, one HTML file.
Imports `files`, `geometry`, `status`, `models.regions` and types of `fitting`; needs no display and loads no JAX.
"""
