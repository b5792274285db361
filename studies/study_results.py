"""What the studies share: results that survive a stop, and tables of them.

A study appends a JSON line a result and leaves out what is there already, so that it goes on where
it was stopped and its tables can be made again at any time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from grouping_tables import paired


class Results:
    """Results in a file of JSON lines, or in memory alone.

    Parameters
    ----------
    path : Path, optional
        The file; made when the first result comes.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path and path.exists() else []
        self.rows: list[dict[str, Any]] = [json.loads(line) for line in lines]

    def has(self, **key: Any) -> bool:
        """Return whether there is a result with these values."""
        return any(self.of(**key))

    def of(self, **key: Any) -> Iterable[dict[str, Any]]:
        """Yield the results with these values, in the order they came."""
        return (row for row in self.rows if key.items() <= row.items())

    def add(self, **row: Any) -> None:
        """Keep a result."""
        self.rows.append(row)
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


def paired_folds(rows: Iterable[dict[str, Any]]) -> tuple[dict[str, list[dict[str, Any]]], int]:
    """Return the results of each model in the folds that every model has, and their number."""
    by: dict[str, dict[int, dict[str, Any]]] = {}
    for row in rows:
        by.setdefault(row["model"], {})[row["fold"]] = row
    shared = sorted(set.intersection(*(set(folds) for folds in by.values()))) if by else []
    return {name: [folds[k] for k in shared] for name, folds in by.items()}, len(shared)


def table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """Return a table as Markdown."""
    lines = [head, ["---"] * len(head), *body]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def spread(values: Sequence[float | None]) -> str:
    """Return mean ± standard deviation in words; the mean alone of one value."""
    found = np.array([v for v in values if v is not None], dtype=np.float64)
    if not len(found):
        return "–"
    sd = f" ± {found.std(ddof=1):.3f}" if len(found) > 1 else ""
    return f"{found.mean():.3f}{sd}"


def difference(ours: Sequence[float | None], theirs: Sequence[float | None]) -> str:
    """Return the mean paired difference in words, with half its 95 % t interval."""
    both = [(a, b) for a, b in zip(ours, theirs, strict=True) if None not in (a, b)]
    if not both:
        return "–"
    a, b = np.array(both, dtype=np.float64).T
    mean, half = paired(a, b)
    return f"{mean:+.3f}" + (f" ± {half:.3f}" if len(both) > 1 else "")
