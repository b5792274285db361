"""
A rare task borrows from a common one
=====================================

Two tasks that go up and down together, one with 60 labels and one with 6. A Gaussian process over both learns from the
labels how alike they are, and lends the rare one the shape of the other.
"""

import numpy as np
from molpool_common import OKABE_ITO, new_figure, style
from multitask_models import MultitaskGP

rng = np.random.default_rng(3)


def shape(x):
    """Return what both tasks have in common."""
    return np.sin(1.7 * x) + 0.3 * x


x = rng.uniform(-3, 3, 60)
labels = np.column_stack([shape(x), 0.8 * shape(x) + 1.0]) + rng.normal(0, 0.12, (60, 2))
labels[6:, 1] = np.nan
grid = np.linspace(-3, 3, 200)

# %%
alone = MultitaskGP(kernels="rbf", rank=1).fit(x[:6, None], labels[:6, 1:])
both = MultitaskGP(kernels="rbf", rank=1).fit(x[:, None], labels)
guess = {
    "on its own": [v[:, 0] for v in alone.predict(grid[:, None], return_std=True)],
    "with the common task": [v[:, 1] for v in both.predict(grid[:, None], return_std=True)],
}

# %%
with style():
    figure = new_figure(8, 3.4)
    for axes, (name, (mean, sd)) in zip(
        figure.subplots(1, 2, sharey=True), guess.items(), strict=True
    ):
        axes.fill_between(grid, mean - 2 * sd, mean + 2 * sd, color=OKABE_ITO[0], alpha=0.2)
        axes.plot(grid, mean, color=OKABE_ITO[0], label="prediction, ± 2 sd")
        axes.plot(grid, 0.8 * shape(grid) + 1.0, color="0.3", linewidth=1, label="truth")
        axes.plot(x[:6], labels[:6, 1], "o", color=OKABE_ITO[5], label="its six labels")
        axes.set(xlabel="feature", title=name)
    figure.axes[0].set_ylabel("rare task")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
figure

# %%
# Where tasks have nothing in common, the shared part shrinks and nothing is borrowed.
