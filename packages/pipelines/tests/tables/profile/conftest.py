from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
import pytest
from molpool_common import MoleculeTable, inchikey_blocks, parse_smiles

MakeTable = Callable[..., MoleculeTable]


@pytest.fixture(scope="session")
def make_table() -> MakeTable:
    """Build a table from SMILES and labels."""

    def make(
        smiles: Sequence[str],
        targets: Sequence[Sequence[float]],
        *,
        quality: Sequence[str] | None = None,
        sources: Sequence[str] | None = None,
    ) -> MoleculeTable:
        values = np.array(targets, dtype=float)
        mols = parse_smiles(smiles).require_all()
        n = len(mols)
        return MoleculeTable(
            task_names=tuple(f"t{t}" for t in range(values.shape[1])),
            smiles=list(smiles),
            groups=inchikey_blocks(mols),
            targets=values,
            quality=None if quality is None else list(quality),
            times=None,
            hold_out=np.ones(n, dtype=bool),
            origin=pl.DataFrame(
                {
                    "id": [f"m{i}" for i in range(n)],
                    "source": list(sources or ["x.csv"] * n),
                    "row": range(1, n + 1),
                }
            ),
            dropped=pl.DataFrame(
                schema={
                    "source": pl.String,
                    "row": pl.Int64,
                    "smiles": pl.String,
                    "reason": pl.String,
                }
            ),
        )

    return make
