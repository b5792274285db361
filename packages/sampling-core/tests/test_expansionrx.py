"""The nine endpoints of the OpenADMET-ExpansionRx challenge, as published."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sampling_core import JointSampler

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def targets() -> npt.NDArray[np.float64]:
    near = (p / "shared" / "data" for p in Path(__file__).resolve().parents)
    root = Path(os.environ.get("MOLPOOL_DATA") or next(filter(Path.is_dir, near), ""))
    table = root / "admet" / "expansionrx" / "expansion_data_train.csv"
    if not table.exists():
        pytest.skip("no ExpansionRx table: set MOLPOOL_DATA to the folder of the public data sets")
    with table.open(newline="", encoding="utf-8") as file:
        _, *rows = csv.reader(file)
    return np.array([[float(value or "nan") for value in row[2:]] for row in rows])


@pytest.mark.parametrize(
    ("mode", "alpha", "rarest", "effective"),
    [
        # Figures of the README; those of α = 0 are 196 and 42 in 1000 draws.
        ("multiplicative", 0.0, 0.042, 5326),
        ("multiplicative", 0.5, 0.127, 4243),
        ("multiplicative", 1.0, 0.306, 1798),
        ("hierarchical", 0.0, 0.196, 2744),
        ("hierarchical", 0.5, 0.374, 1292),
        ("hierarchical", 1.0, 0.616, 563),
    ],
)
def test_share_of_the_rarest_endpoint(
    targets: npt.NDArray[np.float64],
    mode: Any,
    alpha: float,
    rarest: float,
    effective: float,
    dense_peers: dict[str, Any],
) -> None:
    labelled = ~np.isnan(targets)
    assert targets.shape == (5326, 9)
    mgmb = labelled[:, labelled.sum(axis=0).argmin()]
    assert mgmb.sum() == 222
    sampler = JointSampler(targets, task_alpha=alpha, composition_mode=mode, seed=0)
    p = sampler.probabilities()
    np.testing.assert_allclose(p, dense_peers[mode](targets, alpha), rtol=1e-10)
    # The figures are rounded to the digits shown.
    assert p[mgmb].sum() == pytest.approx(rarest, abs=5e-4)
    assert sampler.statistics().effective_samples == pytest.approx(effective, abs=0.5)
