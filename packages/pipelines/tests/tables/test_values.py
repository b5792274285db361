from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from molpool_common import InputError, MoleculeTable, validate_values
from molpool_pipelines.tables._duplicates import find_duplicates, merge_duplicates
from molpool_pipelines.tables._molecules import load_molecules
from molpool_pipelines.tables._table_config import DataConfig, Step
from molpool_pipelines.tables._values import (
    constant_notes,
    converted_unit,
    describe_signs,
    exact_labels,
    merge_bounds,
    read_signs,
    transform,
)
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

CAFFEINE = 194.19
"""g/mol, PubChem CID 2519."""


def convert(values: list[float], *steps: Any, mass: float = 100.0, **more: Any) -> NDArray[Any]:
    array = np.array(values, dtype=float)
    return transform(
        array, steps, molar_mass=np.full(len(array), mass), name="y", where="t.csv", **more
    )


@pytest.mark.parametrize(
    ("values", "steps", "expected"),
    [
        ([1, 10, 1000], ("log10",), [0, 1, 3]),
        ([0, 9, 99], ("log10p1",), [0, 1, 2]),
        ([0, 1, -2], ("exp10",), [1, 10, 0.01]),
        ([2, -3], ({"multiply": 1000},), [2000, -3000]),
        ([0.001, 1], ({"multiply": 1000}, "log10"), [0, 3]),
        ([3, 4], (), [3, 4]),
    ],
)
def test_by_hand(values: list[float], steps: tuple[Any, ...], expected: list[float]) -> None:
    np.testing.assert_allclose(convert(values, *steps), expected, rtol=1e-14, atol=1e-14)


def test_micromolar_of_caffeine() -> None:
    # 194.19 ug/mL of a substance of 194.19 g/mol is 1 mmol/L. Its solubility in water, 21.6 g/L
    # at 25 °C (PubChem), is 0.1112 mol/L.
    said = convert([194.19, 21_600], "ug_per_mL_to_uM", mass=CAFFEINE)
    np.testing.assert_allclose(said, [1000.0, 111_231.3], rtol=1e-6)


def test_mass_is_that_of_each_row() -> None:
    said = transform(
        np.array([1.0, 1.0]), ["ug_per_mL_to_uM"], molar_mass=np.array([100.0, 500.0]),
        name="y", where="t",
    )  # fmt: skip
    np.testing.assert_allclose(said, [10.0, 2.0], rtol=1e-14)


def test_missing_stays_missing_and_is_no_error() -> None:
    said = convert([math.nan, 10], "log10")
    assert math.isnan(said[0])
    assert said[1] == 1


def test_the_input_is_left_alone() -> None:
    values = np.array([10.0])
    transform(values, ["log10"], molar_mass=np.ones(1), name="y", where="t")
    assert values[0] == 10


@pytest.mark.parametrize(
    ("values", "step", "message"),
    [
        ([1, 0, -2], "log10", "found 0 in row 2. Rows: 2, 3."),
        ([1, -1], "log10p1", "found -1 in row 2."),
        ([400], "exp10", "found 400 in row 1."),
    ],
)
def test_undefined_values_are_named(values: list[float], step: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        convert(values, step)
    assert str(caught.value).startswith(f"column 'y' (t.csv): expected values for which {step} is")
    assert str(caught.value).endswith(message)


def test_undefined_value_of_a_later_step_shows_the_value_of_the_table() -> None:
    with pytest.raises(InputError, match="found 5 in row 1"):
        convert([5], {"multiply": -1}, "log10")


def test_rows_given() -> None:
    with pytest.raises(InputError, match=r"found 0 in row 9\."):
        convert([1, 0], "log10", rows=[7, 9])


@given(arrays(float, st.integers(0, 20), elements=st.floats(1e-250, 1e250)))
def test_exp10_undoes_log10(values: NDArray[np.float64]) -> None:
    again = transform(
        values, ["log10", "exp10"], molar_mass=np.ones(len(values)), name="y", where="t"
    )
    # An error of one ulp in log10 <= 250 grows by 250 ln 10 / 2 in its power.
    np.testing.assert_allclose(again, values, rtol=1e-12)


@pytest.mark.parametrize("step", ["ln", {"divide": 2}, {"multiply": "x"}, 3])
def test_unknown_steps_are_refused_by_the_configuration(step: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Step).validate_python(step)


NAN = np.nan


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "t.csv"
    path.write_text(
        "SMILES,LogD,Sol,LogD modifier,Sol modifier\n"
        "CCO,1,10,=,<\nCCN,2,20,,>\nCCC,3,30,>,=\nCCCl,4,40,<, > \n"
    )
    return path


def load(path: Path | None, **data: Any) -> MoleculeTable:
    values = {"target_columns": ["LogD", "Sol"], **data}
    return load_molecules(validate_values(DataConfig, values), str(path) if path else None)


BOTH = [[0, -1], [0, 1], [1, 0], [-1, 1]]


class TestReading:
    def test_columns_are_named_or_found_by_their_ending(self, csv: Path) -> None:
        named = {"LogD": "LogD modifier", "Sol": "Sol modifier"}
        for data in ({"modifier_columns": named}, {"modifier_suffix": " modifier"}):
            censoring = load(csv, **data).censoring
            np.testing.assert_array_equal(censoring, BOTH)
        one = load(csv, modifier_columns={"Sol": "Sol modifier"}).censoring
        np.testing.assert_array_equal(one, np.array(BOTH) * [0, 1])
        assert load(csv).censoring is None

    def test_sources_bring_their_own(self, csv: Path) -> None:
        plain = {"path": str(csv), "columns": {"LogD": "LogD"}}
        signed = {
            "path": str(csv),
            "columns": {"Sol": {"column": "Sol", "modifier": "Sol modifier"}},
        }
        table = load(None, sources=[plain, signed])
        assert table.censoring is not None
        np.testing.assert_array_equal(table.censoring[:4], 0)
        np.testing.assert_array_equal(table.censoring[4:], np.array(BOTH) * [0, 1])
        taken = table.take(np.array([7, 0])).censoring
        np.testing.assert_array_equal(taken, [[0, 1], [0, 0]])

    def test_a_conversion_that_reverses_the_order_turns_the_sign(self, csv: Path) -> None:
        data: dict[str, Any] = {"modifier_suffix": " modifier"}
        turned = load(csv, transforms={"LogD": [{"multiply": -1.0}]}, **data)
        np.testing.assert_array_equal(turned.censoring, np.array(BOTH) * [-1, 1])
        twice = [{"multiply": -1.0}, {"multiply": -2.0}]
        np.testing.assert_array_equal(load(csv, transforms={"LogD": twice}, **data).censoring, BOTH)

    def test_rows_of_an_unknown_sign_are_those_of_the_file(self) -> None:
        frame = pl.DataFrame({"m": ["<", "~", None, "approx"]})
        with pytest.raises(InputError) as caught:
            read_signs(frame, "m", where="t.csv", rows=[3, 5, 6, 9])
        assert str(caught.value) == (
            "column 'm' (t.csv): expected one of =, <, <=, >, >= or nothing; found '~' in row 5. "
            "Rows: 5, 9."
        )

    @pytest.mark.parametrize(
        ("data", "parts"),
        [
            ({"modifier_columns": {"LogD": "LogD mod"}}, ("'LogD mod'", "'LogD modifier'?")),
            ({"modifier_columns": {"LogP": "m"}}, ("in target_columns", "'LogP'")),
            ({"modifier_suffix": "_modifier"}, ("'_modifier', and no column", "'LogD modifier'?")),
        ],
    )
    def test_what_is_not_there_is_named(self, csv: Path, data: Any, parts: Any) -> None:
        with pytest.raises(InputError) as caught:
            load(csv, **data)
        assert all(part in str(caught.value) for part in parts), caught.value

    def test_beside_sources_they_are_refused(self, csv: Path) -> None:
        sources = [{"path": str(csv), "columns": {"LogD": "LogD"}}]
        with pytest.raises(InputError, match=r"found them beside data\.sources"):
            load(None, sources=sources, modifier_suffix=" modifier")


def test_exact_labels_and_counts() -> None:
    targets = np.array([[1.0, NAN], [2.0, 5.0]])
    censoring = np.array([[1, -1], [0, -1]], dtype=np.int8)
    np.testing.assert_array_equal(exact_labels(targets, censoring), [[NAN, NAN], [2, NAN]])
    assert exact_labels(targets, None) is targets
    # The bound without a label does not count.
    assert describe_signs(targets, censoring, ["a", "b"]) == "a 1 >; b 1 <"


def with_signs(csv: Path, labels: list[tuple[float, int]]) -> MoleculeTable:
    """One molecule with these labels of one task."""
    from dataclasses import replace

    n = len(labels)
    rows = "".join("CCO,1,1,,\n" for _ in labels)
    csv.write_text(f"SMILES,LogD,Sol,LogD modifier,Sol modifier\n{rows}")
    return replace(
        load(csv),
        task_names=("LogD",),
        targets=np.array([[value] for value, _ in labels]),
        censoring=np.array([[sign] for _, sign in labels], dtype=np.int8).reshape(n, 1),
    )


class TestRepeats:
    @pytest.mark.parametrize(
        ("labels", "merged"),
        [
            ([(4.0, 0), (6.0, 0), (9.0, 1)], (5.0, 0)),
            ([(4.0, 1), (6.0, 1)], (6.0, 1)),
            ([(4.0, -1), (6.0, -1)], (4.0, -1)),
            ([(4.0, 1), (6.0, -1)], (NAN, 0)),
            ([(NAN, 0), (6.0, -1)], (6.0, -1)),
        ],
    )
    def test_merged_by_hand(self, csv: Path, labels: Any, merged: Any) -> None:
        table = merge_duplicates(with_signs(csv, labels), "mean")
        assert table.censoring is not None
        np.testing.assert_array_equal(table.targets, [[merged[0]]])
        np.testing.assert_array_equal(table.censoring, [[merged[1]]])

    @pytest.mark.parametrize(
        ("labels", "conflict"),
        [
            ([(4.0, 0), (3.0, 1)], False),
            ([(4.0, 0), (5.0, 1)], True),
            ([(4.0, 0), (3.0, -1)], True),
            ([(4.0, 1), (6.0, -1)], False),
            ([(6.0, 1), (4.0, -1)], True),
            ([(4.0, 1), (9.0, 1)], False),
        ],
    )
    def test_a_bound_conflicts_with_what_is_on_its_wrong_side(
        self, csv: Path, labels: Any, conflict: bool
    ) -> None:
        table = with_signs(csv, labels)
        assert len(find_duplicates(table).conflicts) == conflict
        if conflict:
            with pytest.raises(InputError, match=r"LogD: .*[<>]\d \(t\.csv, row"):
                merge_duplicates(table, "error")


@given(
    cells=st.lists(
        st.tuples(st.integers(0, 3), st.floats(-9, 9), st.sampled_from([-1, 0, 1])), min_size=1
    )
)
def test_a_merged_bound_is_the_tightest_of_its_molecule(cells: Any) -> None:
    names, molecule = np.unique([c[0] for c in cells], return_inverse=True)
    values = np.array([c[1] for c in cells])
    signs = np.array([c[2] for c in cells], dtype=np.int8)
    start = np.full((len(names), 1), NAN)
    labels, censoring = merge_bounds(
        np.where(signs == 0, NAN, values)[:, None], signs[:, None], molecule, start
    )
    for m in range(len(names)):
        above, below = (values[(molecule == m) & (signs == s)] for s in (1, -1))
        if len(above) and not len(below):
            assert (labels[m, 0], censoring[m, 0]) == (above.max(), 1)
        elif len(below) and not len(above):
            assert (labels[m, 0], censoring[m, 0]) == (below.min(), -1)
        else:
            assert np.isnan(labels[m, 0])
            assert censoring[m, 0] == 0


@pytest.mark.parametrize(
    ("unit", "steps", "expected"),
    [
        ("uM", [], "uM"),
        ("uM", ["log10"], "log10 uM"),
        ("nM", ["log10p1"], "log10 (nM + 1)"),
        ("ug/mL", ["ug_per_mL_to_uM", "log10"], "log10 µM"),
        ("uM", [{"multiply": 2.0}], None),
        ("uM", ["log10", "exp10"], "uM"),
        ("log10 uM", ["exp10"], None),
    ],
)
def test_the_unit_of_converted_values(unit: str, steps: Any, expected: str | None) -> None:
    assert converted_unit(unit, steps) == expected


def test_units_come_from_headers_and_cells(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("SMILES,KSOL (uM),CL,LogD\nCCO,1,>200 mL/min,1\nCCN,2,3 mL/min,2\n")
    values = {"target_columns": ["KSOL (uM)", "CL", "LogD"], "transforms": {"KSOL (uM)": ["log10"]}}
    table = load_molecules(validate_values(DataConfig, values), str(path))
    assert table.units_of_tasks == ("log10 uM", "mL/min", None)
    assert table.of_tasks([1]).units_of_tasks == ("mL/min",)


def test_labels_from_which_nothing_is_learnt_are_said() -> None:
    targets = np.array([[3.2, 1.0, 5.0, 0.0], [3.2, 2.0, 7.0, 0.0], [3.2, np.nan, 9.0, 0.0]])
    signs = np.zeros((3, 4), dtype=np.int8)
    signs[:, 2] = 1
    kinds = ["regression"] * 3 + ["classification"]
    notes = constant_notes(targets, ["a", "b", "c", "d"], kinds, signs)  # type: ignore[arg-type]
    assert [note.split(",")[0] for note in notes] == [
        "a: all 3 training labels are the value 3.2",
        "c: all 3 training labels are bounds",
        "d: all 3 training labels are the class 0",
    ]
    assert all("--target-columns" in note for note in notes)
