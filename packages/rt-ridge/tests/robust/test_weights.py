"""Sums of weighted rows against a loop, whatever the chunks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from rt_ridge import PartialPoolingRidge, StoredRows, SufficientStatistics, Tails, reweighted
from rt_ridge._estimators import _as_table, to_rows
from rt_ridge.robust import _rows
from rt_ridge.robust._weights import row_weights
from rt_ridge.statistics._sufficient import merged_parents
from rt_ridge.tables._rows import Chunk, Columns

HEAVY = Tails("student_t", 4.0)


@pytest.fixture(scope="module")
def rows() -> dict[str, Any]:
    """Return 200 rows of 12 pairs, some peaks far off; times far from zero."""
    rng = np.random.default_rng(0)
    ids = np.stack([rng.integers(0, 4, 200), rng.integers(0, 3, 200)], axis=1)
    X = rng.normal([3.0, -1.0], size=(200, 2))
    y = 1e3 + ids[:, 1] + X @ [0.2, -0.1] + 0.05 * rng.standard_t(3, size=200)
    y[[3, 90]] -= 900.0
    return {"X": X, "y": y, "groups": ids}


@pytest.fixture(scope="module")
def model(rows) -> PartialPoolingRidge:
    return PartialPoolingRidge(likelihood="student_t", nu=4.0).fit(**rows)


def sums(model: PartialPoolingRidge, stored: StoredRows) -> SufficientStatistics:
    plain = replace(model.weighted_.stats, weight=None)
    return reweighted(plain, stored, model.summaries_).statistics()


def test_sums_are_those_of_a_loop(model, rows):
    found = sums(model, to_rows(rows["X"], rows["y"], rows["groups"]))
    summaries, z = model.summaries_, rows["X"] - model.summaries_.features.center
    for k, key in enumerate(found.keys.tolist()):
        of = (rows["groups"][:, 0] == key >> 32) & (rows["groups"][:, 1] == key & 0xFFFFFFFF)
        design = np.column_stack([np.ones(of.sum()), z[of]])
        e = rows["y"][of] - design @ summaries.mean[k]
        line = np.einsum("nd,de,ne->n", design, summaries.cov[k], design)
        u = 5.0 / (4.0 + (e**2 + line) / summaries.sigma2_mean)
        values = np.column_stack([z[of], rows["y"][of]])
        mean = np.average(values, axis=0, weights=u)
        scatter = ((values - mean) * u[:, None]).T @ (values - mean)
        assert found.n[k] == of.sum()
        np.testing.assert_allclose(found.mass[k], u.sum(), rtol=1e-10)
        np.testing.assert_allclose(found.mean_x[k], mean[:2], rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(found.mean_y[k], mean[2], rtol=1e-12)
        np.testing.assert_allclose(found.sxx[k], scatter[:2, :2], rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(found.sxy[k], scatter[:2, 2], rtol=1e-7, atol=1e-7)
        np.testing.assert_allclose(found.syy[k], scatter[2, 2], rtol=1e-7)


def chunked(rows: dict[str, Any], size: int) -> tuple[Any, Columns]:
    frame, columns = _as_table(rows["X"], rows["y"], rows["groups"])

    def chunks() -> Iterator[Chunk]:
        for first in range(0, frame.height, size):
            yield Chunk(frame.slice(first, size), "table", first + 1)

    return chunks, columns


@pytest.mark.parametrize("kept", [2**27, 0])
def test_chunks_and_memory_do_not_matter(model, rows, kept, monkeypatch):
    monkeypatch.setattr(_rows, "MOST_KEPT", kept)
    whole = sums(model, to_rows(rows["X"], rows["y"], rows["groups"]))
    parts = StoredRows.of_chunks(*chunked(rows, 17))
    for _ in range(2):
        again = sums(model, parts)
        for name in ("n", "mass", "mean_x", "mean_y", "sxx", "sxy", "syy"):
            a, b = getattr(whole, name), getattr(again, name)
            np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-9, err_msg=name)


def test_sums_of_weighted_rows_merge_and_are_kept(model, rows, tmp_path):
    stored = to_rows(rows["X"], rows["y"], rows["groups"])
    whole = sums(model, stored)
    halves = [
        sums(model, to_rows(*(rows[name][part] for name in ("X", "y", "groups"))))
        for part in (slice(0, 80), slice(80, None))
    ]
    merged = halves[0].merge(halves[1])
    merged.save(tmp_path / "sums.npz")
    read = SufficientStatistics.load(tmp_path / "sums.npz")
    assert read.weight is not None
    for name in ("n", "weight", "mean_x", "mean_y", "sxx", "sxy", "syy"):
        np.testing.assert_array_equal(getattr(read, name), getattr(merged, name))
        a, b = getattr(whole, name), getattr(merged, name)
        np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-9, err_msg=name)
    assert merged_parents(halves) is None


def test_a_pair_that_lost_its_rows_is_expected_where_its_levels_say(rows):
    table = {name: values.copy() for name, values in rows.items()}
    # A pair of one row, and that one far off where pairs hardly differ.
    table["groups"][0] = [9, 2]
    table["y"][0] = 0.0
    priors: Any = {"intercept": {"scale": 1e-6}}
    model = PartialPoolingRidge(leave_out=6.0, likelihood="student_t", priors=priors).fit(**table)
    assert model.weighted_.n_left_out == 3
    assert model.summaries_.support([9], [2]) == [0]
    assert model.predict_levels(table["X"][:1], [[9, 2]]).level == ["compound"]


def test_without_a_row_the_fit_is_that_of_all_others(rows):
    one = {name: values[4:] for name, values in rows.items()}
    fixed: dict[str, Any] = {
        "sigma_fixed": 0.05,
        "intercept_prior": "flat",
        "feature_center": "none",
    }
    whole = PartialPoolingRidge(**fixed).fit(**one)
    found = whole.predict_levels(one["X"], one["groups"])
    weights = row_weights(
        one["y"] - found.mean, found.std_mean**2, found.std**2 - found.std_mean**2, Tails(), None
    )
    off, sd = weights.leave_one_out
    others = {name: values[1:] for name, values in one.items()}
    alone = (
        PartialPoolingRidge(**fixed).fit(**others).predict_levels(one["X"][:1], one["groups"][:1])
    )
    assert off[0] == pytest.approx(one["y"][0] - alone.mean[0], rel=1e-8)
    assert sd[0] == pytest.approx(alone.std[0], rel=1e-8)


def test_frames_of_either_library_are_rows(rows):
    frame, columns = _as_table(rows["X"], rows["y"], rows["groups"])
    polars, pandas = (
        next(iter(StoredRows.of_frame(f, columns))) for f in (frame, frame.to_pandas())
    )
    assert isinstance(frame, pl.DataFrame)
    np.testing.assert_array_equal(polars.y, pandas.y)
    np.testing.assert_array_equal(polars.keys, pandas.keys)
