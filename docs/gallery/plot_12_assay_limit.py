"""
Labels beyond an assay's limit
==============================

An assay that stops at 2 reports "> 2". Taking 2 for the value bends the model; leaving such rows out bends it too. As a
bound, a label costs nothing where the prediction is on its right side.
"""

import numpy as np
from molpool_common import OKABE_ITO, new_figure, style
from multitask_models import MultitaskGP

rng = np.random.default_rng(0)
x = np.sort(rng.uniform(-3, 3, 150))
truth = 2.2 * np.sin(x) + 0.5 * x
y = truth + rng.normal(0, 0.25, len(x))
limit = 2.0
beyond = y > limit
reported = np.minimum(y, limit)

# %%
grid = np.linspace(-3, 3, 200)


def fitted(rows, censoring=None):
    """Fit to some of the rows, and predict the grid."""
    model = MultitaskGP(kernels="rbf", rank=1, limits=None)
    signs = None if censoring is None else censoring[rows, None]
    model.fit(x[rows, None], reported[rows, None], censoring=signs)
    return model.predict(grid[:, None])[:, 0]


every = np.ones(len(x), bool)
curves = {
    "the limit taken for the value": fitted(every),
    "rows at the limit left out": fitted(~beyond),
    "as bounds": fitted(every, beyond.astype(np.int8)),
}

# %%
with style():
    figure = new_figure(8, 3.8)
    axes = figure.subplots()
    axes.plot(grid, 2.2 * np.sin(grid) + 0.5 * grid, color="0.2", linewidth=2, label="truth")
    axes.plot(x[~beyond], y[~beyond], ".", color="0.6", label="measured")
    axes.plot(x[beyond], reported[beyond], "^", color="0.6", label=f"reported as > {limit:g}")
    for color, (name, curve) in zip(OKABE_ITO[::2], curves.items(), strict=False):
        axes.plot(grid, curve, color=color, label=name)
    axes.set(xlabel="feature", ylabel="value")
    figure.legend(loc="outside right center")
figure

# %%
# In a table, cells such as ``>200`` are read as bounds (:doc:`/tables`); no metric counts them.
