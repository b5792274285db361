from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from rt_ridge._errors import RTRidgeError
from rt_ridge.prediction._summaries import Stage1CoeffSummaries
from rt_ridge.tables._features import FeatureMap


@pytest.fixture
def summaries(dense_hierarchy: Any) -> Stage1CoeffSummaries:
    made: Stage1CoeffSummaries = dense_hierarchy(seed=1).summaries()
    return made


def entries(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


@pytest.mark.parametrize("seed", [0, 1])
def test_the_file_gives_back_every_bit(dense_hierarchy: Any, tmp_path: Path, seed: int) -> None:
    summaries = dense_hierarchy(seed=seed).summaries()
    path = tmp_path / "artefact.npz"
    summaries.save(path)
    loaded = Stage1CoeffSummaries.load(path)
    loaded.save(tmp_path / "again.npz")
    assert path.read_bytes() == (tmp_path / "again.npz").read_bytes()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    x, ids = np.linspace(-2, 2, 7)[:, None], np.arange(7)
    ours, theirs = summaries.predict(x, ids, ids % 4), loaded.predict(x, ids, ids % 4)
    for name in ("mean", "std", "std_mean", "level_code"):
        assert getattr(ours, name).tobytes() == getattr(theirs, name).tobytes()
    assert (loaded.group_col, loaded.method, loaded.feature_names) == (
        "species",
        "dense",
        ("is_1",),
    )


def test_rotation_and_squares_are_kept(tmp_path: Path, dense_hierarchy: Any) -> None:
    made = dense_hierarchy(seed=0, size=5).summaries()
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(2, 2)))[0]
    features = FeatureMap(("a", "b"), np.array([1.0, 2.0]), turn, "poly2")
    made = replace(made, features=features)
    made.save(tmp_path / "a.npz")
    loaded = Stage1CoeffSummaries.load(tmp_path / "a.npz")
    assert loaded.anchor_expansion == "poly2"
    assert loaded.feature_rotation is not None
    assert loaded.feature_rotation.tobytes() == turn.tobytes()
    assert loaded.feature_center.tolist() == [1.0, 2.0]


def test_nothing_in_the_file_is_pickled(summaries: Stage1CoeffSummaries, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    summaries.save(path)
    assert all(array.dtype.kind in "ifU" for array in entries(path).values())
    assert all(name.endswith(".npy") for name in zipfile.ZipFile(path).namelist())


def test_a_pickled_entry_is_refused(summaries: Stage1CoeffSummaries, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    summaries.save(path)
    arrays = entries(path) | {"mean": np.array([{"a": 1}], dtype=object)}
    np.savez(path, **arrays)
    with pytest.raises(RTRidgeError, match=r"expected an npz file of numbers and text.*Object arr"):
        Stage1CoeffSummaries.load(path)


def change(name: str, value: Callable[[Any], Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda arrays: arrays | {name: value(arrays[name])}


def drop(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda arrays: {k: v for k, v in arrays.items() if k != name}


def put(index: tuple[int, ...], value: float) -> Callable[[Any], Any]:
    def edit(array: Any) -> Any:
        array = array.copy()
        array[index] = value
        return array

    return edit


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "schema": (
        change("schema_version", lambda a: a + 1),
        r"schema .*version 3; found .* version 4",
    ),
    "schema name": (change("schema", lambda a: np.array("x")), "schema .*; found x version 3"),
    "no keys": (drop("keys"), r"artefact: lacks 'keys'; it has anchor_expansion"),
    "narrow keys": (change("keys", lambda a: a.astype(np.int32)), "keys: expected int64"),
    "text mean": (change("mean", lambda a: a.astype(str)), "mean: expected float64, found <U"),
    "half mean": (change("mean", lambda a: a.astype(np.float32)), "mean: expected float64"),
    "two columns": (change("group_col", lambda a: np.array(["a", "b"])), "group_col: expected one"),
    "descending": (change("keys", lambda a: a[::-1].copy()), "keys: expected ascending, found"),
    "negative": (change("keys", lambda a: a - a[0] - 1), "keys: expected ids >= 0, found -1"),
    "mean shape": (change("mean", lambda a: a[:, :1].copy()), r"mean: expected shape \[\d+, 2\]"),
    "mean NaN": (
        change("mean", put((0, 1), np.nan)),
        "mean: expected finite values, found nan for group 0, compound 0",
    ),
    "cov inf": (change("cov", put((0, 1, 1), np.inf)), "cov: expected finite values, found inf"),
    "cov skew": (change("cov", put((0, 0, 1), 9.0)), "cov: expected symmetric, found asymmetry"),
    "cov indefinite": (
        change("cov", put((0, 0, 0), -1.0)),
        r"cov: expected positive definite, found eigenvalue -.* for group 0, compound 0$",
    ),
    "n": (change("n", put((1,), 0)), r"n: expected at least 1, found 0 for group"),
    "features": (change("feature_names", lambda a: np.array(["a", "b"])), "feature_center: expec"),
    "twice": (change("feature_names", lambda a: np.array(["a", "a"])), "expected distinct names"),
    "expansion": (
        change("anchor_expansion", lambda a: np.array("poly")),
        "anchor_expansion: unknown 'poly'.*poly2",
    ),
    "level": (
        lambda arrays: change("levels", lambda a: np.array(["groop", "parent", "global"]))(
            {k.replace("level_group", "level_groop"): v for k, v in arrays.items()}
        ),
        "levels: unknown 'groop'.*group",
    ),
    "level order": (change("levels", lambda a: a[::-1].copy()), "expected each once and the near"),
    "level lost": (drop("level_parent_cov"), "lacks 'level_parent_cov'"),
    "level indefinite": (
        change("level_parent_cov", put((2, 0, 0), -1.0)),
        "level parent: cov: expected positive semidefinite, found eigenvalue -.* for id 2",
    ),
    "compound": (change("compound_mean", put((0, 0), np.nan)), "compound: mean: .*for compound 1"),
    "parents": (change("parents_parent", lambda a: a[1:].copy()), "parents: parent: expected sha"),
    "sigma": (change("sigma2_mean", lambda a: np.array(-1.0)), "sigma2_mean: expected a positive"),
    "sigma group": (
        change("sigma2_group_mean", put((1,), 0.0)),
        "sigma2_mean: expected a positive number, found 0.0",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_fault_has_its_message(
    summaries: Stage1CoeffSummaries, tmp_path: Path, name: str
) -> None:
    spoil, message = BROKEN[name]
    path = tmp_path / "a.npz"
    summaries.save(path)
    np.savez(path, **spoil(entries(path)))
    with pytest.raises(RTRidgeError, match=message):
        Stage1CoeffSummaries.load(path)


def test_a_rotation_that_scales_is_refused(summaries: Stage1CoeffSummaries) -> None:
    features = FeatureMap(("is_1",), np.zeros(1), np.array([[2.0]]))
    with pytest.raises(RTRidgeError, match="feature_rotation: expected an orthogonal matrix"):
        replace(summaries, features=features)


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 torn"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(RTRidgeError, match=r"artefact \(a.npz\): expected an npz file"):
        Stage1CoeffSummaries.load(path)
    with pytest.raises(RTRidgeError, match="expected an existing file; found none"):
        Stage1CoeffSummaries.load(tmp_path / "b.npz")


def test_other_features_than_the_table_has_list_both(summaries: Stage1CoeffSummaries) -> None:
    frame = pl.DataFrame({"es_1": [0.0], "rs_1": [0.0]})
    with pytest.raises(RTRidgeError, match="fitted with is_1; the table lacks is_1 and has es_1, "):
        summaries.predict(frame, [0], [0])


def test_columns_are_taken_by_name(summaries: Stage1CoeffSummaries) -> None:
    frame = pl.DataFrame({"other": [9.0], "is_1": [0.4]})
    by_name = summaries.predict(frame, [0], [0])
    assert by_name.mean == summaries.predict([[0.4]], [0], [0]).mean
    assert by_name.mean == summaries.predict(frame.to_pandas(), [0], [0]).mean


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[0.0, 1.0]], [0], [0]), r"X: expected \[N, 1\] for is_1, found shape \[1, 2\]"),
        (([[0.0], [np.nan]], [0, 0], [0, 0]), "found nan in row 1 of 'is_1'"),
        (([[0.0]], [0, 1], [0]), r"groups: expected shape \[1\]; found \[2\]"),
        (([[0.0]], [0], [0.5]), "compounds: expected whole numbers; found 0.5"),
        (([[0.0]], [-1], [0]), "groups: .*found -1"),
        (([[0.0]], [0], [2**31]), "compounds: .*found 2147483648"),
        (([[0.0]], [0], [0], [-2]), "parents: .*found -2"),
        (([[0.0]], [0], [0], [-1], [[1.0]]), "descriptors: expected .* for a fit without"),
    ],
)
def test_bad_rows_are_named(
    summaries: Stage1CoeffSummaries, arguments: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(RTRidgeError, match=message):
        summaries.predict(*arguments)


def test_support_counts_training_rows(summaries: Stage1CoeffSummaries) -> None:
    group, compound = summaries.keys >> 32, summaries.keys & (2**32 - 1)
    assert summaries.support(group, compound).tolist() == summaries.n.tolist()
    assert summaries.support([10**6], [0]).tolist() == [0]
