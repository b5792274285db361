"""Tables of molecules whose conformers are bags: each fault told at once, no row lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from mil_attn import BagData, MILDataConfig, MILError
from molpool_common import InputError, validate_values
from molpool_pipelines.fitting import TrainMILConfig
from molpool_pipelines.fitting._bag_results import predictions_of_bags
from molpool_pipelines.fitting._mil_run import read_inputs

SMILES = [
    *("CCO", "CCCN", "c1ccccc1O", "CC(=O)OC", "CCCCS", "c1ccncc1C", "CC#N", "CCOCC"),
    *("CCBr", "OCC(O)CO", "NCC(=O)O", "c1ccsc1", "FC(F)F", "CN(C)C=O", "CSC", "CCCl"),
]
N = len(SMILES)
ACTIVE = [i % 2 for i in range(N)]
FEATURES = {"descriptors_3d": [], "descriptors_2d": {"descriptors": False, "morgan_bits": 8}}


@dataclass(frozen=True)
class Case:
    """A table with one fault, and what is right.

    Parameters
    ----------
    columns : mapping of str to sequence
        Columns instead of, or beside, ``name``, ``SMILES`` and ``active``.
    data, split, run : mapping
        Keys of the configuration.
    says : str
        What the refusal says; empty where the table is read.
    notes : tuple of str
        What is said of the reading.
    rejected : int
        Rows without features.
    """

    columns: dict[str, Sequence[Any]] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    split: dict[str, Any] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)
    says: str = ""
    notes: tuple[str, ...] = ()
    rejected: int = 0


def changed(column: Sequence[Any], **at: Any) -> list[Any]:
    """Return a column with other cells, by row from 1 as ``r4``."""
    cells = list(column)
    for row, cell in at.items():
        cells[int(row[1:]) - 1] = cell
    return cells


WEIGHTS = np.linspace(1, 2, N).tolist()
NAMES = [f"m{i:02d}" for i in range(N)]
CASES = {
    "as it should be": Case(),
    "without names": Case(data={"id_column": None}),
    "padded names": Case({"name": changed(NAMES, r3=" m02 ")}),
    "one name with and without blanks": Case(
        {"name": changed(NAMES, r3=" m07 ")}, says="found twice 'm07'"
    ),
    "a name twice": Case({"name": changed(NAMES, r3="m07")}, says="found twice 'm07'"),
    "no name": Case({"name": changed(NAMES, r3="", r5=None)}, says="found none in rows 3, 5"),
    "names that are numbers and text": Case({"name": changed(range(N), r3="m02")}),
    "7 and 7.0": Case({"name": changed(range(N), r3="2.0")}, says="expected ids written one way"),
    "007 and 7": Case({"name": changed(NAMES, r3="007", r4="7")}),
    "a SMILES that is none": Case({"SMILES": changed(SMILES, r3="C(", r5=None)}, rejected=2),
    "refused SMILES": Case(
        {"SMILES": changed(SMILES, r3="C(", r5=None)},
        run={"on_bad_smiles": "error"},
        says="Rows: 3, 5 (2 of 16)",
    ),
    "no SMILES at all": Case({"SMILES": ["C("] * N}, says="expected at least one molecule"),
    "words of classes": Case({"active": ["yes", "no"] * (N // 2)}, notes=("'yes'",)),
    "a third class": Case({"active": changed(ACTIVE, r3=2)}, says="expected 0, 1 or NaN"),
    "a word among classes": Case({"active": changed(ACTIVE, r3="perhaps")}, says="'perhaps'"),
    "missing labels": Case({"active": changed(ACTIVE, r3=None, r4="n.d.")}),
    "bounds": Case(
        {"active": changed([str(i) for i in range(N)], r3="<3")},
        run={"task_kind": "regression"},
        says="'<3' in row 3",
    ),
    "numbers with a unit": Case(
        {"active": [f"{i} nM" for i in range(N)]},
        run={"task_kind": "regression"},
        notes=("read without the unit",),
    ),
    "another column": Case(data={"target_columns": ["activ"]}, says="Did you mean 'active'?"),
    "weights": Case({"w": WEIGHTS}, {"weight_columns": ["w"]}),
    "a weight that is text": Case(
        {"w": changed(WEIGHTS, r3="heavy")}, {"weight_columns": ["w"]}, says="'heavy'"
    ),
    "a weight below 0": Case(
        {"w": changed(WEIGHTS, r3=-1.0)}, {"weight_columns": ["w"]}, says="weights"
    ),
    "a split column": Case(
        {"set": ["Training", "valid", "TEST", ""] * 4},
        split={"split_column": "set"},
        notes=("4 bags left out",),
    ),
    "a word that is no split": Case(
        {"set": changed(["train", "val", "test", ""] * 4, r3="other")},
        split={"split_column": "set"},
        says="'other' in rows 3",
    ),
    "dates of a laboratory": Case(
        {"day": [f"{1 + i}.02.2024" for i in range(N)]},
        split={"split_type": "time", "time_column": "day", "n_folds": 3},
    ),
    "a row without a date": Case(
        {"day": changed([f"{1 + i}.02.2024" for i in range(N)], r3="soon")},
        split={"split_type": "time", "time_column": "day", "n_folds": 3},
        says="'soon'",
    ),
    "plates": Case({"plate": [f"P{i % 4}" for i in range(N)]},
                   split={"split_type": "plate", "plate_column": "plate", "n_folds": 3}),
    "a row without a plate": Case(
        {"plate": changed([f"P{i % 4}" for i in range(N)], r3=None)},
        split={"split_type": "plate", "plate_column": "plate", "n_folds": 3},
        says="none for 'm02'",
    ),
    "clusters": Case(split={"split_type": "cluster", "n_folds": 3}),
    "one class alone": Case({"active": [0] * N}, notes=("training labels are the class 0",)),
}  # fmt: skip


def table(case: Case, folder: Path) -> tuple[Path, pl.DataFrame]:
    columns = {"name": NAMES, "SMILES": SMILES, "active": ACTIVE, **case.columns}
    texts = {k: ["" if v is None else str(v) for v in values] for k, values in columns.items()}
    frame = pl.DataFrame(texts)
    frame.write_csv(folder / "t.csv")
    return folder / "t.csv", frame


def configured(case: Case, path: Path) -> TrainMILConfig:
    base = {"target_columns": ["active"], "id_column": "name", "cache_dir": "none"}
    values = {
        "data_path": str(path),
        "data": {**base, "features": FEATURES, **case.data},
        "split": {"split_type": "random", "n_folds": 4, **case.split},
        **case.run,
    }
    return validate_values(TrainMILConfig, values)


@pytest.mark.parametrize("name", CASES)
def test_read(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    path, frame = table(case, tmp_path)
    config = configured(case, path)
    if case.says:
        with pytest.raises((InputError, MILError)) as caught:
            read_inputs(config)
        assert case.says in str(caught.value)
        return
    inputs = read_inputs(config)
    assert len(inputs.data) + inputs.rejected.height == frame.height
    assert inputs.rejected.height == case.rejected
    parts = [getattr(inputs.split, part).tolist() for part in ("train", "val", "test")]
    used = sorted(row for part in parts for row in part)
    assert len(used) == len(set(used))
    assert len(parts[0]) > 0
    assert len(parts[2]) > 0
    said = [note for note in inputs.notes if "left out" in note]
    assert len(used) == len(inputs.data) or said
    assert all(any(words in note for note in inputs.notes) for words in case.notes), inputs.notes


class Mean:
    """A model that predicts how many features of a molecule are not 0."""

    task_names = ("active",)
    is_classifier = False

    def predict_with_sd(self, data: Any) -> tuple[Any, Any]:
        ones = np.ones((len(data), 1))
        return ones, ones


def test_every_molecule_has_a_row_of_predictions(tmp_path: Path) -> None:
    case = Case({"SMILES": changed(SMILES, r1="", r3="C(", r16="no")})
    path, _ = table(case, tmp_path)
    config = configured(case, path)
    config.data.predict_path = str(path)
    inputs = read_inputs(config)
    assert inputs.unseen is not None
    frame = predictions_of_bags(Mean(), inputs.unseen, ["none"], with_failures=True)  # type: ignore[arg-type]
    assert frame["id"].to_list() == NAMES
    lost = frame.filter(pl.col("error").is_not_null())
    assert lost["id"].to_list() == ["m00", "m02", "m15"]
    assert lost["active predicted"].null_count() == 3


def test_permuting_other_columns_changes_no_feature(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    found: list[BagData] = []
    for shuffled in (False, True):
        others = {name: rng.normal(size=N).tolist() for name in ("logd", "plate", "fold")}
        labels = rng.permutation(ACTIVE).tolist() if shuffled else ACTIVE
        case = Case({**others, "active": labels}, {"id_column": "name"})
        path, _ = table(case, tmp_path)
        found.append(read_inputs(configured(case, path)).data)
    one, other = (bags.x2d for bags in found)
    assert one is not None
    assert other is not None
    assert np.array_equal(one, other)
    assert found[0].feature_names_2d == found[1].feature_names_2d


def test_kinds_of_tables_are_told_apart() -> None:
    with pytest.raises(ValueError, match="features_3d: expected with kind features"):
        MILDataConfig(features_3d="x.csv")
