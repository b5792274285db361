"""
Two models on the same rows
===========================

Which of two models is better, or can nobody tell? From features to verdict.
"""

import numpy as np
from molecule_features import featurize
from molpool_common import molecule_groups, parse_smiles, split
from molpool_pipelines.demo import build_demo
from multitask_models import MultitaskForest, MultitaskGP

table = build_demo(n=600, seed=0)
smiles = table["SMILES"].to_list()
labels = table.select("LogP", "LogS").to_numpy()
X = featurize(smiles, "morgan_count", cache=None).values
groups = molecule_groups(parse_smiles(smiles).mols)
parts = split("scaffold", (0.75, 0.0, 0.25), groups=groups, smiles=smiles, seed=0)

# %%
errors = {}
for name, model in (("forest", MultitaskForest()), ("gp", MultitaskGP(learning_labels=400))):
    model.fit(X[parts.train], labels[parts.train])
    errors[name] = np.abs(model.predict(X[parts.test]) - labels[parts.test])
    print(name, np.nanmean(errors[name], axis=0).round(3))

# %%
# Paired: the difference of both errors on each molecule, resampled over molecules. What is hard for both cancels.

difference = errors["gp"] - errors["forest"]
rng = np.random.default_rng(0)
for t, task in enumerate(("LogP", "LogS")):
    of = difference[:, t][np.isfinite(difference[:, t])]
    resamples = rng.choice(of, (2000, len(of))).mean(axis=1)
    low, high = np.quantile(resamples, [0.025, 0.975])
    verdict = (
        "not distinguishable" if low < 0 < high else ("gp wins" if high < 0 else "forest wins")
    )
    print(f"{task}: {of.mean():+.3f} ({low:+.3f} to {high:+.3f}), {verdict}")

# %%
# ``molpool-evaluate compare`` does this for whole runs, with corrections for several tests.
