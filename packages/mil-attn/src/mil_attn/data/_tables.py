"""Tables of bags: one row per instance with labels, or features beside a table of molecules.

Columns become names, features and labels first; rows are then sorted by bag. `BagData` takes the
fields that `bag_table_fields` and `joined_fields` return.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from molpool_common import (
    Fault,
    Faults,
    Float32Array,
    FloatArray,
    IdColumn,
    IntArray,
    ReadConfig,
    joint_ids,
    listed,
    measured_column,
    number_column,
    read_table,
    require_columns,
)

from mil_attn._errors import MILError
from mil_attn.data._failures import Failure

_NUMBERED = re.compile(r"f\d+")

_ROLES = re.compile(
    r"(fold|split|plate|well|batch|run|weights?|sample_?weight|quality|time|date|timestamp|label|"
    r"target|index|row|id|smiles|inchi|inchikey)([_ ]?\d+)?|(.*_)?(id|idx)",
    re.IGNORECASE,
)
"""Names of columns that say something about a row, and are features only where they are named."""


def table_of(
    table: str | Path | pl.DataFrame, name: str, read: ReadConfig | None = None
) -> tuple[pl.DataFrame, str]:
    """Return a table, read where a file is given, and what messages call it."""
    if isinstance(table, pl.DataFrame):
        return table, name
    return read_table(table, read), Path(table).name


def names_of(frame: pl.DataFrame, column: str, where: str) -> pl.Series:
    """Return names as text, as they are.

    Raises
    ------
    MILError
        If one is missing; names the rows.
    """
    require_columns(frame, [column], key="id_column", where=where)
    return _all_there(frame[column].cast(pl.String), column, where)


def named_bags(frame: pl.DataFrame, column: str, where: str) -> tuple[pl.Series, tuple[str, ...]]:
    """Return names of bags as text, equal where they are one id, and what to say of them.

    Raises
    ------
    InputError, MILError
        If one is missing, or numbers and text are mixed; names the rows.
    """
    require_columns(frame, [column], key="id_column", where=where)
    ids = IdColumn.read(frame[column], where)
    joint = joint_ids([ids], cure="Write all ids in one way.")
    return _all_there(joint.texts[0], column, where), joint.notes


def _all_there(names: pl.Series, column: str, where: str) -> pl.Series:
    missing = names.is_null().arg_true()
    if len(missing):
        rows = listed([row + 1 for row in missing])
        raise MILError(f"column {column!r} ({where}): expected a name; found none in rows {rows}.")
    return names


def check_one_per_bag(
    frame: pl.DataFrame, names: pl.Series, columns: Sequence[str], where: str
) -> None:
    """Raise `TableError` where values differ within a bag; names all columns, bags and values.

    Parameters
    ----------
    frame : DataFrame
        The rows.
    names : Series
        The bag of each.
    columns : sequence of str
        What has one value in each bag.
    where : str
        What messages call the table.
    """
    faults = Faults(where)
    for column in dict.fromkeys(columns):
        numbers = frame[column].cast(pl.Float64, strict=False).fill_nan(None)
        # 1 and 1.0 are one value, unless the column is of text.
        same = numbers.null_count() == frame[column].null_count()
        pairs = pl.DataFrame({"bag": names, "value": numbers if same else frame[column]})
        pairs = pairs.with_row_index("row", offset=1).unique(["bag", "value"], maintain_order=True)
        torn = pairs.filter(pl.len().over("bag") > 1).sort("bag", "row", maintain_order=True)
        if torn.is_empty():
            continue
        bags = torn["bag"].unique(maintain_order=True).to_list()
        one = torn.filter(bag=bags[0])
        # As the file has them.
        values = listed([str(frame[column][row - 1]) for row in one["row"]], 3)
        more = f" and {len(bags) - 1} other bags" if len(bags) > 1 else ""
        faults.add(
            Fault(
                f"column {column!r}",
                "one value in all rows of a bag",
                f"{values} in bag {bags[0]!r}{more}",
                tuple(one["row"].to_list()),
            )
        )
    faults.check()


def columns_of_features(frame: pl.DataFrame, others: Sequence[str], where: str) -> list[str]:
    """Return the columns of features where none are named.

    These are ``f1``, ``f2``, ... where there are such; else all but `others` and those whose names
    say that they are something else, such as ``fold``, ``plate`` or ``mol_id``.

    Raises
    ------
    MILError
        If there is none.
    """
    numbered = [c for c in frame.columns if _NUMBERED.fullmatch(c) and c not in others]
    columns = numbered or [
        c for c in frame.columns if c not in others and not _ROLES.fullmatch(c.strip())
    ]
    if not columns:
        raise MILError(
            f"features ({where}): expected columns beside {listed(list(others))}; found none."
        )
    return columns


def check_features_named(columns: Sequence[str] | None, others: Sequence[str], where: str) -> None:
    """Raise `MILError` if a feature that is named is a target, or has another role."""
    wrong = [c for c in columns or () if c in others]
    if wrong:
        raise MILError(
            f"features ({where}): expected columns that are no targets, weights, folds or names; "
            f"found {listed([repr(c) for c in wrong])}."
        )


def feature_matrix(
    frame: pl.DataFrame, columns: Sequence[str], where: str, *, undefined_ok: bool = False
) -> Float32Array:
    """Return features [R, F] in single precision.

    Raises
    ------
    MILError
        At a value that is missing, not a number or not finite; names row and column.
    """
    require_columns(frame, columns, key="features", where=where)
    matrix = np.empty((frame.height, len(columns)), dtype=np.float32)
    for i, name in enumerate(columns):
        column = frame[name]
        values = column.cast(pl.Float64, strict=False)
        text = (column.is_not_null() & values.is_null()).arg_true()
        if len(text):
            raise MILError(
                f"features ({where}): expected numbers; found {column[int(text[0])]!r} in row "
                f"{text[0] + 1}, column {name!r}. Is it a feature? feature_columns names them."
            )
        with np.errstate(over="ignore"):  # past single precision is infinite, and refused
            matrix[:, i] = values.fill_null(np.nan).to_numpy()
    _refuse(frame, matrix, columns, where, undefined_ok)
    return matrix


def _refuse(
    frame: pl.DataFrame,
    matrix: Float32Array,
    columns: Sequence[str],
    where: str,
    undefined_ok: bool,
) -> None:
    bad = np.isinf(matrix) if undefined_ok else ~np.isfinite(matrix)
    if not bad.any():
        return
    row, column = np.argwhere(bad)[0].tolist()
    found = frame[columns[column]][row]
    hint = (
        " undefined_ok (--data.allow-undefined true) takes missing features, which scaling puts"
        " at the training mean."
        if np.isnan(matrix[row, column])
        else ""
    )
    raise MILError(
        f"features ({where}): expected finite numbers; "
        f"found {'nothing' if found is None else found} in row {row + 1}, "
        f"column {columns[column]!r} ({int(bad.sum())} such values).{hint}"
    )


def label_matrix(frame: pl.DataFrame, columns: Sequence[str], where: str) -> FloatArray:
    """Return labels [R, T], NaN where missing.

    Raises
    ------
    InputError
        For text or infinity; names row and column.
    """
    require_columns(frame, columns, key="label_columns", where=where)
    labels = np.full((frame.height, len(columns)), np.nan)
    for t, name in enumerate(columns):
        read = measured_column(frame, name, where=where)
        # No loss here takes bounds: refuses them, naming the rows.
        numbers = number_column(frame, name, where=where) if read.signs.any() else read.values
        labels[:, t] = numbers.fill_null(np.nan).to_numpy()
    return labels


Table = str | Path | pl.DataFrame


class _Rows(NamedTuple):
    """Rows of a table by bag.

    Parameters
    ----------
    bags : list of str [N]
        Names in the order of their first row.
    order : ndarray of int64 [R]
        Rows bag after bag, in their order within a bag.
    offsets : ndarray of int64 [N + 1]
        Bounds of the bags in `order`.
    """

    bags: list[str]
    order: IntArray
    offsets: IntArray


def bag_table_fields(
    table: Table,
    *,
    id_column: str,
    label_columns: Sequence[str],
    feature_columns: Sequence[str] | None,
    instance_column: str | None,
    undefined_ok: bool,
    not_features: Sequence[str] = (),
    leave_out: bool = False,
    read: ReadConfig | None = None,
) -> dict[str, Any]:
    """Return the fields of `BagData` for a table with one row per instance; see there."""
    frame, where = table_of(table, "bag table", read)
    names, notes = named_bags(frame, id_column, where)
    others = [id_column, *label_columns, *_given(instance_column), *not_features]
    check_features_named(feature_columns, others, where)
    features = list(feature_columns or columns_of_features(frame, others, where))
    failures: tuple[Failure, ...] = ()
    if leave_out:
        failures = _undefined(frame, features, names, undefined_ok)
        kept = ~names.is_in([failure.id for failure in failures])
        frame, names = frame.filter(kept), names.filter(kept)
        _check_some(frame, failures, where)
    matrix = feature_matrix(frame, features, where, undefined_ok=undefined_ok)
    labels = label_matrix(frame, label_columns, where)
    rows = _by_bag(names)
    return {
        "failures": failures,
        "notes": notes,
        "ids": rows.bags,
        "instances": matrix[rows.order],
        "offsets": rows.offsets,
        "labels": _of_bags(labels, rows, label_columns, where) if label_columns else None,
        "task_names": label_columns,
        "instance_ids": _texts(frame, instance_column, rows.order, where),
        "feature_names_3d": features,
    }


def joined_fields(
    molecules: Table,
    *,
    features_3d: Table | None,
    features_2d: Table | None,
    id_column: str,
    label_columns: Sequence[str],
    aux_columns: Mapping[str, Sequence[str]] | None,
    smiles_column: str | None,
    conformer_column: str | None,
    energy_column: str | None,
    columns_3d: Sequence[str] | None,
    columns_2d: Sequence[str] | None,
    undefined_ok: bool,
    not_features: Sequence[str] = (),
    leave_out: bool = False,
    read: ReadConfig | None = None,
) -> dict[str, Any]:
    """Return the fields of `BagData` for a table of molecules and its features; see there."""
    frame, where = table_of(molecules, "molecules", read)
    names, notes = named_bags(frame, id_column, where)
    aux = dict(aux_columns or {})
    others = [id_column, *label_columns, *_given(smiles_column), *not_features]
    others += [column for columns in aux.values() for column in columns]
    tables = {
        name: _Features(table, name, id_column, others, undefined_ok, read)
        for name, table in (("features_3d", features_3d), ("features_2d", features_2d))
        if table is not None
    }
    asked = {"features_3d": columns_3d, "features_2d": columns_2d}
    failures: tuple[Failure, ...] = ()
    if leave_out:
        reasons: dict[str, str] = {}
        for name, table in tables.items():
            reasons = table.failing(names, asked[name], [conformer_column, energy_column]) | reasons
        texts = frame[smiles_column].cast(pl.String) if smiles_column else None
        failures = tuple(
            Failure(name, row, (texts[row] or "") if texts is not None else "", reasons[name])
            for row, name in enumerate(names)
            if name in reasons
        )
        kept = ~names.is_in(list(reasons))
        frame, names = frame.filter(kept), names.filter(kept)
        _check_some(frame, failures, where)
    ids = names.to_list()
    parts: dict[str, Any] = {"failures": failures, "notes": notes}
    for table in tables.values():
        table.keep(ids)
    if "features_3d" in tables:
        parts |= tables["features_3d"].instances(columns_3d, conformer_column, energy_column)
    if "features_2d" in tables:
        parts |= tables["features_2d"].per_bag(columns_2d)
    return {
        "ids": ids,
        "labels": label_matrix(frame, label_columns, where) if label_columns else None,
        "task_names": label_columns,
        "aux": {key: label_matrix(frame, columns, where) for key, columns in aux.items()},
        "aux_names": aux,
        "smiles": _texts(frame, smiles_column, np.arange(frame.height), where),
        **parts,
    }


class _Features:
    """A table of features that has rows of every molecule, and perhaps of others."""

    def __init__(
        self,
        table: Table,
        name: str,
        id_column: str,
        others: Sequence[str],
        undefined_ok: bool,
        read: ReadConfig | None,
    ) -> None:
        self.frame, self.where = table_of(table, name, read)
        self.names, _ = named_bags(self.frame, id_column, self.where)
        self.name, self.others, self.undefined_ok = name, list(others), undefined_ok
        self.ids: list[str] = []

    def failing(
        self, wanted: pl.Series, columns: Sequence[str] | None, more: Sequence[str | None]
    ) -> dict[str, str]:
        """Return why molecules have no features here, by name."""
        lacking = wanted.filter(~wanted.is_in(self.names.unique().implode()))
        reasons = dict.fromkeys(lacking.to_list(), f"no row in {self.name} ({self.where})")
        features = self._columns(columns, [c for c in more if c is not None])
        wrong = _undefined(self.frame, features, self.names, self.undefined_ok)
        return {failure.id: f"{failure.reason} of {self.name}" for failure in wrong} | reasons

    def keep(self, ids: Sequence[str]) -> None:
        """Keep the rows of some molecules, all of which must be there."""
        lacking = sorted(set(ids) - set(self.names.unique()))
        if lacking:
            raise MILError(
                f"{self.name} ({self.where}): expected rows of every molecule; "
                f"found none of {listed([repr(i) for i in lacking])}."
            )
        kept = self.names.is_in(ids)
        self.frame, self.names, self.ids = (
            self.frame.filter(kept),
            self.names.filter(kept),
            list(ids),
        )

    def instances(
        self, columns: Sequence[str] | None, conformer: str | None, energy: str | None
    ) -> dict[str, Any]:
        """Return what `BagData` wants of instances, bags in the order of the molecules."""
        features = self._columns(columns, [*_given(conformer), *_given(energy)])
        rows = _by_bag(self.names, self.ids)
        energies = None
        if energy is not None:
            require_columns(self.frame, [energy], key="energy_column", where=self.where)
            numbers = number_column(self.frame, energy, where=self.where).fill_null(np.nan)
            energies = numbers.to_numpy()[rows.order]
        return {
            "instances": self._matrix(features)[rows.order],
            "offsets": rows.offsets,
            "feature_names_3d": features,
            "instance_ids": _texts(self.frame, conformer, rows.order, self.where),
            "energies": energies,
        }

    def per_bag(self, columns: Sequence[str] | None) -> dict[str, Any]:
        """Return what `BagData` wants of features of bags, in the order of the molecules."""
        rows = _by_bag(self.names, self.ids)
        several = np.flatnonzero(np.diff(rows.offsets) > 1).tolist()
        if several:
            raise MILError(
                f"features_2d ({self.where}): expected one row per molecule; "
                f"found several of {listed([repr(self.ids[b]) for b in several])}."
            )
        features = self._columns(columns, [])
        return {"x2d": self._matrix(features)[rows.order], "feature_names_2d": features}

    def _columns(self, columns: Sequence[str] | None, others: Sequence[str]) -> list[str]:
        taken = [*self.others, *others]
        check_features_named(columns, taken, self.where)
        return list(columns or columns_of_features(self.frame, taken, self.where))

    def _matrix(self, columns: Sequence[str]) -> Float32Array:
        return feature_matrix(self.frame, columns, self.where, undefined_ok=self.undefined_ok)


def _undefined(
    frame: pl.DataFrame, columns: Sequence[str], names: pl.Series, undefined_ok: bool
) -> tuple[Failure, ...]:
    """Return the bags that have a feature without a value, in the order of their first rows."""
    reasons: dict[str, str] = {}
    present = [name for name in columns if name in frame.columns]
    for name in present:
        values = frame[name].cast(pl.Float64, strict=False)
        # Text is a fault of the table, which `feature_matrix` names.
        text = frame[name].is_not_null() & values.is_null()
        bad = values.is_infinite().fill_null(value=False)
        if not undefined_ok:
            bad |= (values.is_null() | values.is_nan().fill_null(value=True)) & ~text
        for row in bad.arg_true().to_list():
            reasons.setdefault(names[row], f"no value of {name!r} in row {row + 1}")
    order = {name: place for place, name in enumerate(names.unique(maintain_order=True))}
    return tuple(
        Failure(name, order[name], "", reasons[name])
        for name in sorted(reasons, key=order.get)  # type: ignore[arg-type]  # all are there
    )


def _check_some(frame: pl.DataFrame, failures: Sequence[Failure], where: str) -> None:
    if frame.is_empty():
        reasons = listed([f"{f.id!r}: {f.reason}" for f in failures], 3)
        raise MILError(
            f"features ({where}): expected a bag with features; found none of {len(failures)} "
            f"({reasons})."
        )


def _given(column: str | None) -> list[str]:
    return [] if column is None else [column]


def _by_bag(names: pl.Series, bags: Sequence[str] | None = None) -> _Rows:
    """Sort rows by bag; `bags` gives their order, by default that of their first rows."""
    order = list(bags) if bags is not None else names.unique(maintain_order=True).to_list()
    code = dict(zip(order, range(len(order)), strict=True))
    codes = np.array([code[name] for name in names], dtype=np.int64)
    sizes = np.bincount(codes, minlength=len(order))
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return _Rows(order, np.argsort(codes, kind="stable"), offsets)


def _of_bags(labels: FloatArray, rows: _Rows, columns: Sequence[str], where: str) -> FloatArray:
    """Return the labels [N, T] of bags from those of their instances, which agree."""
    first = labels[rows.order[rows.offsets[:-1]]]
    bag = np.repeat(np.arange(len(rows.bags)), np.diff(rows.offsets))
    own, expected = labels[rows.order], first[bag]
    other = np.argwhere((own != expected) & ~(np.isnan(own) & np.isnan(expected)))
    if len(other):
        at, task = other[0].tolist()
        raise MILError(
            f"column {columns[task]!r} ({where}): expected one label in all rows of bag "
            f"{rows.bags[bag[at]]!r}; found {expected[at, task]:g} and, in row "
            f"{rows.order[at] + 1}, {own[at, task]:g}."
        )
    return first


def _texts(
    frame: pl.DataFrame, column: str | None, order: IntArray, where: str
) -> list[str] | None:
    if column is None:
        return None
    return names_of(frame, column, where)[order].to_list()
