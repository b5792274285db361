"""The page of a run in a notebook."""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from molpool_common import write_text

from molpool_pipelines.runs import REPORT


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
        """Return the page of a run folder, written where there is none yet.

        Raises
        ------
        InputError
            If the folder is none of a finished run.
        """
        path = run / REPORT
        if not path.is_file():
            # What draws takes a second to import.
            from molpool_pipelines.reports import run_page

            write_text(path, run_page(run, run.name))
        return cls(path)

    def _repr_html_(self) -> str:
        # In a frame of its own: neither its styles nor the notebook's reach the other.
        page = html.escape(self.path.read_text(encoding="utf-8"), quote=True)
        return (
            f'<iframe srcdoc="{page}" title="Report of the run" loading="lazy" '
            'style="width: 100%; height: 42rem; border: 0"></iframe>'
        )
