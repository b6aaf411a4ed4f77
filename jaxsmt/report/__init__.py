"""Pictures and the report, in NumPy, matplotlib and jinja2; no JAX."""
