"""
Exact, and as cheap as the pairs
================================

Given the standard deviations, the model of retention times is one large Gaussian. rt-ridge never forms it: each pair's
coefficients leave the system in closed form. Here the large Gaussian is written out, and both agree to rounding.
"""

import numpy as np
import polars as pl
from molpool_common import OKABE_ITO, new_figure, style
from rt_ridge import PartialPoolingRidge, SufficientStatistics

rng = np.random.default_rng(0)
n, n_species, n_compounds = 300, 5, 12
species, compound = rng.integers(0, n_species, n), rng.integers(0, n_compounds, n)
offset = rng.normal(8, 1, n_compounds)
own = rng.normal(0, 0.2, (n_species, n_compounds))
rt = offset[compound] + own[species, compound] + rng.normal(0, 0.1, n)
table = pl.DataFrame({"species": species, "comp_id": compound, "rt": rt})
stats = SufficientStatistics.from_frame(table, covariates=[], parent=None)

model = PartialPoolingRidge(intercept_prior="comp_hier").fit(stats)
scales = {name: found["mean"] for name, found in model.scales_.items()}
print({name: round(value, 3) for name, value in scales.items()})

# %%
# Written out: one column for the mean, one for each compound, one for each pair, and their prior precisions.

pair = species * n_compounds + compound
pairs = np.unique(pair)
design = np.hstack(
    [
        np.ones((n, 1)),
        (compound[:, None] == np.arange(n_compounds)).astype(float),
        (pair[:, None] == pairs).astype(float),
    ]
)
prior = np.concatenate(
    [
        [0.0],
        np.full(n_compounds, scales["tau_compound"] ** -2),
        np.full(len(pairs), scales["tau_pair"] ** -2),
    ]
)
covariance = np.linalg.inv(design.T @ design / scales["sigma"] ** 2 + np.diag(prior))
coefficients = covariance @ design.T @ rt / scales["sigma"] ** 2
select = np.hstack(
    [
        np.ones((len(pairs), 1)),
        ((pairs % n_compounds)[:, None] == np.arange(n_compounds)).astype(float),
        np.eye(len(pairs)),
    ]
)
dense_mean = select @ coefficients
dense_sd = np.sqrt(np.einsum("ij,jk,ik->i", select, covariance, select))

# %%
fitted = model.summaries_
mean, sd = fitted.mean[:, 0], np.sqrt(fitted.cov[:, 0, 0])
with style():
    figure = new_figure(8, 3.4)
    for axes, ours, dense, name in zip(
        figure.subplots(1, 2), (mean, sd), (dense_mean, dense_sd), ("mean", "sd"), strict=True
    ):
        axes.axline((dense[0], dense[0]), slope=1, color="0.6", linewidth=1)
        axes.plot(dense, ours, ".", color=OKABE_ITO[0])
        axes.set(xlabel=f"dense {name}, min", ylabel=f"rt-ridge {name}, min")
figure

# %%
# The dense side costs the cube of all coefficients; ours is linear in the pairs.
print("largest difference:", np.abs(mean - dense_mean).max(), np.abs(sd - dense_sd).max())
