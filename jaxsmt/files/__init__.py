"""Bytes and headers: NIfTI series and maps, gradient tables, masks, sidecars.

In: paths. Out: NumPy arrays and facts that have been checked; maps under their final names, complete or not at all.
Imports neither JAX nor any room but `errors`, `status` and `version`.
"""
