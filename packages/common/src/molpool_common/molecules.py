"""From tables to one validated set of molecules with targets, quality and times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from molpool_common.chem import inchikey_blocks, parse_smiles
from molpool_common.data_config import ColumnSource, DataConfig, SourceConfig
from molpool_common.datasets import locate
from molpool_common.errors import InputError, did_you_mean, listed
from molpool_common.table import number_column, read_table, require_columns
from molpool_common.transforms import transform

DEMO = "demo"
"""Name by which the embedded synthetic table is asked for, like a data set of the registry."""

OnBadSmiles = Literal["error", "drop"]


@dataclass(frozen=True)
class MoleculeTable:
    """Molecules with targets, row by row; all columns have N rows.

    Parameters
    ----------
    task_names : tuple of str
        Names of the T tasks.
    smiles : list of str
        SMILES as given.
    mols : list of rdkit.Chem.Mol
        Parsed molecules.
    groups : list of str
        First block of the InChIKey: rows of equal block are one molecule.
    targets : ndarray [N, T]
        Values after conversion, NaN where there is no label.
    quality : list of str or None
        Quality label a row.
    times : list or None
        Raw values of the time column.
    hold_out : ndarray of bool [N]
        Whether a row may go to validation or test.
    origin : DataFrame [N]
        ``id``, ``source`` and ``row`` (from 1) of each row.
    dropped : DataFrame
        ``source``, ``row``, ``smiles`` and ``reason`` of the rows that do not parse.
    """

    task_names: tuple[str, ...]
    smiles: list[str]
    mols: list[Any]
    groups: list[str]
    targets: NDArray[np.float64]
    quality: list[str] | None
    times: list[Any] | None
    hold_out: NDArray[np.bool_]
    origin: pl.DataFrame
    dropped: pl.DataFrame

    def __len__(self) -> int:
        return len(self.smiles)

    def take(self, rows: NDArray[np.int64]) -> MoleculeTable:
        """Return the rows at these positions, in this order."""
        return replace(
            self,
            smiles=[self.smiles[i] for i in rows],
            mols=[self.mols[i] for i in rows],
            groups=[self.groups[i] for i in rows],
            targets=self.targets[rows],
            quality=[self.quality[i] for i in rows] if self.quality else None,
            times=[self.times[i] for i in rows] if self.times else None,
            hold_out=self.hold_out[rows],
            origin=self.origin[rows],
        )


def load_molecules(
    config: DataConfig,
    data_path: str | None,
    *,
    quality_column: str | None = None,
    qualities: Sequence[str] = (),
    on_bad_smiles: OnBadSmiles = "error",
) -> MoleculeTable:
    """Read, check, convert and stack the tables that a configuration names.

    Parameters
    ----------
    config : DataConfig
        Columns and sources.
    data_path : str or None
        The table, where `config.sources` is empty.
    quality_column : str or None
        Column of quality labels of a single table; None if they are not needed.
    qualities : sequence of str
        The labels that may stand there.
    on_bad_smiles : {"error", "drop"}
        What to do about rows whose SMILES do not parse.

    Returns
    -------
    MoleculeTable

    Raises
    ------
    InputError
        For anything wrong in the tables, naming file, column and rows.
    """
    if not config.target_columns:
        raise InputError("data.target_columns", expected="at least one column", found="none")
    _check_one_origin(config, data_path)
    sources = config.sources or [_single_source(config, data_path)]
    parts = [_load_source(s, config, quality_column, on_bad_smiles) for s in sources]
    table = _stack(parts)
    _check_tasks(table)
    if quality_column is not None:
        _check_quality(table, quality_column, qualities)
    return table


def _check_one_origin(config: DataConfig, data_path: str | None) -> None:
    given = {
        "data_path": data_path is not None,
        "data.dataset": config.dataset is not None,
        "data.sources": bool(config.sources),
    }
    found = [name for name, there in given.items() if there]
    if len(found) != 1:
        raise InputError(
            "data_path",
            expected="one of data_path (--data-path FILE), data.dataset and data.sources",
            found=" and ".join(found) or "none of them",
        )


def _single_source(config: DataConfig, data_path: str | None) -> SourceConfig:
    columns: dict[str, str | ColumnSource] = {
        t: ColumnSource(column=t, transform=config.transforms.get(t, []))
        for t in config.target_columns
    }
    return SourceConfig(
        path=data_path,
        dataset=config.dataset,
        file=config.file,
        smiles_column=config.smiles_column,
        id_column=config.id_column,
        columns=columns,
    )


def _read_source(source: SourceConfig) -> tuple[pl.DataFrame, str]:
    """Return the table of a source and the name by which messages call it."""
    if source.dataset == DEMO:
        from molpool_common.demo import build_demo

        return build_demo(), DEMO
    path = Path(source.path) if source.path else locate(source.dataset or "", source.file)
    return read_table(path), path.name


def _load_source(
    source: SourceConfig, config: DataConfig, quality_column: str | None, on_bad: OnBadSmiles
) -> MoleculeTable:
    frame, where = _read_source(source)
    require_columns(frame, [source.smiles_column], key="data.smiles_column", where=where)
    kept, mols, dropped = _parse(frame, source.smiles_column, where, on_bad)
    frame = frame.with_row_index("molpool row", offset=1)[kept]
    molar_mass = _molar_mass(mols)
    targets = np.full((len(kept), len(config.target_columns)), np.nan)
    for t, target in enumerate(config.target_columns):
        column = source.column_for(target)
        if column is not None:
            targets[:, t] = _target(frame, column, molar_mass, where)
    smiles = frame[source.smiles_column].cast(pl.String).to_list()
    return MoleculeTable(
        task_names=tuple(config.target_columns),
        smiles=smiles,
        mols=mols,
        groups=inchikey_blocks(mols),
        targets=targets,
        quality=_quality(frame, source, quality_column, where),
        times=_times(frame, source, config, where),
        hold_out=np.full(len(kept), source.hold_out),
        origin=_origin(frame, source, where),
        dropped=dropped,
    )


def _parse(
    frame: pl.DataFrame, column: str, where: str, on_bad: OnBadSmiles
) -> tuple[NDArray[np.int64], list[Any], pl.DataFrame]:
    smiles = frame[column].cast(pl.String).to_list()
    parsed = parse_smiles(smiles)
    if parsed.bad and on_bad == "error":
        row, text, reason = parsed.bad[0]
        raise InputError(
            f"column {column!r}",
            expected="SMILES that RDKit parses",
            found=f"{text!r} in row {row + 1} ({reason})",
            where=where,
            hint=f"{len(parsed.bad)} such rows: {listed([b[0] + 1 for b in parsed.bad])}. "
            "--on-bad-smiles drop leaves them out.",
        )
    kept = np.array([i for i, mol in enumerate(parsed.mols) if mol is not None], dtype=np.int64)
    if not kept.size:
        raise InputError(
            f"column {column!r}", expected="SMILES", found="no row that parses", where=where
        )
    dropped = pl.DataFrame(
        [(where, row + 1, text, reason) for row, text, reason in parsed.bad],
        schema={"source": pl.String, "row": pl.Int64, "smiles": pl.String, "reason": pl.String},
        orient="row",
    )
    return kept, [parsed.mols[i] for i in kept], dropped


def _molar_mass(mols: Sequence[Any]) -> NDArray[np.float64]:
    from rdkit.Chem import Descriptors

    # RDKit builds this module's functions at run time, past what its stubs say.
    weigh = Descriptors.MolWt  # type: ignore[attr-defined]
    return np.array([weigh(mol) for mol in mols], dtype=np.float64)


def _target(
    frame: pl.DataFrame, column: ColumnSource, molar_mass: NDArray[np.float64], where: str
) -> NDArray[np.float64]:
    require_columns(frame, [column.column], key="data.target_columns", where=where)
    numbers = number_column(frame, column.column, where=where)
    values = numbers.fill_null(np.nan).to_numpy().astype(np.float64)
    return transform(
        values, column.transform, molar_mass=molar_mass, name=column.column, where=where
    )


def _quality(
    frame: pl.DataFrame, source: SourceConfig, column: str | None, where: str
) -> list[str] | None:
    if column is None:
        return None
    if source.quality is not None:
        return [source.quality] * frame.height
    require_columns(frame, [column], key="joint_sampling.curriculum.quality_col", where=where)
    labels = frame[column].cast(pl.String)
    missing = labels.is_null().arg_true()
    if len(missing):
        rows = frame["molpool row"].gather(missing)
        raise InputError(
            f"column {column!r}",
            expected="a quality label in every row",
            found=f"none in row {rows[0]}",
            where=where,
            hint=f"Rows: {listed(rows.to_list())}." if len(rows) > 1 else None,
        )
    return labels.to_list()


def _times(
    frame: pl.DataFrame, source: SourceConfig, config: DataConfig, where: str
) -> list[Any] | None:
    if config.split_type != "time" or config.time_column is None:
        return None
    if not source.hold_out:
        return [None] * frame.height
    require_columns(frame, [config.time_column], key="data.time_column", where=where)
    return frame[config.time_column].to_list()


def _origin(frame: pl.DataFrame, source: SourceConfig, where: str) -> pl.DataFrame:
    if source.id_column is not None:
        require_columns(frame, [source.id_column], key="data.id_column", where=where)
        names = frame[source.id_column].cast(pl.String)
    else:
        names = frame["molpool row"].cast(pl.String)
    return pl.DataFrame(
        {
            "id": names,
            "source": pl.repeat(where, frame.height, eager=True, dtype=pl.String),
            "row": frame["molpool row"].cast(pl.Int64),
        }
    )


def _stack(parts: Sequence[MoleculeTable]) -> MoleculeTable:
    first = parts[0]
    return MoleculeTable(
        task_names=first.task_names,
        smiles=[s for p in parts for s in p.smiles],
        mols=[m for p in parts for m in p.mols],
        groups=[g for p in parts for g in p.groups],
        targets=np.concatenate([p.targets for p in parts]),
        quality=[q for p in parts for q in p.quality or []] if first.quality is not None else None,
        times=[t for p in parts for t in p.times or []] if first.times is not None else None,
        hold_out=np.concatenate([p.hold_out for p in parts]),
        origin=pl.concat([p.origin for p in parts]),
        dropped=pl.concat([p.dropped for p in parts]),
    )


def _check_tasks(table: MoleculeTable) -> None:
    labels = np.isfinite(table.targets).sum(axis=0)
    for name, n in zip(table.task_names, labels, strict=True):
        if n < 2:
            raise InputError(
                f"task {name!r}",
                expected="at least two labels",
                found="no label at all" if n == 0 else "one label",
                hint="Leave it out of data.target_columns.",
            )


def _check_quality(table: MoleculeTable, column: str, qualities: Sequence[str]) -> None:
    for i, label in enumerate(table.quality or []):
        if label not in qualities:
            source, row = table.origin["source"][i], table.origin["row"][i]
            raise InputError(
                f"column {column!r}",
                expected="a label of joint_sampling.curriculum.qualities",
                found=f"{label!r} in row {row}",
                where=source,
                hint=did_you_mean(label, qualities),
            )
