"""
A curriculum moves on when the model stops improving
====================================================

Labels of three qualities: a curriculum starts with the best ones and lets the others in, phase by phase. A phase ends
when the validation loss has not improved for ``patience`` epochs.
"""

import numpy as np
from molpool_common import OKABE_ITO, new_figure, style
from sampling_core import CurriculumState

state = CurriculumState(["high", "medium", "low"], patience=3)

# %%
# A made-up loss that falls in steps, with some noise: each new phase brings rows that help for a while.

rng = np.random.default_rng(0)
shares, losses, loss, floor = [], [], 1.0, 0.55
for _epoch in range(60):
    shares.append(state.sampling_probs())
    loss = floor + 0.75 * (loss - floor)
    losses.append(loss + rng.normal(0, 0.004))
    if state.update(losses[-1]):
        floor -= 0.08

# %%
# Weights of a phase are those of a row. With ``count_normalize`` they are shares of the draws, whatever the number of
# rows of each quality. ``history`` says when each phase began.

with style():
    figure = new_figure(8, 4.2)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    epochs = np.arange(1, 61)
    stacked = [[s[q] for s in shares] for q in state.qualities]
    top.stackplot(epochs, stacked, labels=state.qualities, colors=OKABE_ITO[:3], alpha=0.8)
    top.set(ylabel="weight of a row", ylim=(0, 1))
    top.legend(loc="lower right", ncols=3)
    bottom.plot(epochs, losses, color=OKABE_ITO[5])
    bottom.set(xlabel="epoch", ylabel="validation loss")
    for at, phase in state.history:
        bottom.axvline(at + 0.5, color="0.5", linewidth=1)
        bottom.text(at + 0.8, max(losses), phase, va="top")
figure

# %%
# Early stopping that is quicker than ``patience`` would end training in the first phase: a run says so before it starts.
print(state.history)
