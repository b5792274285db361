"""Rows that are left out while a structure is chosen: of runs and of pairs; which, and their sums.

One pass over the columns of runs and covariates says what runs there are, and one over the rows
sums up those of each fold; the rows are never held.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from molpool_common import FloatArray, InputError, IntArray, listed, parse_times
from rt_ridge import (
    Chunk,
    Columns,
    FeatureMap,
    GroupRanges,
    HeldOut,
    ReadingRange,
    RunFold,
    StoredRows,
    SufficientStatistics,
    judged_pairs,
    natural_order,
    plan_folds,
    plan_unseen,
    runs_of_one,
)

from molpool_pipelines.retention._config import FitConfig
from molpool_pipelines.retention._covariates import CentredFiles, run_names

RUN = "__run"
"""Name of a row's run, or what stands for it."""


FEWEST_ROWS = 2
"""Rows of a run up to which it may be like another by chance."""

DIGITS = 10
"""Of sums over runs that are compared."""


@dataclass(frozen=True)
class RunTable:
    """Runs in acquisition order, and the range of each one's covariates.

    Attributes
    ----------
    place : dict of str to int
        Number of each run.
    mean, low, high : ndarray, [R, P]
        Covariates over the rows of a run.
    ordered : bool
        Whether the order is known.
    groups : ndarray of int64, [R], or None
        What each run is a run of; None where a run is of several groups.
    twins : dict of str to str
        Runs whose rows are those of an earlier run to the last digit, by their names: these are
        one run.
    of_groups : GroupRanges
        Ends of the covariates of each group.
    """

    place: dict[str, int]
    mean: FloatArray
    low: FloatArray
    high: FloatArray
    ordered: bool
    groups: IntArray | None
    twins: dict[str, str]
    of_groups: GroupRanges

    @classmethod
    def read(cls, config: FitConfig, table: CentredFiles, columns: Columns) -> RunTable | None:
        """Read the runs of a table; None where nothing tells them apart.

        Raises
        ------
        InputError
            If a column that was named is missing.
        """
        reader = _Reader.of(config, table, columns)
        if reader is None:
            return None
        chunks = table.chunks(reader.read, config.max_train_rows)
        parts, ends = zip(
            *((reader.summed(c.frame), reader.ends(c.frame)) for c in chunks), strict=True
        )
        runs = _merged(parts, columns.covariates)
        runs = runs[natural_order(runs[RUN].to_list())]
        if reader.order is not None:
            runs = _by_time(runs, reader.order)
        runs, twins = _without_copies(runs)
        place = {run: i for i, run in enumerate(runs[RUN].to_list())}
        place |= {copy: place[run] for copy, run in twins.items()}

        def matrix(what: str) -> FloatArray:
            names = [f"{what} {name}" for name in columns.covariates]
            values = runs.select(names).to_numpy().astype(np.float64)
            return values.reshape(runs.height, len(names))

        mean = matrix("sum") / runs["rows"].to_numpy()[:, None]
        groups = runs_of_one(*(runs[f"{end} group"].to_numpy() for end in ("first", "last")))
        of_groups = _ranges(ends, columns.covariates)
        of_runs = (place, mean, matrix("low"), matrix("high"))
        return cls(*of_runs, reader.ordered, groups, twins, of_groups)

    def notes(self) -> list[str]:
        """Return what the user should know of the runs."""
        if not self.twins:
            return []
        pairs = listed([f"{copy!r} is {run!r}" for copy, run in self.twins.items()])
        return [
            f"{len(self.twins)} runs repeat the rows of another to the last digit ({pairs}): they"
            " are left out together, but their rows count twice."
        ]

    @property
    def range(self) -> ReadingRange:
        """Ends of the covariates over all runs."""
        return ReadingRange(self.low.min(axis=0), self.high.max(axis=0))


def _ranges(parts: Sequence[pl.DataFrame], covariates: Sequence[str]) -> GroupRanges:
    """Return the ranges of the groups of all chunks."""
    lows = [pl.col(f"low {name}").min() for name in covariates]
    highs = [pl.col(f"high {name}").max() for name in covariates]
    frame = pl.concat(parts).group_by("group").agg(*lows, *highs).sort("group")
    # A selection of no columns has no rows either.
    low, high = (
        frame.select(f"{end} {name}" for name in covariates)
        .to_numpy()
        .reshape(frame.height, len(covariates))
        for end in ("low", "high")
    )
    return GroupRanges(frame["group"].to_numpy(), low, high)


def _merged(parts: Sequence[pl.DataFrame], covariates: Sequence[str]) -> pl.DataFrame:
    """Return one row per run of all chunks, ordered by name."""
    sums = [pl.col(f"sum {name}").sum() for name in covariates]
    lows = [pl.col(f"low {name}").min() for name in covariates]
    highs = [pl.col(f"high {name}").max() for name in covariates]
    frame = pl.concat(parts, how="vertical_relaxed")
    order = [pl.col("order").min()] if "order" in frame.columns else []
    totals = [pl.col("rows").sum(), pl.col("times").sum()]
    totals += [pl.col("first group").min(), pl.col("last group").max()]
    return frame.group_by(RUN).agg(*totals, *sums, *lows, *highs, *order).sort(RUN)


def _by_time(runs: pl.DataFrame, column: str) -> pl.DataFrame:
    """Return runs in the order of a column of times, those without one last."""
    known = runs.filter(pl.col("order").is_not_null())
    try:
        times = parse_times(known["order"].to_list()) if known.height else np.zeros(0)
    except InputError as error:
        raise InputError(
            "order_col",
            expected=f"times or numbers that follow one another in {column!r}",
            found=error.found,
        ) from None
    order = known[np.argsort(times, kind="stable")]
    return pl.concat([order, runs.filter(pl.col("order").is_null())])


def _without_copies(runs: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, str]]:
    """Return runs of which none is a copy of an earlier one, and the copies by name."""
    same = [name for name in runs.columns if name not in (RUN, "order")]
    # A row or two may agree by chance; sums differ in their last digits with the order of rows.
    whole = runs.filter(pl.col("rows") > FEWEST_ROWS)
    whole = whole.with_columns(pl.col(pl.Float64).round_sig_figs(DIGITS))
    first = whole.group_by(same, maintain_order=True).agg(pl.col(RUN))
    twins = {copy: names[0] for names in first[RUN].to_list() for copy in names[1:]}
    return runs.filter(~pl.col(RUN).is_in(list(twins))), twins


@dataclass(frozen=True)
class _Reader:
    """From the rows of a chunk to their runs."""

    run: str | None
    order: str | None
    covariates: tuple[str, ...]
    target: str
    group: str

    @classmethod
    def of(cls, config: FitConfig, table: CentredFiles, columns: Columns) -> _Reader | None:
        run, order = config.run_col, config.order_col
        # The default name need not be there.
        if run is not None and run not in table:
            if run != "run":
                table.require(run, "run_col")
            run = None
        if order is not None:
            table.require(order, "order_col")
        if run is None and not columns.covariates:
            return None
        return cls(run, order, tuple(columns.covariates), columns.target, columns.group)

    @property
    def ordered(self) -> bool:
        """Whether acquisition order is known, if only from the names of runs."""
        return self.run is not None or self.order is not None

    @property
    def read(self) -> list[str]:
        """Columns that are read."""
        named = [name for name in (self.run, self.order) if name is not None]
        return list(dict.fromkeys([*named, *self.covariates, self.target, self.group]))

    def numbers(self, frame: pl.DataFrame, runs: RunTable) -> IntArray:
        """Return the number of the run of each row."""
        return self.names(frame).replace_strict(runs.place, return_dtype=pl.Int64).to_numpy()

    def names(self, frame: pl.DataFrame) -> pl.Series:
        """Return the run of each row; rows of equal covariates are of one where none is named."""
        if self.run is None:
            values = frame.select(pl.struct(pl.col(c).cast(pl.Float64) for c in self.covariates))
            return values.to_series().hash().cast(pl.String)
        return run_names(frame[self.run]).fill_null("")

    def ends(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the ends of the covariates of each group of a chunk."""
        values = [pl.col(c).cast(pl.Float64) for c in self.covariates]
        return frame.group_by(pl.col(self.group).cast(pl.Int64).alias("group")).agg(
            *[v.min().alias(f"low {c}") for c, v in zip(self.covariates, values, strict=True)],
            *[v.max().alias(f"high {c}") for c, v in zip(self.covariates, values, strict=True)],
        )

    def summed(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return one row per run of a chunk."""
        covariates = [pl.col(c).cast(pl.Float64) for c in self.covariates]
        values = frame.select(self.names(frame).alias(RUN), *covariates)
        extra = [pl.col("__time").sum().alias("times")]
        extra.append(pl.col("__group").min().alias("first group"))
        extra.append(pl.col("__group").max().alias("last group"))
        values = values.with_columns(
            frame[self.target].cast(pl.Float64).alias("__time"),
            frame[self.group].cast(pl.Int64).alias("__group"),
        )
        if self.order is not None:
            values = values.with_columns(frame[self.order].alias("__order"))
            extra.append(pl.col("__order").min().alias("order"))
        return values.group_by(RUN).agg(
            pl.len().alias("rows"),
            *[pl.col(c).sum().alias(f"sum {c}") for c in self.covariates],
            *[pl.col(c).min().alias(f"low {c}") for c in self.covariates],
            *[pl.col(c).max().alias(f"high {c}") for c in self.covariates],
            *extra,
        )


@dataclass(frozen=True)
class LeftOut:
    """Rows that are left out together.

    Attributes
    ----------
    sums : list of HeldOut
        Of them.
    folds : list of RunFold
        Which they are.
    features : FeatureMap
        With the range of the training.
    runs : RunTable or None
        All runs.
    """

    sums: list[HeldOut]
    folds: list[RunFold]
    features: FeatureMap
    runs: RunTable | None = None


def read_rows(
    config: FitConfig, table: CentredFiles, columns: Columns, runs: RunTable | None
) -> StoredRows:
    """Return the rows of a table to be gone through again, with their runs where these are known.

    Parameters
    ----------
    config : FitConfig
        Columns of the run and of acquisition order.
    table, columns
        The training rows, and what is read of them.
    runs : RunTable or None
        Their runs.
    """
    reader = None if runs is None else _Reader.of(config, table, columns)
    wanted = [*columns.names, *([] if reader is None else reader.read)]

    def chunks() -> Iterator[Chunk]:
        for chunk in table.chunks(wanted, config.max_train_rows):
            frame = chunk.frame
            if reader is not None and runs is not None:
                frame = frame.with_columns(pl.Series(RUN, reader.numbers(frame, runs)))
            yield Chunk(frame, chunk.where, chunk.first_row)

    return StoredRows.of_chunks(chunks, columns, None if reader is None else RUN)


def read_held_out(
    config: FitConfig,
    table: CentredFiles,
    columns: Columns,
    stats: SufficientStatistics,
    features: FeatureMap,
    runs: RunTable,
) -> LeftOut:
    """Sum up the rows that are left out together, those of runs and of pairs.

    Parameters
    ----------
    config : FitConfig
        Columns of the run and of acquisition order.
    table, columns
        The training rows, and what is read of them.
    stats : SufficientStatistics
        Of all rows; folds are of those of its pairs that a choice is made on.
    features : FeatureMap
        From covariates to regressors.
    runs : RunTable
        The runs of these rows.
    """
    features = replace(features, range=runs.range)
    ends = (runs.mean, runs.low, runs.high)
    folds = plan_folds(*ends, ordered=runs.ordered, groups=runs.groups)
    some = judged_pairs(stats)
    if config.chooses:
        folds += plan_unseen(some, runs.of_groups, len(runs.mean))
    reader = _Reader.of(config, table, columns)
    if not folds or reader is None:
        return LeftOut([], [], features, runs)
    sums: dict[int, SufficientStatistics] = {}
    wanted = list(dict.fromkeys([*columns.names, *reader.read]))
    for chunk in table.chunks(wanted, config.max_train_rows):
        frame, keys = _of_pairs(chunk.frame, columns, some.keys)
        if not frame.height:
            continue
        places = reader.numbers(frame, runs)
        for number, fold in enumerate(folds):
            part = frame.filter(fold.rows(places, keys))
            if part.height:
                found = _statistics(part, columns, fold, features)
                sums[number] = sums[number].merge(found) if number in sums else found
    every = [HeldOut(folds[i].name, sums[i], kind=folds[i].kind) for i in sorted(sums)]
    return LeftOut(every, folds, features, runs)


def _of_pairs(
    frame: pl.DataFrame, columns: Columns, keys: IntArray
) -> tuple[pl.DataFrame, IntArray]:
    """Return the rows of some pairs, and the pair of each."""
    group, compound = (frame[name].cast(pl.Int64) for name in (columns.group, columns.compound))
    packed = (group.to_numpy().astype(np.int64) << 32) + compound.to_numpy().astype(np.int64)
    some = np.isin(packed, keys)
    return frame.filter(some), packed[some]


def _statistics(
    part: pl.DataFrame, columns: Columns, fold: RunFold, features: FeatureMap
) -> SufficientStatistics:
    X = np.empty((part.height, len(columns.covariates)))
    for place, name in enumerate(columns.covariates):
        X[:, place] = part[name].cast(pl.Float64).to_numpy()
    z = fold.regressors(X, features)
    names = [f"z{j}" for j in range(z.shape[1])]
    roles = {"group": columns.group, "compound": columns.compound, "y": columns.target}
    if columns.parent is not None:
        roles["parent"] = columns.parent
    frame = part.select(pl.col(column).alias(role) for role, column in roles.items())
    frame = frame.with_columns(pl.Series(name, z[:, j]) for j, name in enumerate(names))
    return SufficientStatistics.from_frame(
        frame,
        covariates=names,
        group="group",
        compound="compound",
        parent="parent" if columns.parent is not None else None,
        target="y",
    )
