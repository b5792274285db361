"""
How hard to oversample a rare task
==================================

A multi-task table is uneven: in the demo table one task has forty labels for each label of the rarest. The exponent
``alpha`` says how far draws even that out. The price is repetition: rows of the rare task come again and again.
"""

import numpy as np
from molpool_common import OKABE_ITO, new_figure, style
from molpool_pipelines.demo import DEMO_TASKS, build_demo
from sampling_core import JointSampler

table = build_demo(n=1500, seed=0)
targets = table.select(DEMO_TASKS).to_numpy()
alphas = np.linspace(0, 1, 11)
modes = ("multiplicative", "hierarchical")

# %%
# ``statistics`` follows from the distribution itself: nothing is drawn. ``effective_samples`` says how many equally
# likely rows would repeat as often. The share of draws with a label of the rarest task is counted in one epoch.

effective, rare = {}, {}
for mode in modes:
    samplers = [
        JointSampler(targets, task_alpha=a, composition_mode=mode, num_samples=20_000, seed=0)
        for a in alphas
    ]
    effective[mode] = [s.statistics().effective_samples for s in samplers]
    rare[mode] = [np.isfinite(targets[s.draws(), -1]).mean() for s in samplers]

# %%
# ``hierarchical`` draws a task first. It rebalances far harder, already at 0.

with style():
    figure = new_figure(8, 3.4)
    left, right = figure.subplots(1, 2)
    for color, mode in zip(OKABE_ITO[::5], modes, strict=False):
        left.plot(alphas, 100 * np.array(rare[mode]), "o-", color=color, label=mode)
        right.plot(alphas, effective[mode], "o-", color=color)
    left.set(xlabel="alpha", ylabel=f"draws with a label of {DEMO_TASKS[-1]}, %", ylim=(0, None))
    right.set(xlabel="alpha", ylabel=f"effective rows of {len(table)}", ylim=(0, None))
    left.legend(loc="upper left")
figure

# %%
# Start with multiplicative and 0.3. Below a tenth of the rows, the model learns the rare task by heart.
