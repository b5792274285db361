"""
What the standards see of a drift, and what they do not
=======================================================

Runs drift. Internal standards see most of it, and slopes take it out. A rest that all compounds share is seen by no
standard: a random walk over the runs takes it up.
"""

import numpy as np
from molpool_common import OKABE_ITO, new_figure, style
from rt_ridge import PartialPoolingRidge

rng = np.random.default_rng(0)
n_runs, n_compounds = 60, 15
run = np.repeat(np.arange(n_runs), n_compounds)
compound = np.tile(np.arange(n_compounds), n_runs)
reading = np.cumsum(rng.normal(0, 0.3, n_runs))
hidden = np.cumsum(rng.normal(0, 0.03, n_runs))
rt = 4 + 0.5 * compound + 0.2 * reading[run] + hidden[run] + rng.normal(0, 0.04, len(run))
groups = np.stack([np.zeros_like(compound), compound], axis=1)
X = reading[run][:, None]

# %%
settings = {"intercept_prior": "flat", "slope_head_mode": "global"}
plain = PartialPoolingRidge(**settings).fit(X, rt, groups)
walk = PartialPoolingRidge(**settings, run_effects="random_walk").fit(X, rt, groups, runs=run)

left_over = {
    "slopes of the standard": rt - plain.predict(X, groups),
    "and a random walk over runs": rt - walk.predict_levels(X, groups, runs=run).mean,
}

# %%
# The mean of what is left in each run. The walk follows it; new runs are placed by a few anchors measured in them.

with style():
    figure = new_figure(8, 3.4)
    axes = figure.subplots()
    axes.axhline(0, color="0.6", linewidth=1)
    for color, (name, residual) in zip(OKABE_ITO[::5], left_over.items(), strict=False):
        of_run = np.bincount(run, residual) / n_compounds
        label = f"{name}: RMSE {np.sqrt(np.mean(residual**2)):.3f} min"
        axes.plot(of_run, ".-", color=color, label=label)
    axes.set(xlabel="run, in order", ylabel="mean residual, min")
    axes.legend(loc="lower right")
figure
