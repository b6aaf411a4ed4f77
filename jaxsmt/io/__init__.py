"""Files in and out, in NumPy: nothing here imports JAX, so input checks are instant."""
