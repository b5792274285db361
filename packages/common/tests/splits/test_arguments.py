"""Wrong input names what is wrong; times are read one way."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pytest
from molpool_common._errors import InputError
from molpool_common.splits import Split, kfold, parse_times, split

GIVEN: dict[str, Any] = {"method": "random", "groups": list("abcd")}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "scafold"}, r"method: .*found 'scafold'\. Did you mean 'scaffold'\?"),
        ({"ratios": (0.8, 0.1, 0.2)}, r"ratios: .*sum 1; found \(0\.8, 0\.1, 0\.2\)"),
        ({"ratios": (1.1, -0.1, 0.0)}, "ratios: expected train above 0"),
        ({"ratios": (0.0, 0.5, 0.5)}, "ratios: expected train above 0"),
        ({"ratios": (0.5, 0.5)}, r"ratios: .*found \(0\.5, 0\.5\)"),
        ({"ratios": (np.nan, 0.5, 0.5)}, "ratios: .*found"),
        ({"groups": []}, "groups: .*no rows"),
        ({"groups": ["a", None, "b", ""]}, r"groups \(rows 1, 3\)"),
        ({"groups": ["a", "b"]}, "at least 3 molecules for 3 splits; found 2"),
        ({"method": "time"}, "times: expected a time of each row for method 'time'; found none"),
        ({"method": "scaffold"}, "mols: expected a molecule or SMILES of each row for method"),
        ({"method": "cluster", "mols": [None] * 4}, r"mols \(rows 0, 1, 2, 3\): expected a mol"),
        ({"method": "cluster"}, "mols: expected a molecule or SMILES of each row for method"),
        ({"method": "stratified"}, r"targets: expected labels \[N, T\] for method"),
        ({"method": "stratified", "targets": [1.0] * 4}, r"targets: .*found shape \(4,\)"),
        ({"method": "stratified", "targets": [[1.0]]}, "targets: expected 4 rows.*found 1"),
        ({"method": "time", "times": [1, 2]}, "times: expected 4 rows, as groups has; found 2"),
        ({"method": "scaffold", "smiles": ["C", "?", "CC", "N"]}, r"smiles \(rows 1\)"),
    ],
)
def test_split_says_what_is_wrong(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        split(**(GIVEN | arguments))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 1}, "k: expected at least 2 folds; found 1"),
        ({"k": 5}, "k: expected at least 5 molecules for 5 folds; found 4"),
        ({"k": 4, "method": "time", "times": [1, 2, 3, 4]}, "k: expected at least 5 molecules"),
        ({"k": 2, "val_ratio": 1.0}, "val_ratio: expected 0 or more, below 1; found 1"),
        ({"k": 2, "groups": list("ab")}, "val_ratio: expected at least 2 molecules"),
    ],
)
def test_kfold_says_what_is_wrong(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        kfold(**(GIVEN | arguments))


def test_folds_without_validation() -> None:
    for fold in kfold("random", 4, groups=list("abcd"), val_ratio=0):
        assert (len(fold.train), len(fold.val), len(fold.test)) == (3, 0, 1)


def test_what_a_method_does_not_use_is_not_read() -> None:
    sides = split("random", groups=list("abcd"), times=["x", None, "", "?"], smiles=["?"] * 4)
    assert sum(map(len, sides)) == 4


def test_rows_of_one_molecule_are_one_molecule() -> None:
    message = "molecules: expected at least 3 molecules for 3 splits; found 1 in 40 rows"
    with pytest.raises(InputError, match=message):
        split("random", groups=["a"] * 40)


def test_check_names_sides_and_groups() -> None:
    sides = Split(np.array([0, 1]), np.array([2]), np.array([3]))
    sides.check(["a", "a", "b", "c"])
    with pytest.raises(InputError, match="1 in both train and test: a"):
        sides.check(["a", "b", "c", "a"])
    with pytest.raises(InputError, match="1 in both val and test: c"):
        sides.check(["a", "b", "c", "c"])


NOON = datetime(2024, 3, 1, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3, 1.5, "2"], [3.0, 1.5, 2.0]),
        (np.array([2020, 2021]), [2020.0, 2021.0]),
        (["1970-01-02", "1970-01-01T00:00:10"], [86400.0, 10.0]),
        (["2024-03-01T12:00:00Z", "2024-03-01T14:00:00+02:00"], [NOON, NOON]),
        ([date(1970, 1, 2), datetime(1970, 1, 1, 1)], [86400.0, 3600.0]),
        (np.array(["1970-01-02", "1970-01-01"], dtype="datetime64[D]"), [86400.0, 0.0]),
        (np.array(["1970-01-02"], dtype="datetime64[ns]"), [86400.0]),
        (["E-0001321", "E-0000007"], [1321.0, 7.0]),
        (["CHEMBL25 ", "CHEMBL1201"], [25.0, 1201.0]),
        (["2024-A-3", "2024-A-12"], [3.0, 12.0]),
        (["02.01.1970", "1.1.1970"], [86400.0, 0.0]),
        (["02.01.1970 00:01", "01.01.1970 00:00"], [86460.0, 0.0]),
        (["13/01/1970", "02/01/1970"], [12 * 86400.0, 86400.0]),  # the first row tells
        (["1/2/1970", "1/13/1970"], [86400.0, 12 * 86400.0]),
        (["2-Jan-70", "01-Jan-70"], [86400.0, 0.0]),
        (["Jan 2, 1970", "January 1, 1970"][:1], [86400.0]),
        (["1970/01/02", "1970/01/01"], [86400.0, 0.0]),
        (["2/2/1970", "3/3/1970"], [32 * 86400.0, 61 * 86400.0]),  # the same either way
    ],
)
def test_times_are_read(values: Any, expected: list[float]) -> None:
    assert parse_times(values).tolist() == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, None, 3], r"times \(rows 1\): expected a finite number.*found None"),
        ([1.0, float("nan")], r"rows 1\): expected a finite number"),
        ([1, "E-12"], r"rows 1\): expected a finite number.*found 'E-12'"),
        (["2024-01-31", "31/01/2024"], r"rows 1\): expected an ISO 8601.*found '31/01/2024'"),
        (["E-1", "E-", None], r"rows 1, 2\): expected a number, a date or an id"),
        (["A-1", "B-2"], r"one series.*2 series: 'A-', 'B-'"),
        (np.array(["2024-01-01", "NaT"], dtype="datetime64[D]"), r"rows 1\): .*found None"),
        ([True, False], "rows 0, 1"),
        (["02/01/1970", "03/01/1970"], "1970-01-02 or 1970-02-01. No row tells whether day or"),
        (["31.01.1970", "1.13.1970"], r"rows 1\): expected a date as 31.01.2024, as in other rows"),
    ],
)
def test_unreadable_times_name_their_rows(values: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_times(values)
