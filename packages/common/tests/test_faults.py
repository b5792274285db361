"""One message for all that is wrong with a table."""

import pickle

import pytest
from molpool_common import Fault, Faults, InputError, TableError


def test_one_message_lists_every_kind_with_rows_values_and_cure():
    faults = Faults("assay.csv")
    faults.add(Fault.of_rows("column 'KSOL'", "numbers", ["abc", "abc", "x"], [3, 9, 12]))
    faults.add(Fault("data.smiles_column", "a column of the table", "'Smiles'", cure="Type -x."))
    with pytest.raises(TableError) as caught:
        faults.check()
    assert str(caught.value) == (
        "assay.csv: 2 kinds of fault\n"
        "  1. column 'KSOL': expected numbers; found 'abc', 'x' in 3 rows: 3, 9, 12.\n"
        "  2. data.smiles_column: expected a column of the table; found 'Smiles'. Type -x."
    )
    assert caught.value.exit_code == 2


def test_no_fault_raises_nothing_and_none_is_no_fault():
    faults = Faults("assay.csv")
    faults.add(None)
    faults.check()
    assert len(faults) == 0


def test_an_error_of_the_table_becomes_one_of_its_faults():
    faults = Faults("assay.csv")
    faults.take(InputError("columns", expected="a", found="b", hint="Do c."))
    faults.take(TableError([Fault("x", "y", "z", (1,))]))
    with pytest.raises(TableError, match=r"1\. columns: expected a; found b\. Do c\.") as caught:
        faults.check()
    assert len(caught.value.faults) == 2
    assert "x: expected y; found z in row 1." in str(caught.value)


def test_at_most_twenty_kinds_and_five_rows_are_shown():
    faults = Faults()
    for i in range(23):
        faults.add(Fault.of_rows(f"c{i}", "a", list(range(9)), list(range(1, 10))))
    with pytest.raises(TableError, match="and 3 more kinds") as caught:
        faults.check()
    assert "1, 2, 3, 4, 5 and 4 more" in str(caught.value)


def test_the_error_survives_another_process():
    error = TableError([Fault("x", "y", "z", (1, 2), "Mend it.")], "t.csv")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert again.faults == error.faults
