"""What an evaluation found, as tables, and as the file that plot and report read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from molpool_common import InputError

FILE = "evaluation.json"


@dataclass(frozen=True)
class Scored:
    """One artefact's errors and coverage.

    Attributes
    ----------
    name, path, method, group_col : str
        Of the artefact.
    share_unseen : float
        Share of the rows whose pair has no training row.
    levels : dict of str to int
        Rows by the level that their coefficients came from.
    table : DataFrame
        Of all rows, by support in this artefact: see `rt_ridge.SupportMetrics.table`.
    common : DataFrame
        Of the rows that all artefacts predict, by support in the first.
    rare : DataFrame
        Of those rows, the ones of pairs with few training rows: none, some, and both together.
    """

    name: str
    path: str
    method: str
    group_col: str
    share_unseen: float
    levels: dict[str, int]
    table: pl.DataFrame
    common: pl.DataFrame
    rare: pl.DataFrame


@dataclass(frozen=True)
class Evaluation:
    """Several artefacts on the same rows.

    Attributes
    ----------
    scored : list of Scored
        In the order given.
    n_rows, n_left_out, n_common : int
        Rows scored; left out as of pairs never seen; predicted by all artefacts.
    drift : DataFrame or None
        artefact, run, n, then means over the rows of each run: observed, predicted, without_drift
        (predicted at the centre of the covariates), bias, z_mean; and rmse.
    """

    scored: list[Scored]
    n_rows: int
    n_left_out: int
    n_common: int
    drift: pl.DataFrame | None = None

    def frame(self) -> pl.DataFrame:
        """Return all tables below one another, with the columns artefact and rows before."""
        parts = [
            table.select(
                pl.lit(scored.name).alias("artefact"), pl.lit(rows).alias("rows"), pl.all()
            )
            for scored in self.scored
            for rows, table in (
                *(("all", scored.table), ("common", scored.common)),
                ("rare", scored.rare),
            )
        ]
        return pl.concat(parts, how="vertical_relaxed")

    def to_json(self) -> dict[str, Any]:
        """Return what evaluation.json holds."""
        fits = [
            {
                **{k: getattr(s, k) for k in _PLAIN},
                "all": s.table.to_dicts(),
                "common": s.common.to_dicts(),
                "rare": s.rare.to_dicts(),
            }
            for s in self.scored
        ]
        counts = {"n_rows": self.n_rows, "n_left_out": self.n_left_out, "n_common": self.n_common}
        return {**counts, "artefacts": fits}

    @classmethod
    def load(cls, folder: str | Path) -> Evaluation:
        """Read the folder that `molpool-rt evaluate` left.

        Raises
        ------
        InputError
            If it holds no evaluation.
        """
        path = Path(folder) / FILE
        if not path.is_file():
            raise InputError(
                "evaluation", expected=f"a folder with {FILE}", found=f"none in {str(folder)!r}"
            )
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            scored = [_scored(entry) for entry in content["artefacts"]]
            counts = {k: int(content[k]) for k in ("n_rows", "n_left_out", "n_common")}
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                "evaluation",
                expected="what molpool-rt evaluate writes",
                found=f"{type(error).__name__}: {error}",
                where=str(path),
            ) from None
        drift = path.with_name("drift.csv")
        return cls(scored, **counts, drift=pl.read_csv(drift) if drift.is_file() else None)


def with_rows(table: pl.DataFrame) -> pl.DataFrame:
    """Return the bins that have rows, with or without a prediction, and the row of all."""
    return table.filter((pl.col("n") + pl.col("n_missing") > 0) | (pl.col("support") == "all"))


_PLAIN = ("name", "path", "method", "group_col", "share_unseen", "levels")


def _scored(entry: dict[str, Any]) -> Scored:
    plain = {key: entry[key] for key in _PLAIN}
    tables = (
        pl.DataFrame(entry[key], infer_schema_length=None) for key in ("all", "common", "rare")
    )
    return Scored(**plain, table=next(tables), common=next(tables), rare=next(tables))
