"""Whether a table is the one that a run was started with, and what has changed where it is not.

`table_rows.parquet` holds digests of the rows that were read: of the molecule (its SMILES and,
where it has one, its name), of the label of each task with its sign, and of what else counts (time,
quality, split; of bags weights and features). The order of rows counts for nothing, as no split but
a given one depends on it. The file holds no values, and tells which rows came, went or have another
label.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from molpool_common import (
    Float32Array,
    FloatArray,
    InputError,
    MoleculeTable,
    RunFolder,
    SignArray,
    checked,
    listed,
    text_keys,
)
from numpy.typing import NDArray

from molpool_pipelines.runs._folder import TABLE_ROWS

if TYPE_CHECKING:
    from mil_attn import BagData

UIntArray = NDArray[np.uint64]

ACCEPT = "--accept-changed-table"

_KEY, _REST, _LABEL = "molecule", "other", "label "
_FIRST = 5
"""Rows that a message names."""


@dataclass(frozen=True)
class TableRows:
    """Digests of the rows of a table.

    Parameters
    ----------
    frame : DataFrame [N]
        ``source, row, id``; ``molecule`` and ``other``, digests; ``label TASK``, digest of each
        label, 0 where there is none.
    """

    frame: pl.DataFrame

    @classmethod
    def of(
        cls,
        places: pl.DataFrame,
        molecules: Sequence[str],
        labels: FloatArray,
        tasks: Sequence[str],
        *,
        censoring: SignArray | None = None,
        other: Sequence[str] = (),
    ) -> TableRows:
        """Return the digests of N rows.

        Parameters
        ----------
        places : DataFrame [N]
            ``source, row, id`` of each, by which messages name it.
        molecules : sequence of str [N]
            What each row is of.
        labels : ndarray [N, T]
            NaN where there is none.
        tasks : sequence of str [T]
            Their names.
        censoring : ndarray of int8 [N, T], optional
            Signs of the labels.
        other : sequence of str [N]
            What else of a row counts; empty for nothing.
        """
        columns = {_KEY: _digests(molecules)}
        columns[_REST] = _digests(other) if other else np.zeros(len(molecules), dtype=np.uint64)
        for t, task in enumerate(tasks):
            signs = (
                np.zeros(len(molecules), dtype=np.int8) if censoring is None else censoring[:, t]
            )
            columns[f"{_LABEL}{task}"] = _mixed(labels[:, t], signs)
        digests = pl.DataFrame(columns)
        return cls(pl.concat([places.select("source", "row", "id"), digests], how="horizontal"))

    @classmethod
    def of_molecules(cls, table: MoleculeTable, *, named: bool) -> TableRows:
        """Return the digests of a table of molecules.

        Parameters
        ----------
        table : MoleculeTable
            As read, before duplicates are merged.
        named : bool
            Whether ids are names; row numbers change with every row above.
        """
        ids = table.origin["id"].fill_null("").to_list() if named else [""] * len(table)
        extra = zip(
            table.quality or [""] * len(table),
            table.times or [""] * len(table),
            table.hold_out.tolist(),
            strict=True,
        )
        other = [f"{q}\0{t}\0{h}" for q, t, h in extra]
        for column in (table.given, table.series):
            # Only where there is one: digests of earlier runs have none.
            if column is not None:
                other = [f"{text}\0{value}" for text, value in zip(other, column, strict=True)]
        return cls.of(
            table.origin,
            [f"{name}\0{smiles}" for name, smiles in zip(ids, table.smiles, strict=True)],
            table.targets,
            table.task_names,
            censoring=table.censoring,
            other=other,
        )

    @classmethod
    def of_bags(cls, data: BagData, source: str, *, named: bool, with_features: bool) -> TableRows:
        """Return the digests of bags.

        Parameters
        ----------
        data : BagData
            As read.
        source : str
            Name of the table.
        named : bool
            Whether ids are names; otherwise they are the numbers of rows.
        with_features : bool
            Whether features were read from tables, and not computed of SMILES.
        """
        ids, n = list(data.ids), len(data)
        rows = list(range(1, n + 1)) if named else [int(name) for name in ids]
        places = pl.DataFrame(
            {"source": [source] * n, "row": rows, "id": ids},
            schema={"source": pl.String, "row": pl.Int64, "id": pl.String},
        )
        smiles = [""] * n if data.smiles is None else data.smiles
        of = [f"{name if named else ''}\0{text}" for name, text in zip(ids, smiles, strict=True)]
        labels = np.empty((n, 0)) if data.labels is None else data.labels
        other = _bag_contents(data, with_features=with_features)
        return cls.of(places, of, labels, data.task_names, other=other)

    @classmethod
    def of_bag_tables(
        cls, tables: Sequence[tuple[str, BagData]], *, named: bool, with_features: bool
    ) -> TableRows:
        """Return the digests of the bags of tables, by the names of their files; see `of_bags`."""
        each = [
            cls.of_bags(bags, name, named=named, with_features=with_features)
            for name, bags in tables
        ]
        return cls(pl.concat([rows.frame for rows in each]))

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks."""
        return [c.removeprefix(_LABEL) for c in self.frame.columns if c.startswith(_LABEL)]

    @property
    def digest(self) -> str:
        """SHA-256 of the content, whatever the order of rows."""
        names = [c for c in self.frame.columns if c not in ("source", "row", "id")]
        ordered = self.frame.select(names).sort(names)
        content = hashlib.sha256("\0".join(names).encode())
        content.update(ordered.to_numpy().astype("<u8").tobytes())
        return content.hexdigest()

    def write(self, run: RunFolder) -> None:
        """Write the digests into a run folder."""
        run.write_frame(TABLE_ROWS, self.frame)

    @classmethod
    def read(cls, folder: str | Path) -> TableRows | None:
        """Return the digests of a run folder; None of one that an earlier version wrote."""
        file = Path(folder) / TABLE_ROWS
        return cls(pl.read_parquet(checked(file))) if file.is_file() else None

    def changes(self, now: TableRows) -> list[str]:
        """Return what has changed from this table to another, a phrase each; empty if nothing."""
        if self.digest == now.digest:
            return []
        before, after = self._numbered(), now._numbered()
        keys = [_KEY, "n"]
        added = after.join(before, on=keys, how="anti")
        gone = before.join(after, on=keys, how="anti")
        # Under the numbers that rows have now: that is the file that there is to look at.
        both = after.join(before, on=keys, suffix=" before")
        found = [f"{len(added):,} rows added ({_named(added)})"] if len(added) else []
        found += [f"{len(gone):,} rows gone ({_named(gone)})"] if len(gone) else []
        for task in self.tasks:
            name = f"{_LABEL}{task}"
            if name not in after.columns:
                found.append(f"task {task!r} gone")
                continue
            other = both.filter(pl.col(name) != pl.col(f"{name} before"))
            if len(other):
                found.append(f"{len(other):,} labels of {task!r} changed ({_named(other)})")
        found += [f"task {task!r} added" for task in now.tasks if task not in self.tasks]
        other = both.filter(pl.col(_REST) != pl.col(f"{_REST} before"))
        if len(other):
            found.append(f"{len(other):,} times, qualities or splits changed ({_named(other)})")
        return found

    def _numbered(self) -> pl.DataFrame:
        """Return the rows with the number ``n`` among those of one molecule, in order of content.

        Rows of one molecule in another order are then the same rows.
        """
        labels = [f"{_LABEL}{task}" for task in sorted(self.tasks)]
        ordered = self.frame.sort([_KEY, _REST, *labels], maintain_order=True)
        return ordered.with_columns(pl.int_range(pl.len()).over(_KEY).alias("n"))


def check_same_table(
    folder: str | Path, now: TableRows, *, accept: bool, what: str = "the run"
) -> list[str]:
    """Refuse a table that is not the one in a run folder, or say what has changed.

    Parameters
    ----------
    folder : str or Path
        Of the run; one without digests, of an earlier version, accepts any table.
    now : TableRows
        The table as it is read now.
    accept : bool
        Whether a changed table is accepted.
    what : str
        What was started with the table, for the message.

    Returns
    -------
    list of str
        A note where a change was accepted.

    Raises
    ------
    InputError
        Naming what has changed, and the flag that accepts it.
    """
    before = TableRows.read(folder)
    changes = [] if before is None else before.changes(now)
    if not changes:
        return []
    found = "; ".join(changes)
    if not accept:
        raise InputError(
            "data_path",
            expected=f"the table that {what} was started with",
            found=found,
            where=str(folder),
            hint=f"{ACCEPT} true goes on with it as it is now.",
        )
    return [f"The table has changed since {what} was started: {found}."]


def _named(rows: pl.DataFrame) -> str:
    shown = rows.sort("source", "row").head(_FIRST)
    names = [
        f"row {row}" + ("" if name in (None, str(row)) else f" {name!r}")
        for row, name in shown.select("row", "id").iter_rows()
    ]
    more = len(rows) - len(shown)
    return listed(names, _FIRST) + (f" and {more:,} more" if more else "")


def _bag_contents(data: BagData, *, with_features: bool) -> list[str]:
    """Return a digest of what counts of each bag besides its structure and labels."""
    contents = []
    for b in range(len(data)):
        content = hashlib.blake2b(digest_size=16)
        parts: list[FloatArray | Float32Array | bytes | None] = [
            None if data.weights is None else data.weights[b],
            *(v[b] for v in data.aux.values()),
        ]
        if with_features:
            if data.instances is not None and data.offsets is not None:
                instances = data.instances[data.offsets[b] : data.offsets[b + 1]]
                # A bag is a set: its instances may stand in any order.
                parts += sorted(instance.tobytes() for instance in instances)
            parts.append(None if data.x2d is None else data.x2d[b])
        for part in parts:
            told = part.tobytes() if isinstance(part, np.ndarray) else part
            content.update(b"-" if told is None else told)
        contents.append(content.hexdigest())
    return contents


def _digests(texts: Sequence[str]) -> UIntArray:
    # 8 of 16 bytes: of a million rows two are confused once in forty million tables.
    halves = np.frombuffer(text_keys(texts).tobytes(), dtype="<u8").reshape(len(texts), 2)
    return halves[:, 0].astype(np.uint64)


def _mixed(labels: FloatArray, signs: SignArray) -> UIntArray:
    """Return a digest of each label with its sign (SplitMix64); 0 where there is none.

    References
    ----------
    Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA (2014).
    """
    values = np.where(labels == 0, 0.0, labels)  # +0 and -0 are one label
    bits = np.ascontiguousarray(values, dtype="<f8").view("<u8").astype(np.uint64)
    # Never 0, so that the digest of 0 is not that of a missing label.
    step = (signs.astype(np.int64) + 2).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    x = bits + step
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.where(np.isfinite(labels), x ^ (x >> np.uint64(31)), np.uint64(0))
