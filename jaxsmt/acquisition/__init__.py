"""The measurement: b-values, directions, shells, and the weights of their spherical means.

In: a gradient table. Out: an `Acquisition` and its shells, spherical means of a series.
Imports `geometry`, `files`, `display` and `errors`; of its modules only `pytree` knows JAX.
"""
