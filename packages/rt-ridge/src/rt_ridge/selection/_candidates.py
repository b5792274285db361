"""Structures that a table may ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import ValidationError

from rt_ridge._config import RidgeConfig
from rt_ridge.statistics._sufficient import SufficientStatistics

STRUCTURE = (
    *("intercept_prior", "slope_head_mode", "lambda_slopes", "slope_scales", "sigma"),
    "intercept_shrinkage",
    *("compound_slopes", "cluster_slopes", "species_slopes"),
)
"""Keys of `RidgeConfig` that a choice of structure sets."""

MAX_SIGMAS = 1_000
"""Groups of more are not tried with a σ each: there is one offset for every one."""

MAX_PARENTS = 50
"""Supercategories of more are tried with one spread of groups, not with one each."""

NO_SLOPES = "no slopes"


@dataclass(frozen=True)
class Candidate:
    """One structure.

    Parameters
    ----------
    name : str
        For the reader, such as "supercategories, slopes of compounds".
    config : RidgeConfig
        The model.
    """

    name: str
    config: RidgeConfig

    @property
    def carries_slopes(self) -> bool:
        """Whether slopes are those of all groups: where a group never seen shows what is shared."""
        c = self.config
        return c.lambda_slopes == "pooled" and not (c.species_slopes or c.cluster_slopes)


@dataclass(frozen=True)
class Levels:
    """What a table has more than one of, and so may differ by.

    Parameters
    ----------
    groups, parents : int
        Groups, and supercategories.
    of_groups, of_compounds : bool
        Whether groups, and compounds, can be told from each other and from pairs.
    covariates : int
        Regressors, P.
    """

    groups: int
    parents: int
    of_groups: bool
    of_compounds: bool
    covariates: int

    @classmethod
    def of(cls, stats: SufficientStatistics) -> Levels:
        """Return the levels of a table."""
        compounds = len(np.unique(stats.compound_ids))
        parents = 0 if stats.parents is None else len(np.unique(stats.parent_ids))
        groups = len(np.unique(stats.group_ids))
        return cls(groups, parents, 1 < groups < stats.G, 1 < compounds < stats.G, stats.P)


def first_candidates(stats: SufficientStatistics, config: RidgeConfig) -> list[Candidate]:
    """Return slope heads that a table can tell apart, under the widest prior of intercepts.

    Parameters
    ----------
    stats : SufficientStatistics
        Of the table.
    config : RidgeConfig
        What all candidates have; keys of `STRUCTURE` that are not at their defaults are kept.
    """
    levels = Levels.of(stats)
    for prior, a in _priors(levels):
        found: list[Candidate] = []
        for slopes, b in _slopes(levels):
            changed = _kept(config, {**a, **b})
            if changed is not None and all(changed != other.config for other in found):
                found.append(Candidate(f"{prior}, {slopes}", changed))
        if found:
            return found
    return []


def other_priors(candidate: Candidate, stats: SufficientStatistics) -> list[Candidate]:
    """Return a candidate of `first_candidates` under the narrower priors of intercepts."""
    slopes = candidate.name.split(", ", maxsplit=1)[1]
    found = []
    for prior, changes in _priors(Levels.of(stats)):
        config = candidate.config.model_copy(update=changes)
        if config != candidate.config:
            found.append(Candidate(f"{prior}, {slopes}", config))
    return found


def refined_candidates(candidate: Candidate, stats: SufficientStatistics) -> list[Candidate]:
    """Return a candidate with one σ a group, with a spread for each covariate, and with both."""
    levels = Levels.of(stats)
    sloped = levels.covariates > 1 and candidate.config.lambda_slopes != "zero"
    spreads = sloped and _estimated(candidate.config)
    steps: list[tuple[str, dict[str, Any]]] = []
    if 1 < levels.groups <= MAX_SIGMAS:
        steps.append(("σ of groups", {"sigma": "group"}))
    if spreads:
        steps.append(("spread of each covariate", {"slope_scales": "covariate"}))
    if len(steps) == 2:
        steps.append((", ".join(name for name, _ in steps), steps[0][1] | steps[1][1]))
    found = [(name, _kept(candidate.config, changes)) for name, changes in steps]
    return [
        Candidate(f"{candidate.name}, {name}", config)
        for name, config in found
        if config is not None and config != candidate.config
    ]


def _estimated(config: RidgeConfig) -> bool:
    """Whether a model has spreads of slopes that are found with the other scales."""
    return config.lambda_slopes == "estimate" or len(config.slope_effects) > 1


def _kept(config: RidgeConfig, changes: dict[str, Any]) -> RidgeConfig | None:
    """Return a changed configuration, None where that would undo what the user set."""
    default = RidgeConfig()
    for key, value in changes.items():
        given = getattr(config, key)
        if given not in (getattr(default, key), value):
            return None
    # What the user keeps may not go with all changes: such a candidate is none.
    try:
        return RidgeConfig.model_validate({**config.model_dump(), **changes})
    except ValidationError:
        return None


def _priors(levels: Levels) -> list[tuple[str, dict[str, Any]]]:
    """Return what intercepts may be pooled towards, the widest first."""
    narrow = {"intercept_prior": "comp_hier", "intercept_shrinkage": "supercat"}
    found: list[tuple[str, dict[str, Any]]] = [("compounds", narrow)]
    if not levels.of_groups:
        return found
    wide = {"intercept_prior": "comp_hier_supercat"}
    if levels.parents > MAX_PARENTS:
        # Every supercategory would have a spread of its groups to be found.
        wide["intercept_shrinkage"] = "shared"
    return [("groups and compounds", wide), *found]


def _slopes(levels: Levels) -> list[tuple[str, dict[str, Any]]]:
    """Return what slopes may be pooled towards, and whether pairs then differ."""
    if not levels.covariates:
        return [(NO_SLOPES, {"lambda_slopes": "zero"})]
    head = {"slope_head_mode": "global"}
    pooled, estimate = {"lambda_slopes": "pooled"}, {"lambda_slopes": "estimate"}
    found: list[tuple[str, dict[str, Any]]] = [
        (NO_SLOPES, {"lambda_slopes": "zero"}),
        ("one slope", {**head, **pooled}),
        ("slopes of pairs about 0", estimate),
        ("slopes of pairs", {**head, **estimate}),
    ]
    compound, species = {"compound_slopes": True}, {"species_slopes": True}
    if levels.of_compounds:
        found += [
            ("slopes of compounds", {**head, **compound, **pooled}),
            ("slopes of compounds and pairs", {**head, **compound, **estimate}),
        ]
    if levels.of_groups:
        found.append(("slopes of groups", {**head, **species, **pooled}))
    if not (levels.of_compounds and levels.of_groups):
        return found
    both = {**head, **compound, **species}
    found += [
        ("slopes of groups and compounds", {**both, **pooled}),
        ("slopes of groups, compounds and pairs", {**both, **estimate}),
    ]
    if levels.parents > 1:
        tree = {"slope_head_mode": "cluster_supercat"}
        found += [
            (
                "slopes of supercategories, groups and compounds",
                {**tree, **compound, **estimate},
            )
        ]
    return found
