"""
Task affinity on a table of SMILES
==================================

One short training measures which tasks agree; groups follow.
"""

from molpool_pipelines.demo import build_demo
from task_affinity import TaskAffinityConfig, compute_task_affinity, format_matrix

table = build_demo(n=400, seed=0).to_pandas()
tasks = ["LogP", "LogS", "QED", "MR"]
config = TaskAffinityConfig(
    affinity_epochs=1, n_groups=2, n_bootstrap=50, encoder_param_patterns=["W_o"], seed=0
)

# %%
# ``W_o``, the encoder's last layer, costs a fraction of all of it and ranks pairs alike.

matrix, names, groups = compute_task_affinity(table, "SMILES", tasks, config)
print(format_matrix(matrix, names))

# %%
for group in groups:
    print(group)
