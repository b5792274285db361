"""
One peak that is off
====================

A single misread retention time widens the intervals of all rows where errors are taken for normal. With heavy tails a row
counts by how far off it is, and the others keep their precision.
"""

import numpy as np
from molpool_common import OKABE_ITO, new_figure, style
from rt_ridge import PartialPoolingRidge

rng = np.random.default_rng(0)
n = 240
compound = rng.integers(0, 12, n)
drift = rng.normal(size=n)
rt = 3 + 0.4 * compound + 0.2 * drift + rng.normal(0, 0.09, n)
wrong = rt.copy()
wrong[17] = 0.0
groups = np.stack([np.zeros(n, int), compound], axis=1)

# %%
sigma, widths = {}, {}
for name, times in (("all times right", rt), ("one time is 0", wrong)):
    for likelihood in ("gaussian", "student_t"):
        model = PartialPoolingRidge(
            intercept_prior="flat", slope_head_mode="global", likelihood=likelihood
        ).fit(drift[:, None], times, groups)
        sigma[name, likelihood] = model.scales_["sigma"]["mean"]

# %%
with style():
    figure = new_figure(7, 2.8)
    axes = figure.subplots()
    names = [f"{data}, {likelihood}" for data, likelihood in sigma]
    axes.barh(
        names, list(sigma.values()), color=[OKABE_ITO[0], OKABE_ITO[0], OKABE_ITO[5], OKABE_ITO[5]]
    )
    axes.axvline(0.09, color="0.3", linewidth=1, label="simulated")
    axes.invert_yaxis()
    axes.set(xlabel="scale of the errors, min")
    axes.legend()
figure

# %%
# ``flagged.csv`` of a run lists such peaks with what was expected of them.
