from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from rt_ridge.errors import RTRidgeError
from rt_ridge.mapping import MappingColumns, map_species

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
    counts = (mapped.n_read, mapped.n_missing_group, mapped.n_missing_species, mapped.n_capped)
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


def test_libraries_are_told_apart() -> None:
    parts = map_species(RAW, MappingColumns(library="lib")).by_library("lib")
    assert {name: part["rt"].to_list() for name, part in parts.items()} == {
        "208": [1.0, 3.0],
        "209": [2.0, 5.0],
    }


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


def test_capped_rows_are_counted() -> None:
    mapped = map_species(RAW, cap=1)
    assert (mapped.frame.height, mapped.n_capped) == (3, 1)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"comp_id": [-1] * 7}, {}, "comp_id: expected ids from 0"),
        ({"species_group_raw": [None] * 7}, {}, "found none in 7"),
        ({}, {"cap": 0}, "cap: expected at least 1; found 0"),
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
