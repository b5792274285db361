"""Rows that a command sets aside, and why, collected for `rejected.csv`."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

SCHEMA = {"row": pl.Int64, "id": pl.String, "source": pl.String, "reason": pl.String}


@dataclass
class Rejected:
    """Collects rows set aside.

    Attributes
    ----------
    parts : list of DataFrame
        row (from 1 below the header of its file), id (of the compound), source (the file), reason.
    """

    parts: list[pl.DataFrame] = field(default_factory=list)

    def add(
        self, row: pl.Series, id_: pl.Series, source: pl.Series, reason: str | pl.Series
    ) -> int:
        """Take rows, and return how many there were."""
        columns = {"row": row, "id": id_.cast(pl.String), "source": source}
        frame = pl.DataFrame(columns).with_columns(
            pl.lit(reason).alias("reason") if isinstance(reason, str) else reason.alias("reason")
        )
        if frame.height:
            self.parts.append(frame.select(pl.col(n).cast(t) for n, t in SCHEMA.items()))
        return frame.height

    def __len__(self) -> int:
        return sum(part.height for part in self.parts)

    def frame(self) -> pl.DataFrame:
        """Return all of them, in the order in which they were set aside."""
        return pl.concat([pl.DataFrame(schema=SCHEMA), *self.parts])
