"""Adversarial tables: each a way in which real retention times have been awkward."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import polars as pl


def table(
    seed: int, n_rows: int = 60, n_groups: int = 5, n_compounds: int = 3, offset: float = 0.0
) -> pl.DataFrame:
    """Return rows of `n_groups` species in pairs of one supercategory, in no order."""
    rng = np.random.default_rng(seed)
    species = rng.integers(0, n_groups, n_rows)
    x = rng.normal(size=(n_rows, 2)) * [1.0, 0.3] + [0.0, 5.0]
    return pl.DataFrame(
        {
            "species": species,
            "comp_id": rng.integers(0, n_compounds, n_rows),
            "species_cluster": species // 2,
            "is_1": x[:, 0],
            "is_2": x[:, 1],
            "rt": offset + 0.2 * x[:, 0] + rng.normal(size=n_rows) * 0.1,
        }
    )


def _with(frame: pl.DataFrame, **columns: npt.NDArray[np.int64]) -> pl.DataFrame:
    return frame.with_columns(**{name: pl.Series(value) for name, value in columns.items()})


LEGAL: dict[str, Callable[[], pl.DataFrame]] = {
    "plain": lambda: table(0),
    "far from zero": lambda: table(1, offset=1e6),
    "one row": lambda: table(2, n_rows=1),
    "every pair once": lambda: _with(
        table(3, n_rows=15), species=np.repeat(np.arange(5), 3), comp_id=np.tile(np.arange(3), 5)
    ).with_columns(species_cluster=pl.col("species") // 2),
    "fewer rows a pair than covariates": lambda: table(4, n_rows=8),
    "constant covariate": lambda: table(5).with_columns(is_2=pl.lit(0.1)),
    "collinear covariates": lambda: table(6).with_columns(is_2=3 * pl.col("is_1")),
    "ids at both ends": lambda: table(7).with_columns(
        species=pl.col("species") + 2**31 - 5, comp_id=pl.col("comp_id") * (2**30 - 1)
    ),
    "small integers": lambda: table(8).with_columns(
        pl.col("species", "comp_id").cast(pl.UInt8), is_1=pl.col("is_1").round().cast(pl.Int8)
    ),
    "text that is numbers": lambda: table(9).select(pl.all().cast(pl.String)),
    "labels that are numbers": lambda: table(12).with_columns(
        pl.col("species", "comp_id").cast(pl.String).cast(pl.Categorical)
    ),
    "one pair holds nearly all": lambda: (
        table(10, n_rows=400)
        .with_columns(comp_id=pl.when(pl.int_range(pl.len()) < 5).then(1).otherwise(0), species=0)
        .with_columns(species_cluster=0)
    ),
    "tiny spread": lambda: table(11).with_columns(rt=pl.lit(7.0) + 1e-9 * pl.col("is_1")),
}
"""Tables that have statistics."""


def _at(row: int, column: str, value: object) -> Callable[[], pl.DataFrame]:
    """Return a table whose cell in `row`, from 1, is `value`."""

    def build() -> pl.DataFrame:
        frame = table(0)
        values = frame[column].to_list()
        values[row - 1] = value
        return frame.with_columns(pl.Series(column, values, strict=False))

    return build


ILLEGAL: dict[str, tuple[Callable[[], pl.DataFrame], tuple[str, ...]]] = {
    "missing covariate": (_at(3, "is_2", None), ("'is_2'", "1 missing", "rows 3)")),
    "NaN covariate": (_at(4, "is_1", float("nan")), ("'is_1'", "1 missing", "rows 4)")),
    "missing target": (_at(5, "rt", None), ("'rt'", "1 missing", "rows 5)")),
    "missing id": (_at(6, "species", None), ("'species'", "1 missing", "rows 6)")),
    "missing parent": (_at(7, "species_cluster", None), ("'species_cluster'", "rows 7)")),
    "infinite covariate": (_at(8, "is_1", float("inf")), ("'is_1'", "finite", "row 8")),
    "infinite target": (_at(9, "rt", float("-inf")), ("'rt'", "finite", "row 9")),
    "negative id": (_at(10, "comp_id", -1), ("'comp_id'", "found -1", "rows 10)")),
    "id of 2^31": (_at(11, "species", 2**31), ("'species'", "found 2147483648", "rows 11)")),
    "broken id": (
        lambda: table(0).with_columns(comp_id=pl.col("comp_id") + 0.5),
        ("'comp_id'", "whole numbers", "rows 1, 2"),
    ),
    "text in a covariate": (
        lambda: table(0).with_columns(is_1=pl.lit("late")),
        ("'is_1'", "'late'", "row 1"),
    ),
    "labels for ids": (
        lambda: table(0).with_columns(species=pl.lit("plasma").cast(pl.Categorical)),
        ("'species'", "'plasma'", "row 1"),
    ),
    "two supercategories": (
        lambda: table(0).with_columns(
            species=pl.lit(4), species_cluster=pl.int_range(pl.len()) % 2
        ),
        ("species", "one species_cluster", "4 in 0, 1"),
    ),
    "no row": (lambda: table(0).head(0), ("at least one row",)),
    "no target": (lambda: table(0).drop("rt"), ("target", "'rt'", "Valid:")),
    "misspelt covariate": (
        lambda: table(0).rename({"is_2": "is2"}),
        ("covariates", "'is_2'", "Did you mean 'is2'?"),
    ),
    "no supercategory": (
        lambda: table(0).drop("species_cluster"),
        ("parent", "'species_cluster'", "parent=None"),
    ),
}
"""Tables that have none, and what the message must say."""
