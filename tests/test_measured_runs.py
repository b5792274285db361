"""Facts of the study of measured retention times, against scikit-learn run by run."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from molpool_common import InputError
from rt_ridge import PartialPoolingRidge
from sklearn.linear_model import Ridge

STUDIES = Path(__file__).parents[1] / "studies"

pytestmark = [pytest.mark.realdata, pytest.mark.slow]


@pytest.fixture(scope="module")
def study() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(STUDIES))
        yield importlib.import_module("retention_study")


def read(study: Any, name: str) -> Any:
    try:
        return study.PANELS[name]()
    except InputError as error:
        pytest.skip(str(error))


def separate(study: Any, panel: Any, alpha: float) -> tuple[float, float]:
    """RMSE over held-out runs of one scikit-learn ridge a compound, and of its mean."""
    X, y = panel.rows.select(panel.anchors).to_numpy(), panel.rows["rt"].to_numpy()
    compound, errors = panel.rows["comp_id"].to_numpy(), []
    for out in study.folds(panel.rows["run"].to_numpy()):
        for c in np.unique(compound[out]):
            train, test = (compound == c) & ~out, (compound == c) & out
            line = Ridge(alpha).fit(X[train], y[train])
            means = np.full(test.sum(), y[train].mean())
            errors.append(np.stack([y[test] - line.predict(X[test]), y[test] - means]))
    ridge, mean = np.sqrt((np.concatenate(errors, axis=1) ** 2).mean(axis=1))
    return float(ridge), float(mean)


def pooled(study: Any, panel: Any, *, calibrated: bool = False, **config: Any) -> Any:
    model = PartialPoolingRidge(lambda_slopes="estimate", **config)
    metrics, _ = study.cross_validate(panel, (model, "species"), calibrated=calibrated)
    return metrics.table().row(-1, named=True)


def test_drift_of_peptides_is_found(study: Any) -> None:
    panel = read(study, "S9Site54")
    found = pooled(study, panel, intercept_prior="flat", calibrated=True)
    # With a penalty in the right range, here 0.01; the pooled fit finds its own.
    ridge, mean = separate(study, panel, 0.01)
    assert found["rmse"] < 0.5 * mean
    assert found["rmse"] < 1.03 * ridge
    # The published ridge of each peptide, by its median.
    assert found["pair_rmse_p50"] < 0.033
    # 450 rows of 45 runs scatter by 1 point and more.
    for nominal, bar in ((50, 4.0), (80, 4.0), (95, 1.5)):
        assert abs(100 * found[f"coverage_{nominal}"] - nominal) < bar


def test_a_controlled_panel_is_predicted_as_well_as_by_ridge(study: Any) -> None:
    panel = read(study, "Stoffel-95")
    ridge, mean = separate(study, panel, 1.0)
    # Published of other folds: 0.163 and 0.362.
    assert ridge == pytest.approx(0.163, rel=0.1)
    assert mean == pytest.approx(0.362, rel=0.1)
    found = pooled(study, panel, intercept_prior="comp_hier", slope_head_mode="global")
    assert found["rmse"] < 1.03 * ridge
    # One σ for quiet and noisy compounds alike: far too wide for most, unless calibrated.
    assert found["coverage_50"] > 0.9
    found = pooled(study, panel, intercept_prior="flat", calibrated=True)
    assert abs(found["coverage_95"] - 0.95) < 0.01


def test_runs_far_beyond_the_others_are_covered(study: Any) -> None:
    # Two of 18 setups flow far slower than all others, and are held out together: 693 rows.
    found = pooled(
        study,
        read(study, "Stoffel"),
        intercept_prior="comp_hier",
        slope_head_mode="global",
        calibrated=True,
    )
    assert abs(found["coverage_95"] - 0.95) < 0.01


def test_without_drift_slopes_shrink_and_intervals_stay_honest(study: Any) -> None:
    panel = read(study, "midar-499")
    found = pooled(study, panel, intercept_prior="flat", calibrated=True)
    _, mean = separate(study, panel, 1.0)
    assert found["rmse"] < 1.01 * mean
    for nominal in (50, 80, 95):
        assert abs(100 * found[f"coverage_{nominal}"] - nominal) < 1.0
    X, groups = panel.rows.select(panel.anchors).to_numpy(), study.ids(panel.rows, "species")
    model = PartialPoolingRidge(intercept_prior="flat", lambda_slopes="estimate")
    model.fit(X, panel.rows["rt"].to_numpy(), groups)
    drift = (X - X.mean(axis=0)) @ model.summaries_.mean[:, 1:].T
    sigma = model.scales_["sigma"]["mean"]
    assert np.median(drift.std(axis=0)) < 0.3 * sigma
