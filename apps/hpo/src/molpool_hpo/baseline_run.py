"""Baselines beside a study: scored once under its folds, kept in its folder."""

from __future__ import annotations

import os
from typing import Any

from molpool_common.runfolder import RunFolder

from molpool_hpo.baselines import inner_scores
from molpool_hpo.kinds import study_kind

BASELINE_FILE = "baselines.json"


def write_baselines(run: RunFolder, kind: str, metric: str) -> None:
    """Score the baselines under the inner folds of a study, unless that was done.

    Parameters
    ----------
    run : RunFolder
        The study's, with its configuration.
    kind : str
        Of the study.
    metric : str
        Name of its score.
    """
    if (run.path / BASELINE_FILE).is_file():
        return
    model = study_kind(kind, run.path)
    tabular = model.tabular()
    scores = inner_scores(tabular, seed=model.seed, threads=os.cpu_count() or 1)
    known: dict[str, Any] = {
        "metric": metric,
        "features": tabular.features,
        "models": [{"name": s.name, "inner": s.value, "folds": list(s.folds)} for s in scores],
    }
    run.write_json(BASELINE_FILE, known)
    run.log("baselines", **{s.name: s.value for s in scores})
