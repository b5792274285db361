"""The ``data`` section of `molpool-train mil`, and what it reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import tyro
from mil_attn.data.config import MoleculeFeaturesConfig
from molpool_common.config import ConfigModel
from molpool_common.errors import InputError
from pydantic import Field, model_validator

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from mil_attn import BagData
    from numpy.typing import NDArray

    from molpool_train.mil.config import TrainMILConfig

Progress = Callable[[str, int, int], None]
Kind = Literal["smiles", "bags", "features"]


class MILDataConfig(ConfigModel):
    """Which tables, which columns, and what is computed of molecules."""

    kind: Kind = Field(
        "smiles",
        description="what data_path is: a row a molecule whose conformers are computed (smiles) or "
        "whose features are in other tables (features), or a row an instance (bags)",
    )
    id_column: str | None = Field(
        None,
        description="column of molecule or bag names, in all tables; by default row numbers "
        "(smiles), bag_id (bags) or id (features)",
    )
    smiles_column: Annotated[str, tyro.conf.arg(aliases=["--smiles-column"])] = Field(
        "SMILES", description="column of SMILES; with kind features it need not be there"
    )
    target_columns: Annotated[list[str], tyro.conf.arg(aliases=["--target-columns"])] = Field(
        default_factory=list, description="columns to predict; by default `tasks`, or label"
    )
    feature_columns: list[str] = Field(
        default_factory=list,
        description="for kind bags: columns of features; by default f1, f2, ... or all others",
    )
    features_3d: str | None = Field(None, description="for kind features: a row a conformer")
    features_2d: str | None = Field(None, description="for kind features: a row a molecule")
    instance_column: str | None = Field(
        None, description="column of instance names: in data_path (bags) or features_3d (features)"
    )
    energy_column: str | None = Field(
        None, description="column of features_3d with energies, kcal/mol"
    )
    allow_undefined: bool = Field(
        False, description="take missing features of tables as the mean of the training bags"
    )
    aux_path: str | None = Field(
        None,
        description="table of auxiliary targets with the id column; by default data_path. What it "
        "lacks is missing",
    )
    features: MoleculeFeaturesConfig = Field(default_factory=MoleculeFeaturesConfig)
    workers: int = Field(1, ge=1, description="processes that compute conformers")
    predict_path: Annotated[str | None, tyro.conf.arg(aliases=["--predict-path"])] = Field(
        None, description="table like data_path, without targets, to predict after training"
    )
    cache_dir: str = Field(
        "auto",
        description="folder that keeps what was computed of molecules for the next run; auto: "
        "$MOLPOOL_CACHE or molpool/molecules in the user's cache; none: keep nothing",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        tables = {"features_3d": self.features_3d, "features_2d": self.features_2d}
        given = [key for key, path in tables.items() if path]
        if self.kind == "features" and not given:
            raise ValueError("expected features_3d, features_2d or both with kind features")
        if self.kind != "features" and given:
            raise ValueError(f"{given[0]}: expected with kind features, found with {self.kind}")
        if self.aux_path and self.kind == "smiles" and self.id_column is None:
            raise ValueError("id_column: expected with aux_path, whose rows it names; found none")
        return self

    @property
    def names(self) -> str | None:
        """Column of names; None where rows are numbered."""
        return self.id_column or {"bags": "bag_id", "features": "id"}.get(self.kind)


def task_columns(config: TrainMILConfig) -> list[str]:
    """Return the columns to predict."""
    default = ["label"] if config.data.kind == "bags" else []
    columns = config.data.target_columns or config.tasks or default
    if not columns:
        raise InputError(
            "data.target_columns", expected="the columns to predict, one task each", found="none"
        )
    return columns


def read_bags(
    config: TrainMILConfig,
    path: str | Path,
    *,
    labelled: bool = True,
    progress: Progress | None = None,
) -> BagData:
    """Return the bags of a table.

    Parameters
    ----------
    config : TrainMILConfig
        Its ``data`` section, tasks and auxiliary groups.
    path : str or Path
        The table.
    labelled : bool
        Whether to read targets.
    progress : callable, optional
        Told of molecules computed.

    Raises
    ------
    InputError, MILError
        If a column is missing or a value is wrong, naming row and column.
    """
    from molpool_common.table import read_table, require_columns

    data = config.data
    frame, where = read_table(path), Path(path).name
    tasks = task_columns(config) if labelled else []
    # Before minutes of computing: a mistyped name is the most common fault.
    require_columns(frame, [data.names] if data.names else [], key="data.id_column", where=where)
    require_columns(frame, tasks, key="data.target_columns", where=where)
    if data.kind == "smiles":
        require_columns(frame, [data.smiles_column], key="data.smiles_column", where=where)
    aux = _Auxiliary(config, path) if labelled and config.aux else None
    if data.kind == "smiles":
        return _from_smiles(config, frame, where, tasks, aux, progress)
    bags = _from_tables(config, path, tasks, data.smiles_column in frame.columns)
    return bags if aux is None else bags.replace(**aux.of(bags.ids))


def _from_tables(
    config: TrainMILConfig, path: str | Path, tasks: Sequence[str], has_smiles: bool
) -> BagData:
    from mil_attn import BagData

    data = config.data
    common: dict[str, Any] = {
        "id_column": data.names,
        "label_columns": tasks,
        "task_kind": config.task_kind,
        "undefined_ok": data.allow_undefined,
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
        smiles_column=data.smiles_column if has_smiles else None,
        conformer_column=data.instance_column,
        energy_column=data.energy_column,
        **common,
    )


def _from_smiles(
    config: TrainMILConfig,
    frame: pl.DataFrame,
    where: str,
    tasks: Sequence[str],
    aux: _Auxiliary | None,
    progress: Progress | None,
) -> BagData:
    from mil_attn import BagData
    from molpool_common.cache import cache_folder

    data = config.data
    ids = _names(frame, data.names, where)
    return BagData.from_smiles(
        frame[data.smiles_column].to_list(),
        ids=ids,
        labels=_numbers(frame, tasks, where) if tasks else None,
        task_names=tasks,
        task_kind=config.task_kind,
        features=data.features,
        cache=cache_folder(data.cache_dir),
        workers=data.workers,
        progress=progress,
        **({} if aux is None else aux.of(ids)),
    )


class _Auxiliary:
    """Auxiliary targets by group and by name of bag."""

    def __init__(self, config: TrainMILConfig, path: str | Path) -> None:
        from molpool_common.table import read_table, require_columns

        data = config.data
        source = Path(data.aux_path or path)
        frame, where = read_table(source), source.name
        require_columns(
            frame, [data.names] if data.names else [], key="data.id_column", where=where
        )
        self.columns = {name: group.columns for name, group in config.aux.items()}
        self.values = {}
        for name, columns in self.columns.items():
            require_columns(frame, columns, key=f"aux.{name}.columns", where=where)
            self.values[name] = _numbers(frame, columns, where)
        self.rows = _first_rows(_names(frame, data.names, where))

    def of(self, ids: Sequence[str]) -> dict[str, Any]:
        """Return what `BagData` wants of auxiliary targets; missing where there is no row."""
        import numpy as np

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
    from mil_attn.data.columns import names_of

    if column is None:
        return [str(row + 1) for row in range(frame.height)]
    return list(names_of(frame, column, where))


def _numbers(frame: pl.DataFrame, columns: Sequence[str], where: str) -> NDArray[np.float64]:
    from mil_attn.data.columns import label_matrix

    return label_matrix(frame, columns, where)
