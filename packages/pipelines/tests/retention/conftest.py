"""A laboratory small enough to fit in a second."""

from __future__ import annotations

from pathlib import Path

import pytest
from molpool_pipelines.retention import SimulateRunConfig, simulate, write_tables


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the tables of 48 pairs, some never measured."""
    config = SimulateRunConfig(
        n_species=6,
        n_clusters=2,
        n_compounds=8,
        n_classes=2,
        n_covariates=2,
        rare_pairs=8,
        unseen_pairs=5,
        anchors=1,
        unseen_species=1,
    )
    folder = tmp_path_factory.mktemp("lab")
    write_tables(simulate(config), folder, "parquet")
    return folder
