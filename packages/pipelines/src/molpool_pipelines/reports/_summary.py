"""How good a run's model is, in a few sentences; and apart from it, how it was made."""

from __future__ import annotations

import numpy as np
from molpool_common import LABELS, Cell, Facts, Part, Section, Text, mean_label, task_metrics

from molpool_pipelines.reports._parts import records
from molpool_pipelines.reports._read_run import SPLITS, ReadRun
from molpool_pipelines.runs import LOG, BaselineSet
from molpool_pipelines.scores import score_coverage

_SCALE = {
    "ma_rae": "0 is perfect, 1 no better than the mean of the values",
    "roc_auc": "1 is perfect, 0.5 chance",
}


def summary(run: ReadRun) -> list[Part]:
    """Return what one acts on: how good it is, what to know before trusting it, and its rows."""
    notes = [] if run.metrics is None else run.metrics.notes
    parts: list[Part] = [Text(_headline(run)), *(Text(note, note=True) for note in notes)]
    if run.reported == "train":
        text = "All rows were trained on: these scores say nothing of others."
        parts.append(Text(text, note=True))
    elif run.reported == "val":
        text = (
            "No row was kept for test. Validation rows chose the epoch, so that their scores are "
            "somewhat too good."
        )
        parts.append(Text(text, note=True))
    facts: dict[str, Cell] = {f"{SPLITS[s]} rows": len(of) for s, of in run.splits.items()}
    facts["Tasks"] = ", ".join(run.found.tasks)
    return [*parts, Facts(facts)]


def _headline(run: ReadRun) -> str:
    """Say in a sentence or three how good the model is."""
    rows = run.splits[run.reported]
    macro = task_metrics(rows.y_true, rows.y_pred, rows.tasks, rows.task_types).macro()
    words = []
    for name, scale in _SCALE.items():
        if name in macro and macro[name].mean is not None:
            n = macro[name].n_tasks
            over = "" if n == 1 else f", mean over {n} tasks"
            label = LABELS[name] if n == 1 else mean_label(name)
            words.append(f"{label} {macro[name].mean:.2f}{over} ({scale})")
    noun = f"{rows.noun}s"
    whose = {
        "test": f"test {noun} that the model has not seen",
        "val": f"validation {noun}",
        "train": f"{noun} that the model was trained on",
        "all": noun,
    }[run.reported]
    said = f"On {len(rows):,} {whose}: {'; '.join(words) or 'no metric is defined'}."
    return " ".join([said, *_against(run), *_intervals(run)])


def _against(run: ReadRun) -> list[str]:
    metrics = run.metrics
    known: BaselineSet | None = None
    if metrics is not None and metrics.splits:
        known = metrics.of_reported.baselines
    if known is None or not known.verdicts:
        return []
    return list(known.sentences) if len(known.verdicts) == 1 else [known.counted()]


def _intervals(run: ReadRun) -> list[str]:
    rows = run.splits[run.reported]
    found = score_coverage(rows).values()
    n = sum(of.n for of in found)
    if not n:
        return []
    inside = sum(of.n * of.inside for of in found) / n
    level = "" if rows.level is None else f"{100 * rows.level:g} % "
    return [f"Its {level}intervals hold {100 * inside:.0f} % of the measured values."]


def how_made(run: ReadRun) -> Section:
    """Return how the model was made."""
    found, models = run.found, run.models
    facts: dict[str, Cell] = {}
    facts["Labels in training"] = int(np.isfinite(run.trained_rows.y_true).sum())
    what = "mixture" if run.is_tabular else "members"
    facts["Uncertainty"] = "none" if found.sd is None else f"standard deviation of the {what}"
    if models:
        if len(models) == 1 and models[0].best is not None:
            facts["Best epoch"] = models[0].epochs[models[0].best]["epoch"] + 1
        epochs = [e for m in models for e in m.epochs]
        facts["Models"] = len(models)
        facts["Epochs" if len(models) == 1 else "Epochs, all models"] = len(epochs)
        seconds = sum(float(e.get("seconds") or 0) for e in epochs)
        facts["Training time, s"] = f"{seconds:.1f}"
    ended = records(run.folder / LOG, "finished")
    facts |= dict(ended[-1].get("facts", {})) if ended else {}
    if run.metrics is not None:
        for split, of in run.metrics.splits.items():
            if of.fold_score is not None:
                facts[f"Fold score, {split}"] = of.fold_score
    return Section("How it was made", [Facts(facts)])
