"""How often intervals hold, against counting."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from molpool_pipelines.scores import Predictions, predictions_of, score_coverage

NAN = float("nan")


def test_a_bound_is_outside_only_where_it_proves_it(made: Callable[..., Predictions]) -> None:
    found = made(
        [[1.0], [9.0], [NAN], [NAN], [NAN]],
        [[1.0]] * 5,
        lower=np.full((5, 1), 0.0),
        upper=np.full((5, 1), 2.0),
        bounds=np.array([[NAN], [NAN], [1.0], [5.0], [5.0]]),
        signs=np.array([[0], [0], [1], [1], [-1]], dtype=np.int8),
    )
    # Inside: 1. Outside: 9, and > 5. Not proved: > 1 and < 5.
    (of,) = score_coverage(found).values()
    assert (of.n, of.inside, of.median_width) == (5, pytest.approx(3 / 5), 2.0)


def test_parts_are_the_whole(made: Callable[..., Predictions]) -> None:
    rng = np.random.default_rng(0)
    p = rng.normal(size=(137, 1))
    y = p + rng.normal(size=(137, 1))
    near = np.where(rng.random(137) < 0.1, NAN, rng.random(137))
    found = made(y, p, lower=p - 1, upper=p + 1, similarity=near)
    (of,) = score_coverage(found).values()
    inside = np.abs(y - p)[:, 0] <= 1
    assert of.inside == pytest.approx(inside.mean())
    assert len(of.by_prediction) == 10
    assert sum(part.n for part in of.by_prediction) == 137
    assert sum(part.n * part.inside for part in of.by_prediction) == pytest.approx(inside.sum())
    ends = [(part.low, part.high) for part in of.by_prediction]
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(ends))
    assert sum(part.n for part in of.by_similarity) == np.isfinite(near).sum()
    (first,) = (part for part in of.by_similarity if part.name == "below 0.3")
    assert first.inside == pytest.approx(inside[near < 0.3].mean())


def test_intervals_without_an_end_are_read_and_not_counted() -> None:
    columns = {"id": ["a", "b"], "t": [1.0, 2.0], "t predicted": [1.0, 2.0]}
    ends = {"t_lower": [-np.inf, 1.0], "t_upper": [np.inf, 3.0]}
    found = predictions_of(pl.DataFrame(columns | ends), "model")
    assert found.lower is not None
    assert found.lower[0, 0] == -np.inf
    assert score_coverage(found)["t"].n == 1


def test_each_level_is_counted() -> None:
    columns = {"id": ["a", "b"], "t": [1.0, 2.5], "t predicted": [1.0, 2.0]}
    ends = {"t_lower_80": [0.5, 1.8], "t_upper_80": [1.5, 2.2]}
    wider = {"t_lower_97.5": [0.0, 1.0], "t_upper_97.5": [2.0, 3.0]}
    found = predictions_of(pl.DataFrame(columns | ends | wider), "model")
    of = score_coverage(found.take(np.array([1, 0])).of_tasks(["t"]))["t"]
    assert (of.level, of.inside, of.median_width) == (0.8, 0.5, pytest.approx(0.7))
    (further,) = of.further
    assert (further.level, further.inside, further.median_width) == (0.975, 1.0, 2.0)
    assert of.numbers()["interval_inside_97.5"] == 1.0
    assert of.to_dict()["further"] == [further.to_dict()]


def test_few_rows_are_one_part_and_classes_have_none(made: Callable[..., Predictions]) -> None:
    y = np.zeros((12, 2))
    ends = {"lower": y - 1, "upper": y + 1}
    found = made(y, y, task_types=("regression", "classification"), **ends)
    assert list(score_coverage(found)) == ["t0"]
    assert len(score_coverage(found)["t0"].by_prediction) == 1
    assert score_coverage(made(y, y)) == {}
