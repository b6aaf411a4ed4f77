"""The estimation problems of one voxel: what is minimised, from where, and what the minimum means.

In: one voxel's data. Out: a problem that a solver minimises, starting points, results by name.
Imports `models`, `solvers` and what is below them; knows nothing of many voxels.
"""
