"""
Where partial pooling moves an estimate
=======================================

A simulated laboratory: 8 species, 10 compounds, and ten pairs that were measured twice only. On its own, such a pair has
a slope that means nothing. Pooled, it starts from its relatives.
"""

from rt_ridge import (
    GroupwiseRidge,
    PartialPoolingRidge,
    SimulateConfig,
    SufficientStatistics,
    plot_shrinkage,
    simulate,
)

config = SimulateConfig(n_species=8, n_compounds=10, rare_pairs=10, unseen_pairs=10)
stats = SufficientStatistics.from_frame(simulate(config).train, covariates=config.covariates)
own = GroupwiseRidge().fit(stats).summaries_
pooled = PartialPoolingRidge(
    intercept_prior="comp_hier_supercat", slope_head_mode="cluster_supercat"
).fit(stats)

# %%
# An arrow goes from the estimate of a pair's own rows to the pooled one. On the right: the share of what stands above
# the pair in its estimate, 0 where its own rows decide.

figure = plot_shrinkage(own.mean, pooled.summaries_)
figure

# %%
# How much is borrowed follows from the spreads, which are estimated from all pairs together:

for name, of in pooled.scales_.items():
    print(f"{name:24s} {of['mean']:.3f}  ({of['low']:.3f} to {of['high']:.3f})")
