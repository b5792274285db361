"""A synthetic laboratory whose coefficients are known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from molpool_common import FloatArray, IntArray

from rt_ridge._config import SimulateConfig

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Simulated:
    """The tables of a synthetic laboratory.

    Attributes
    ----------
    train, test : DataFrame
        One row per measurement: species, species_cluster, comp_id, run, the covariates, rt (min).
    compounds : DataFrame
        comp_id, class_id, is_anchor and the descriptors.
    species : DataFrame
        species, species_cluster, sigma (min).
    pairs : DataFrame
        species, comp_id, n_train, budget ("anchor", "rare", "unseen" or "common"), and the true
        coefficients: intercept at covariates 0 (min) and one slope per covariate.
    """

    train: pl.DataFrame
    test: pl.DataFrame
    compounds: pl.DataFrame
    species: pl.DataFrame
    pairs: pl.DataFrame


@dataclass(frozen=True)
class _Lab:
    """What is sampled once: S species, C compounds, P covariates, Q descriptors."""

    cluster: IntArray  # [S]
    klass: IntArray  # [C]
    descriptors: FloatArray  # [C, Q]
    intercept: FloatArray  # [S, C]
    slope: FloatArray  # [S, C, P]
    curvature: FloatArray  # [C, P]
    sigma: FloatArray  # [S]
    center: FloatArray  # [S, P]


@dataclass(frozen=True)
class _Runs:
    """Runs of a species side by side: readings [S, R, P] and the number of the first run."""

    readings: FloatArray
    first: int


def simulate(config: SimulateConfig | None = None) -> Simulated:
    """Make the tables of a synthetic laboratory.

    The intercept of a pair is mean + class + descriptors·θ + compound + cluster + species + pair;
    its slopes are those of the compound, shifted by cluster and species; classes and descriptors
    may act on both, also in each species in its own way. Readings of the standards
    scatter about a centre of the species, and those centres about one of the cluster, so that the
    clusters can be found from the standards alone. The rows of a pair are spread over the runs as
    evenly as their number allows; with more rows than runs, some runs measure it twice.

    Parameters
    ----------
    config : SimulateConfig or None
        Its parameters; None takes their defaults.

    Returns
    -------
    Simulated
        Equal for equal configurations.
    """
    config = config or SimulateConfig()
    # One stream per purpose, so that a parameter of the one leaves the draws of the others.
    names = (
        *("lab", "budget", "rows", "train_runs", "test_runs", "train_noise", "test_noise"),
        "chemistry",
    )
    seeds = np.random.SeedSequence(config.seed).spawn(len(names))
    streams = dict(zip(names, map(np.random.default_rng, seeds), strict=True))
    lab = _draw_lab(config, streams["lab"])
    intercept, slope = _interactions(config, lab, streams["chemistry"])
    lab = replace(lab, intercept=lab.intercept + intercept, slope=lab.slope + slope)
    budget, counts = _draw_counts(config, streams["budget"], streams["rows"])
    runs = _draw_runs(config, lab, streams["train_runs"], test=False)
    test_runs = _draw_runs(config, lab, streams["test_runs"], test=True)
    train = _measure(lab, runs, _spread(counts, config.runs_per_species, streams["rows"]))
    anchor_rows = _every_run(config, test_runs, slice(0, config.anchors))
    train = _joined(train, _measure(lab, test_runs, anchor_rows))
    test = _measure(lab, test_runs, _every_run(config, test_runs, slice(config.anchors, None)))
    return Simulated(
        train=_frame(config, lab, train, streams["train_noise"]),
        test=_frame(config, lab, test, streams["test_noise"]),
        compounds=_compound_frame(config, lab),
        species=_species_frame(lab),
        pairs=_pair_frame(config, lab, budget, train),
    )


def _draw_lab(config: SimulateConfig, rng: np.random.Generator) -> _Lab:
    S, C, P, Q = config.n_species, config.n_compounds, config.n_covariates, config.n_descriptors
    cluster = np.arange(S) % config.n_clusters
    klass = np.arange(C) % config.n_classes
    # Descriptors of a class lie together, as those of real classes do.
    descriptors = rng.normal(size=(config.n_classes, Q))[klass] + 0.5 * rng.normal(size=(C, Q))
    theta = rng.normal(size=Q) * config.descriptor_sd / np.sqrt(max(Q, 1))
    compound = rng.normal(size=config.n_classes)[klass] * config.class_sd + descriptors @ theta
    compound += rng.normal(size=C) * config.compound_sd
    diversity = config.species_sd_ratio ** np.linspace(-0.5, 0.5, config.n_clusters)
    species = (rng.normal(size=config.n_clusters) * config.cluster_sd)[cluster]
    species += rng.normal(size=S) * config.species_sd * diversity[cluster]
    intercept = config.mean_rt + species[:, None] + compound
    intercept = intercept + rng.normal(size=(S, C)) * config.pair_sd
    common = rng.normal(size=P) * config.gamma_sd
    slope = common + rng.normal(size=(C, P)) * config.gamma_sd
    shift = rng.normal(size=(config.n_clusters, P))[cluster] * config.cluster_gamma_sd
    shift += rng.normal(size=(S, P)) * config.species_gamma_sd
    center = rng.normal(size=(config.n_clusters, P))[cluster] * config.cluster_covariate_sd
    center += rng.normal(size=(S, P)) * config.species_covariate_sd
    return _Lab(
        cluster=cluster,
        klass=klass,
        descriptors=descriptors,
        intercept=intercept,
        slope=slope + shift[:, None, :],
        curvature=rng.normal(size=(C, P)) * config.curvature_sd,
        sigma=config.noise_sd * np.exp(rng.normal(size=S) * config.noise_spread),
        center=center,
    )


def _draw_counts(
    config: SimulateConfig, rng: np.random.Generator, rows_rng: np.random.Generator
) -> tuple[npt.NDArray[np.str_], IntArray]:
    """Return the budget that each pair falls into and its training rows, [S, C] each."""
    shape = (config.n_species, config.n_compounds)
    budget = np.full(shape, "common", dtype="<U7")
    budget[rng.permutation(config.n_species)[: config.unseen_species]] = "unseen"
    budget[:, : config.anchors] = "anchor"
    free = rng.permutation(np.flatnonzero(budget.ravel() == "common"))
    budget.ravel()[free[: config.n_unseen]] = "unseen"
    budget.ravel()[free[config.n_unseen :][: config.n_rare]] = "rare"
    fixed = config.fixed_runs_per_species_compound
    if fixed is None:
        top = np.log(config.max_rows_per_pair + 1)
        counts = np.floor(np.exp(rows_rng.uniform(0, top, size=shape))).astype(np.int64)
    else:
        counts = np.full(shape, fixed)
    counts[budget == "rare"] = config.rare_rows
    counts[budget == "unseen"] = 0
    return budget, counts


def _draw_runs(config: SimulateConfig, lab: _Lab, rng: np.random.Generator, *, test: bool) -> _Runs:
    n_runs = config.test_runs_per_species if test else config.runs_per_species
    sd = config.run_covariate_sd * (config.test_run_stretch if test else 1.0)
    scatter = rng.normal(size=(config.n_species, n_runs, config.n_covariates)) * sd
    first = config.n_species * config.runs_per_species if test else 0
    return _Runs(lab.center[:, None, :] + scatter, first)


@dataclass(frozen=True)
class _Rows:
    """Species, compound and run (within the species) of each measurement, [N]."""

    species: IntArray
    compound: IntArray
    run: IntArray


def _spread(counts: IntArray, n_runs: int, rng: np.random.Generator) -> _Rows:
    """Place the rows of each pair on the runs of its species, from a random run on."""
    species, compound = np.divmod(np.repeat(np.arange(counts.size), counts.ravel()), len(counts[0]))
    ends = np.cumsum(counts.ravel())
    within = np.arange(len(species)) - np.repeat(ends - counts.ravel(), counts.ravel())
    start = rng.integers(n_runs, size=counts.size)
    run = (within + np.repeat(start, counts.ravel())) % n_runs
    return _Rows(species, compound, run)


def _every_run(config: SimulateConfig, runs: _Runs, compounds: slice) -> _Rows:
    ids = np.arange(config.n_compounds)[compounds]
    shape = (config.n_species, len(ids), runs.readings.shape[1])
    species, compound, run = (axis.ravel() for axis in np.indices(shape))
    return _Rows(species, ids[compound], run)


@dataclass(frozen=True)
class _Measured:
    """Rows with their readings [N, P], global run numbers [N] and expected rt [N]."""

    rows: _Rows
    x: FloatArray
    run: IntArray
    mean: FloatArray


def _measure(lab: _Lab, runs: _Runs, rows: _Rows) -> _Measured:
    x = runs.readings[rows.species, rows.run]
    mean = lab.intercept[rows.species, rows.compound]
    mean = mean + np.einsum("np,np->n", x, lab.slope[rows.species, rows.compound])
    mean += np.einsum("np,np->n", x**2, lab.curvature[rows.compound])
    number = runs.first + rows.species * runs.readings.shape[1] + rows.run
    return _Measured(rows, x, number, mean)


def _joined(a: _Measured, b: _Measured) -> _Measured:
    fields = ("species", "compound", "run")
    rows = [np.concatenate([getattr(a.rows, f), getattr(b.rows, f)]) for f in fields]
    parts = [np.concatenate([getattr(a, f), getattr(b, f)]) for f in ("x", "run", "mean")]
    return _Measured(_Rows(*rows), *parts)


def _frame(
    config: SimulateConfig, lab: _Lab, measured: _Measured, rng: np.random.Generator
) -> pl.DataFrame:
    import polars as pl

    rows = measured.rows
    noise = rng.normal(size=len(rows.species)) * lab.sigma[rows.species]
    return pl.DataFrame(
        {
            "species": rows.species,
            "species_cluster": lab.cluster[rows.species],
            "comp_id": rows.compound,
            "run": measured.run,
            **dict(zip(config.covariates, measured.x.T, strict=True)),
            "rt": measured.mean + noise,
        }
    )


def _compound_frame(config: SimulateConfig, lab: _Lab) -> pl.DataFrame:
    import polars as pl

    ids = np.arange(config.n_compounds)
    return pl.DataFrame(
        {
            "comp_id": ids,
            "class_id": lab.klass,
            "is_anchor": ids < config.anchors,
            **dict(zip(config.descriptors, lab.descriptors.T, strict=True)),
        }
    )


def _species_frame(lab: _Lab) -> pl.DataFrame:
    import polars as pl

    columns = {"species_cluster": lab.cluster, "sigma": lab.sigma}
    return pl.DataFrame({"species": np.arange(len(lab.cluster)), **columns})


def _pair_frame(
    config: SimulateConfig, lab: _Lab, budget: npt.NDArray[np.str_], train: _Measured
) -> pl.DataFrame:
    import polars as pl

    species, compound = (axis.ravel() for axis in np.indices(budget.shape))
    number = train.rows.species * config.n_compounds + train.rows.compound
    slopes = lab.slope.reshape(-1, config.n_covariates)
    return pl.DataFrame(
        {
            "species": species,
            "comp_id": compound,
            "n_train": np.bincount(number, minlength=budget.size),
            "budget": budget.ravel(),
            "intercept": lab.intercept.ravel(),
            **{f"slope_{j}": slopes[:, j] for j in range(config.n_covariates)},
        }
    )


def _interactions(
    config: SimulateConfig, lab: _Lab, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Return what species and chemistry together add to intercepts [S, C] and slopes [S, C, P].

    Intercepts: the species' own coefficients of the descriptors. Slopes: those too, classes, and
    classes within clusters. All are 0 by default.
    """
    S, P, Q = config.n_species, config.n_covariates, config.n_descriptors
    each = 1 / np.sqrt(max(Q, 1))
    of_class = rng.normal(size=(config.n_classes, P)) * config.class_gamma_sd
    crossed = rng.normal(size=(config.n_clusters, config.n_classes, P))
    slope = (
        of_class[lab.klass] + (crossed * config.cluster_class_gamma_sd)[lab.cluster][:, lab.klass]
    )
    theta = rng.normal(size=(S, Q)) * config.species_theta_sd * each
    gamma = rng.normal(size=(S, Q, P)) * config.species_theta_gamma_sd * each
    slope = slope + np.einsum("cq,sqp->scp", lab.descriptors, gamma)
    return theta @ lab.descriptors.T, slope
