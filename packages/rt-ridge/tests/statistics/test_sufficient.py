from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial, reduce
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from molpool_common import FloatArray
from rt_ridge import (
    FeatureMap,
    RTRidgeError,
    SufficientStatistics,
    fit_features,
    regressor_statistics,
)

COVARIATES = ["is_1", "is_2"]
ARRAYS = ("n", "mean_x", "mean_y", "sxx", "sxy", "syy")


def summarise(frame: pl.DataFrame, **keywords: object) -> SufficientStatistics:
    return SufficientStatistics.from_frame(frame, covariates=COVARIATES, **keywords)  # type: ignore[arg-type]


def exact(frame: pl.DataFrame) -> dict[int, dict[str, FloatArray]]:
    """Return the definitions in rational arithmetic, pair by pair."""
    text = frame.cast(pl.String)
    numbers = text.with_columns(
        pl.col("species", "comp_id").cast(pl.Int64), pl.col(*COVARIATES, "rt").cast(pl.Float64)
    )
    pairs: dict[int, list[list[Fraction]]] = {}
    for g, c, *values in numbers.select("species", "comp_id", *COVARIATES, "rt").iter_rows():
        pairs.setdefault(g * 2**32 + c, []).append([Fraction(v) for v in values])
    return {key: _exact(rows) for key, rows in sorted(pairs.items())}


def _exact(rows: list[list[Fraction]]) -> dict[str, FloatArray]:
    n = len(rows)
    mean = [sum(column) / n for column in zip(*rows, strict=True)]
    z = [[v - m for v, m in zip(row, mean, strict=True)] for row in rows]
    scatter = np.array(
        [[float(sum(row[i] * row[j] for row in z)) for j in range(3)] for i in range(3)]
    )
    means = np.array([float(m) for m in mean])
    return {
        "n": np.array(n),
        "mean_x": means[:2],
        "mean_y": means[2],
        "sxx": scatter[:2, :2],
        "sxy": scatter[:2, 2],
        "syy": scatter[2, 2],
    }


def assert_same(
    ours: SufficientStatistics, theirs: SufficientStatistics, tolerance: float = 1e-10
) -> None:
    """Compare to `tolerance`, products in units of the spreads of their two columns."""
    assert ours.keys.tolist() == theirs.keys.tolist()
    assert ours.n.tolist() == theirs.n.tolist()
    np.testing.assert_allclose(ours.mean_x, theirs.mean_x, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(ours.mean_y, theirs.mean_y, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(ours.syy, theirs.syy, rtol=tolerance)
    root = np.sqrt(np.einsum("gpp->gp", theirs.sxx))
    off = np.abs(ours.sxx - theirs.sxx)
    assert (off <= tolerance * root[:, :, None] * root[:, None, :]).all()
    off = np.abs(ours.sxy - theirs.sxy)
    assert (off <= tolerance * root * np.sqrt(theirs.syy)[:, None]).all()
    assert (ours.parents is None) == (theirs.parents is None)
    if ours.parents is not None and theirs.parents is not None:
        assert ours.parents.pairs.tolist() == theirs.parents.pairs.tolist()


def test_they_are_the_definitions_of_every_legal_table(legal_table: pl.DataFrame) -> None:
    stats = summarise(legal_table)
    expected = exact(legal_table)
    assert stats.keys.tolist() == list(expected)
    assert stats.n_rows == legal_table.height
    for row, values in enumerate(expected.values()):
        spread = np.sqrt(np.append(np.diag(values["sxx"]), values["syy"]))
        products = 1e-13 * np.outer(spread, spread)
        # A few units in the last place of the mean, or of the rows about it.
        near = 1e-15 * spread / np.sqrt(values["n"])
        off_x, off_y = stats.mean_x[row] - values["mean_x"], stats.mean_y[row] - values["mean_y"]
        assert stats.n[row] == values["n"]
        assert (np.abs(off_x) <= 1e-15 * np.abs(values["mean_x"]) + near[:2]).all()
        assert np.abs(off_y) <= 1e-15 * np.abs(values["mean_y"]) + near[2]
        assert (np.abs(stats.sxx[row] - values["sxx"]) <= products[:2, :2] + 1e-300).all()
        assert (np.abs(stats.sxy[row] - values["sxy"]) <= products[:2, 2] + 1e-300).all()
        assert abs(stats.syy[row] - values["syy"]) <= products[2, 2]
    assert (stats.sxx[stats.n == 1] == 0).all()
    text = legal_table.cast(pl.String)
    species, clusters = (text[name].cast(pl.Int64) for name in ("species", "species_cluster"))
    assert dict(zip(stats.group_ids, stats.parent_ids, strict=True)) == dict(
        zip(species, clusters, strict=True)
    )


@pytest.mark.parametrize("form", ["frame", "parquet", "csv"])
def test_illegal_tables_are_refused(
    illegal_table: tuple[pl.DataFrame, tuple[str, ...]], form: str, tmp_path: Path
) -> None:
    frame, phrases = illegal_table
    path = tmp_path / f"table.{form}"
    if form == "parquet":
        frame.write_parquet(path)
    elif form == "csv":
        frame.write_csv(path)
    read = partial(SufficientStatistics.from_parquet, path, covariates=COVARIATES)
    with pytest.raises(RTRidgeError) as caught:
        summarise(frame) if form == "frame" else read()
    for phrase in phrases:
        assert phrase in str(caught.value)


@given(
    seed=st.integers(0, 2**32 - 1),
    offset=st.sampled_from([0.0, 1e6, -1e9]),
    cuts=st.lists(st.integers(0, 60), max_size=60),
    tree=st.randoms(use_true_random=False),
)
def test_any_order_division_and_tree_of_merges_is_the_same(
    make_table: Callable[..., pl.DataFrame],
    seed: int,
    offset: float,
    cuts: list[int],
    tree: object,
) -> None:
    frame = make_table(seed, offset=offset)
    whole = summarise(frame)
    shuffled = frame[np.random.default_rng(seed).permutation(frame.height)]
    edges = sorted({0, *cuts, frame.height})
    parts = [summarise(shuffled.slice(a, b - a), threads=1) for a, b in pairwise(edges)]
    while len(parts) > 1:
        chosen = [parts.pop(tree.randrange(len(parts))) for _ in range(min(len(parts), 3))]  # type: ignore[attr-defined]
        parts.append(chosen[0].merge(*chosen[1:]))
    # 1e-10 is promised; means kept in two floats leave a thousandth of it.
    assert_same(parts[0], whole, 1e-13)


def test_rows_merged_one_by_one_lose_nothing_far_from_zero(
    make_table: Callable[..., pl.DataFrame],
) -> None:
    frame = make_table(3, n_rows=500, n_groups=1, n_compounds=1, offset=1e6)
    ones = [summarise(frame.slice(i, 1), threads=1) for i in range(frame.height)]
    assert_same(reduce(lambda a, b: a.merge(b), ones), summarise(frame), 1e-13)


def test_files_give_what_the_frame_gives(legal_table: pl.DataFrame, tmp_path: Path) -> None:
    """Bit for bit from Parquet of the same rows a chunk; CSV keeps 17 digits."""
    whole = summarise(legal_table)
    half = legal_table.height // 2
    legal_table.head(half).write_parquet(tmp_path / "a.parquet")
    legal_table.slice(half).write_parquet(tmp_path / "b.parquet")
    legal_table.write_csv(tmp_path / "c.csv")
    for paths in (tmp_path / "*.parquet", [tmp_path / "a.parquet", tmp_path / "b.parquet"]):
        read = SufficientStatistics.from_parquet(paths, covariates=COVARIATES, chunk_rows=7)
        assert_same(read, whole, 1e-13)
    read = SufficientStatistics.from_parquet(tmp_path / "c.csv", covariates=COVARIATES)
    assert all((getattr(read, name) == getattr(whole, name)).all() for name in ARRAYS)


def test_threads_change_no_bit(make_table: Callable[..., pl.DataFrame], tmp_path: Path) -> None:
    make_table(0, n_rows=300).write_parquet(tmp_path / "a.parquet")
    one, many = (
        SufficientStatistics.from_parquet(
            str(tmp_path / "a.parquet"), covariates=COVARIATES, threads=threads, chunk_rows=11
        )
        for threads in (1, 5)
    )
    assert all((getattr(one, name) == getattr(many, name)).all() for name in ARRAYS)


def test_pandas_and_polars_agree_without_covariates(
    make_table: Callable[..., pl.DataFrame],
) -> None:
    frame = make_table(0)
    table = pd.DataFrame({name: frame[name].to_numpy() for name in frame.columns})
    ours, theirs = (
        SufficientStatistics.from_frame(df, covariates=[], parent=None) for df in (frame, table)
    )
    assert ours.sxx.shape == (ours.G, 0, 0)
    assert ours.syy.tolist() == theirs.syy.tolist()
    pairs = table.groupby(["species", "comp_id"]).rt
    np.testing.assert_allclose(ours.mean_y, pairs.mean(), rtol=1e-14)
    np.testing.assert_allclose(ours.syy, pairs.var(ddof=0) * pairs.size(), rtol=1e-12)


def test_unlike_statistics_do_not_merge(make_table: Callable[..., pl.DataFrame]) -> None:
    frame = make_table(0)
    stats = summarise(frame)
    moved = summarise(frame.with_columns(species_cluster=pl.col("species_cluster") + 7))
    for other, phrase in (
        (replace(stats, covariates=("is_2", "is_1")), "covariates (other 1)"),
        (replace(stats, target="rt_min"), "target"),
        (replace(stats, parents=None), "in all statistics or in none"),
        (moved, "each in one supercategory; found 5 in several: 0 in 0, 7"),
    ):
        with pytest.raises(RTRidgeError) as caught:
            stats.merge(other)
        assert phrase in str(caught.value)


def test_a_subset_keeps_its_pairs_and_their_parents(
    make_table: Callable[..., pl.DataFrame],
) -> None:
    frame = make_table(0)
    stats = summarise(frame)
    part = stats.subset(stats.group_ids >= 3)
    assert_same(part, summarise(frame.filter(pl.col("species") >= 3)), 1e-14)
    with pytest.raises(RTRidgeError, match="mask: expected bool"):
        stats.subset(np.ones(3, dtype=bool))
    with pytest.raises(RTRidgeError, match="expected statistics with a parent column"):
        _ = replace(stats, parents=None).parent_ids


@pytest.mark.parametrize(
    ("keywords", "phrase"),
    [
        ({"covariates": ["is_1", "is_1"]}, "'is_1' more than once"),
        ({"covariates": ["is_1", "rt"]}, "'rt' more than once"),
        ({"covariates": "is_1"}, "sequence of names"),
        ({"covariates": ["is_1"], "group": "specie"}, "Did you mean 'species'?"),
        ({"covariates": ["is_1"], "threads": 0}, "threads: expected at least 1"),
    ],
)
def test_wrong_parameters_are_named(
    make_table: Callable[..., pl.DataFrame], keywords: dict[str, object], phrase: str
) -> None:
    with pytest.raises(RTRidgeError) as caught:
        SufficientStatistics.from_frame(make_table(0), **keywords)  # type: ignore[arg-type]
    assert phrase in str(caught.value)


def test_a_column_that_pandas_has_twice_is_refused(
    make_table: Callable[..., pl.DataFrame],
) -> None:
    frame = make_table(0)
    table = pd.DataFrame({name: frame[name].to_numpy() for name in frame.columns})
    twice = pd.concat([table, table[["is_1"]]], axis=1)
    with pytest.raises(RTRidgeError, match=r"found twice \['is_1'\]"):
        SufficientStatistics.from_frame(twice, covariates=COVARIATES)
    with pytest.raises(RTRidgeError, match="expected a polars or pandas DataFrame; found dict"):
        SufficientStatistics.from_frame({}, covariates=COVARIATES)  # type: ignore[arg-type]


def test_a_date_is_no_number(make_table: Callable[..., pl.DataFrame]) -> None:
    frame = make_table(0).with_columns(rt=pl.date(2026, 1, 1))
    with pytest.raises(RTRidgeError, match=r"column 'rt' \(table\): expected numbers; found Date"):
        summarise(frame)


def test_squares_of_centred_covariates_are_summed_in_the_same_pass(
    make_table: Callable[..., pl.DataFrame], tmp_path: Path
) -> None:
    frame = make_table(0)
    frame.write_csv(tmp_path / "a.csv")
    features = FeatureMap(("is_1", "is_2"), np.array([0.5, 5.0]), None, "poly2")
    ours = SufficientStatistics.from_parquet(
        tmp_path / "a.csv", covariates=COVARIATES, features=features, chunk_rows=7
    )
    by_hand = frame.with_columns(u=pl.col("is_1") - 0.5, v=pl.col("is_2") - 5.0).with_columns(
        uu=pl.col("u") ** 2, vv=pl.col("v") ** 2
    )
    theirs = SufficientStatistics.from_frame(by_hand, covariates=["u", "v", "uu", "vv"])
    assert ours.covariates == ("is_1", "is_2", "is_1^2", "is_2^2")
    np.testing.assert_allclose(ours.mean_x, theirs.mean_x, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(ours.sxx, theirs.sxx, rtol=1e-10, atol=1e-13)
    with pytest.raises(RTRidgeError, match="features: expected a map of the covariates"):
        summarise(frame, features=FeatureMap.plain(["is_2"]))


STORED = ("keys", "n", "mean_x", "mean_y", "sxx", "sxy", "syy", "mean_low")


def test_saved_and_loaded_bit_for_bit(legal_table: pl.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "statistics.npz"
    for stats in (summarise(legal_table), summarise(legal_table, parent=None)):
        stats.save(path)
        loaded = SufficientStatistics.load(path)
        for name in STORED:
            assert getattr(loaded, name).tobytes() == getattr(stats, name).tobytes()
        assert loaded.covariates == stats.covariates
        assert (loaded.target, loaded.group_col) == ("rt", "species")
        assert (loaded.parents is None) == (stats.parents is None)
    assert [p.name for p in tmp_path.iterdir()] == ["statistics.npz"]


@pytest.mark.parametrize(
    ("change", "phrase"),
    [
        ({"schema": np.array("other")}, "schema"),
        ({"schema_version": np.array(9)}, "version 9"),
        ({"sxx": None}, "lacks sxx"),
        ({"mean_x": np.zeros((1, 2))}, "expected float64"),
        ({"n": np.zeros(0)}, "n (stats.npz): expected int64"),
        ({"syy": "negative"}, "syy (stats.npz): expected sums of squares"),
        ({"mean_y": "nan"}, "mean_y (stats.npz): expected finite"),
        ({"keys": "reversed"}, "keys (stats.npz): expected non-negative and ascending"),
        ({"parents_group": None}, "parents"),
    ],
)
def test_a_damaged_file_is_refused(
    make_table: Callable[..., pl.DataFrame],
    change: dict[str, object],
    phrase: str,
    tmp_path: Path,
) -> None:
    path = tmp_path / "stats.npz"
    summarise(make_table(0)).save(path)
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    for name, value in change.items():
        array = arrays.pop(name)
        if isinstance(value, np.ndarray):
            arrays[name] = value
        elif value is not None:
            damage = {"negative": -1 - array, "nan": array * np.nan, "reversed": array[::-1]}
            arrays[name] = damage[str(value)]
    np.savez(path, allow_pickle=False, **arrays)
    with pytest.raises(RTRidgeError) as caught:
        SufficientStatistics.load(path)
    assert phrase in str(caught.value)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pickled.npz"
    np.savez(path, keys=np.array([{"a": 1}], dtype=object))
    for bad in (path, tmp_path / "absent.npz", Path(__file__)):
        with pytest.raises(RTRidgeError, match="expected an"):
            SufficientStatistics.load(bad)


X = ["a", "b", "c"]


def rows(offset: float = 0.0) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3)) @ rng.normal(size=(3, 3)) + offset
    ids = {"species": rng.integers(0, 3, 60), "comp_id": rng.integers(0, 4, 60)}
    return pl.DataFrame({**ids, **dict(zip(X, x.T, strict=True)), "rt": rng.normal(size=60)})


def summed(frame: pl.DataFrame, covariates: Any) -> SufficientStatistics:
    return SufficientStatistics.from_frame(frame, parent=None, covariates=covariates)


def test_the_map_is_fitted_to_all_rows() -> None:
    frame = rows(5.0)
    features = fit_features(summed(frame, X), rotation="pca")
    z = features.transform(frame)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-13)
    spread = np.cov(z.T)
    np.testing.assert_allclose(spread, np.diag(np.diag(spread)), atol=1e-12)
    assert (np.diff(np.diag(spread)) <= 0).all()


@pytest.mark.parametrize("rotation", ["none", "pca"])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_statistics_turn_as_their_rows_do(rotation: Any, offset: float) -> None:
    frame = rows(offset)
    stats = summed(frame, X)
    features = fit_features(stats, rotation=rotation)
    ours = regressor_statistics(stats, features)
    theirs = SufficientStatistics.from_frame(frame, parent=None, covariates=X, features=features)
    # The centred rows themselves carry the rounding of the offset, 1e6 ulp.
    tolerance = 1e-12 * (1 + offset)
    for name in ("mean_x", "mean_y", "sxx", "sxy", "syy"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=tolerance)
    assert ours.covariates == theirs.covariates == features.regressors


def test_statistics_cannot_be_squared() -> None:
    stats = summed(rows(), X)
    with pytest.raises(RTRidgeError, match="anchor_expansion: expected none"):
        regressor_statistics(stats, fit_features(stats, expansion="poly2"))
    with pytest.raises(RTRidgeError, match=r"covariates: expected .* found \['a'\]"):
        regressor_statistics(summed(rows(), ["a"]), fit_features(stats))
