"""Which column of a table is meant."""

from __future__ import annotations

import pytest
from molpool_common import smiles_column_of


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["SMILES", "smiles"], "SMILES"),
        (["id", "Smiles", "canonical_smiles"], "Smiles"),
        (["id", "canonical_smiles"], "canonical_smiles"),
        (["Smiles_unify", "value"], "Smiles_unify"),
        # Two that may be meant are no answer.
        (["smiles_a", "smiles_b"], "SMILES"),
        (["id", "value"], "SMILES"),
    ],
)
def test_a_column_of_smiles_is_found_by_its_name(names: list[str], found: str) -> None:
    assert smiles_column_of(names, "SMILES", given=False) == found
    assert smiles_column_of(names, "SMILES", given=True) == "SMILES"


def test_of_new_tables_it_may_be_called_otherwise_than_in_training() -> None:
    assert smiles_column_of(["SMILES"], "Smiles_unify", given=False) == "SMILES"
