"""Many voxels: lanes, chunks, devices. The only room that maps over voxels.

In: a problem of one voxel, and arrays (voxels, ...). Out: results of every voxel, NumPy arrays.
Imports `problems` and what is below it.
"""
