"""How Sphinx builds the site: `scripts/docs`, without network, warnings as errors."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

from sphinx_gallery.sorting import FileNameSortKey  # noqa: E402

project = "molpool"
copyright = "2026, the molpool developers"
author = "the molpool developers"
language = "en"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "reference",
]
exclude_patterns = ["_build", "gallery/*", "notebooks/*", "_ext"]
# The order of the gallery is a class; a type such as `Columns` is the name of several.
suppress_warnings = ["config.cache", "ref.python"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# Our docstrings are numpydoc; those that classes inherit from other libraries are not ours to mend.
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"

# `$` and continuation lines are the prompt's, not the command's.
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True
copybutton_line_continuation_character = "\\"

sphinx_gallery_conf = {
    "examples_dirs": ["gallery", "notebooks"],
    "gallery_dirs": ["auto_gallery", "auto_notebooks"],
    "filename_pattern": r"/(plot|run)_",
    "within_subsection_order": FileNameSortKey,
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_signature": False,
    "remove_config_comments": True,
    "reference_url": {},
    "image_scrapers": ("pictures.figures",),
    "capture_repr": ("_repr_html_",),
    "reset_modules": (),
    "min_reported_time": 5,
}
html_theme = "furo"
html_title = "molpool"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_show_sourcelink = False
html_theme_options = {
    # Text and links of both schemes have a contrast of 4.5 to 1 or more.
    "light_css_variables": {
        "color-brand-primary": "#00557f",
        "color-brand-content": "#00557f",
        "color-foreground-muted": "#595d63",
    },
    "dark_css_variables": {
        "color-brand-primary": "#7cc4f0",
        "color-brand-content": "#7cc4f0",
        "color-foreground-muted": "#a8adb5",
    },
}
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
