"""What a study came to, as its folder keeps it: baselines, and models on the outer test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULT = "metrics.json"
"""Of a retraining, in its folder."""

BASELINE_FILE = "baselines.json"
"""Scores of baselines under the inner folds, in the folder of the study."""


def read_baselines(folder: Path) -> dict[str, Any] | None:
    """Return what is kept of baselines beside a study, if there is anything."""
    file = folder / BASELINE_FILE
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def outcome_lines(folder: Path) -> list[str]:
    """Return what a study came to, a line a model, for the terminal."""
    lines = []
    known = read_baselines(folder)
    if known is not None:
        lines.append(f"Not tuned, on the same inner folds: {known['metric']}")
        lines += [f"  {number(m['inner'])}  {m['name']}" for m in known["models"]]
    for file in sorted(folder.glob(f"retrained/*/{RESULT}")):
        result = json.loads(file.read_text(encoding="utf-8"))
        lines.append(f"Outer test, {file.parent.name}: {result['metric']}")
        for m in result["models"]:
            interval = "{:.4f} to {:.4f}".format(*m["interval"]) if m["interval"] else "–"
            lines.append(
                f"  {number(m['outer'])} ({interval})  {m['name']}, inner {number(m['inner'])}"
            )
    return lines


def number(value: float | None) -> str:
    """Return a score as text; a dash where there is none."""
    return "–" if value is None else f"{value:.4f}"
