"""Claim: the exact posterior of the scales of 50 000 pairs in three levels by `nuts`, with R-hat
below 1.01 and over 400 effective draws, in at most 60 seconds after the statistics; `map` in at
most 10. The time of a gradient does not depend on the number of rows.

250 species in 10 supercategories and 2 000 compounds, 200 a species: intercepts of pairs about
species about supercategories, compounds crossing them, four covariates (`comp_hier_supercat`):
14 scales. The time runs from the statistics to the artefact, locations included.
Exit status 1 if a part of the claim fails. Arguments: species, compounds a species.

Physical limit: 2 000 compounds leave a system of 250 species; its assembly and the variances are
0.4 GFLOP a gradient, 10 ms on one core at 40 GFLOP/s. Some 1 200 draws of 3 gradients, and 200
of warm-up, on two cores: 21 s.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from statistics import median
from time import perf_counter

import numpy as np
from claims import Claim, settle
from rt_ridge import GroupParents, Hierarchy, PartialPoolingRidge, RidgeConfig, SufficientStatistics

NUTS_SECONDS, MAP_SECONDS, R_HAT, ESS, SAME = 60.0, 10.0, 1.01, 400.0, 1.3
SPECIES, PER_SPECIES, SUPERCATEGORIES, COVARIATES = 250, 200, 10, 4


def main(species: int, per_species: int) -> int:
    stats = simulate(species, per_species)
    print(f"{stats.G:,} pairs, {stats.n_rows:,} rows, {SUPERCATEGORIES} supercategories")
    seconds = {}
    for method in ("map", "nuts"):
        clock = perf_counter()
        model = PartialPoolingRidge(intercept_prior="comp_hier_supercat", method=method).fit(stats)
        seconds[method] = perf_counter() - clock
        print(f"{method:5s}{seconds[method]:7.1f} s  {model.scale_posterior_.diagnostics}")
    diagnostics = model.scale_posterior_.diagnostics
    times = [gradient(stats), gradient(replace(stats, n=stats.n * 100, syy=stats.syy * 100))]
    print(f"a gradient {times[0] * 1e3:.1f} ms, of 100 times the rows {times[1] * 1e3:.1f} ms")
    return settle(
        Claim("seconds of nuts", seconds["nuts"], NUTS_SECONDS, at_most=True),
        Claim("seconds of map", seconds["map"], MAP_SECONDS, at_most=True),
        Claim("gradient at 100 times the rows", times[1] / times[0], SAME, at_most=True),
        Claim("R-hat", diagnostics["r_hat"], R_HAT, at_most=True),
        Claim("effective draws", diagnostics["ess"], ESS),
    )


def gradient(stats: SufficientStatistics) -> float:
    hierarchy = Hierarchy(stats, RidgeConfig(intercept_prior="comp_hier_supercat"))
    start = np.log(hierarchy.layout.start())
    seconds = []
    for shift in np.linspace(0, 0.1, 10):
        clock = perf_counter()
        hierarchy.log_posterior(start + shift)
        seconds.append(perf_counter() - clock)
    return median(seconds)


def simulate(species: int, per_species: int) -> SufficientStatistics:
    """Draw the statistics themselves; rows are never made."""
    rng = np.random.default_rng(0)
    n_compounds, P, sigma = 10 * per_species, COVARIATES, 0.1
    parent = np.arange(species) % SUPERCATEGORIES
    of_species = 5 + rng.normal(size=SUPERCATEGORIES)[parent] + 0.3 * rng.normal(size=species)
    group = np.repeat(np.arange(species), per_species)
    drawn = [rng.choice(n_compounds, per_species, replace=False) for _ in range(species)]
    compound = np.sort(np.array(drawn), axis=1).ravel()
    G = len(group)
    n = rng.integers(P + 3, 200, G)
    b = of_species[group] + 3 * rng.normal(size=n_compounds)[compound] + 0.1 * rng.normal(size=G)
    w = sigma * rng.normal(size=(G, P))
    root = rng.normal(size=(G, P, P + 2)) * np.sqrt((n - 1) / (P + 2))[:, None, None]
    sxx = root @ root.transpose(0, 2, 1)
    mean_x = rng.normal(size=(G, P)) / np.sqrt(n)[:, None]
    noise = np.linalg.cholesky(sxx) @ rng.normal(size=(G, P, 1)) * sigma
    sxy = (sxx @ w[:, :, None] + noise)[:, :, 0]
    explained = np.einsum("gp,gp->g", sxy, np.linalg.solve(sxx, sxy[:, :, None])[:, :, 0])
    return SufficientStatistics(
        keys=(group << 32) + compound,
        n=n,
        mean_x=mean_x,
        mean_y=b + (mean_x * w).sum(axis=1) + sigma * rng.normal(size=G) / np.sqrt(n),
        sxx=sxx,
        sxy=sxy,
        syy=explained + sigma**2 * rng.chisquare(n - 1 - P),
        covariates=tuple(f"is_{j}" for j in range(P)),
        parents=GroupParents(np.arange(species), parent),
    )


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    sys.exit(main(*given, *(SPECIES, PER_SPECIES)[len(given) :]))
