"""The tests. Shapes that central functions promise are checked while they run: see `SHAPES_CHECKED`."""

from jaxtyping import install_import_hook

# Modules whose array types are checked at run time; their functions are the joints between rooms.
SHAPES_CHECKED = (
    "jaxsmt.batch.programs",
    "jaxsmt.batch.predictions",
    "jaxsmt.fitting.sigma",
    "jaxsmt.physics.convolution",
    "jaxsmt.problems.corrections",
)
install_import_hook(SHAPES_CHECKED, "beartype.beartype")
