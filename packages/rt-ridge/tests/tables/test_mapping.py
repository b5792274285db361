from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rt_ridge._errors import RTRidgeError
from rt_ridge.tables._mapping import (
    Imputer,
    MappingColumns,
    collisions_of,
    id_collisions,
    map_species,
    refuse_gaps,
    subsample_pairs,
)

RAW = pl.DataFrame(
    {
        "species_raw": ["rat liver", "rat blood", "man blood", None, "man blood", " ", "rat liver"],
        "species_group_raw": ["tissue", "fluid", "fluid", "fluid", "fluid", "fluid", None],
        "comp_id": [5, 5, 7, 7, 7, 7, 5],
        "lib": [208, 209, 208, 208, 209, 209, 208],
        "rt": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0],
    }
)


def test_names_are_numbered_in_order_and_gaps_counted() -> None:
    mapped = map_species(RAW)
    assert mapped.frame["species"].to_list() == [2, 1, 0, 0]
    assert mapped.frame["species_cluster"].to_list() == [1, 0, 0, 0]
    assert mapped.frame["rt"].to_list() == [1.0, 2.0, 3.0, 5.0]
    counts = (mapped.n_read, mapped.n_missing_group, mapped.n_missing_species, mapped.n_over_limit)
    assert counts == (7, 1, 2, 0)
    assert mapped.mapping.rows() == [
        ("man blood", "fluid", 0, 0, 2),
        ("rat blood", "fluid", 1, 0, 1),
        ("rat liver", "tissue", 2, 1, 1),
    ]
    assert mapped.collisions.is_empty()


def test_ids_do_not_depend_on_the_order_of_rows() -> None:
    ids = map_species(RAW).mapping
    assert map_species(RAW.reverse()).mapping.equals(ids)


def test_ids_are_kept_as_they_are() -> None:
    frame = pl.DataFrame(
        {"species": [70, 3, None], "species_cluster": [9, 9, 9], "comp_id": [1] * 3}
    )
    mapped = map_species(frame, MappingColumns("species", "species_cluster"))
    assert mapped.frame.rows() == [(70, 9, 1), (3, 9, 1)]
    assert mapped.mapping.rows() == [(3, 9, 3, 9, 1), (70, 9, 70, 9, 1)]
    assert mapped.n_missing_species == 1
    negative = frame.with_columns(species=pl.Series([-70, 3, 4]))
    with pytest.raises(RTRidgeError, match="species: expected ids from 0"):
        map_species(negative, MappingColumns("species", "species_cluster"))


def test_a_species_in_two_supercategories_is_refused_by_name() -> None:
    torn = RAW.with_columns(species_group_raw=pl.Series(["tissue"] + ["fluid"] * 6))
    with pytest.raises(
        RTRidgeError, match=r"found 1 in several: 'rat liver' in 'fluid', 'tissue'$"
    ):
        map_species(torn)


def test_a_planted_collision_is_reported() -> None:
    # Each library numbered its own species: 3 is two things, "man blood" has two numbers.
    planted = RAW.with_columns(species=pl.Series([1, 3, 3, 9, 4, 9, 1]))
    found = map_species(planted, MappingColumns(library="lib")).collisions
    assert found.rows() == [
        ("species", "id with several names", 3, "man blood", "208", 1),
        ("species", "id with several names", 3, "rat blood", "209", 1),
        ("species", "name with several ids", 3, "man blood", "208", 1),
        ("species", "name with several ids", 4, "man blood", "209", 1),
    ]


def test_rows_over_the_limit_are_counted() -> None:
    mapped = map_species(RAW, max_rows_per_pair=1)
    assert (mapped.frame.height, mapped.n_over_limit) == (3, 1)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"comp_id": [-1] * 7}, {}, "comp_id: expected ids from 0"),
        ({"species_group_raw": [None] * 7}, {}, "found none in 7"),
        ({}, {"max_rows_per_pair": 0}, "max_rows_per_pair: expected at least 1; found 0"),
        (
            {},
            {"columns": MappingColumns(species_raw="species_row")},
            "found no 'species_row'. Did you mean 'species_raw'",
        ),
    ],
)
def test_bad_tables_are_refused(change: Any, options: Any, message: str) -> None:
    frame = RAW.with_columns(**{k: pl.Series(v) for k, v in change.items()})
    with pytest.raises(RTRidgeError, match=message):
        map_species(frame, **options)


@settings(max_examples=50, deadline=None)
@given(
    pairs=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60),
    cap=st.integers(1, 5),
    seed=st.integers(0, 100),
)
def test_the_limit_holds_for_every_pair(pairs: Any, cap: int, seed: int) -> None:
    frame = pl.DataFrame(pairs, schema=["species", "comp_id"], orient="row").with_row_index()
    kept = subsample_pairs(frame, cap, seed=seed)
    assert kept.equals(subsample_pairs(frame, cap, seed=seed))
    assert kept["index"].is_sorted()
    for (a, b), rows in frame.group_by("species", "comp_id"):
        left = kept.filter(species=a, comp_id=b)
        assert left.height == min(cap, rows.height)
        assert set(left["index"]) <= set(rows["index"])


def test_samples_favour_no_row() -> None:
    frame = pl.DataFrame({"species": [0] * 20, "comp_id": [0] * 20}).with_row_index()
    draws = pl.concat([subsample_pairs(frame, 5, seed=seed) for seed in range(400)])
    counts = draws["index"].value_counts()["count"]
    # Each row is drawn 100 ± 8.7 times; one of 20 is 5 sd off once in 10^5 runs.
    assert counts.len() == 20
    assert counts.min() > 56  # type: ignore[operator]
    assert counts.max() < 144  # type: ignore[operator]


def test_a_limit_of_nothing_is_refused() -> None:
    with pytest.raises(RTRidgeError, match="max_rows_per_pair: expected at least 1; found 0"):
        subsample_pairs(pl.DataFrame({"species": [0], "comp_id": [0]}), 0)


def test_ids_that_are_one_to_one_do_not_collide() -> None:
    frame = pl.DataFrame({"id": [1, 1, 2], "name": ["a", "a", "b"], "lib": [1, 2, 1]})
    assert id_collisions(frame, "id", "name", "lib").is_empty()


def test_columns_that_are_absent_are_passed_over() -> None:
    frame = pl.DataFrame({"id": [1, 1], "name": ["a", "b"]})
    found = collisions_of(frame, {"id": "name", "other": "name"})
    assert found["kind"].to_list() == ["id with several names"] * 2
    none = collisions_of(frame, {"other": "name"})
    assert none.schema == found.schema
    assert none.is_empty()


NAN = float("nan")
TRAIN = pl.DataFrame(
    {
        "run": [0, 0, 0, 0, 1, 1, 2],
        "a": [1.0, 3.0, 8.0, None, 5.0, NAN, None],
        "b": [1, 2, 3, 4, 5, 6, 7],
    }
)


def test_gaps_take_the_median_of_their_run() -> None:
    imputer = Imputer.fit(TRAIN, ["a", "b"])
    filled = imputer.apply(TRAIN)
    # Run 0: median of 1, 3, 8; run 1: 5; run 2 has none: the median of the runs' 3 and 5.
    assert filled["a"].to_list() == [1.0, 3.0, 8.0, 3.0, 5.0, 5.0, 4.0]
    assert filled["a_missing"].to_list() == [0, 0, 0, 1, 0, 1, 1]
    assert filled["b"].to_list() == TRAIN["b"].to_list()
    assert imputer.columns == ("a", "b", "a_missing")
    assert set(imputer.columns) < set(filled.columns)


def test_a_run_never_seen_is_filled_from_itself_then_from_training() -> None:
    imputer = Imputer.fit(TRAIN, ["a"])
    new = pl.DataFrame({"run": [7, 7, 8], "a": [40.0, None, None]})
    assert imputer.apply(new)["a"].to_list() == [40.0, 40.0, 4.0]


def test_a_gap_without_an_indicator_is_refused() -> None:
    imputer = Imputer.fit(TRAIN, ["a", "b"])
    new = pl.DataFrame({"run": [0, 0], "a": [1.0, 1.0], "b": [1, None]})
    with pytest.raises(RTRidgeError, match=r"no gap in 'b', which had none in training.*row 2"):
        imputer.apply(new)


def test_without_the_switch_gaps_are_an_error() -> None:
    refuse_gaps(TRAIN, ["b"])
    with pytest.raises(RTRidgeError, match=r"a: expected .* found 3 missing \(rows 4, 6, 7"):
        refuse_gaps(TRAIN, ["b", "a"])


def test_a_covariate_without_a_value_is_refused() -> None:
    empty = TRAIN.with_columns(a=pl.lit(np.nan))
    with pytest.raises(RTRidgeError, match="somewhere in 'a'; found 7 rows without"):
        Imputer.fit(empty, ["a"])


def test_runs_must_be_known() -> None:
    with pytest.raises(RTRidgeError, match="expected a column 'batch'"):
        Imputer.fit(TRAIN, ["a"], run="batch")
