"""
Error by the number of training rows
====================================

Pooling matters where rows are few. Two models of one simulated laboratory, judged on runs that lie farther out: every
pair on its own, and pairs that borrow.
"""

from rt_ridge import (
    GroupwiseRidge,
    PartialPoolingRidge,
    SimulateConfig,
    SufficientStatistics,
    evaluate,
    plot_support,
    simulate,
)

config = SimulateConfig(
    n_species=10, n_compounds=20, fixed_runs_per_species_compound=None, unseen_pairs=40
)
lab = simulate(config)
stats = SufficientStatistics.from_frame(lab.train, covariates=config.covariates)
pooled = PartialPoolingRidge(
    intercept_prior="comp_hier_supercat",
    slope_head_mode="cluster_supercat",
    compound_slopes=True,
    lambda_slopes="estimate",
)
fits = {
    "every pair on its own": GroupwiseRidge().fit(stats).summaries_,
    "partial pooling": pooled.fit(stats).summaries_,
}

# %%
found = evaluate([lab.test], fits)
figure = plot_support({name: scores.table() for name, scores in found.metrics.items()})
figure

# %%
# A pair that was never measured has no prediction of its own. Pooled, it is expected where its species and compound are.
