"""Splits that the user brings: a column of names, or a JSON file of rows or ids.

Files are read as Chemprop writes them (a list of ``{"train": ..., "val": ..., "test": ...}``, rows
from 0 as numbers or as ``"0-99,105"``), as Polaris does (``[train, test]`` or ``[train, {name:
test}]``, alone or as ``split`` of a benchmark), as one such object, or as ``{id: split}``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from molpool_common._errors import InputError, listed
from molpool_common._input_files import read_text
from molpool_common.splits._rows import Groups, Indices, Split

SplitName = Literal["train", "val", "test"]

SPELLINGS: Mapping[SplitName, tuple[str, ...]] = {
    "train": ("train", "training", "trn", "tr", "fit"),
    "val": ("val", "valid", "validation", "validate", "vali", "dev", "tune", "tuning"),
    "test": ("test", "testing", "tst", "te", "holdout", "heldout", "external", "externaltest"),
}
"""What splits are called in tables, without case, spaces, hyphens and underscores."""

_MEANING = {word: split for split, words in SPELLINGS.items() for word in words}
_UNUSED = ("", "none", "null", "na", "n/a", "nan", "unused", "ignore", "exclude", "excluded")

_DIGITS = 8
"""Of a row number in a range, which would otherwise be written out however long it is."""

Row = int | str
"""A row from 0, or an id."""


@dataclass(frozen=True)
class GivenSplit:
    """What a file says of one split: rows from 0 or ids of each part.

    Parameters
    ----------
    train, val, test : tuple of int or str
        Disjoint.
    name : str
        Of the entry, for messages.
    """

    train: tuple[Row, ...]
    val: tuple[Row, ...]
    test: tuple[Row, ...]
    name: str

    def parts(self) -> Iterable[tuple[SplitName, tuple[Row, ...]]]:
        """Return the parts by name."""
        return (("train", self.train), ("val", self.val), ("test", self.test))


def split_name(value: object) -> SplitName | None:
    """Return the split that a word means, None where it means none.

    Raises
    ------
    KeyError
        If it is neither.
    """
    text = "" if value is None or value != value else str(value).strip().casefold()
    if text in _UNUSED:
        return None
    return _MEANING[text.replace(" ", "").replace("-", "").replace("_", "")]


def split_names(
    values: Sequence[object],
    *,
    rows: Sequence[int] | None = None,
    parameter: str = "split_column",
    where: str | None = None,
) -> list[SplitName | None]:
    """Return the split of each row of a column.

    Parameters
    ----------
    values : sequence, length N
        Names in any usual spelling; empty cells mean that a row is not used.
    rows : sequence of int, length N, optional
        Their numbers for messages; by default from 1.
    parameter : str
        What the column is called there.
    where : str, optional
        The table.

    Raises
    ------
    InputError
        If a value is no name of a split, naming values and rows, or no row has one.
    """
    numbers = range(1, len(values) + 1) if rows is None else rows
    names: list[SplitName | None] = []
    wrong: list[tuple[object, int]] = []
    for value, number in zip(values, numbers, strict=True):
        try:
            names.append(split_name(value))
        except KeyError:
            wrong.append((value, number))
    if wrong:
        distinct = list(dict.fromkeys(repr(value) for value, _ in wrong))
        raise InputError(
            parameter,
            expected="train, val or test in any usual spelling, or nothing",
            found=f"{listed(distinct, limit=5)} in rows {listed([n for _, n in wrong])}",
            where=where,
        )
    if not any(names):
        raise InputError(
            parameter, expected="a row of train, val or test", found="none", where=where
        )
    return names


def read_split_file(path: str | Path) -> list[GivenSplit]:
    """Read the splits of a JSON file.

    Returns
    -------
    list of GivenSplit
        Several where the file has several, as that of a cross-validation.

    Raises
    ------
    InputError
        If it is missing, no JSON, or of none of the forms above.
    """
    path = Path(path)
    try:
        content = json.loads(read_text(path, "split_file", encoding="utf-8-sig"))
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise _error(f"{error}", path, "a JSON file of splits") from None
    return _entries(content, path)


def _entries(content: Any, path: Path) -> list[GivenSplit]:
    if isinstance(content, dict) and "split" in content:
        content = content["split"]
    if isinstance(content, list) and content and all(isinstance(e, dict) for e in content):
        return [_of_parts(e, f"entry {n}", path) for n, e in enumerate(content)]
    if isinstance(content, list) and len(content) == 2 and isinstance(content[0], list):
        train, test = content
        tests = list(test.values()) if isinstance(test, dict) else [test]
        rows = [row for part in tests for row in _rows(part, "test", path)]
        return [_made(_rows(train, "train", path), [], rows, path.name, path)]
    if isinstance(content, dict) and content:
        if all(isinstance(value, str) and not _is_ranges(value) for value in content.values()):
            return [_of_ids(content, path)]
        return [_of_parts(content, path.name, path)]
    raise _error(
        "something else",
        path,
        'a list of {"train": [...], "val": [...], "test": [...]} as Chemprop writes it, '
        "[train, test] as Polaris does, or {id: split}",
    )


def _of_parts(entry: dict[str, Any], name: str, path: Path) -> GivenSplit:
    parts: dict[SplitName, list[Row]] = {"train": [], "val": [], "test": []}
    for key, value in entry.items():
        try:
            split = split_name(key)
        except KeyError:
            raise _error(repr(key), path, f"train, val and test in {name}") from None
        if split is not None and value is not None:
            parts[split] += _rows(value, key, path)
    return _made(parts["train"], parts["val"], parts["test"], name, path)


def _of_ids(content: dict[str, str], path: Path) -> GivenSplit:
    names = split_names(list(content.values()), parameter="split_file", where=path.name)
    parts: dict[SplitName, list[Row]] = {"train": [], "val": [], "test": []}
    for name, split in zip(content, names, strict=True):
        if split is not None:
            parts[split].append(name)
    return _made(parts["train"], parts["val"], parts["test"], path.name, path)


def _is_ranges(text: str) -> bool:
    return bool(text) and set(text) <= set("0123456789-, ")


def _rows(value: Any, part: str, path: Path) -> list[Row]:
    """Return the rows or ids of one part."""
    if isinstance(value, str) and _is_ranges(value):
        return [row for piece in value.split(",") for row in _range(piece, part, path)]
    flat = isinstance(value, list) and all(
        isinstance(row, int | str) and not isinstance(row, bool) for row in value
    )
    if not flat:
        raise _error(
            f"{str(value)[:40]!r}", path, f"rows from 0, ranges such as '0-99', or ids as {part}"
        )
    if len({type(row) for row in value}) > 1:
        raise _error("numbers and text", path, f"either rows from 0 or ids as {part}")
    negative = [row for row in value if isinstance(row, int) and row < 0]
    if negative:
        raise _error(listed(negative, limit=5), path, f"rows from 0 as {part}")
    return list(value)


def _range(piece: str, part: str, path: Path) -> Iterable[int]:
    first, dash, last = (text.strip() for text in piece.partition("-"))
    if not first.isdigit() or (dash and not last.isdigit()):
        raise _error(repr(piece), path, f"ranges such as '0-99,105' as {part}")
    if len(last if dash else first) > _DIGITS:
        raise _error(repr(piece[:40]), path, f"rows of a table as {part}")
    return range(int(first), int(last if dash else first) + 1)


def _made(train: list[Row], val: list[Row], test: list[Row], name: str, path: Path) -> GivenSplit:
    seen: dict[Row, str] = {}
    for split, rows in (("train", train), ("val", val), ("test", test)):
        # Several test sets of one benchmark may share rows.
        twice = [row for row in rows if seen.setdefault(row, split) != split]
        if twice:
            raise _error(
                f"{listed(twice, limit=5)} in {seen[twice[0]]} and {split} of {name}",
                path,
                "each row in one split",
            )
    if not seen:
        raise _error(f"none in {name}", path, "rows")
    first, second, third = (tuple(dict.fromkeys(rows)) for rows in (train, val, test))
    return GivenSplit(first, second, third, name)


def assign_rows(
    given: GivenSplit, n_rows: int, ids: Sequence[str] | None = None, where: str | None = None
) -> list[SplitName | None]:
    """Return the split of each row of a table; None for those that the file does not name.

    Parameters
    ----------
    given : GivenSplit
        Rows from 0, or ids.
    n_rows : int
        Of the table as read, rows that do not parse included.
    ids : sequence of str, length N, optional
        Their ids, where the file has ids; several rows may share one.
    where : str, optional
        The file of the split, for messages.

    Raises
    ------
    InputError
        If a row or an id is not in the table, or the file has ids and the table none.
    """
    names: list[SplitName | None] = [None] * n_rows
    places: dict[str, list[int]] = {}
    for place, name in enumerate(ids or []):
        places.setdefault(name, []).append(place)
    missing: list[Row] = []
    for split, part in given.parts():
        for row in part:
            found = places.get(row, []) if isinstance(row, str) else [row]
            if not found or found[0] >= n_rows:
                missing.append(row)
                continue
            for place in found:
                names[place] = split
    if missing:
        by_id = isinstance(missing[0], str)
        if by_id and ids is None:
            raise InputError(
                "split_file",
                expected="rows from 0, as the table has no column of ids",
                found=f"ids such as {missing[0]!r}",
                where=where,
                hint="--data.id-column names the column.",
            )
        raise InputError(
            "split_file",
            expected="ids of the table" if by_id else f"rows 0 to {n_rows - 1}",
            found=f"{len(missing)} others: {listed([repr(m) for m in missing], limit=5)}",
            where=where,
        )
    return names


def on_two_sides(split: Split, keys: Groups) -> tuple[Indices, Indices]:
    """Return the training and the validation rows whose molecule is on a later side too.

    Parameters
    ----------
    split : Split
        Rows as a user gives them.
    keys : sequence, length N
        Of what should stay on one side, for each row of the table.
    """
    tested = {keys[row] for row in split.test.tolist()}
    held = tested | {keys[row] for row in split.val.tolist()}
    train = [row for row in split.train.tolist() if keys[row] in held]
    val = [row for row in split.val.tolist() if keys[row] in tested]
    return np.array(train, dtype=np.int64), np.array(val, dtype=np.int64)


def without_overlap(split: Split, keys: Groups) -> Split:
    """Return the split without the rows of `on_two_sides`; what tests is left as it is."""
    train, val = on_two_sides(split, keys)
    return Split(
        np.setdiff1d(split.train, train), np.setdiff1d(split.val, val), np.sort(split.test)
    )


def overlap_words(n: int, train: int, val: int, what: str = "molecules") -> str:
    """Return what to say of `n` molecules whose rows, so many of them, are on two sides."""
    counts = [f"{k} {name}" for k, name in ((train, "training"), (val, "validation")) if k]
    return f"{n} {what} of the given split stand on two sides ({' and '.join(counts)} rows)"


def _error(found: str, path: Path, expected: str) -> InputError:
    return InputError("split_file", expected=expected, found=found, where=str(path))
