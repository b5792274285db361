"""
Retention times in a notebook
=============================

From a table in memory to predictions with intervals, without a command.
"""

import numpy as np
import polars as pl
from rt_ridge import LEVELS, AutoRidge, SimulateConfig, simulate

config = SimulateConfig(n_species=6, n_compounds=12, rare_pairs=8, unseen_pairs=8)
lab = simulate(config)
print(lab.train.head(3))

# %%
# ``AutoRidge`` tries several ways of borrowing, and takes what predicts runs left out best.

covariates = list(config.covariates)
ids = ["species", "comp_id", "species_cluster"]
model = AutoRidge().fit(
    lab.train.select(covariates).to_numpy(),
    lab.train["rt"].to_numpy(),
    lab.train.select(ids).to_numpy(),
    runs=lab.train["run"].to_numpy(),
)
print(model.structure_.taken)

# %%
# Predict runs that lie farther out, also for pairs that were never measured. ``level`` says where a row came from.

prediction = model.predict_levels(
    lab.test.select(covariates).to_numpy(), lab.test.select(ids).to_numpy()
)
error = lab.test["rt"].to_numpy() - prediction.mean
half = prediction.half_width(0.9)
found = pl.DataFrame(
    {
        "level": np.array(LEVELS)[prediction.level_code],
        "error": error,
        "inside": np.abs(error) <= half,
    }
)
print(found.group_by("level").agg(pl.len(), pl.col("error").abs().mean(), pl.col("inside").mean()))
