"""One way of measuring: each caller's matrix is that of the others on the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from molpool_common import validate_values
from molpool_pipelines.affinity import AffinityCommandConfig
from molpool_pipelines.affinity._command import _measure
from molpool_pipelines.affinity._inputs import read_inputs as read_measured
from molpool_pipelines.fitting import TrainChempropConfig, measure_run, read_inputs
from rich.console import Console

TASKS = ["LogP", "LogS", "QED"]


@pytest.mark.parametrize("how", [{}, {"estimator": "probe", "n_probes": 2}], ids=["exact", "probe"])
def test_command_and_training_measure_the_same(demo_csv: Path, how: dict[str, Any]) -> None:
    section = {"affinity_batch_size": 32, "device": "cpu", "seed": 5, **how}
    data = {"target_columns": TASKS, "split_ratios": [0.6, 0.2, 0.2]}
    shared = {"data_path": str(demo_csv)}
    run = validate_values(TrainChempropConfig, {**shared, "data": data, "task_affinity": section})
    rows = {**shared, "rows": "train", "data": data | {"split_seed": run.seed}}
    command = validate_values(AffinityCommandConfig, section | rows)
    console = Console(quiet=True)
    trained = measure_run(console, run, read_inputs(run))
    measured = _measure(command, read_measured(command), console)
    np.testing.assert_array_equal(measured.matrix, trained.matrix)
    np.testing.assert_array_equal(measured.standard_errors, trained.standard_errors)
    assert measured.task_names == trained.task_names == tuple(TASKS)
