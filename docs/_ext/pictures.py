"""What sphinx-gallery shows of a script: the figures that it makes, with its title in words."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from sphinx_gallery.scrapers import figure_rst


def figures(_block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Save the figures that a block of code made, and return their markup."""
    paths = []
    for value in list(block_vars["example_globals"].values()):
        if isinstance(value, Figure) and not getattr(value, "is_shown", False):
            value.is_shown = True  # type: ignore[attr-defined]
            path = next(block_vars["image_path_iterator"])
            value.savefig(path, dpi=120, facecolor="white")
            paths.append(path)
    if not paths:
        return ""
    script = Path(block_vars["src_file"]).read_text(encoding="utf-8")
    title = (ast.get_docstring(ast.parse(script)) or "").partition("\n")[0]
    return str(figure_rst(paths, gallery_conf["src_dir"], f"Picture: {title}"))
