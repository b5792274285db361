"""The page of a run in a notebook."""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from molpool_common import InputError

_PAGE = "report.html"


@dataclass(frozen=True)
class Report:
    """A page that a notebook shows, and `path` where it lies.

    Parameters
    ----------
    path : Path
        The file.
    """

    path: Path

    @classmethod
    def of(cls, run: Path) -> Self:
        """Return the page of a run folder.

        Raises
        ------
        InputError
            If it has none.
        """
        path = run / _PAGE
        if not path.is_file():
            raise InputError(
                "run",
                expected=f"a {_PAGE}",
                found="none",
                where=str(run),
                hint=f"molpool-evaluate report --model-dir {run} writes it.",
            )
        return cls(path)

    def _repr_html_(self) -> str:
        # In a frame of its own: neither its styles nor the notebook's reach the other.
        page = html.escape(self.path.read_text(encoding="utf-8"), quote=True)
        return (
            f'<iframe srcdoc="{page}" title="Report of the run" '
            'style="width: 100%; height: 42rem; border: 0"></iframe>'
        )
