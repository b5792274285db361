"""The probability from which a class is called."""

import numpy as np
import pytest
from molpool_pipelines.models import Calibration
from molpool_pipelines.models._calibration import best_threshold
from sklearn.metrics import matthews_corrcoef


@pytest.mark.parametrize("seed", range(5))
def test_no_other_threshold_has_a_higher_mcc(seed):
    rng = np.random.default_rng(seed)
    p = np.round(rng.beta(1, 4, size=200), 2)
    y = (rng.uniform(size=200) < p).astype(float)
    y[:3], p[3:5] = np.nan, np.nan
    found = best_threshold(y, p)
    known = np.isfinite(y) & np.isfinite(p)
    mcc = [matthews_corrcoef(y[known], p[known] >= cut) for cut in np.linspace(0, 1, 401)]
    assert matthews_corrcoef(y[known], p[known] >= found) == pytest.approx(max(mcc), abs=1e-12)


def test_a_rare_class_is_called_below_one_half_and_the_file_keeps_it(tmp_path):
    rng = np.random.default_rng(0)
    n = 2000
    x = rng.normal(size=n)
    y = (x + rng.normal(size=n) > 2.2).astype(float)
    p = 1 / (1 + np.exp(-(1.5 * x - 4)))
    both = np.stack([y, x], axis=1), np.stack([p, x], axis=1)
    fitted = Calibration.fit(*both, ("classification", "regression"))
    fitted.save(tmp_path / "c.npz")
    found = Calibration.load(tmp_path / "c.npz")
    assert 0 < found.thresholds[0] < 0.5
    assert np.isnan(found.thresholds[1])
    called = found.probabilities(both[1])[:, 0] >= found.thresholds[0]
    assert matthews_corrcoef(y, called) > matthews_corrcoef(y, p >= 0.5)
    few = Calibration.fit(y[:60, None], p[:60, None], ("classification",))
    assert np.isnan(few.thresholds).all()
