from __future__ import annotations

import polars as pl
from rt_ridge.collisions import collisions_of, id_collisions


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
