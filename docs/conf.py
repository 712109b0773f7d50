# SPDX-License-Identifier: BSD-3-Clause
"""Configuration of the documentation: Markdown pages, and the reference from the docstrings.

`pip install '.[docs]'`, then `sphinx-build -W docs docs/_build`; the package is imported as it is
installed.
"""

from __future__ import annotations

from typing import Any

import docutils.nodes
import latex2mathml.converter
import sae_fast

project = "sae_fast"
author = "the sae_fast developers"
project_copyright = author
version = release = sae_fast.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "sphinxarg.ext",
]
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

default_role = "py:obj"
autosummary_generate = False  # the tables link to the sections below them
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say them
numpydoc_show_class_members = False  # autodoc does
viewcode_line_numbers = True

smartquotes = False  # they would turn --option into a dash and "float32" into typography

highlight_language = "none"  # of blocks that do not say theirs

html_theme = "furo"
html_math_renderer = "mathml"
html_title = f"sae_fast {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0072b2", "color-brand-content": "#0072b2"},
    "dark_css_variables": {"color-brand-primary": "#56b4e9", "color-brand-content": "#56b4e9"},
}


def _write_math(display: str) -> Any:
    def visit(self: Any, node: Any) -> None:
        mathml = latex2mathml.converter.convert(node.astext(), display=display)
        self.body.append(f'<div class="formula">{mathml}</div>' if display == "block" else mathml)
        raise docutils.nodes.SkipNode

    return visit, None


def setup(app: Any) -> None:
    """Write formulas as MathML, which browsers show without scripts and without a network."""
    app.add_html_math_renderer("mathml", _write_math("inline"), _write_math("block"))
