"""
A curriculum, from Python
=========================

The sampler on its own: rare tasks come more often, and rows of low quality come later.
"""

import numpy as np
import torch
from molpool_pipelines.demo import DEMO_TASKS, build_demo
from sampling_core import CurriculumState, JointSampler

table = build_demo(n=800, seed=0)
targets = table.select(DEMO_TASKS).to_numpy()
quality = table["Quality"].to_list()

# %%
# One epoch draws as many rows as the table has.

state = CurriculumState(["high", "medium", "low"], patience=2)
sampler = JointSampler(targets, quality, state, task_alpha=0.3, seed=1)
loader = torch.utils.data.DataLoader(range(len(table)), batch_size=64, sampler=sampler)

# %%
# A loss that stops improving moves the curriculum on. Count what each phase draws.

for loss in (1.0, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8):
    rows = torch.cat(list(loader)).numpy()
    drawn = [np.mean([quality[i] == q for i in rows]) for q in state.qualities]
    rarest = np.isfinite(targets[rows, -1]).mean()
    print(
        f"{state.phase:8s} high {drawn[0]:.2f}  medium {drawn[1]:.2f}  low {drawn[2]:.2f}"
        f"  with {DEMO_TASKS[-1]} {rarest:.3f}"
    )
    state.update(loss)

# %%
# ``state_dict`` of both goes into a checkpoint: the stream goes on as if it had never stopped.

print(sorted(sampler.state_dict()))
