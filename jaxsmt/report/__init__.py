"""Pictures and the report.

In: results of `fitting`, and the facts of a run. Out: figures, PNG, one HTML file.
Imports `acquisition`, `files`, `geometry`, `errors`, `status`, of `models` regions and descriptions, and types of
`fitting`; needs no display and loads no JAX.
"""
