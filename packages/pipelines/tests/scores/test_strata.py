"""Strata, each against the rows picked by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from molpool_common import mae
from molpool_pipelines.scores._metrics import Resampling
from molpool_pipelines.scores._predictions import Predictions
from molpool_pipelines.scores._strata import (
    Stratum,
    TrainingSet,
    bin_names,
    range_names,
    score_strata,
)

SMILES = ["c1ccccc1C", "c1ccccc1CC", "C1CCNCC1", "CCO", "CCCCN", "c1ccncc1", "CCO", "O1CCCC1"]
KNOWN = TrainingSet(["c1ccccc1CCC", "CCO"], {"t0": 50, "t1": 500})


@pytest.fixture
def found(made: Callable[..., Predictions]) -> Predictions:
    rng = np.random.default_rng(0)
    y = rng.normal(size=(8, 2))
    quality = np.array(["high", "low", "high", None, "low", "high", "low", "high"], dtype=object)
    smiles = np.array(SMILES, dtype=object)
    return made(y, y + rng.normal(size=(8, 2)), smiles=smiles, quality=quality)


def strata(
    found: Predictions, known: TrainingSet = KNOWN, least: int = 0
) -> tuple[list[Stratum], ...]:
    scored, notes = score_strata(
        found,
        known,
        similarity_bins=[0.3, 0.7],
        label_bins=[100],
        resampling=Resampling(n=0),
        min_rows=least,
    )
    return scored, notes  # type: ignore[return-value]


def value(stratum: Stratum, task: str) -> float | None:
    return next(s.value for s in stratum.scores if (s.task, s.metric) == (task, "mae"))


def by_name(scored: list[Stratum]) -> dict[tuple[str, str], Stratum]:
    return {(s.kind, s.name): s for s in scored}


def test_each_stratum_scores_its_own_rows(found: Predictions) -> None:
    scored, notes = strata(found)
    each = by_name(scored)
    rows = {
        ("quality", "high"): [0, 2, 5, 7],
        ("quality", "low"): [1, 4, 6],
        ("quality", "not known"): [3],
        # Scaffolds of training: benzene, and none. Without a ring, molecules share the latter.
        ("scaffold", "in training"): [0, 1, 3, 4, 6],
        ("scaffold", "not in training"): [2, 5, 7],
        ("similarity", "0.7 to 1"): [3, 6],
    }
    for key, chosen in rows.items():
        assert each[key].n == len(chosen), key
        for t, task in enumerate(("t0", "t1")):
            expected = mae(found.y_true[chosen, t], found.y_pred[chosen, t])
            assert value(each[key], task) == pytest.approx(expected)
    assert sum(s.n for s in scored if s.kind == "similarity") == 8
    assert notes == []


def test_tasks_are_told_apart_by_their_training_labels(found: Predictions) -> None:
    each = by_name(strata(found)[0])
    assert {k[1] for k in each if k[0] == "labels"} == {"below 100", "100 and more"}
    assert {s.task for s in each["labels", "below 100"].scores} == {"t0"}
    assert value(each["labels", "100 and more"], "t1") == pytest.approx(
        mae(found.y_true[:, 1], found.y_pred[:, 1])
    )


def test_few_labels_are_left_out_and_said(found: Predictions) -> None:
    each = by_name(strata(found, least=4)[0])
    low = each["quality", "low"]
    assert value(low, "t0") is None
    assert {s.reason for s in low.scores if s.task == "t0"} == {"fewer than 4 labels"}
    assert value(each["quality", "high"], "t0") is not None


def test_what_is_not_known_is_said(found: Predictions) -> None:
    scored, notes = strata(found, TrainingSet())
    assert {s.kind for s in scored} == {"quality"}
    assert notes == [
        "Not by novelty: no training molecules.",
        "Not by the number of training labels: it is not known.",
    ]


def test_a_table_of_predictions_brings_its_similarity(found: Predictions) -> None:
    near = np.linspace(0.2, 1, len(found))
    scored, notes = strata(replace(found, similarity=near), TrainingSet())
    assert {s.kind for s in scored} == {"quality", "similarity"}
    assert sum(s.n for s in scored if s.kind == "similarity") == len(found)
    assert notes[0] == "Not by scaffold: no training molecules."
    assert notes[1].startswith(f"1 of {len(found)} molecules have a training molecule")


def test_a_value_at_an_end_belongs_above() -> None:
    assert range_names([0.3, 0.5], 1.0) == ["below 0.3", "0.3 to 0.5", "0.5 to 1"]
    names = bin_names(np.array([0.29, 0.3, 0.5, 1.0]), [0.3, 0.5], 1.0)
    assert names == ["below 0.3", "0.3 to 0.5", "0.5 to 1", "0.5 to 1"]
