"""The page of a study."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from molpool_common import Cell, Code, Facts, Part, Section, Table, Text, render_report
from optuna.trial import FrozenTrial, TrialState

from molpool_pipelines.studies import figures
from molpool_pipelines.studies.importances import LEAST, importances
from molpool_pipelines.studies.queue import origin, retried
from molpool_pipelines.studies.stored import Counts, StoredStudy, score
from molpool_pipelines.studies.table import seconds_of, state_of
from molpool_pipelines.studies.trials import as_text, error_text, folds_of, params_of


def study_report(stored: StoredStudy, folder: Path, more: Sequence[Section] = ()) -> str:
    """Return the page of a study as self-contained HTML.

    Parameters
    ----------
    stored : StoredStudy
        The study.
    folder : Path
        Its folder, for the configuration.
    more : sequence of Section
        What stands after the summary: baselines, the outer test.
    """
    shares = importances(stored)
    sections = [
        Section("Summary", _summary(stored)),
        *more,
        *([Section("History", [figures.history(stored)])] if stored.complete() else []),
        *_space_sections(stored, shares),
        *_timeline(stored),
        Section("Trials", [_trials(stored), *_failures(stored)]),
        Section("Configuration", _configuration(stored, folder)),
    ]
    kind = stored.identity["kind"]
    subtitle = (
        f"Study of {kind}, {stored.metric}, {stored.identity['n_folds']} inner folds, "
        f"{len(stored.trials)} trials"
    )
    return render_report(stored.name, subtitle, sections)


def _summary(stored: StoredStudy) -> list[Part]:
    counts = Counts.of(stored.trials)
    facts: dict[str, Cell] = {
        "Trials asked for": stored.n_trials,
        "Complete": counts.complete,
        "Pruned": counts.pruned,
        "Failed": counts.failed,
    }
    if counts.tried_again:
        facts["Tried again (worker lost or interrupted)"] = counts.tried_again
    if counts.running:
        facts["Still running"] = counts.running
    parts: list[Part] = [Facts(facts)]
    done = stored.complete()
    if not done:
        return [*parts, Text("No trial is complete yet.", note=True)]
    best = done[0]
    defaults = [t for t in done if t.user_attrs.get("source") == "defaults"]
    comparison: dict[str, Cell] = {
        f"Best {stored.metric}": score(best),
        "Best trial": best.number,
    }
    if defaults:
        comparison[f"{stored.metric} of the defaults"] = score(defaults[0])
    folds = [fold["value"] for fold in folds_of(best)]
    note = (
        "The best of many trials looks better than it is: its score was chosen for being good on "
        "these inner folds. molpool-hpo retrain scores it once on the outer test, which no trial "
        "has seen."
    )
    own = params_of(defaults[0]) if defaults else {}
    shown = [
        [name, as_text(value), as_text(own[name]) if name in own else None]
        for name, value in params_of(best).items()
    ]
    heads = ["parameter", "best", "default"]
    return [
        *parts,
        Facts(comparison, digits=4),
        Text(f"By inner fold: {', '.join(f'{v:.4f}' for v in folds)}."),
        Text(note, note=True),
        Table(heads, shown, caption="The best trial's parameters (best.yaml), and the defaults."),
    ]


def _space_sections(stored: StoredStudy, shares: dict[str, float]) -> list[Section]:
    done = stored.complete()
    if not shares:
        text = f"With {LEAST} complete trials of different scores there are importances here."
        return [Section("Parameters", [Text(text)])] if done else []
    names = list(shares)
    everywhere = [n for n in names if all(n in t.params for t in done)]
    sections = [
        Section("Importances", [figures.importance(shares)]),
        Section("Slices", [figures.slices(stored, names)]),
    ]
    if everywhere:
        sections.append(Section("Parallel coordinates", [figures.parallel(stored, names)]))
    return sections


def _timeline(stored: StoredStudy) -> list[Section]:
    ran = any(t.datetime_complete and t.datetime_start for t in stored.trials)
    return [Section("Timeline", [figures.timeline(stored)])] if ran else []


def _trials(stored: StoredStudy) -> Table:
    again = retried(stored.trials)
    names = sorted({n for t in stored.trials for n in t.params})
    n_folds = stored.identity["n_folds"]
    rows = [_row(t, again, n_folds, names) for t in stored.trials]
    return Table(
        [
            "trial",
            "state",
            stored.metric,
            *(f"fold {k + 1}" for k in range(n_folds)),
            "s",
            "from",
            *names,
        ],
        rows,
        caption="All trials; a dash where a trial has no such value. A click on a head sorts.",
        digits=4,
    )


def _row(trial: FrozenTrial, again: set[int], n_folds: int, names: Sequence[str]) -> list[Cell]:
    folds = [fold["value"] for fold in folds_of(trial)]
    seconds = seconds_of(trial)
    source = trial.user_attrs.get("source", "sampler")
    if origin(trial) != trial.number:
        source = f"{source}, trial {origin(trial)} again"
    return [
        trial.number,
        state_of(trial, again),
        score(trial) if trial.state == TrialState.COMPLETE else None,
        *(folds[k] if k < len(folds) else None for k in range(n_folds)),
        None if seconds is None else round(seconds),
        source,
        *(as_text(trial.params[n]) if n in trial.params else None for n in names),
    ]


def _failures(stored: StoredStudy) -> list[Part]:
    again = retried(stored.trials)
    rows: list[list[Cell]] = [
        [str(t.number), error]
        for t in stored.trials
        if t.number not in again and (error := error_text(t))
    ]
    if not rows:
        return []
    return [Table(["trial", "error"], rows, caption="Trials that failed, and with what.")]


def _configuration(stored: StoredStudy, folder: Path) -> list[Part]:
    files = [folder / name for name in ("best.yaml", "config.resolved.yaml")]
    space = json.dumps(stored.identity["space"], indent=2, ensure_ascii=False)
    return [
        *(Code(f.name, f.read_text(encoding="utf-8")) for f in files if f.is_file()),
        Code("space", space),
    ]
