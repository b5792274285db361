from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rt_ridge.errors import RTRidgeError
from rt_ridge.intervals import SUPPORT_EDGES
from rt_ridge.summaries import Prediction
from rt_ridge.support import SupportMetrics
from scipy.stats import norm


def rows(seed: int, n: int = 400) -> tuple[Any, ...]:
    rng = np.random.default_rng(seed)
    keys = rng.integers(0, 40, n)
    support = np.array([0, 1, 2, 4, 5, 19, 20, 49, 50, 99, 100, 5000])[keys % 12]
    y, std = rng.normal(10, 2, n), rng.uniform(0.5, 2, n)
    mean = y + rng.normal(0.2, 1, n)
    mean[rng.random(n) < 0.05] = np.nan
    return y, Prediction(mean, std, std / 2, np.zeros(n, dtype=np.int8)), support, keys


def part(data: tuple[Any, ...], at: Any) -> tuple[Any, ...]:
    y, p, support, keys = data
    chosen = Prediction(p.mean[at], p.std[at], p.std_mean[at], p.level_code[at])
    return y[at], chosen, support[at], keys[at]


def by_hand(y: Any, p: Any, support: Any, keys: Any, inside: Any) -> dict[str, float | None]:
    there = inside & ~np.isnan(p.mean)
    if not there.any():
        return {"n": 0, "n_missing": int(inside.sum()), "mae": None, "pair_rmse_p90": None}
    e, s = (y - p.mean)[there], p.std[there]
    pair = [np.sqrt(np.mean(e[keys[there] == k] ** 2)) for k in np.unique(keys[there])]
    found: dict[str, float | None] = {
        "n": len(e),
        "n_missing": int((inside & np.isnan(p.mean)).sum()),
        "n_pairs": len(pair),
        "mae": np.abs(e).mean(),
        "rmse": np.sqrt((e**2).mean()),
        "z_mean": (e / s).mean(),
        "z_sd": (e / s).std(ddof=1),
    }
    for nominal in (50, 80, 95):
        low, high = norm.interval(nominal / 100, p.mean[there], s)
        found[f"coverage_{nominal}"] = ((low <= y[there]) & (y[there] <= high)).mean()
        found[f"width_{nominal}"] = (high - low).mean()
    return found | {f"pair_rmse_p{q}": np.percentile(pair, q) for q in (50, 90, 99)}


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    cuts=st.lists(st.integers(0, 400), max_size=5),
    data=st.data(),
)
def test_chunks_in_any_order_give_the_whole(seed: int, cuts: list[int], data: Any) -> None:
    whole = rows(seed)
    order = np.random.default_rng(seed).permutation(400)
    metrics = []
    for at in np.split(order, sorted(cuts)):
        metrics.append(SupportMetrics())
        metrics[-1].update(*part(whole, at))
    ours = metrics[0].merge(*data.draw(st.permutations(metrics[1:])))
    edges = [0, *SUPPORT_EDGES, np.inf]
    masks = [(a <= whole[2]) & (whole[2] < b) for a, b in itertools.pairwise(edges)]
    table = ours.table().to_dicts()
    for row, inside in zip(table, [*masks, whole[2] >= 0], strict=True):
        for name, value in by_hand(*whole, inside).items():
            # Sums in another order.
            assert row[name] == (None if value is None else pytest.approx(value, rel=1e-11)), name
    assert ours.n_rows == 400
    assert ours.share_unseen == (whole[2] == 0).mean()


def test_bins_are_named_and_tail_comes_first() -> None:
    labels = SupportMetrics().table()["support"].to_list()
    assert labels == ["unseen", "1", "2-4", "5-9", "10-19", "20-49", "50-99", ">=100", "all"]


def test_an_empty_bin_is_null() -> None:
    metrics = SupportMetrics((1, 3))
    one = np.ones(1)
    metrics.update(one, Prediction(one, one, one, np.zeros(1, dtype=np.int8)), one, one)
    table = metrics.table()
    assert table["mae"].to_list() == [None, 0.0, None, 0.0]
    # One row has no spread.
    assert table["z_sd"].to_list() == [None] * 4


def test_pairs_are_compacted_without_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rt_ridge.support._COMPACT", 10)
    whole, chunked = SupportMetrics(), SupportMetrics()
    data = rows(3)
    whole.update(*data)
    for at in np.split(np.arange(400), 40):
        chunked.update(*part(data, at))
    ours, theirs = whole.table(), chunked.table()
    for name in ours.columns[1:]:
        np.testing.assert_allclose(
            ours[name].to_numpy(), theirs[name].to_numpy(), rtol=1e-12, equal_nan=True
        )


def test_other_bins_do_not_merge() -> None:
    with pytest.raises(RTRidgeError, match=r"edges: expected \[1, 5\] in all parts; found \[1, 6"):
        SupportMetrics((1, 5)).merge(SupportMetrics((1, 6)))
    for edges in ((), (0, 1), (1, 1), (2, 3)):
        with pytest.raises(RTRidgeError, match="edges: expected ascending from 1"):
            SupportMetrics(edges)
