"""Simulated data with known truth: schemes, signals with noise, a brain-like phantom and slices of it.

In: a scheme, the size of the grid, a signal-to-noise ratio, a seed. Out: series with the maps that they were made from.
NumPy only: imports `acquisition`, `geometry` and `errors`, and not JAX.
"""

from .phantoms import Phantom, coronal_slab, coronal_slice, phantom
from .schemes import hcp_scheme
from .signals import rician, zeppelin_signal

__all__ = ["Phantom", "coronal_slab", "coronal_slice", "hcp_scheme", "phantom", "rician", "zeppelin_signal"]
