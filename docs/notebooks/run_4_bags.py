"""
Bags of instances with a kernel
===============================

With few bags, attention has little to learn from. A kernel between bags is fitted in a blink, and is often ahead.
"""

import numpy as np
from mil_attn import BagData, BagKernelModel
from sklearn.metrics import roc_auc_score

rng = np.random.default_rng(0)


def draw(n):
    """Simulate bags: an active one has a single instance that stands out."""
    sizes = rng.integers(3, 9, n)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    instances = rng.normal(size=(sizes.sum(), 8))
    active = rng.random(n) < 0.5
    instances[offsets[:-1][active], :3] += 2.5
    ids = [f"bag{i}" for i in range(n)]
    labels = active[:, None].astype(float)
    return BagData(
        ids=ids, instances=instances, offsets=offsets, labels=labels, task_names=["active"]
    )


# %%
# Sixty bags to learn from, two hundred to ask about.

train, test = draw(60), draw(200)
for kernel in ("statistics", "set"):
    guess = BagKernelModel(kernel).fit(train).predict(test)
    print(f"{kernel:10s} AUC {roc_auc_score(test.labels[:, 0], guess[:, 0]):.2f}")

# %%
# Least and largest values see the one instance that stands out; the mean of a set dilutes it.
