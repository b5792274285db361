"""
A model in five lines
=====================

Models are scikit-learn estimators: of SMILES, RDKit molecules, pandas or polars frames.
"""

import molpool
from sklearn.model_selection import KFold, cross_val_score

table = molpool.build_demo(n=250, seed=0).to_pandas()
smiles, logp = table["SMILES"], table["LogP"]

# %%
# Fit on labels with gaps. A short list of features and models keeps this notebook short; leave both out for your own table.

known = logp.notna()
model = molpool.AutoRegressor(model=["gp"], features="morgan_count")
model.fit(smiles[known], logp[known])

# %%
# Predictions and the ends of intervals that hold for 80 % of new molecules like these.

mean, interval = model.predict(["CCOc1ccccc1", "CC(=O)Nc1ccccc1"], return_interval=0.8)
for value, (low, high) in zip(mean, interval, strict=True):
    print(f"{value:.2f}  between {low:.2f} and {high:.2f}")

# %%
# The same as a frame, with the nearest training molecule of each.
model.predict_table(["CCOc1ccccc1", "CC(=O)Nc1ccccc1"])

# %%
# Everything that takes an estimator takes it. Random folds are easy: see the tutorial on baselines for harder ones.

scores = cross_val_score(
    model, smiles[known], logp[known], cv=KFold(2, shuffle=True, random_state=0)
)
print(f"R2 of two folds: {scores.round(2)}")

# %%
# The page of the run, as commands write it. ``model.run_`` is its folder, which all commands read.
model.report()
