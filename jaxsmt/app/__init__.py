"""The programs.

In: the words of a command line. Out: an exit code, and files in the output folder.
The way of a fit: `cli` → `parser` → `request` → `inputs` (files, without JAX) → `workflow` → `targets`, `describe`.
Imports every other room; none imports it.
"""
