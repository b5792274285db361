"""Splits of bags that users bring, and what stays on one side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mil_attn import BagData, MILRunConfig, split_bags, split_notes
from mil_attn.training._folds import stored_folds
from molpool_common import InputError

BASES = ["NCc1ccccc1", "NCCc1ccccc1", "CNCC", "NCCCC", "C1CCNCC1", "c1ccncc1", "CN1CCCC1", "CCN"]
SMILES = [*BASES, *(f"{base}.OC(=O)C(O)C(O)C(O)=O" for base in BASES)]
IDS = [f"b{k}" for k in range(len(SMILES))]


def bags(smiles: list[str] | None = None) -> BagData:
    n = len(SMILES)
    x = np.zeros((n, 1), dtype=np.float32)
    return BagData(
        ids=IDS, x2d=x, labels=np.tile([0.0, 1.0], n // 2)[:, None], task_names=["t"],
        smiles=SMILES if smiles is None else smiles,
    )  # fmt: skip


def config(folder: Path, words: list[str], **split: Any) -> MILRunConfig:
    rows = [
        f"{name},{text},{word},{k % 4},s{k % 8}"
        for k, (name, text, word) in enumerate(zip(IDS, SMILES, words, strict=True))
    ]
    path = folder / "bags.csv"
    path.write_text("\n".join(["id,SMILES,set,plate,series", *rows]) + "\n")
    return MILRunConfig.model_validate(
        {"data_path": str(path), "data": {"id_column": "id"}, "split": split}
    )


def bases(part: np.ndarray[Any, Any]) -> set[str]:
    return {SMILES[i].split(".")[0] for i in part.tolist()}


@settings(max_examples=15, deadline=None)
@given(
    method=st.sampled_from(["multilabel", "stratified", "scaffold", "random"]),
    seed=st.integers(0, 9),
    series=st.booleans(),
)
def test_no_method_parts_a_salt_from_its_base(
    tmp_path_factory: pytest.TempPathFactory, method: str, seed: int, series: bool
) -> None:
    folder = tmp_path_factory.mktemp("mil")
    column = {"group_column": "series"} if series else {}
    made = config(
        folder, [""] * 16, split_type=method, split_seed=seed, n_folds=3, val_ratio=0.3, **column
    )
    split = split_bags(bags(), made)
    train, val, test = map(bases, split)
    assert not train & test
    assert not train & val
    assert not val & test
    assert split_notes(bags(), split, made) == []


@given(words=st.lists(st.sampled_from(["Train", "valid", "TEST", ""]), min_size=16, max_size=16))
@settings(max_examples=15, deadline=None)
def test_no_given_split_does_either(
    tmp_path_factory: pytest.TempPathFactory, words: list[str]
) -> None:
    if not any(words):
        return
    made = config(tmp_path_factory.mktemp("mil"), words, split_column="set", val_ratio=0.0)
    split = split_bags(bags(), made)
    train, val, test = map(bases, split)
    assert not train & test
    assert not train & val
    assert not val & test
    assert [IDS[i] for i in split.test] == [IDS[k] for k, w in enumerate(words) if w == "TEST"]
    left = 16 - sum(map(len, split))
    assert [note.split()[0] for note in split_notes(bags(), split, made)] == [str(left)] * (
        left > 0
    )


def test_a_file_names_bags_by_id_or_place(tmp_path: Path) -> None:
    by_id = {"train": IDS[:4], "val": IDS[4:6], "test": IDS[6:8]}
    by_place = {"train": "0-3", "val": [4, 5], "test": [6, 7]}
    for entry in (by_id, by_place):
        (tmp_path / "split.json").write_text(json.dumps([entry]))
        made = config(tmp_path, [""] * 16, split_file=str(tmp_path / "split.json"))
        split = split_bags(bags(), made)
        assert [part.tolist() for part in split] == [[0, 1, 2, 3], [4, 5], [6, 7]]


def test_bags_without_features_keep_their_place_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "split.json").write_text('[{"train": "0-3", "val": [4], "test": [5]}]')
    made = config(tmp_path, [""] * 16, split_file=str(tmp_path / "split.json"))
    rest = bags().take(np.arange(1, 16))
    assert [part.tolist() for part in split_bags(rest, made)] == [[0, 1, 2], [3], [4]]


def test_validation_is_drawn_where_the_split_has_none(tmp_path: Path) -> None:
    words = ["train"] * 6 + ["test"] * 2 + ["train"] * 6 + [""] * 2
    made = config(tmp_path, words, split_column="set", val_ratio=0.4)
    split = split_bags(bags(), made)
    assert len(split.val) > 0
    assert not bases(split.train) & bases(split.val)


def test_overlap_is_kept_or_refused_on_request(tmp_path: Path) -> None:
    words = ["train"] * 8 + ["test"] * 8
    kept = config(tmp_path, words, split_column="set", split_overlap="keep", val_ratio=0.0)
    split = split_bags(bags(), kept)
    assert len(split.train) == len(split.test) == 8
    (note,) = split_notes(bags(), split, kept)
    assert note.startswith("8 molecules of this split stand on two sides (8 training rows)")
    refused = config(tmp_path, words, split_column="set", split_overlap="error")
    with pytest.raises(InputError, match="each molecule in one split; found 8 molecules"):
        split_bags(bags(), refused)


def test_plates_part_molecules_and_it_is_said(tmp_path: Path) -> None:
    made = config(tmp_path, [""] * 16, split_type="plate", plate_column="plate", n_folds=2)
    odd = split_bags(bags(list(np.roll(SMILES, 1))), made)
    notes = split_notes(bags(list(np.roll(SMILES, 1))), odd, made)
    assert all("stand on two sides" in note for note in notes)


def test_a_word_that_is_no_split_names_its_row(tmp_path: Path) -> None:
    made = config(tmp_path, ["train"] * 14 + ["tset", "test"], split_column="set")
    with pytest.raises(InputError, match=r"column 'set': .*found 'tset' in rows 15"):
        split_bags(bags(), made)


def test_validation_of_stored_folds_keeps_molecules_together() -> None:
    groups = [k % 8 for k in range(16)]
    number = [0 if k % 8 < 3 else 1 for k in range(16)]
    folds = stored_folds(number, groups=groups, val_ratio=0.4)
    assert [len(fold.test) for fold in folds] == [6, 10]
    for train, val, test in folds:
        assert len(val)
        parts = [{groups[row] for row in rows} for rows in (train, val, test)]
        assert sum(map(len, parts)) == len(set().union(*parts)) == 8
