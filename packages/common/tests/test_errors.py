from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from molpool_common._errors import InputError, did_you_mean, listed, nearest

pytestmark = pytest.mark.core


def test_message_has_parameter_place_expected_found_and_hint() -> None:
    error = InputError("seed", expected="0 or more", found="-1", where="c.yaml, line 3", hint="Hm.")
    assert str(error) == "seed (c.yaml, line 3): expected 0 or more; found -1. Hm."


def test_message_without_place_and_hint() -> None:
    assert str(InputError("seed", expected="a", found="b")) == "seed: expected a; found b."


def test_is_a_value_error_of_exit_code_2() -> None:
    assert issubclass(InputError, ValueError)
    assert InputError.exit_code == 2


def test_survives_pickling_from_a_worker_process() -> None:
    error = InputError("p", expected="a", found="b", where="w", hint="H.")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is InputError
    assert str(again) == str(error)
    assert (again.parameter, again.where, again.hint) == ("p", "w", "H.")


@pytest.mark.parametrize(
    ("name", "valid", "expected"),
    [
        ("smile", ["SMILES", "LogD"], "SMILES"),
        ("KSLO", ["LogD", "KSOL"], "KSOL"),
        ("zzz", ["SMILES", "LogD"], None),
        ("x", [], None),
    ],
)
def test_nearest(name: str, valid: list[str], expected: str | None) -> None:
    assert nearest(name, valid) == expected


@given(st.lists(st.text(min_size=1, max_size=8), min_size=1, unique_by=str.casefold))
def test_a_valid_name_in_other_case_is_its_own_nearest(valid: list[str]) -> None:
    for name in valid:
        assert nearest(name.swapcase(), valid) == name or name.swapcase().casefold() != (
            name.casefold()  # a few letters do not survive a change of case
        )


def test_hint_lists_the_valid_names_where_none_is_near() -> None:
    assert did_you_mean("zzz", ["a1", "b2"]) == "Valid: 'a1', 'b2'."
    assert did_you_mean("a2", ["a1", "b7"]) == "Did you mean 'a1'?"


@given(st.lists(st.integers(), max_size=30), st.integers(1, 12))
def test_listed_shows_the_first_and_counts_the_rest(items: list[int], limit: int) -> None:
    text = listed(items, limit)
    head, _, more = text.partition(" and ")
    assert head == ", ".join(map(str, items[:limit]))
    assert more == (f"{len(items) - limit} more" if len(items) > limit else "")
