"""
Calibrate any model's intervals
===============================

Predictions of any tool can be given intervals that hold: all that is needed are errors on rows that it has not seen.
"""

import numpy as np
from molecule_features import featurize
from molpool_common import IntervalCalibration
from molpool_pipelines.demo import build_demo
from sklearn.ensemble import RandomForestRegressor

table = build_demo(n=600, seed=0).drop_nulls("LogP")
X = featurize(table["SMILES"].to_list(), "morgan_count", cache=None).values
y = table["LogP"].to_numpy()
train, calibrate, test = np.split(np.random.default_rng(0).permutation(len(y)), [300, 430])

# %%
# The spread of the trees says which molecules are hard; the calibration says what that is worth.

forest = RandomForestRegressor(100, random_state=0).fit(X[train], y[train])


def guess(rows):
    """Return the mean and the spread of the trees, as columns."""
    each = np.stack([tree.predict(X[rows]) for tree in forest.estimators_])
    return each.mean(0)[:, None], each.std(0)[:, None]


mean, spread = guess(calibrate)
calibration = IntervalCalibration.fit(
    y[calibrate, None], mean, features=spread[..., None], names=["spread"]
)

# %%
mean, spread = guess(test)
for level in (0.5, 0.8, 0.9):
    low, high = calibration.intervals(mean, level, features=spread[..., None])
    inside = ((low <= y[test, None]) & (y[test, None] <= high)).mean()
    print(
        f"{level:.0%} intervals hold {inside:.0%} of {len(test)} molecules; mean width {(high - low).mean():.2f}"
    )

# %%
# They hold for molecules like those that calibrated. Nothing is promised for others.
