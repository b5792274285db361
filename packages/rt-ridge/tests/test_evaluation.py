from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from rt_ridge.baselines import GroupwiseRidge
from rt_ridge.errors import RTRidgeError
from rt_ridge.estimators import PartialPoolingRidge
from rt_ridge.evaluation import evaluate, predict_frame
from rt_ridge.regressors import fit_features, regressor_statistics
from rt_ridge.simulate import simulate
from rt_ridge.simulate_config import SimulateConfig
from rt_ridge.statistics import SufficientStatistics

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
