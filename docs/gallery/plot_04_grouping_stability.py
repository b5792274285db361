"""
Would the same groups come again?
=================================

A batch's gradients are noisy, so that a grouping made from few batches is one of many. Resampling the batches shows how
often two tasks come out together.
"""

import numpy as np
from molpool_common import OKABE_ITO, new_figure, style
from task_affinity import TaskAffinityConfig, grouping_stability

tasks = ["LogD", "LogP", "KSOL", "HLM", "MLM", "RLM", "hERG", "Nav1.5"]
family = np.array([0, 0, 0, 1, 1, 1, 2, 2])
true = np.where(family[:, None] == family, 0.13, 0.03)
config = TaskAffinityConfig(n_groups=3, n_bootstrap=100, seed=0)
rng = np.random.default_rng(0)

found = {}
for n in (10, 30, 100, 300, 1000):
    noise = rng.normal(0, 0.4, (n, 8, 8))
    sums = true + (noise + noise.transpose(0, 2, 1)) / 2
    found[n] = grouping_stability(sums, np.ones(sums.shape, int), tasks, config)

# %%
# Agreement is the adjusted Rand index of the resamples to the grouping by all batches: 1 always the same, 0 random.

with style():
    figure = new_figure(8, 3.2)
    left, right = figure.subplots(1, 2, width_ratios=[1, 1])
    sizes = list(found)
    left.plot(sizes, [found[n].agreement for n in sizes], "o-", color=OKABE_ITO[0])
    left.set(xscale="log", xlabel="batches", ylabel="agreement", ylim=(0, 1.02))
    left.set_xticks(sizes, [str(n) for n in sizes])
    left.set_xticks([], minor=True)
    image = right.imshow(found[30].co_assignment, vmin=0, vmax=1, cmap="Blues")
    right.set_xticks(range(8), tasks, rotation=60, ha="right")
    right.set_yticks(range(8), tasks)
    right.grid(visible=False)
    right.set_title("together in resamples of 30 batches")
    figure.colorbar(image, ax=right)
figure

# %%
# Below some 0.8, do not read meaning into a group. More epochs of measuring (``affinity_epochs``) are the remedy.
