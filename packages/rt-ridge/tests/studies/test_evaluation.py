from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rt_ridge._config import SimulateConfig
from rt_ridge._errors import RTRidgeError
from rt_ridge._estimators import PartialPoolingRidge
from rt_ridge.prediction._conformal import SUPPORT_EDGES
from rt_ridge.prediction._summaries import Prediction
from rt_ridge.statistics._sufficient import SufficientStatistics, fit_features, regressor_statistics
from rt_ridge.studies._baselines import GroupwiseRidge
from rt_ridge.studies._evaluation import SupportMetrics, evaluate, predict_frame
from rt_ridge.studies._simulate import simulate
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
        for name, value in by_hand(*whole, inside=inside).items():
            # Sums in another order.
            assert row[name] == (None if value is None else pytest.approx(value, rel=1e-11)), name
    assert ours.n_rows == 400
    assert ours.share_unseen == (whole[2] == 0).mean()


def test_bins_are_named_and_tail_comes_first() -> None:
    labels = SupportMetrics().table()["support"].to_list()
    assert labels == ["unseen", "1", "2-4", "5-9", "10-19", "20-49", "50-99", ">=100", "all"]


def test_an_empty_bin_is_null() -> None:
    metrics = SupportMetrics((1, 3))
    one, once = np.ones(1), np.ones(1, dtype=np.int64)
    metrics.update(one, Prediction(one, one, one, np.zeros(1, dtype=np.int8)), once, once)
    table = metrics.table()
    assert table["mae"].to_list() == [None, 0.0, None, 0.0]
    # One row has no spread.
    assert table["z_sd"].to_list() == [None] * 4


def test_pairs_are_compacted_without_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rt_ridge.studies._evaluation._COMPACT", 10)
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


CONFIG = SimulateConfig(
    n_species=8, n_compounds=12, rare_pairs=10, unseen_pairs=12, unseen_species=1, anchors=1
)


@pytest.fixture(scope="module")
def lab() -> Any:
    return simulate(CONFIG)


def fit(model: Any, train: pl.DataFrame, group: str) -> Any:
    stats = SufficientStatistics.from_frame(
        train,
        covariates=CONFIG.covariates,
        group=group,
        parent="species_cluster" if group == "species" else None,
    )
    features = fit_features(stats)
    return model.fit(regressor_statistics(stats, features), features=features).summaries_


@pytest.fixture(scope="module")
def artefacts(lab: Any) -> dict[str, Any]:
    pooled = PartialPoolingRidge(intercept_prior="comp_hier_supercat")
    by_cluster = GroupwiseRidge(group_col="species_cluster")
    return {
        "pooled": fit(pooled, lab.train, "species"),
        "cluster": fit(by_cluster, lab.train, "species_cluster"),
        "species": fit(GroupwiseRidge(), lab.train, "species"),
    }


def test_chunks_are_of_no_account(lab: Any, artefacts: dict[str, Any]) -> None:
    whole = evaluate([lab.test], artefacts)
    order = lab.test.sample(fraction=1.0, shuffle=True, seed=0)
    parts = evaluate(order.iter_slices(97), artefacts)
    assert (whole.n_read, whole.n_not_common) == (parts.n_read, parts.n_not_common)
    assert whole.levels == parts.levels
    for name, metrics in whole.metrics.items():
        ours, theirs = metrics.table(), parts.metrics[name].table()
        for column in ours.columns[1:]:
            np.testing.assert_allclose(ours[column], theirs[column], rtol=1e-10, atol=1e-12)


def test_all_are_scored_on_the_rows_that_all_can_predict(
    lab: Any, artefacts: dict[str, Any]
) -> None:
    found = evaluate([lab.test], artefacts)
    known = ~np.isnan(predict_frame(lab.test, artefacts["species"]).mean)
    assert found.n_not_common == (~known).sum() > 0
    tables = {name: metrics.table() for name, metrics in found.metrics.items()}
    counts = {name: table["n"].to_list() for name, table in tables.items()}
    assert counts["pooled"] == counts["cluster"] == counts["species"]
    assert all(table["n_missing"].sum() == 0 for table in tables.values())
    error = (lab.test["rt"].to_numpy() - predict_frame(lab.test, artefacts["pooled"]).mean)[known]
    assert tables["pooled"]["mae"][-1] == pytest.approx(np.abs(error).mean(), rel=1e-12)


def test_gaps_of_each_are_counted_on_all_rows(lab: Any, artefacts: dict[str, Any]) -> None:
    own = evaluate([lab.test], artefacts).own
    table = own["species"].table()
    # Only what no row was seen of has no prediction.
    assert table["n_missing"][0] == table["n_missing"][-1] > 0
    assert own["pooled"].share_unseen == table["n_missing"][0] / lab.test.height
    assert own["pooled"].table()["n_missing"].sum() == 0
    # Bins are of an artefact's own support: supercategories have rows of nearly every compound.
    assert own["cluster"].share_unseen < own["pooled"].share_unseen


def test_rare_pairs_are_told_apart(lab: Any, artefacts: dict[str, Any]) -> None:
    found = evaluate([lab.test], {"pooled": artefacts["pooled"]})
    counts = artefacts["pooled"].support(lab.test["species"], lab.test["comp_id"])
    table = found.rare["pooled"].table()
    assert table["support"].to_list() == ["unseen", "1-2", ">=3", "all"]
    few = [(counts == 0).sum(), ((counts > 0) & (counts <= 2)).sum()]
    assert table["n"].to_list() == [*few, 0, sum(few)]
    with pytest.raises(RTRidgeError, match="rare_rows: expected at least 1; found 0"):
        evaluate([lab.test], artefacts, rare_rows=0)


def test_seen_pairs_can_be_required(lab: Any, artefacts: dict[str, Any]) -> None:
    found = evaluate([lab.test], artefacts, require_seen_group=True)
    seen = predict_frame(lab.test, artefacts["species"]).level == "pair"
    assert found.n_unseen == (~seen).sum()
    assert found.metrics["pooled"].share_unseen == 0.0
    assert found.metrics["pooled"].n_rows == seen.sum()


def test_rows_are_told_by_level(lab: Any, artefacts: dict[str, Any]) -> None:
    found = evaluate([lab.test.iter_slices(50).__next__()], {"p": artefacts["pooled"]})
    assert sum(found.levels["p"].values()) == 50
    whole = evaluate([lab.test], artefacts).levels
    # The species without rows has its anchor still, so its other pairs start from the group.
    assert whole["pooled"]["pair"] + whole["pooled"]["group+compound"] == lab.test.height
    assert whole["species"]["none"] == whole["pooled"]["group+compound"]


def test_bins_are_those_of_the_reference(lab: Any, artefacts: dict[str, Any]) -> None:
    by_pair = evaluate([lab.test], artefacts).metrics["pooled"].table()
    by_cluster = evaluate([lab.test], artefacts, reference="cluster").metrics["pooled"].table()
    assert by_pair["n"].to_list() != by_cluster["n"].to_list()
    assert by_pair["mae"][-1] == pytest.approx(by_cluster["mae"][-1], rel=1e-12)


def test_bad_comparisons_are_refused(lab: Any, artefacts: dict[str, Any]) -> None:
    with pytest.raises(RTRidgeError, match="artefacts: expected at least one"):
        evaluate([lab.test], {})
    with pytest.raises(RTRidgeError, match="rows: expected at least one to evaluate"):
        evaluate([], artefacts)
    with pytest.raises(RTRidgeError, match=r"no artefact is called 'pool'\. Did you mean 'pooled'"):
        evaluate([lab.test], artefacts, reference="pool")
    with pytest.raises(RTRidgeError, match="columns: expected 'species_cluster' in the table"):
        evaluate([lab.test.drop("species_cluster")], artefacts)
    gap = lab.test.with_row_index().with_columns(
        rt=pl.when(pl.col("index") == 70).then(None).otherwise(pl.col("rt"))
    )
    with pytest.raises(RTRidgeError, match=r"rt: expected a finite .* 1 others \(rows 70\)"):
        evaluate(gap.iter_slices(50), artefacts)
