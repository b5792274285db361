"""Bags of a table, as the ``data`` section describes it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from molpool_common import (
    BoolArray,
    FloatArray,
    InputError,
    ReadConfig,
    cache_folder,
    did_you_mean,
    listed,
    measured_column,
    number_column,
    open_table,
    read_table,
    require_columns,
    smiles_column_of,
    table_reading,
    text_column,
    to_scale,
)

from mil_attn._config import MILConfig, MILDataConfig, MILRunConfig, TaskKind
from mil_attn.data._bag_data import BagData
from mil_attn.data._smiles import Describe2D
from mil_attn.data._tables import check_one_per_bag, label_matrix, named_bags

Progress = Callable[[str, int, int], None]

MOST_CLASSES = 50
"""More are rather values."""


def task_columns(data: MILDataConfig, model: MILConfig) -> list[str]:
    """Return the columns to predict."""
    default = ["label"] if data.kind == "bags" else []
    columns = data.target_columns or model.tasks or default
    if not columns:
        raise InputError(
            "data.target_columns", expected="the columns to predict, one task each", found="none"
        )
    return columns


def role_columns(data: MILDataConfig, model: MILConfig) -> list[str]:
    """Return the columns that a configuration names as anything but features.

    Targets, auxiliary targets, weights, names, SMILES, energies, folds and plates: a column with a
    role is never a feature, whether or not this table is read for its labels.
    """
    default = ["label"] if data.kind == "bags" else []
    roles = [*(data.target_columns or model.tasks or default), *model.tasks, *data.weight_columns]
    roles += [column for group in model.aux.values() for column in group.columns]
    if data.kind == "features" or data.smiles_column not in data.feature_columns:
        roles.append(data.smiles_column)
    if isinstance(model, MILRunConfig):
        split = model.split
        keys = [key for key in type(split).model_fields if key.endswith("_column")]
        roles += [c for c in (*(getattr(split, key) for key in keys), *split.fold_where) if c]
    own = [getattr(model, key) for key in type(model).model_fields if key.endswith("_column")]
    roles += [column for column in own if column]
    own = [data.names, data.instance_column, data.energy_column, data.witness_column]
    roles += [column for column in own if column]
    return list(dict.fromkeys(roles))


def read_bags(
    path: str | Path,
    data: MILDataConfig,
    model: MILConfig,
    *,
    labelled: bool = True,
    progress: Progress | None = None,
    read: ReadConfig | None = None,
    describe_2d: Describe2D | None = None,
) -> BagData:
    """Return the bags of a table.

    Parameters
    ----------
    path : str or Path
        The table.
    data : MILDataConfig
        What it is, and which columns count.
    model : MILConfig
        Its tasks, their kind and auxiliary groups.
    labelled : bool
        Whether to read targets. Without them bags are to be predicted: those without features are
        left out and listed in ``failures``, instead of being an error.
    progress : callable, optional
        Called as molecules are computed.
    read : ReadConfig, optional
        What is known of the files.
    describe_2d : callable, optional
        As of `BagData.from_smiles`.

    Raises
    ------
    InputError, MILError
        If a column is missing or a value is wrong, naming row and column.
    """
    frame, reading = open_table(path, read)
    where = Path(path).name
    tasks = task_columns(data, model) if labelled else []
    # Before minutes of computing: a mistyped name is the most common fault.
    require_columns(frame, [data.names] if data.names else [], key="data.id_column", where=where)
    require_columns(frame, tasks, key="data.target_columns", where=where)
    if data.kind == "smiles":
        given = data.is_given("smiles_column")
        found = smiles_column_of(frame.columns, data.smiles_column, given=given)
        data = data.model_copy(update={"smiles_column": found})
        require_columns(frame, [found], key="data.smiles_column", where=where)
    _check_weight_columns(data, frame, tasks, where)
    aux = _Auxiliary(data, model, path, read) if labelled and model.aux else None
    if data.multiclass and tasks:
        frame, tasks = one_against_rest(frame, tasks, data, model.task_kind, where)
    if data.kind == "smiles":
        kind = model.task_kind
        bags = _from_smiles(data, kind, frame, where, tasks, aux, progress, describe_2d)
    else:
        source = frame if data.multiclass else path
        bags = _from_tables(data, model, source, frame, tasks, labelled, read)
        bags = bags if aux is None else bags.replace(**aux.of(bags.ids))
    if tasks and data.transform:
        bags = bags.replace(labels=_on_scales(bags, data, tasks, where))
    notes = [*reading.sentences(), *_notes(data, frame, tasks, where, read), *bags.notes]
    bags = bags.replace(notes=tuple(notes))
    if not (tasks and data.weight_columns):
        return bags
    return bags.replace(weights=_weights(data, frame, bags, where))


def one_against_rest(
    frame: pl.DataFrame, columns: Sequence[str], data: MILDataConfig, kind: TaskKind, where: str
) -> tuple[pl.DataFrame, list[str]]:
    """Return a table with a column of 0 and 1 for each class of each column, and their names.

    Raises
    ------
    InputError
        If the tasks are values, a column has fewer than two classes or very many, or one that is
        not among those given.
    """
    if kind != "classification":
        raise InputError("data.multiclass", expected="classification", found=kind)
    names: list[str] = []
    for column in columns:
        values = _class_names(frame[column])
        found = sorted(values.drop_nulls().unique().to_list(), key=_by_number)
        classes = data.classes.get(column, found)
        unknown = [name for name in found if name not in classes]
        if unknown or not 2 <= len(classes) <= MOST_CLASSES:
            expected = "classes " + listed(classes) if unknown else f"2 to {MOST_CLASSES} classes"
            shown = listed([repr(name) for name in unknown or found], 5)
            raise InputError(f"column {column!r}", expected=expected, found=shown, where=where)
        tasks = [f"{column}={name}" for name in classes]
        given = [(values == name).cast(pl.Float64) for name in classes]
        frame = frame.with_columns(**dict(zip(tasks, given, strict=True)))
        names += tasks
    return frame.drop(columns), names


def _class_names(values: pl.Series) -> pl.Series:
    """Return classes as text: 1 and 1.0 are one, and so are names however padded."""
    whole = values.cast(pl.Float64, strict=False).cast(pl.Int64, strict=False)
    numbers = values.cast(pl.Float64, strict=False)
    if values.null_count() == whole.null_count() and (numbers == whole).all():
        return whole.cast(pl.String)
    names = values.cast(pl.String).str.strip_chars()
    return pl.select(pl.when(names != "").then(names)).to_series()


def _by_number(name: str) -> tuple[bool, float, str]:
    return (True, 0.0, name) if not name.lstrip("-").isdigit() else (False, float(name), name)


def classes_of(tasks: Sequence[str]) -> dict[str, tuple[list[str], list[int]]]:
    """Return the classes of each column, and which tasks they are, of `one_against_rest`."""
    found: dict[str, tuple[list[str], list[int]]] = {}
    for t, task in enumerate(tasks):
        column, _, name = task.partition("=")
        names, places = found.setdefault(column, ([], []))
        names.append(name)
        places.append(t)
    return found


def likeliest_classes(tasks: Sequence[str], probabilities: FloatArray) -> dict[str, list[str]]:
    """Return the class of highest probability of each column and bag.

    Parameters
    ----------
    tasks : sequence of str, length T
        Of `one_against_rest`.
    probabilities : ndarray [N, T]
        Of these tasks.
    """
    return {
        column: [names[k] for k in probabilities[:, places].argmax(axis=1)]
        for column, (names, places) in classes_of(tasks).items()
    }


def _notes(
    data: MILDataConfig,
    frame: pl.DataFrame,
    tasks: Sequence[str],
    where: str,
    read: ReadConfig | None,
) -> list[str]:
    """Return what of the targets' cells was no plain number, and how other tables were read."""
    said = [
        f"{task}: {note}."
        for task in tasks
        for note in measured_column(frame, task, where=where).notes
    ]
    others = [Path(path) for path in (data.features_3d, data.features_2d) if path is not None]
    return said + [
        f"{path.name}: {sentence}"
        for path in others
        for sentence in table_reading(path, read).sentences()
    ]


def with_features_of(data: MILDataConfig, bags: BagData) -> MILDataConfig:
    """Return the ``data`` section that names the features of some bags of tables, and classes."""
    classes = {column: names for column, (names, _) in classes_of(bags.task_names).items()}
    if data.multiclass and not data.classes:
        data = data.model_copy(update={"classes": classes})
    if data.kind == "smiles":
        return data
    three, two = list(bags.feature_names_3d), list(bags.feature_names_2d)
    if data.kind == "bags":
        return data.model_copy(update={"feature_columns": three})
    return data.model_copy(update={"columns_3d": three, "columns_2d": two})


def _on_scales(bags: BagData, data: MILDataConfig, tasks: Sequence[str], where: str) -> FloatArray:
    """Return the labels [N, T] on the scales on which they are learnt."""
    assert bags.labels is not None
    unknown = [task for task in data.transform if task not in tasks]
    if unknown:
        raise InputError(
            "data.transform",
            expected="tasks",
            found=repr(unknown[0]),
            hint=did_you_mean(unknown[0], list(tasks)),
        )
    names = [data.transform.get(task, "none") for task in tasks]
    found = to_scale(bags.labels, names)
    bad = np.argwhere(np.isfinite(bags.labels) & ~np.isfinite(found))
    if len(bad):
        row, t = bad[0].tolist()
        raise InputError(
            f"column {tasks[t]!r}",
            expected=f"values for which {names[t]} is defined",
            found=f"{bags.labels[row, t]:g} of bag {bags.ids[row]!r}",
            where=where,
            hint=f"{len(bad)} such labels." if len(bad) > 1 else None,
        )
    return found


def bag_column(
    path: str | Path,
    name: str,
    ids: Sequence[str],
    data: MILDataConfig,
    *,
    key: str,
    where: Mapping[str, str] | None = None,
    numbers: bool = False,
    optional: bool = False,
    read: ReadConfig | None = None,
) -> pl.Series:
    """Return a column of a table in the order of bags.

    Parameters
    ----------
    path : str or Path
        The table, with the column of names that `data` says.
    name : str
        The column.
    ids : sequence of str
        Names of the bags.
    data : MILDataConfig
        Column of names.
    key : str
        What the configuration calls the column, for messages.
    where : mapping of str to str, optional
        Rows that count, as column and value.
    numbers : bool
        Whether the column must hold numbers.
    optional : bool
        Whether bags may have none.
    read : ReadConfig, optional
        What is known of the file.

    Raises
    ------
    InputError
        If a column is missing, a bag has no value, or a value is no number.
    """
    file, conditions = Path(path).name, where or {}
    frame = read_table(path, read)
    require_columns(frame, [name, *conditions], key=key, where=file)
    for column, value in conditions.items():
        frame = frame.filter(pl.col(column).cast(pl.String) == value)
    names = data.names
    if names is None:
        frame, names = frame.with_row_index("row", offset=1), "row"
    require_columns(frame, [names], key="data.id_column", where=file)
    values = number_column(frame, name, where=file) if numbers else frame[name]
    bags, _ = named_bags(frame, names, file)
    check_one_per_bag(frame, bags, [name], file)
    by_id = dict(zip(bags.to_list(), values.to_list(), strict=True))
    missing = [bag for bag in ids if by_id.get(bag) is None]
    if missing and not optional:
        raise InputError(
            key,
            expected="a value for each bag",
            found=f"none for {listed([repr(bag) for bag in missing])}",
            where=file,
        )
    return pl.Series(name, [by_id.get(bag) for bag in ids], dtype=values.dtype)


def columns_of_bags(
    path: str | Path,
    ids: Sequence[str],
    data: MILDataConfig,
    *,
    without: Collection[str] = (),
    read: ReadConfig | None = None,
) -> pl.DataFrame:
    """Return the columns of a table that have one value in each bag, in the order of bags.

    Parameters
    ----------
    path : str or Path
        The table.
    ids : sequence of str
        Names of the bags.
    data : MILDataConfig
        Column of names, which is left out.
    without : collection of str
        Others that are: features.
    read : ReadConfig, optional
        What is known of the file.
    """
    frame, key = read_table(path, read), "bag\0"
    bags = pl.Series(map(str, range(1, frame.height + 1)))
    if data.names is not None:
        bags, _ = named_bags(frame, data.names, Path(path).name)
    others = [name for name in frame.columns if name != data.names and name not in without]
    by_bag = frame.select(bags.alias(key), *others).group_by(key)
    values = by_bag.agg(pl.col(others).n_unique()).select(pl.col(others).max())
    whole = [name for name in others if values[name][0] == 1]
    first = by_bag.agg(pl.col(whole).first())
    of_ids = pl.DataFrame({key: list(ids)})
    return of_ids.join(first, on=key, how="left", maintain_order="left").drop(key)


def witnesses_of(
    path: str | Path, ids: Sequence[str], data: MILDataConfig, *, read: ReadConfig | None = None
) -> BoolArray:
    """Return which instances of bags are known to make them positive.

    Parameters
    ----------
    path : str or Path
        The table of bags; of kind ``features`` its instances are in ``features_3d``.
    ids : sequence of str
        Names of the bags.
    data : MILDataConfig
        Names ``witness_column``.
    read : ReadConfig, optional
        What is known of the file.

    Returns
    -------
    ndarray of bool [M]
        In the order of the instances of these bags.

    Raises
    ------
    InputError
        If there is no such column, it holds anything but 0 and 1, or a bag is not there.
    """
    assert data.witness_column is not None
    source = Path(path if data.kind == "bags" else data.features_3d or path)
    frame, where = read_table(source, read), source.name
    column, names = data.witness_column, data.names or ""
    require_columns(frame, [column], key="data.witness_column", where=where)
    values = number_column(frame, column, where=where)
    wrong = (~values.is_in([0.0, 1.0]).fill_null(value=False)).arg_true()
    if len(wrong):
        raise InputError(
            "data.witness_column",
            expected="0 or 1",
            found=f"{frame[column][int(wrong[0])]!r} in row {wrong[0] + 1}",
            where=where,
        )
    place = pl.DataFrame({"bag": list(ids), "place": range(len(ids))})
    rows = pl.DataFrame({"bag": named_bags(frame, names, where)[0], "witness": values == 1})
    lacking = sorted(set(ids) - set(rows["bag"]))
    if lacking:
        raise InputError(
            "data.witness_column", expected="every bag", found=f"no {lacking[0]!r}", where=where
        )
    return rows.join(place, on="bag").sort("place", maintain_order=True)["witness"].to_numpy()


def all_bag_names(
    path: str | Path, data: MILDataConfig, read: ReadConfig | None = None
) -> list[str]:
    """Return the names of all bags of a table in its order, those without features included."""
    return list(dict.fromkeys(_names(read_table(path, read), data.names, Path(path).name)))


def _check_weight_columns(
    data: MILDataConfig, frame: pl.DataFrame, tasks: Sequence[str], where: str
) -> None:
    if not tasks:
        return
    n = len(data.weight_columns)
    if n not in {0, 1, len(tasks)}:
        raise InputError(
            "data.weight_columns",
            expected=f"one for all tasks, or one for each of {len(tasks)}",
            found=f"{n}",
        )
    require_columns(frame, data.weight_columns, key="data.weight_columns", where=where)


def _weights(data: MILDataConfig, frame: pl.DataFrame, bags: BagData, where: str) -> FloatArray:
    """Return the weight of each label [N, T]; what a missing label would weigh does not matter."""
    assert bags.labels is not None
    values = label_matrix(frame, data.weight_columns, where)
    names = _names(frame, data.names, where)
    check_one_per_bag(frame, pl.Series(names), data.weight_columns, where)
    rows = _first_rows(names)
    of_bags = np.broadcast_to(values[[rows[name] for name in bags.ids]], bags.labels.shape)
    return np.where(np.isnan(bags.labels) & np.isnan(of_bags), 1.0, of_bags)


def _from_tables(
    data: MILDataConfig,
    model: MILConfig,
    path: str | Path | pl.DataFrame,
    frame: pl.DataFrame,
    tasks: Sequence[str],
    labelled: bool,
    read: ReadConfig | None,
) -> BagData:
    roles = role_columns(data, model)
    common: dict[str, Any] = {
        "id_column": data.names,
        "label_columns": tasks,
        "task_kind": model.task_kind,
        "undefined_ok": data.allow_undefined,
        "not_features": roles,
        "leave_out": not labelled,
        "read": read,
    }
    if data.kind == "bags":
        return BagData.from_bag_table(
            path,
            feature_columns=data.feature_columns or None,
            instance_column=data.instance_column,
            **common,
        )
    return BagData.from_features(
        path,
        features_3d=data.features_3d,
        features_2d=data.features_2d,
        smiles_column=data.smiles_column if data.smiles_column in frame.columns else None,
        conformer_column=data.instance_column,
        energy_column=data.energy_column,
        columns_3d=data.columns_3d or None,
        columns_2d=data.columns_2d or None,
        **common,
    )


def _from_smiles(
    data: MILDataConfig,
    task_kind: TaskKind,
    frame: pl.DataFrame,
    where: str,
    tasks: Sequence[str],
    aux: _Auxiliary | None,
    progress: Progress | None,
    describe_2d: Describe2D | None,
) -> BagData:
    ids, notes = _names(frame, data.names, where), tuple[str, ...]()
    if data.names is not None:
        _, notes = named_bags(frame, data.names, where)
    bags = BagData.from_smiles(
        text_column(frame, data.smiles_column, where=where).to_list(),
        ids=ids,
        labels=label_matrix(frame, tasks, where) if tasks else None,
        task_names=tasks,
        task_kind=task_kind,
        features=data.features,
        cache=cache_folder(data.cache_dir),
        workers=data.workers,
        progress=progress,
        describe_2d=describe_2d,
        structure=data.structure,
        **({} if aux is None else aux.of(ids)),
    )
    return bags.replace(notes=notes)


class _Auxiliary:
    """Auxiliary targets by group and by name of bag."""

    def __init__(
        self, data: MILDataConfig, model: MILConfig, path: str | Path, read: ReadConfig | None
    ) -> None:
        source = Path(data.aux_path or path)
        frame, where = read_table(source, read), source.name
        require_columns(
            frame, [data.names] if data.names else [], key="data.id_column", where=where
        )
        self.columns = {name: group.columns for name, group in model.aux.items()}
        self.values: dict[str, FloatArray] = {}
        for name, columns in self.columns.items():
            require_columns(frame, columns, key=f"aux.{name}.columns", where=where)
            self.values[name] = label_matrix(frame, columns, where)
        names = _names(frame, data.names, where)
        every = [column for columns in self.columns.values() for column in columns]
        check_one_per_bag(frame, pl.Series(names), every, where)
        self.rows = _first_rows(names)

    def of(self, ids: Sequence[str]) -> dict[str, Any]:
        """Return what `BagData` wants of auxiliary targets; missing where there is no row."""
        rows = np.array([self.rows.get(name, -1) for name in ids], dtype=np.int64)
        there = rows[:, None] >= 0
        aux = {name: np.where(there, v[rows], np.nan) for name, v in self.values.items()}
        return {"aux": aux, "aux_names": self.columns}


def _first_rows(names: Sequence[str]) -> dict[str, int]:
    rows: dict[str, int] = {}
    for row, name in enumerate(names):
        rows.setdefault(name, row)
    return rows


def _names(frame: pl.DataFrame, column: str | None, where: str) -> list[str]:
    if column is None:
        return [str(row + 1) for row in range(frame.height)]
    return named_bags(frame, column, where)[0].to_list()
