"""Tables of a fit: coefficients with names and units, and windows for an instrument's method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from molpool_common import FloatArray, InputError, did_you_mean, load_config, write_table
from rt_ridge import (
    GroupwiseRidge,
    Stage1CoeffSummaries,
    SufficientStatistics,
    parent_expectation,
)

from molpool_pipelines.retention._batches import Artefact
from molpool_pipelines.retention._config import (
    COEFFICIENTS,
    CONFIG,
    STATISTICS,
    CoefficientsConfig,
    FitConfig,
    WindowsConfig,
    free_table,
)
from molpool_pipelines.retention._identifiers import CLUSTER, COMPOUND, SPECIES, PreparedNames

_LOW = 0xFFFFFFFF
_LITTLE = 1e-9
"""Ridge penalty of estimates of a pair's own, over the spread of its readings."""


def own_estimates(stats: SufficientStatistics, summaries: Stage1CoeffSummaries) -> FloatArray:
    """Return least-squares estimates of each pair's own rows, [G, D].

    Slopes are NaN where the rows are too few; the intercept is then at the pooled slopes.

    Parameters
    ----------
    stats : SufficientStatistics
        Of the regressors, as the fit left them.
    summaries : Stage1CoeffSummaries
        The fit.
    """
    found = np.full(summaries.mean.shape, np.nan)
    place = np.searchsorted(summaries.keys, stats.keys)
    known = (place < len(summaries.keys)) & (
        summaries.keys[np.minimum(place, len(summaries.keys) - 1)] == stats.keys
    )
    spread = np.einsum("gpp->gp", stats.sxx)
    # A reading that never moved in a pair tells no slope; one more row than numbers tells no error.
    enough = stats.n >= (spread > 0).sum(axis=1) + 2
    least = float(np.where(spread > 0, spread, np.inf).min(initial=1.0))
    own = GroupwiseRidge(alpha=_LITTLE * least).fit(stats, features=summaries.features).summaries_
    pooled = summaries.mean[place[known], 1:]
    found[place[known], 0] = stats.mean_y[known] - (stats.mean_x[known] * pooled).sum(axis=1)
    slopes = np.where(spread > 0, own.mean[:, 1:], np.nan)
    found[place[known & enough], 0] = own.mean[known & enough, 0]
    found[place[known & enough], 1:] = slopes[known & enough]
    return found


def coefficients(config: CoefficientsConfig) -> pl.DataFrame:
    """Return the coefficients of every pair of a fit; writes nothing.

    Returns
    -------
    DataFrame
        species, species_cluster (where there are any), compound; coefficient (intercept, or the
        regressor whose slope it is), estimate, se, unit; rows of the pair; parent (the level that
        it is shrunken toward), parent_estimate, parent_sd, shrinkage (share of the parent in the
        estimate); own (least squares of the pair's rows alone, see `own_estimates`).

    Raises
    ------
    InputError, RTRidgeError
        If there is no fit.
    """
    artefact, names = _open(config)
    summaries = artefact.summaries
    above = parent_expectation(summaries)
    own = _own(artefact)
    n_pairs, size = summaries.mean.shape
    labels = ("intercept", *summaries.features.regressors)
    units = [config.unit, *(f"{config.unit} per unit of {name}" for name in labels[1:])]

    def each(values: Any) -> pl.Series:
        return pl.Series(np.asarray(values).ravel()).fill_nan(None)

    return _named_pairs(artefact, names, size).with_columns(
        coefficient=pl.Series(list(labels) * n_pairs),
        estimate=each(summaries.mean),
        se=each(np.sqrt(np.einsum("gdd->gd", summaries.cov))),
        unit=pl.Series(units * n_pairs),
        rows=pl.Series(np.repeat(summaries.n, size)),
        parent=pl.Series(np.repeat(above.level, size)),
        parent_estimate=each(above.mean),
        parent_sd=each(above.sd),
        shrinkage=each(above.shrinkage(summaries)),
        own=each(own),
    )


def windows(config: WindowsConfig) -> pl.DataFrame:
    """Return where each compound is to be looked for; writes nothing.

    Returns
    -------
    DataFrame
        Compound, RT, Window start, Window end, Window (the width) in the unit of the retention
        time; before them Species where there are several. In the order of the times.

    Raises
    ------
    InputError, RTRidgeError
        If there is no fit, or no such species or standard.
    """
    artefact, names = _open(config)
    summaries = artefact.summaries
    X = summaries.feature_center.copy()
    for name, value in config.readings.items():
        if name not in summaries.feature_names:
            hint = did_you_mean(name, summaries.feature_names)
            raise InputError("readings", expected="standards of the fit", found=name, hint=hint)
        X[summaries.feature_names.index(name)] = value
    pairs = _named_pairs(artefact, names, 1)
    keys = summaries.keys
    if config.species is not None:
        chosen = pairs["species"] == config.species
        if not chosen.any():
            known = pairs["species"].unique().to_list()
            hint = did_you_mean(config.species, known)
            raise InputError(
                "species", expected="a species of the fit", found=repr(config.species), hint=hint
            )
        pairs, keys = pairs.filter(chosen), keys[chosen.to_numpy()]
    found = summaries.predict(np.tile(X, (len(keys), 1)), keys >> 32, keys & _LOW)
    half = np.maximum(found.half_width(config.level), config.least_width / 2)
    unit = f" ({config.unit})"
    # Names by which vendors' method editors read such lists, the unit with each.
    table = pl.DataFrame(
        {
            "Species": pairs["species"],
            "Compound": pairs["compound"],
            f"RT{unit}": found.mean,
            f"Window start{unit}": np.maximum(found.mean - half, 0.0),
            f"Window end{unit}": found.mean + half,
            f"Window{unit}": 2 * half,
        }
    )
    if table["Species"].n_unique() == 1:
        table = table.drop("Species")
    return table.with_columns(pl.selectors.float().round(4)).sort(f"RT{unit}", maintain_order=True)


def write_coefficients(config: CoefficientsConfig) -> tuple[Path, pl.DataFrame]:
    """Write what `coefficients` returns."""
    output = free_table(config.output, overwrite=config.overwrite, inputs=_inputs(config))
    table = coefficients(config)
    metadata = {
        "estimate": "posterior mean; the intercept is the time at mean readings of the standards",
        "shrinkage": "posterior over prior variance: 0, the pair's rows decide; 1, its parent",
        "unit": config.unit,
    }
    return write_table(output, table, metadata=metadata), table


def write_windows(config: WindowsConfig) -> tuple[Path, pl.DataFrame]:
    """Write what `windows` returns."""
    output = free_table(config.output, overwrite=config.overwrite, inputs=_inputs(config))
    table = windows(config)
    # Without metadata beside it: an instrument's import reads the list alone.
    return write_table(output, table), table


def _inputs(config: CoefficientsConfig) -> dict[str, list[Path]]:
    given = [] if config.artefact is None else [Path(config.artefact)]
    return {"artefact": [*given, *(path / COEFFICIENTS for path in given)]}


def _open(config: CoefficientsConfig) -> tuple[Artefact, PreparedNames]:
    if config.artefact is None:
        raise InputError("artefact", expected="the run folder of a fit", found="none")
    artefact = Artefact.load(config.artefact)
    if config.prepared is not None:
        return artefact, PreparedNames.load(config.prepared)
    stored = artefact.folder / CONFIG
    if not stored.is_file():
        return artefact, PreparedNames({})
    return artefact, PreparedNames.of_fit(load_config(FitConfig, stored).data)


def _own(artefact: Artefact) -> FloatArray:
    file = artefact.folder / STATISTICS
    if not file.is_file():
        return np.full(artefact.summaries.mean.shape, np.nan)
    return own_estimates(SufficientStatistics.load(file), artefact.summaries)


def _named_pairs(artefact: Artefact, names: PreparedNames, times: int) -> pl.DataFrame:
    """Return the names of group, supercategory and compound of each pair, each pair some times."""
    summaries = artefact.summaries
    group, compound = summaries.keys >> 32, summaries.keys & _LOW
    of_group = CLUSTER if artefact.group_col == "species_cluster" else SPECIES
    columns = {"species": names.apply(of_group, pl.Series(np.repeat(group, times)))}
    parents = summaries.coefficients.parents
    if parents is not None and of_group == SPECIES:
        cluster = pl.Series(np.repeat(parents.of(group), times))
        columns["species_cluster"] = names.apply(CLUSTER, cluster)
    columns["compound"] = names.apply(COMPOUND, pl.Series(np.repeat(compound, times)))
    return pl.DataFrame(columns)
