"""What a study came to: baselines under its folds, retrained models on the outer test."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molpool_common import (
    OKABE_ITO,
    Cell,
    Figure,
    Part,
    Section,
    Table,
    Text,
    figure_svg,
    new_figure,
    style,
)

from molpool_pipelines.studies.results import RESULT, number, read_baselines

if TYPE_CHECKING:
    import rich.table

    from molpool_pipelines.studies.optimism import OuterScore


_OPTIMISM = (
    "Optimism is how much better the inner score looks than the outer one, above 0 where it was "
    "too good. It has three parts: the best of many trials was chosen for its inner score, each "
    "fold kept its best epoch by the rows that score it, and outer rows may differ from inner ones "
    "(later, or other scaffolds). Models of the outer test were trained on all inner rows, which "
    "works against it. Intervals: 95 %, bootstrap over rows of the outer test."
)


def outcome_sections(folder: Path) -> list[Section]:
    """Return the sections of a study's page about baselines and the outer test.

    Parameters
    ----------
    folder : Path
        Of the study.
    """
    sections = []
    known = read_baselines(folder)
    if known is not None:
        sections.append(Section("Baselines", [_baselines(known)]))
    files = sorted(folder.glob(f"retrained/*/{RESULT}"))
    for file in files:
        result = json.loads(file.read_text(encoding="utf-8"))
        sections.append(Section(f"Outer test: {file.parent.name}", _outer(result, len(files))))
    return sections


def _baselines(known: dict[str, Any]) -> Table:
    n_folds = max(len(m["folds"]) for m in known["models"])
    heads = [f"fold {k + 1}" for k in range(n_folds)]
    rows: list[list[Cell]] = [[m["name"], m["inner"], *m["folds"]] for m in known["models"]]
    return Table(
        ["model", known["metric"], *heads],
        rows,
        caption=f"Not tuned, under the very folds of the study; {known['features']}.",
        digits=4,
    )


def _outer(result: dict[str, Any], looks: int) -> list[Part]:
    models = result["models"]
    best = models[0]
    parts: list[Part] = [Text(_sentence(result))]
    if looks > 1:
        parts.append(
            Text(
                f"The outer test has been scored for {looks} choices by now. To choose among them "
                "by it would make it one more inner fold.",
                note=True,
            )
        )
    columns = ["model", "inner", "outer", "95 % from", "to", "optimism", "best is better by"]
    rows: list[list[Cell]] = [
        [
            m["name"],
            m["inner"],
            m["outer"],
            *(m["interval"] or (None, None)),
            m["optimism"],
            _with_interval(m["gain"], m["gain_interval"]),
        ]
        for m in models
    ]
    parts.append(_figure(result))
    parts.append(Table([*columns], rows, caption=_OPTIMISM, digits=4))
    tasks = list(best["by_task"])
    if len(tasks) > 1:
        by_task: list[list[Cell]] = [
            [m["name"], *(m["by_task"].get(t) for t in tasks)] for m in models
        ]
        parts.append(Table(["model", *tasks], by_task, caption="Outer test by task.", digits=4))
    return parts


def _sentence(result: dict[str, Any]) -> str:
    best, metric = result["models"][0], result["metric"]
    if best["outer"] is None:
        return f"{metric} is undefined on the {result['outer_test_rows']} rows of the outer test."
    low, high = best["interval"]
    inner = f"{best['inner']:.4f} on the inner folds, " if best["inner"] is not None else ""
    return (
        f"{best['name'].capitalize()}, the choice among {result['trials_complete']} complete "
        f"trials: {metric} {inner}{best['outer']:.4f} ({low:.4f} to {high:.4f}) on "
        f"{result['outer_test_rows']} rows that no trial had seen."
    )


def _with_interval(value: float | None, interval: Sequence[float] | None) -> str | None:
    if value is None:
        return None
    if interval is None:
        return f"{value:+.4f}"
    return f"{value:+.4f} ({interval[0]:+.4f} to {interval[1]:+.4f})"


def _figure(result: dict[str, Any]) -> Figure:
    models = [m for m in result["models"] if m["outer"] is not None]
    with style():
        figure = new_figure(7, 0.9 + 0.45 * len(models))
        axes = figure.subplots()
        for place, m in enumerate(models):
            if m["interval"] is not None:
                axes.plot(m["interval"], [place, place], color=OKABE_ITO[0], lw=2)
            axes.plot(m["outer"], place, "o", color=OKABE_ITO[0], ms=7)
            if m["inner"] is not None:
                axes.plot(m["inner"], place, "D", color=OKABE_ITO[1], ms=6, mfc="none", mew=1.6)
        axes.plot([], [], "o-", color=OKABE_ITO[0], label="outer test, 95 % interval")
        axes.plot([], [], "D", color=OKABE_ITO[1], mfc="none", mew=1.6, label="inner folds")
        axes.set_yticks(range(len(models)), [m["name"] for m in models])
        axes.set_ylim(len(models) - 0.5, -0.5)
        axes.set_xlabel(result["metric"])
        figure.legend(loc="outside upper right", ncols=2)
        svg = figure_svg(figure)
    said = "; ".join(f"{m['name']} {m['outer']:.4f}" for m in models)
    better = "right" if result["direction"] == "maximize" else "left"
    return Figure(
        svg,
        alt=f"{result['metric']} on the outer test: {said}.",
        caption=f"Further {better} is better. The gap between diamond and dot is the optimism.",
    )


def result_table(metric: str, scores: Sequence[OuterScore]) -> rich.table.Table:
    """Return the scores as a table for the terminal; ``gain``: how much better the best is."""
    from rich.table import Table as Shown

    table = Shown(title=f"{metric}, inner folds and outer test", box=None, header_style="bold")
    table.add_column("model", no_wrap=True)
    for head in ("inner", "outer", "95 %", "optimism", "gain"):
        table.add_column(head, justify="right", no_wrap=True)
    for s in scores:
        table.add_row(
            s.name,
            number(s.inner),
            number(s.outer),
            "–" if s.interval is None else f"{s.interval.low:.4f} to {s.interval.high:.4f}",
            "–" if s.optimism is None else f"{s.optimism:+.4f}",
            "" if s.gain is None else f"{s.gain:+.4f}",
        )
    return table
