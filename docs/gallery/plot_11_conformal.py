"""
Do 80 % intervals hold 80 %?
============================

A conformal interval takes its width from errors on rows that the model has not seen. Over many new rows it then covers
what it says, whatever the model. Within a kind of rows it need not, unless each kind calibrates its own.
"""

import numpy as np
from molpool_common import OKABE_ITO, IntervalCalibration, new_figure, style

rng = np.random.default_rng(0)


def draw(n):
    """Simulate labels and predictions: a third of the rows is a new series, with twice the error."""
    new = rng.random(n) < 1 / 3
    truth = rng.normal(0, 1, n)
    return truth[:, None], (truth + rng.normal(0, np.where(new, 0.6, 0.3)))[:, None], new


y, mean, new = draw(600)
kinds = np.where(new, "new series", "known series")
plain = IntervalCalibration.fit(y, mean)
by_kind = IntervalCalibration.fit(y, mean, strata=kinds.tolist())

# %%
y, mean, new = draw(20_000)
kinds = np.where(new, "new series", "known series")
levels = np.linspace(0.5, 0.95, 10)


def covered(calibration, strata):
    """Return the share of new rows inside, by level, of all rows and of each kind."""
    rows = []
    for level in levels:
        low, high = calibration.intervals(mean, level, strata=strata)
        inside = ((low <= y) & (y <= high))[:, 0]
        rows.append([inside.mean(), inside[~new].mean(), inside[new].mean()])
    return 100 * np.array(rows)


with style():
    figure = new_figure(8, 3.6)
    both = ((plain, None, "one calibration"), (by_kind, kinds.tolist(), "one for each kind"))
    for axes, (calibration, strata, title) in zip(figure.subplots(1, 2), both, strict=True):
        axes.plot(100 * levels, 100 * levels, color="0.7")
        names = ("all rows", "known series", "new series")
        shares = covered(calibration, strata).T
        for color, name, share in zip(OKABE_ITO[::2], names, shares, strict=False):
            axes.plot(100 * levels, share, "o-", markersize=3, color=color, label=name)
        axes.set(xlabel="level, %", ylabel="rows inside, %", title=title)
    figure.axes[0].legend(loc="lower right")
figure

# %%
# With one calibration the new series is covered too seldom, and the known one too often: only their mean is right. In a
# run, strata are ``--applicability.strata``; :doc:`/explanation/intervals` has the coverage on real tables.
