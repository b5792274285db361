"""
Error against labels
====================

How many labels does a task need? The demo table's ``LogS``, with more and more labels, alone and beside ``LogP``, which
has all of its own. The error is that on molecules of other scaffolds, as a share of the error of the mean.
"""

import numpy as np
from molecule_features import featurize
from molpool_common import OKABE_ITO, molecule_groups, new_figure, parse_smiles, split, style
from molpool_pipelines.demo import build_demo
from multitask_models import MultitaskGP

table = build_demo(n=800, seed=1)
smiles = table["SMILES"].to_list()
X = featurize(smiles, "morgan_count", cache=None).values
labels = table.select("LogS", "LogP").to_numpy()
groups = molecule_groups(parse_smiles(smiles).mols)
parts = split("scaffold", (0.7, 0.0, 0.3), groups=groups, smiles=smiles, seed=0)
train, test = parts.train, parts.test
test = test[np.isfinite(labels[test, 0])]

# %%
known = train[np.isfinite(labels[train, 0])]
numbers = [n for n in (10, 20, 40, 80, 160, 240) if n <= len(known)]
floor = np.abs(labels[test, 0] - np.nanmean(labels[known, 0])).mean()
errors = {"alone": [], "beside LogP": []}
for n in numbers:
    few = labels[train].copy()
    few[~np.isin(train, known[:n]), 0] = np.nan
    for name, columns in (("alone", [0]), ("beside LogP", [0, 1])):
        model = MultitaskGP(rank=1, learning_labels=400, max_iter=15)
        guess = model.fit(X[train], few[:, columns]).predict(X[test])[:, 0]
        errors[name].append(np.abs(labels[test, 0] - guess).mean() / floor)

# %%
with style():
    figure = new_figure(7, 3.6)
    axes = figure.subplots()
    for color, (name, values) in zip(OKABE_ITO[::5], errors.items(), strict=False):
        axes.plot(numbers, values, "o-", color=color, label=name)
    axes.axhline(1, color="0.6", linewidth=1)
    axes.set(xscale="log", xlabel="training labels of LogS", ylabel="relative absolute error")
    axes.set_xticks(numbers, [str(n) for n in numbers])
    axes.set_xticks([], minor=True)
    axes.legend()
figure

# %%
# ``molpool-train auto --learning-curve`` draws such a curve of your own table.
