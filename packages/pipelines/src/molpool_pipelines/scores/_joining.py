"""Predictions and a truth in a table of its own: joined by id, or by structure, never in silence.

Numbers of rows are ids of nothing but their own table, and so join two of them only where that is
asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from molpool_common import (
    BadSmiles,
    InputError,
    ReadConfig,
    Standardize,
    inchikeys,
    listed,
    measured_column,
    open_table,
    parse_smiles,
    require_columns,
    smiles_column_of,
    standardize,
)

from molpool_pipelines.runs import (
    EARLIER_SPLIT,
    SPLIT,
    ColumnsConfig,
    rejected_rows,
    truth_column,
    with_split,
)
from molpool_pipelines.scores._config import Join
from molpool_pipelines.scores._predictions import refuse_missing, refuse_repeated
from molpool_pipelines.tables import OnBadSmiles, raise_bad_smiles

ROW = "row"


@dataclass(frozen=True)
class Joined:
    """Rows of a truth with their predictions.

    Parameters
    ----------
    frame : DataFrame
        Truth and predictions under the usual names.
    notes : list of str
        How they were joined where that is not plain, and which tasks have no truth.
    rejected : DataFrame
        Rows of the truth whose SMILES do not parse, where that was needed.
    """

    frame: pl.DataFrame
    notes: list[str]
    rejected: pl.DataFrame


@dataclass(frozen=True)
class Joining:
    """How two tables are joined.

    Parameters
    ----------
    columns : ColumnsConfig
        How columns are called.
    by : {"auto", "id", "structure", "row"}
        What tells rows; auto: ids where both tables have them, else structures.
    on_bad_smiles : {"error", "drop", "keep"}
        What becomes of rows of the truth whose SMILES do not parse, where structures tell rows.
    read : ReadConfig or None
        What is known of the file of the truth.
    standardize : {"none", "parent", "tautomer"}
        By which structure rows are joined that have no prediction of their own.
    """

    columns: ColumnsConfig
    by: Join = "auto"
    on_bad_smiles: OnBadSmiles = "error"
    read: ReadConfig | None = None
    standardize: Standardize = "parent"

    def join(self, frame: pl.DataFrame, name: str, path: Path) -> Joined:
        """Return the rows of a table of truth with their predictions.

        Parameters
        ----------
        frame : DataFrame
            Predictions.
        name : str
            Of their model, for messages.
        path : Path
            The table of truth.

        Raises
        ------
        InputError
            If a column or a task is missing, nothing tells rows, ids repeat, or a row of the truth
            has no prediction.
        """
        named = self.columns
        table, reading = open_table(path, self.read)
        truth = with_split(table, named.split)
        own = smiles_column_of(truth.columns, named.smiles, given=named.is_given("smiles"))
        truth = truth if own not in truth.columns else truth.rename({own: named.smiles})
        tasks = named.tasks or _shared(frame, truth, named, path.name)
        require_columns(truth, tasks, key="columns.tasks", where=path.name)
        said = [*reading.sentences(), *_cells(truth, tasks, path)]
        pairs = self._pairs(frame, name, truth, path.name)
        rows, truth = frame[pairs.predicted], truth[pairs.truth]
        if pairs.ids is not None:
            rows = rows.with_columns(pl.Series(named.id, pairs.ids))
        joined = _side_by_side(rows, truth, tasks, named, name)
        absent = [t for t in _predicted(frame, named) if t not in tasks and not named.tasks]
        notes = [*(f"{path.name}: {note}" for note in said), *pairs.notes]
        if absent:
            notes.append(f"Not scored, as {path.name} has no column of it: {listed(absent)}.")
        return Joined(joined, notes, pairs.rejected)

    def _pairs(self, frame: pl.DataFrame, name: str, truth: pl.DataFrame, where: str) -> _Pairs:
        if self.by == "row":
            return _by_row(frame, name, truth, where)
        known, column = text_of(frame[self.columns.id]), self._truth_ids(truth, where)
        ids = None if column is None else text_of(truth[column])
        smiles = self.columns.smiles
        structures = smiles in frame.columns and smiles in truth.columns
        # A run numbers the rows of a table without names: these numbers name no row of another.
        numbered = ROW in frame.columns and known == text_of(frame[ROW])
        foreign = ids is None or numbered or set(ids).isdisjoint(known)
        if self.by == "id" or (self.by == "auto" and not (foreign and structures)):
            if column is None or ids is None or (numbered and self.by == "auto"):
                raise self._nothing_tells(frame, truth, name, where)
            return _by_id(known, ids, self.columns.id, column, name, where)
        for table, place in ((frame, name), (truth, where)):
            require_columns(table, [smiles], key="columns.smiles", where=place)
        return self._by_structure(frame, name, truth, where)

    def _truth_ids(self, truth: pl.DataFrame, where: str) -> str | None:
        named = self.columns
        if named.truth_id is not None:
            require_columns(truth, [named.truth_id], key="columns.truth_id", where=where)
        column = named.truth_id or named.id
        return column if column in truth.columns else None

    def _nothing_tells(
        self, frame: pl.DataFrame, truth: pl.DataFrame, name: str, where: str
    ) -> InputError:
        lacking = [
            place
            for table, place in ((frame, name), (truth, where))
            if self.columns.smiles not in table.columns
        ]
        column = self.columns.truth_id or self.columns.id
        what = f"no column {column!r}" if column not in truth.columns else "ids that number rows"
        return InputError(
            "columns.truth_id",
            expected="names of the rows in both tables, or SMILES in both",
            found=f"{what}, and no column {self.columns.smiles!r} in {listed(lacking)}",
            where=where,
            hint=f"Columns: {listed(truth.columns)}. --columns.id or --columns.smiles names one "
            "that both have; --join row takes the rows in their order.",
        )

    def _by_structure(
        self, frame: pl.DataFrame, name: str, truth: pl.DataFrame, where: str
    ) -> _Pairs:
        column = self.columns.smiles
        texts = truth[column].cast(pl.String).to_list()
        keys, bad = structure_keys(texts)
        if self.on_bad_smiles == "error":
            raise_bad_smiles(bad, len(texts), column, where)
        places = _prediction_places(frame, name, self.columns)
        keys, n_parents = _with_parents(keys, texts, places, frame, self.columns, self.standardize)
        rows = [row for row, key in enumerate(keys) if key is not None]
        refuse_missing(
            [texts[row] for row in rows if keys[row] not in places], len(rows), column, name
        )
        taken = [keys[row] for row in rows]
        times = Counter(taken)
        ids = text_of(frame[self.columns.id])
        found = [places[key or ""] for key in taken]
        shared = sum(n for n in times.values() if n > 1)
        notes = [f"Predictions and {where} are joined by structure."]
        if n_parents:
            notes.append(
                f"{n_parents} rows of {where} are joined by their parent, without counterions and "
                "charges."
            )
        if shared:
            kinds = sum(n > 1 for n in times.values())
            notes.append(
                f"One prediction serves several rows of {where}: {shared} rows of {kinds} "
                "structures that stand there more than once."
            )
        return _Pairs(
            found,
            rows,
            notes,
            # Rows of one structure keep their own names.
            [
                f"{ids[p]} (row {row + 1})" if times[keys[row]] > 1 else ids[p]
                for p, row in zip(found, rows, strict=True)
            ],
            rejected_rows((b.row + 1, None, where, b.smiles, b.reason) for b in bad),
        )


def _cells(truth: pl.DataFrame, tasks: Sequence[str], path: Path) -> list[str]:
    """Return what of the cells of a truth was no plain number, counted."""
    return [
        f"{task}: {note}."
        for task in tasks
        for note in measured_column(truth, task, where=path.name).notes
    ]


@dataclass(frozen=True)
class _Pairs:
    """Positions of rows that belong together, in the order of the truth, and new ids, if any."""

    predicted: list[int]
    truth: list[int]
    notes: list[str]
    ids: list[str] | None
    rejected: pl.DataFrame


def structure_keys(
    smiles: Sequence[str | None], how: Standardize = "none"
) -> tuple[list[str | None], list[BadSmiles]]:
    """Return what is equal for equal structures, however written; None where there is none.

    Stereoisomers and isotopologues are different structures here: they have labels of their own.

    Parameters
    ----------
    smiles : sequence of str or None, length N
        The structures.
    how : {"none", "parent", "tautomer"}
        Which structures are equal: those of one parent are a salt and its base too.
    """
    parsed = parse_smiles(smiles)
    mols = [mol for mol in parsed.mols if mol is not None]
    named = iter(inchikeys(standardize(mols, how).mols))
    return [None if mol is None else next(named) for mol in parsed.mols], parsed.bad


def _by_id(
    known: list[str], ids: list[str], column: str, truth_column: str, name: str, where: str
) -> _Pairs:
    refuse_repeated(ids, truth_column, where)
    refuse_repeated(known, column, name)
    # Rows predicted beyond the truth are no mistake, rows without a prediction are.
    place = {text: row for row, text in enumerate(known)}
    refuse_missing([i for i in ids if i not in place], len(ids), column, name)
    return _Pairs([place[i] for i in ids], list(range(len(ids))), [], None, rejected_rows([]))


def _by_row(frame: pl.DataFrame, name: str, truth: pl.DataFrame, where: str) -> _Pairs:
    if frame.height != truth.height:
        raise InputError(
            "join",
            expected=f"as many rows in {where} as predictions, to join them in their order",
            found=f"{truth.height} rows and {frame.height} predictions",
            where=name,
        )
    rows = list(range(truth.height))
    note = f"Predictions and {where} are joined by number of row, as asked for."
    return _Pairs(rows, rows, [note], None, rejected_rows([]))


def _with_parents(
    keys: list[str | None],
    texts: Sequence[str | None],
    places: dict[str, int],
    frame: pl.DataFrame,
    named: ColumnsConfig,
    how: Standardize,
) -> tuple[list[str | None], int]:
    """Return keys of a truth, where there is no prediction of one that of the same parent's.

    Only where one structure with a prediction has that parent: a salt and its base that are
    predicted differently are two.
    """
    lacking = [r for r, key in enumerate(keys) if key is not None and key not in places]
    if not lacking or how == "none":
        return keys, 0
    rows = list(places.values())
    predicted = frame[named.smiles].cast(pl.String).gather(rows).to_list()
    of_parent: dict[str | None, list[str]] = {}
    for parent, key in zip(structure_keys(predicted, how)[0], places, strict=True):
        of_parent.setdefault(parent, []).append(key)
    new, n = list(keys), 0
    parents, _ = structure_keys([texts[r] for r in lacking], how)
    for row, parent in zip(lacking, parents, strict=True):
        candidates = of_parent.get(parent, [])
        if len(candidates) == 1:
            new[row], n = candidates[0], n + 1
    return new, n


def _prediction_places(frame: pl.DataFrame, name: str, named: ColumnsConfig) -> dict[str, int]:
    """Return the row of each structure among the predictions; of equal predictions the first."""
    keys, _ = structure_keys(frame[named.smiles].cast(pl.String).to_list())
    columns = [c for c in frame.columns if c.endswith(named.predicted)] if named.predicted else []
    values = frame.select(columns).rows()
    places: dict[str, int] = {}
    other: list[str] = []
    for row, key in enumerate(keys):
        if key is None:
            continue
        first = places.setdefault(key, row)
        if values[first] != values[row]:
            other.append(f"rows {first + 1} and {row + 1}")
    if other:
        raise InputError(
            f"column {named.smiles!r}",
            expected="one prediction of each structure, to join by structure",
            found=f"different ones in {listed(other, 5)}",
            where=name,
            hint="Give ids in both tables: --columns.id, --columns.truth-id.",
        )
    return places


def _side_by_side(
    rows: pl.DataFrame,
    truth: pl.DataFrame,
    tasks: Sequence[str],
    named: ColumnsConfig,
    name: str,
) -> pl.DataFrame:
    """Return rows of predictions and of the truth, in one order, as one table."""
    renamed = {t: f"{t}{named.predicted}" for t in tasks}
    # Other tools name the column of predictions as the task: without an ending it would be taken
    # for the truth.
    bare = {t: new for t, new in renamed.items() if new not in rows.columns}
    require_columns(rows, list(bare), key="columns.tasks", where=name)
    # A column called like a task holds its truth, unless it is one of ours that a task shares.
    truths = {t: truth_column(t) for t in tasks}
    rows = rows.drop([truths[t] for t in tasks if t not in bare], strict=False).rename(bare)
    own = (named.quality, named.smiles, named.split, named.time, *named.strata)
    more = (*(f"{t}{named.modifier}" for t in tasks), *own)
    extra = [c for c in more if c in truth.columns and c not in tasks]
    # The truth's own quality and split count, since they belong to the labels that are scored.
    # Tasks without a truth are not scored.
    absent = [
        f"{t}{ending}"
        for t in _predicted(rows, named)
        if t not in tasks
        for ending in ("", named.predicted, named.sd, named.decision, named.modifier)
    ]
    rows = rows.drop([*extra, *absent], strict=False)
    taken = truth.select([*tasks, *extra]).rename(truths)
    return pl.concat([rows, taken], how="horizontal")


def _predicted(frame: pl.DataFrame, named: ColumnsConfig) -> list[str]:
    """Return the tasks of the columns that end as predictions do."""
    ending = named.predicted
    return [c[: -len(ending)] for c in frame.columns if ending and c.endswith(ending)]


def _shared(
    frame: pl.DataFrame, truth: pl.DataFrame, named: ColumnsConfig, where: str
) -> list[str]:
    """Return the tasks that both tables have."""
    ended = _predicted(frame, named)
    # Beside columns that say themselves predictions, others are what the user's table had.
    predicted = ended or frame.columns
    other = {
        named.id, named.smiles, named.split, SPLIT, EARLIER_SPLIT, named.quality, named.repeat,
        named.fold, ROW,
    }  # fmt: skip
    # What ends as predictions do is a task, whatever it is called.
    other -= set(ended)
    both = [t for t in dict.fromkeys(predicted) if t in truth.columns and t not in other]
    if not both:
        raise InputError(
            "columns.tasks",
            expected="tasks that both tables have",
            found="none",
            where=where,
            hint=f"Columns of the predictions: {listed(frame.columns)}.",
        )
    return both


def text_of(column: pl.Series) -> list[str]:
    """Return a column as text, empty where there is none."""
    return column.cast(pl.String).fill_null("").to_list()
