"""
Packed equals padded
====================

Bags differ in size. Padding fills all of them up to the largest one; packing lays their instances end to end. The pool
gives the same numbers both ways, to rounding, and computes only what is there.
"""

import numpy as np
import torch
from mil_attn import TaskAttentionPool, pad_bags
from molpool_common import OKABE_ITO, new_figure, style

torch.manual_seed(0)
rng = np.random.default_rng(0)
sizes = torch.from_numpy(np.minimum(rng.geometric(0.08, 64), 60))
offsets = torch.cat([torch.zeros(1, dtype=torch.long), sizes.cumsum(0)])
rows = torch.randn(int(sizes.sum()), 32)
pool = TaskAttentionPool(dim=32, n_tasks=3, n_heads=4).eval()

# %%
with torch.no_grad():
    packed, _ = pool(rows, offsets)
    padded_rows, mask = pad_bags(rows, offsets)
    normed = pool.norm(padded_rows)
    queries = pool.queries.expand(len(sizes), -1, -1)
    reference, _ = pool.mha(queries, normed, normed, key_padding_mask=mask)
difference = (packed - reference).abs().max().item()
print(f"largest difference to torch.nn.MultiheadAttention: {difference:.1e}")

# %%
# Cells in color are computed; grey ones are padding.

with style():
    figure = new_figure(8, 3)
    axes = figure.subplots()
    order = np.argsort(-sizes.numpy())
    ours, most = sizes.numpy()[order], int(sizes.max())
    axes.bar(np.arange(64), most, color="#c4c4c4", label=f"padded: {64 * most:,} cells")
    axes.bar(np.arange(64), ours, color=OKABE_ITO[0], label=f"packed: {ours.sum():,} cells")
    axes.set(xlabel="bag, by size", ylabel="instances", ylim=(0, 1.25 * most))
    axes.legend(ncols=2)
figure
