"""The page of a study, from the tables in its folder: it needs no storage and no Optuna."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from molpool_common import Cell, Facts, InputError, Part, Section, Table, Text, render_report

from molpool_pipelines.reports._parts import configuration
from molpool_pipelines.reports.study_figures import history, slices

STUDY, TRIALS = "study.json", "trials.parquet"
RETRAINED, SCORED = "retrained", "metrics.json"
PARAM = "param: "
OUTER = frozenset({"name", "inner", "outer", "optimism"})
"""Keys by which the scores on the outer test are known."""


def study_page(folder: Path, name: str) -> str:
    """Return the page as self-contained HTML.

    Raises
    ------
    InputError
        If the folder is not that of a study, or a file in it cannot be read.
    """
    said, trials = _read(folder)
    direction = said.get("direction")
    sections = [
        Section("Summary", _summary(said, trials, direction)),
        *_outer(folder),
        *_figures(trials, direction),
        Section("Trials", [_table(trials), *_errors(trials)]),
        configuration(folder, ["best.yaml", "config.resolved.yaml"]),
    ]
    subtitle = f"Study {said.get('name', name)}, {trials.height} trials"
    return render_report(name, subtitle, sections)


def _read(folder: Path) -> tuple[dict[str, Any], pl.DataFrame]:
    absent = [n for n in (STUDY, TRIALS) if not (folder / n).is_file()]
    if absent:
        raise InputError(
            "--study",
            expected=f"the folder of a study, with {STUDY} and {TRIALS}",
            found=f"{str(folder)!r} without {' and '.join(absent)}",
        )
    try:
        said = json.loads((folder / STUDY).read_text(encoding="utf-8"))
        trials = pl.read_parquet(folder / TRIALS)
    except (ValueError, pl.exceptions.PolarsError) as error:
        raise InputError("--study", expected="files of a study", found=str(error)) from None
    lacking = {"number", "state", "value"} - set(trials.columns)
    if lacking:
        raise InputError(
            "--study", expected="trials with their values", found=f"no {', '.join(sorted(lacking))}"
        )
    return said, trials.sort("number")


def complete(trials: pl.DataFrame, direction: str | None) -> pl.DataFrame:
    """Return the trials with a score, the best first where the direction is known."""
    done = trials.filter(pl.col("state") == "complete", pl.col("value").is_not_null())
    if direction is None:
        return done
    return done.sort("value", "number", descending=[direction == "maximize", False])


def _summary(said: Mapping[str, Any], trials: pl.DataFrame, direction: str | None) -> list[Part]:
    states = trials["state"].value_counts(sort=True)
    facts: dict[str, Cell] = {"Trials asked for": said.get("n_trials")}
    facts |= {f"Trials {state}": n for state, n in states.iter_rows()}
    done = complete(trials, direction)
    if done.is_empty():
        return [Facts(facts), Text("No trial has a score yet.", note=True)]
    if direction is None:
        said_not = "study.json does not say which scores are better: no trial is called the best."
        return [Facts(facts), Text(said_not, note=True)]
    best = done.row(0, named=True)
    facts |= {"Better": "lower" if direction == "minimize" else "higher"}
    facts |= {"Best trial": best["number"], "Its inner score": best["value"]}
    first = _defaults(done)
    if first is not None:
        facts["Inner score of the defaults"] = first["value"]
    names = [c for c in trials.columns if c.startswith(PARAM) and best[c] is not None]
    rows: list[list[Cell]] = [
        [c.removeprefix(PARAM), _text(best[c]), _text(first[c]) if first else None] for c in names
    ]
    return [
        Facts(facts, digits=4),
        Text(
            "The best of many trials looks better than it is: it was chosen for its score on these "
            "inner folds. Its score on the outer test, which no trial has seen, is what counts.",
            note=True,
        ),
        Table(
            ["parameter", "best", "defaults"],
            rows,
            caption="Parameters of the best trial.",
            digits=4,
        ),
    ]


def _defaults(done: pl.DataFrame) -> dict[str, Any] | None:
    if "source" not in done.columns:
        return None
    own = done.filter(pl.col("source") == "defaults")
    return None if own.is_empty() else own.row(0, named=True)


def _text(value: Any) -> Cell:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if value is None or isinstance(value, int | float | str) else str(value)


def _outer(folder: Path) -> list[Section]:
    """Show inner against outer scores, a table a retraining."""
    parts: list[Part] = []
    for file in sorted(folder.glob(f"{RETRAINED}/*/{SCORED}")):
        try:
            said = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(SCORED, expected="JSON", found=str(error), where=str(file)) from None
        scores = _outer_scores(said)
        if scores:
            parts.append(_outer_table(file.parent.name, scores))
            before = said.get("outer_test_scored_before") if isinstance(said, dict) else None
            if before:
                parts.append(Text(_again(file.parent.name, before), note=True))
    return [Section("Outer test", parts)] if parts else []


def _again(name: str, before: int) -> str:
    often = "once" if before == 1 else f"{before} times"
    return (
        f"{name}: the outer test had been scored {often} before. Each look at it that leads "
        "to a choice makes the next score less honest."
    )


def _outer_table(name: str, scores: Sequence[Mapping[str, Any]]) -> Table:
    rows: list[list[Cell]] = [
        [
            s["name"],
            s["inner"],
            s["outer"],
            *_ends(s.get("interval")),
            s["optimism"],
            s.get("gain"),
            *_ends(s.get("gain_interval")),
        ]
        for s in scores
    ]
    return Table(
        ["model", "inner", "outer", "from", "to", "optimism", "gain of the best", "from", "to"],
        rows,
        caption=f"{name}: scores on the inner folds and on the outer test, with 95 % intervals by "
        "its molecules. Optimism: how much better the inner score looks, above 0 is too good. "
        "Gain: how much better the best trial is than this model on the outer test; an interval "
        "that holds 0 tells nothing.",
        digits=4,
    )


def _outer_scores(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        if set(value) >= OUTER:
            return [value]
        return [score for inner in value.values() for score in _outer_scores(inner)]
    if isinstance(value, list):
        return [score for inner in value for score in _outer_scores(inner)]
    return []


def _ends(interval: Any) -> list[Cell]:
    if isinstance(interval, Mapping):
        return [interval.get("low"), interval.get("high")]
    return list(interval) if isinstance(interval, list) and len(interval) == 2 else [None, None]


def _figures(trials: pl.DataFrame, direction: str | None) -> list[Section]:
    done = complete(trials, direction)
    if done.height < 2 or direction is None:
        return []
    parts: list[Part] = [history(trials, done.sort("number"), direction)]
    names = [c for c in trials.columns if c.startswith(PARAM) and done[c].n_unique() > 1]
    # Those that most trials have first: a conditional one says little.
    names.sort(key=lambda c: done[c].null_count())
    if names:
        parts.append(slices(done.sort("number"), names, PARAM))
    return [Section("Search", parts)]


def _table(trials: pl.DataFrame) -> Table:
    folds = [c for c in trials.columns if c.startswith("fold_")]
    params = [c for c in trials.columns if c.startswith(PARAM)]
    more = [c for c in ("source", "seconds") if c in trials.columns]
    columns = ["number", "state", "value", *folds, *more, *params]
    rows = [[_text(v) for v in row] for row in trials.select(columns).iter_rows()]
    heads = [
        "trial",
        "state",
        "score",
        *(f"fold {int(c.removeprefix('fold_')) + 1}" for c in folds),
    ]
    return Table(
        [*heads, *more, *(c.removeprefix(PARAM) for c in params)],
        rows,
        caption="All trials; a dash where a trial has no such value.",
        digits=4,
    )


def _errors(trials: pl.DataFrame) -> list[Part]:
    if "error" not in trials.columns:
        return []
    failed = trials.filter(pl.col("error").is_not_null())
    rows: list[list[Cell]] = [[n, e] for n, e in failed.select("number", "error").iter_rows()]
    return [Table(["trial", "error"], rows, caption="Trials that failed.")] if rows else []
