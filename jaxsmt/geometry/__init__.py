"""Geometry of the sphere: points, harmonics, frames, dispersion.

In: orders, numbers of points, unit vectors. Out: arrays of NumPy, or of JAX where the arguments are.
Imports nothing of jaxsmt but `errors`.
"""
