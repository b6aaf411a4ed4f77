"""Arrays in, maps out: settings, the pipeline of kernels and FODs, their results, `fit` and `estimate`.

In: a model, an acquisition, data (..., volumes). Out: `Fit`, `FodFit`, or one voxel's parameters.
Imports `batch` and what is below it; opens no file but to save maps.
"""
