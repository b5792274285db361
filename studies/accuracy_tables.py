"""The tables of `accuracy.py`: where they are, how they are divided, what is related to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from molecule_features import Features, featurize
from molpool_common import FloatArray, IntArray, ReadConfig, TaskType, split
from molpool_pipelines.datasets import data_folders, locate
from molpool_pipelines.fitting import RelatedConfig, RelatedTable, read_related
from molpool_pipelines.tables import (
    DataConfig,
    MoleculeTable,
    TableConfig,
    find_task_types,
    fold_rows,
    load_molecules,
)

ORIGINS = ((0.5, 0.65), (0.65, 0.8))
"""Shares of ExpansionRx's rows, which follow time: fit before the first, score up to the second."""

LAST = ((0.8, 1.0),)
FOLDS = 5
TIERS = ("G5", "G3", "G1", "G2", "G4")
"""Reliability groups of AqSolDB, the best first."""

LARGEST = 10_000
"""Rows of a table that are used, from the first on: of EUOS25 a seventh."""

INNER = "scaffold, inner"
"""Split of what chooses defaults: no row that a test side has."""

SIMILAR = 0.35
"""Tanimoto similarity to a potent molecule from which others are its analogues."""

SCATTER, LEAST_VARIANCE = 0.25, 0.085
"""Of a pEC50: standard deviation beside its own error, and variance up to which labels weigh 1."""

LEAST_ANALOGUES, HELD_OUT, ANALOGUE_FOLDS = 5, 0.1, 2
"""Molecules of a series that is held out, share of the rows in a fold, and folds."""


@dataclass(frozen=True)
class Rows:
    """A table of the study.

    Parameters
    ----------
    name : str
        Of the table.
    table : MoleculeTable
        Its rows.
    kinds : tuple of {"regression", "classification"}
        Of the tasks.
    split : str
        Kind of split, in words.
    related : RelatedConfig or None
        Tables of other assays.
    weights : ndarray [N] or None
        Of the labels, by their own standard errors.
    """

    name: str
    table: MoleculeTable
    kinds: tuple[TaskType, ...]
    split: str
    related: RelatedConfig | None = None
    weights: FloatArray | None = None
    _features: dict[str, Features] = field(default_factory=dict)

    def features(self, names: str) -> Features:
        """Return features of all rows."""
        if names not in self._features:
            self._features[names] = featurize(self.table.smiles, names)
        return self._features[names]

    def folds(self, seed: int, *, last: bool) -> list[tuple[IntArray, IntArray]]:
        """Return rows to fit and rows to score; of time the same for every seed."""
        if self.split == "analogues":
            return analogue_folds(self.table)
        if self.split == INNER:
            return [_inner(self.table, seed)]
        if self.split == "scaffold, 80/10/10":
            return [_as_commands_split(self.table, seed)]
        if self.split != "time":
            return fold_rows(self.table, self.split, FOLDS, seed=seed)
        n = len(self.table)
        shares = LAST if last else ORIGINS
        return [(np.arange(int(a * n)), np.arange(int(a * n), int(b * n))) for a, b in shares]


def _as_commands_split(table: MoleculeTable, seed: int) -> tuple[IntArray, IntArray]:
    """Return rows to fit and to score as commands split by scaffold: large blocks train.

    Among five folds each block is held out once: of AqSolDB all molecules without a ring in the
    first, and all whose scaffold is benzene in the second.
    """
    parts = split("scaffold", seed=seed, smiles=table.smiles, groups=table.groups)
    return np.sort(np.concatenate([parts.train, parts.val])), parts.test


def _inner(table: MoleculeTable, seed: int) -> tuple[IntArray, IntArray]:
    """Return a fold by scaffold of the rows that commands train on: another one for each seed."""
    parts = split("scaffold", seed=0, smiles=table.smiles, groups=table.groups)
    folds = fold_rows(table.take(parts.train), "scaffold", FOLDS, seed=seed)
    train, val = folds[seed % FOLDS]
    return parts.train[train], parts.train[val]


def analogue_folds(table: MoleculeTable) -> list[tuple[IntArray, IntArray]]:
    """Return folds that hold out the series around the most potent molecules, as a project does.

    From the most potent on, a molecule and all that are similar are a series; those of five or more
    are dealt to the folds in turn until each has its share. All other rows are fitted.
    """
    counts = featurize(table.smiles, "morgan_count").values
    bits = (counts > 0).astype(np.float32)
    on, free = bits.sum(axis=1), np.ones(len(table), dtype=bool)
    held: list[list[int]] = [[] for _ in range(ANALOGUE_FOLDS)]
    for centre in np.argsort(-table.targets[:, 0], kind="stable").tolist():
        smallest = min(held, key=len)
        if len(smallest) >= HELD_OUT * len(table):
            break
        common = bits @ bits[centre]
        similar = common / (on + on[centre] - common)
        series = np.flatnonzero(free & (similar >= SIMILAR))
        if free[centre] and len(series) >= LEAST_ANALOGUES:
            free[series] = False
            smallest += series.tolist()
    every = np.arange(len(table))
    return [(np.setdiff1d(every, rows), np.sort(np.array(rows))) for rows in held]


def _rows(
    name: str,
    path: Path,
    split: str,
    data: dict[str, Any],
    *,
    quality: str | None = None,
    related: RelatedConfig | None = None,
) -> Rows:
    table = load_molecules(
        DataConfig(**data),
        str(path),
        on_bad_smiles="drop",
        quality_column=quality,
        qualities=TIERS if quality else (),
    )
    if len(table) > LARGEST:
        table = table.take(np.arange(LARGEST))
    return Rows(name, table, find_task_types(TableConfig(), table), split, related)


_EXPANSION = [
    "KSOL", "HLM CLint", "MLM CLint", "Caco-2 Permeability Papp A>B",
    "Caco-2 Permeability Efflux", "MPPB", "MBPB", "MGMB",
]  # fmt: skip


def _expansion() -> Rows:
    # As the challenge scored them: all but LogD as log10(x + 1).
    transforms = {t: ["log10p1"] for t in _EXPANSION}
    data = {"target_columns": ["LogD", *_EXPANSION], "transforms": transforms}
    related = RelatedConfig(
        tables=[str(locate("biogen")), str(locate("aqsoldb"))], assays=[*_BIOGEN, "Solubility"]
    )
    return _rows("expansionrx", locate("expansionrx"), "time", data, related=related)


_BIOGEN = [
    "LOG HLM_CLint (mL/min/kg)", "LOG MDR1-MDCK ER (B-A/A-B)", "LOG SOLUBILITY PH 6.8 (ug/mL)",
    "LOG PLASMA PROTEIN BINDING (HUMAN) (% unbound)",
    "LOG PLASMA PROTEIN BINDING (RAT) (% unbound)", "LOG RLM_CLint (mL/min/kg)",
]  # fmt: skip


def _expansion_raw() -> Rows:
    # Of the first 80 % alone: the last are looked at once per recipe.
    data = {"target_columns": ["LogD", *_EXPANSION]}
    rows = _rows("expansionrx raw", locate("expansionrx"), INNER, data)
    return replace(rows, table=rows.table.take(np.arange(int(LAST[0][0] * len(rows.table)))))


def _folder(name: str) -> Path:
    # Not in the registry: no public address of the very files is known.
    return next(f for f in data_folders() if (f / "admet" / name).is_dir()) / "admet" / name


def _raw(name: str, path: Path, tasks: list[str], smiles: str = "SMILES", **data: Any) -> Rows:
    """Return a table in the assay's unit."""
    section = {"target_columns": tasks, "smiles_column": smiles, **data}
    return _rows(name, path, INNER, section)


def _clearance(species: str) -> Rows:
    path = _folder("pharmabench") / f"{species}_mic_cl_reg_final_data.csv"
    return _raw(
        f"{species} clearance raw", path, ["value"], "Smiles_unify", transforms={"value": ["exp10"]}
    )


def _pxr(kind: str) -> Rows:
    folder = _folder("pxr")
    related = RelatedConfig(
        tables=[str(folder / "pxr_screen_train.csv.gz")],
        assays=["log2_fc_estimate"],
        by="concentration_M",
    )
    data = {"target_columns": ["pEC50"]}
    rows = _rows("pxr", folder / "pxr_train.csv", kind, data, related=related)
    column = pl.read_csv(folder / "pxr_train.csv")["pEC50_std.error (-log10(molarity))"]
    error = column.to_numpy()[rows.table.origin["row"].to_numpy() - 1]
    return replace(rows, weights=np.minimum(1.0, LEAST_VARIANCE / (SCATTER**2 + error**2)))


def _aqsoldb(kind: str) -> Rows:
    data = {"target_columns": ["Solubility"]}
    return _rows("aqsoldb", locate("aqsoldb"), kind, data, quality="Group")


_TOX21 = [
    "NR-AR", "NR-AR-LBD", "NR-AhR", "NR-Aromatase", "NR-ER", "NR-ER-LBD", "NR-PPAR-gamma",
    "SR-ARE", "SR-ATAD5", "SR-HSE", "SR-MMP", "SR-p53",
]  # fmt: skip
_EUOS25 = [
    "Transmittance_340", "Transmittance_450", "Fluorescence_340_450",
    "Fluorescence_more_than_480",
]  # fmt: skip

TABLES: dict[str, Callable[[], Rows]] = {
    "expansionrx": _expansion,
    "biogen": lambda: _rows("biogen", locate("biogen"), "scaffold", {"target_columns": _BIOGEN}),
    "aqsoldb": lambda: _aqsoldb("scaffold"),
    "aqsoldb split": lambda: _aqsoldb("scaffold, 80/10/10"),
    "pxr": lambda: _pxr("cluster"),
    "pxr analogues": lambda: _pxr("analogues"),
    "euos25": lambda: _rows("euos25", locate("euos25"), "scaffold", {"target_columns": _EUOS25}),
    "expansionrx raw": _expansion_raw,
    "biogen raw": lambda: _raw(
        "biogen raw", locate("biogen"), _BIOGEN, transforms={task: ["exp10"] for task in _BIOGEN}
    ),
    "pxr emax": lambda: _raw(
        "pxr emax", _folder("pxr") / "pxr_train.csv", ["Emax.vs.pos.ctrl_estimate (dimensionless)"]
    ),
    "rat clearance raw": lambda: _clearance("rat"),
    "mouse clearance raw": lambda: _clearance("mou"),
    "tox21": lambda: _rows(
        "tox21",
        locate("tox21"),
        "scaffold",
        {"target_columns": _TOX21, "smiles_column": "smiles"},
    ),
}


@cache
def rows_of(name: str) -> Rows:
    """Return a table, read once."""
    return TABLES[name]()


def related_tables(rows: Rows, tested: set[str], features: str) -> list[RelatedTable]:
    """Return the related tables with features, without labels of test molecules."""
    if rows.related is None:
        return []
    found, _ = read_related(rows.related, ReadConfig(), DataConfig(), tested)
    return [one.with_features(featurize(one.table.smiles, features).values) for one in found]
