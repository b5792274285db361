"""
How far a split tests
=====================

A model is asked about molecules unlike those that it was trained on. A random split tests that least, as relatives of most
test molecules are in training. Scaffolds and clusters keep relatives together.
"""

import numpy as np
from molpool_common import (
    OKABE_ITO,
    molecule_groups,
    morgan_fingerprints,
    new_figure,
    parse_smiles,
    split,
    style,
)
from molpool_pipelines.demo import build_demo
from rdkit.DataStructs import BulkTanimotoSimilarity

smiles = build_demo(n=700, seed=0)["SMILES"].to_list()
mols = parse_smiles(smiles).mols
fingerprints = morgan_fingerprints(mols)
groups = molecule_groups(mols)

# %%
nearest = {}
for method in ("random", "scaffold", "cluster"):
    parts = split(method, (0.8, 0.0, 0.2), groups=groups, smiles=smiles, seed=0)
    known = [fingerprints[i] for i in parts.train]
    nearest[method] = [max(BulkTanimotoSimilarity(fingerprints[i], known)) for i in parts.test]

# %%
with style():
    figure = new_figure(7, 3.4)
    axes = figure.subplots()
    for color, (method, values) in zip(OKABE_ITO[::2], nearest.items(), strict=False):
        axes.ecdf(values, color=color, label=f"{method}: median {np.median(values):.2f}")
    axes.set(xlabel="similarity to the nearest training molecule", ylabel="share of test molecules")
    axes.legend(loc="lower right")
figure

# %%
# The demo table is enumerated from few building blocks, so that its molecules are all alike and the splits differ little.
# In a table of several projects they lie much farther apart: look at your own before you choose.
