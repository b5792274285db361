"""
Which tasks pull the same way
=============================

An affinity is the agreement of two tasks' gradients, here as simulated means over batches: three families of tasks,
blurred by the noise of short training. The heatmap orders tasks by similarity, and writes each entry's error.
"""

import numpy as np
from task_affinity import TaskGrouper, plot_task_affinity_heatmap

tasks = ["LogD", "LogP", "KSOL", "HLM", "MLM", "RLM", "hERG", "Nav1.5"]
family = np.array([0, 0, 0, 1, 1, 1, 2, 2])
true = np.where(family[:, None] == family, 0.25, 0.03)

rng = np.random.default_rng(1)
batches = true + rng.normal(0, 0.4, (120, 8, 8))
batches = (batches + batches.transpose(0, 2, 1)) / 2
affinity = batches.mean(0)
errors = batches.std(0) / np.sqrt(len(batches))
np.fill_diagonal(affinity, 1.0)

# %%
figure = plot_task_affinity_heatmap(affinity, tasks, standard_errors=errors)
figure

# %%
# Groups follow from the matrix. ``tag`` looks for groups, which may overlap, in which every task receives most.

for method in ("agglomerative", "tag"):
    grouper = TaskGrouper(n_groups=3, method=method)
    print(method, grouper.cluster(affinity, tasks))
