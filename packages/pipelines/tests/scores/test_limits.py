"""Scores of the probability of standing at an assay's limit, against counts by hand."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from molpool_pipelines.reports._metric_tables import limit_tables
from molpool_pipelines.runs import Metrics
from molpool_pipelines.scores import Predictions, ScoreConfig, TrainingSet, predictions_of, score


def rows(**more: object) -> pl.DataFrame:
    # Of five labels at a ceiling of 10, two say so by a sign; "< 12" may be either side of it.
    measured = ["10", ">10", "11", "4", "<12", "<9", ">3"]
    return pl.DataFrame(
        {
            "id": [str(i) for i in range(7)],
            "a predicted": [9.0, 10, 10, 5, 9, 6, 8],
            "a": measured,
            "a_at_ceiling": [0.95, 0.85, 0.35, 0.05, 0.5, 0.15, 0.5],
            **more,
        }
    )


def found(limits: dict[str, tuple[float, float]] | None) -> Predictions:
    return predictions_of(rows(), "m", limits=limits)


def test_labels_at_a_limit_are_classes_that_probabilities_are_held_against() -> None:
    scores = score(found({"a": (np.nan, 10.0)}), TrainingSet(), ScoreConfig(), "all rows")
    (of,) = scores.limits
    assert (of.task, of.side, of.limit, of.classes.n) == ("a", "ceiling", 10.0, 5)
    p, stands = np.array([0.95, 0.85, 0.35, 0.05, 0.15]), np.array([1, 1, 1, 0, 0])
    assert of.share == pytest.approx(0.6)
    assert of.mean == pytest.approx(p.mean())
    assert of.classes.brier == pytest.approx(np.mean((p - stands) ** 2))
    numbers = scores.to_frame().filter(pl.col("metric") == "at_ceiling_brier")
    assert numbers["value"].to_list() == [of.classes.brier]
    said = Metrics.model_validate(scores.to_metrics().to_dict()).splits["all rows"].limits
    assert said[0]["side"] == "ceiling"
    assert [b["n"] for b in said[0]["calibration"]] == [1] * 5


def test_without_a_word_of_the_file_labels_show_the_limit() -> None:
    many = pl.concat([rows(id=[f"{k}-{i}" for i in range(7)]) for k in range(6)])
    labels = ["10", ">10", "10", "4", "5", "6", "7"] * 6
    many = many.with_columns(pl.Series("a", labels))
    tables = limit_tables(predictions_of(many, "m"))
    assert len(tables) == 2
    assert tables[0].rows[0][:3] == ["a", "ceiling 10", 42]  # type: ignore[union-attr]
    assert not limit_tables(predictions_of(many.drop("a_at_ceiling"), "m"))
    # Labels that show none are scored against none.
    assert not limit_tables(predictions_of(many.with_columns(a=pl.Series(range(42))), "m"))
