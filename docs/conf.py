"""How the pages are built: `sphinx-build -W --keep-going docs FOLDER`. Building and reading fetch nothing."""

import re
import sys
from pathlib import Path

from pygments.lexers import GroovyLexer, PythonLexer
from sphinx.application import Sphinx

from jaxsmt.version import __version__

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project, author, version, release = "jaxsmt", "the jaxsmt developers", __version__, __version__
copyright = "the jaxsmt developers, BSD-3-Clause"
extensions = ["myst_nb", "sphinx.ext.autodoc", "command_line", "equations", "public_names"]
exclude_patterns = ["extensions", "Thumbs.db", ".DS_Store"]

# Pages are Markdown; notebooks are shown as they are, and run elsewhere.
nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath", "deflist", "attrs_inline", "colon_fence"]
myst_heading_anchors = 3

# Docstrings have Google's sections, which `public_names` reads; types are in the signatures.
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_type_aliases = {"ArrayLike": "ArrayLike"}
default_role = "code"

# A link of ours that leads nowhere is an error; pages of Python, NumPy and JAX are not here to be linked.
nitpicky = True
nitpick_ignore_regex = [(r"py:.*", r".*")]

html_theme = "furo"
html_title = f"jaxsmt {__version__}"
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b5d74", "color-brand-content": "#0b5d74"},
    "dark_css_variables": {"color-brand-primary": "#7cc7dd", "color-brand-content": "#7cc7dd"},
}
html_show_sourcelink = False
html_static_path = ["static"]
html_css_files = ["pages.css"]


def setup(app: Sphinx) -> None:
    """Add the languages of schedulers, and links to notebooks, which are `../notebooks/…` for readers of the files."""
    app.add_lexer("snakemake", PythonLexer)
    app.add_lexer("nextflow", GroovyLexer)
    app.connect("source-read", _with_links)


def _with_links(app: Sphinx, name: str, source: list[str]) -> None:
    """Turn links to files of notebooks into links to their pages."""
    source[0] = re.sub(r"\[([^]]+)\]\(\.\./notebooks/(\w+)\.ipynb\)", r"{doc}`\1 <notebooks/\2>`", source[0])
