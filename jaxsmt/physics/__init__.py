"""The signal of one kind of water, orientation densities, noise distributions: pure JAX functions of one voxel.

In: b in ms/µm², diffusivities in µm²/ms, unit vectors. Out: signals over S0, in the arguments' precision.
Imports `acquisition`, `geometry` and `errors`.
"""
