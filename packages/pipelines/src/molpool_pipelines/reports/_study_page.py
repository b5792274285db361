"""The page of a study, from the tables in its folder: it needs no storage and no Optuna."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from molpool_common import (
    BEST,
    RESOLVED,
    Cell,
    Code,
    Facts,
    Lines,
    Part,
    Section,
    Table,
    Text,
    render_report,
)

from molpool_pipelines.reports import _study_figures as figures
from molpool_pipelines.reports._parts import configuration
from molpool_pipelines.runs import PARAMETER, StudyTables, read_study_tables

_STATES = ("complete", "pruned", "failed", "retried", "running", "waiting")
_OPTIMISM = (
    "Optimism is how much better the inner score looks than the outer one, above 0 where it was "
    "too good. It has three parts: the best of many trials was chosen for its inner score, each "
    "fold kept its best epoch by the rows that score it, and outer rows may differ from inner ones "
    "(later, or other scaffolds). Models of the outer test were trained on all inner rows, which "
    "works against it. Intervals: 95 %, bootstrap over rows of the outer test; one of the last "
    "column that holds 0 leaves open which of the two is better."
)


def study_page(folder: Path, name: str) -> str:
    """Return the page as self-contained HTML.

    Parameters
    ----------
    folder : Path
        Of the study.
    name : str
        Title of the page.

    Raises
    ------
    InputError
        If the folder is not that of a study, or a file in it cannot be read.
    """
    study = read_study_tables(folder)
    sections = [
        Section("Summary", _summary(study)),
        *_baselines(study),
        *_outer_tests(study),
        *_figures(study),
        Section("Trials", [_trials(study), *_errors(study)]),
        _configuration(study, folder),
    ]
    kind, n_folds = study.facts.get("kind"), study.facts.get("n_folds")
    what = f"Study of {kind}" if kind else f"Study {study.facts.get('name', name)}"
    folds = f", {n_folds} inner folds" if n_folds else ""
    subtitle = f"{what}, {study.metric}{folds}, {study.trials.height} trials"
    return render_report(name, subtitle, sections)


def _summary(study: StudyTables) -> list[Part]:
    counts = dict(study.trials["state"].value_counts().iter_rows())
    facts: dict[str, Cell] = {"Trials asked for": study.facts.get("n_trials")}
    facts |= {f"Trials {state}": counts[state] for state in _STATES if state in counts}
    done = study.complete()
    if done.is_empty():
        return [Facts(facts), Text("No trial has a score yet.", note=True)]
    # study.json of earlier versions has no direction, and guessing it from the metric would call
    # the worst trial best.
    if study.direction is None:
        unknown = "study.json does not say which scores are better: no trial is called the best."
        return [Facts(facts), Text(unknown, note=True)]
    best, first = done.row(0, named=True), _defaults(done)
    facts["Better"] = "lower" if study.direction == "minimize" else "higher"
    facts |= {"Best trial": best["number"], f"Best {study.metric}": best["value"]}
    if first is not None:
        facts[f"{study.metric} of the defaults"] = first["value"]
    folds = [best[c] for c in _fold_columns(study) if best[c] is not None]
    rows: list[list[Cell]] = [
        [name, _cell(best[PARAMETER + name]), _cell(first[PARAMETER + name]) if first else None]
        for name in study.parameters
        if best[PARAMETER + name] is not None
    ]
    return [
        Facts(facts, digits=4),
        *([Text(f"By inner fold: {', '.join(f'{v:.4f}' for v in folds)}.")] if folds else []),
        Text(
            "The best of many trials looks better than it is: it was chosen for its score on these "
            "inner folds. molpool-hpo retrain scores it once on the outer test, which no trial has "
            "seen, and that is what counts.",
            note=True,
        ),
        Table(
            ["parameter", "best", "defaults"],
            rows,
            caption="The best trial's parameters (best.yaml), and the defaults.",
            digits=4,
        ),
    ]


def _defaults(done: pl.DataFrame) -> dict[str, Any] | None:
    if "source" not in done.columns:
        return None
    # None where the trial of the defaults failed or was pruned.
    own = done.filter(pl.col("source") == "defaults")
    return None if own.is_empty() else own.row(0, named=True)


def _fold_columns(study: StudyTables) -> list[str]:
    return [c for c in study.trials.columns if c.startswith("fold_")]


def _cell(value: Any) -> Cell:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if value is None or isinstance(value, int | float | str) else str(value)


def _baselines(study: StudyTables) -> list[Section]:
    known = study.baselines
    if known is None:
        return []
    n_folds = max(len(m["folds"]) for m in known["models"])
    rows: list[list[Cell]] = [[m["name"], m["inner"], *m["folds"]] for m in known["models"]]
    table = Table(
        ["model", known["metric"], *(f"fold {k}" for k in range(n_folds))],
        rows,
        caption=f"Not tuned, under the very folds of the study; {known['features']}.",
        digits=4,
    )
    return [Section("Baselines", [table])]


def _outer_tests(study: StudyTables) -> list[Section]:
    looks = len(study.outer_tests)
    return [
        Section(f"Outer test: {name}", _outer_test(study, name, result, looks))
        for name, result in study.outer_tests.items()
        if result.get("models")
    ]


def _outer_test(study: StudyTables, name: str, result: Mapping[str, Any], looks: int) -> list[Part]:
    models: list[Mapping[str, Any]] = result["models"]
    metric = str(result.get("metric", study.metric))
    parts: list[Part] = [Text(_sentence(metric, result))]
    # Counted from the folder: several retrainings of one study share the outer test.
    if looks > 1:
        several = (
            f"The outer test has been scored for {looks} choices by now. To choose among them by "
            "it would make it one more inner fold."
        )
        parts.append(Text(several, note=True))
    elif before := result.get("outer_test_scored_before"):
        often = "once" if before == 1 else f"{before} times"
        again = (
            f"{name}: the outer test had been scored {often} before. Each look at it that leads "
            "to a choice makes the next score less honest."
        )
        parts.append(Text(again, note=True))
    parts.append(Lines(_against_others(models, metric)))
    if any(m["outer"] is not None for m in models):
        parts.append(figures.outer_scores(models, metric, result.get("direction")))
    rows: list[list[Cell]] = [
        [
            m["name"],
            m["inner"],
            m["outer"],
            *(m.get("interval") or (None, None)),
            m["optimism"],
            _with_interval(m.get("gain"), m.get("gain_interval")),
        ]
        for m in models
    ]
    heads = ["model", "inner", "outer", "95 % from", "to", "optimism", "best is better by"]
    parts.append(Table(heads, rows, caption=_OPTIMISM, digits=4))
    tasks = list(models[0].get("by_task", {}))
    if len(tasks) > 1:
        by_task: list[list[Cell]] = [
            [m["name"], *(m["by_task"].get(t) for t in tasks)] for m in models
        ]
        parts.append(Table(["model", *tasks], by_task, caption="Outer test by task.", digits=4))
    return parts


def _sentence(metric: str, result: Mapping[str, Any]) -> str:
    best, n_rows = result["models"][0], result.get("outer_test_rows")
    rows = "the rows" if n_rows is None else f"{n_rows} rows"
    if best["outer"] is None:
        return f"{metric} is undefined on {rows} of the outer test."
    interval = best.get("interval")
    ends = "" if interval is None else " ({:.4f} to {:.4f})".format(*interval)
    inner = f"{best['inner']:.4f} on the inner folds, " if best["inner"] is not None else ""
    n = result.get("trials_complete")
    among = "" if n is None else f", the choice among {n} complete trials"
    return (
        f"{best['name'].capitalize()}{among}: {metric} {inner}{best['outer']:.4f}{ends} on {rows} "
        "that no trial had seen."
    )


def _against_others(models: Sequence[Mapping[str, Any]], metric: str) -> list[str]:
    """Say of each other model whether the best trial is better on the outer test."""
    said = []
    for other in models[1:]:
        gain, ends = other.get("gain"), other.get("gain_interval")
        if gain is None or ends is None:
            continue
        word, sign = ("better", 1) if gain >= 0 else ("worse", -1)
        low, high = sorted((sign * ends[0], sign * ends[1]))
        verdict = ": not distinguishable" if low <= 0 <= high else ""
        said.append(
            f"{str(models[0]['name']).capitalize()} is {word} than {other['name']} by "
            f"{abs(gain):.3f} {metric} (95 % {low:.3f} to {high:.3f}){verdict}."
        )
    return said


def _with_interval(value: float | None, interval: Sequence[float] | None) -> str | None:
    if value is None:
        return None
    if interval is None:
        return f"{value:+.4f}"
    return f"{value:+.4f} ({interval[0]:+.4f} to {interval[1]:+.4f})"


def _figures(study: StudyTables) -> list[Section]:
    done = study.complete()
    sections = []
    if not done.is_empty() and study.direction is not None:
        sections.append(Section("History", [figures.history(study)]))
        sections += _parameter_sections(study, done)
    if figures.has_timeline(study):
        sections.append(Section("Timeline", [figures.timeline(study)]))
    return sections


def _parameter_sections(study: StudyTables, done: pl.DataFrame) -> list[Section]:
    shares = study.importances
    sections = [Section("Importances", [figures.importance(shares)])] if shares else []
    # A parameter with one value in all complete trials has no slice.
    varied = [n for n in study.parameters if done[PARAMETER + n].drop_nulls().n_unique() > 1]
    # The most important first; then those that most trials have: a conditional one says little.
    varied.sort(key=lambda n: (-shares.get(n, 0.0), done[PARAMETER + n].null_count()))
    if not varied:
        return [*sections, Section("Parameters", [Text("No two complete trials differ yet.")])]
    sections.append(Section("Slices", [figures.slices(study, varied)]))
    everywhere = [n for n in varied if not done[PARAMETER + n].null_count()]
    if everywhere:
        sections.append(
            Section("Parallel coordinates", [figures.parallel_coordinates(study, everywhere)])
        )
    return sections


def _trials(study: StudyTables) -> Table:
    folds = _fold_columns(study)
    more = [c for c in ("source", "retry_of", "seconds") if c in study.trials.columns]
    params = [PARAMETER + n for n in study.parameters]
    table = study.trials.select("number", "state", "value", *folds, *more, *params)
    rows = [[_cell(v) for v in row] for row in table.iter_rows()]
    heads = ["trial", "state", study.metric, *(c.replace("_", " ") for c in (*folds, *more))]
    return Table(
        [*heads, *study.parameters],
        rows,
        caption="All trials; a dash where a trial has no such value. A click on a head sorts.",
        digits=4,
    )


def _errors(study: StudyTables) -> list[Part]:
    if "error" not in study.trials.columns:
        return []
    # A trial that was retried did not fail; its repetition is another row.
    failed = study.trials.filter(pl.col("error").is_not_null(), pl.col("state") != "retried")
    rows: list[list[Cell]] = [[str(n), e] for n, e in failed.select("number", "error").iter_rows()]
    caption = "Trials that failed, and with what."
    return [Table(["trial", "error"], rows, caption=caption)] if rows else []


def _configuration(study: StudyTables, folder: Path) -> Section:
    section = configuration(folder, [BEST, RESOLVED])
    space = study.facts.get("space")
    if space is None:
        return section
    code = Code("space", json.dumps(space, indent=2, ensure_ascii=False))
    return Section(section.title, [*section.parts, code])
