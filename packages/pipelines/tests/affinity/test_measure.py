"""One way of measuring: each caller's matrix is that of the others on the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chemprop_multitask import MoleculeData
from molpool_common import validate_values
from molpool_pipelines.affinity import AffinityCommandConfig, measure_affinity
from molpool_pipelines.affinity._command import _measure
from molpool_pipelines.affinity._inputs import read_inputs as read_measured
from molpool_pipelines.fitting import TrainChempropConfig, measure_run, read_inputs
from molpool_pipelines.studies import HPOChempropConfig
from molpool_pipelines.studies.chemprop import _objective
from molpool_pipelines.studies.chemprop._space import trial_config
from rich.console import Console
from task_affinity import AffinityResult

TASKS = ["LogP", "LogS", "QED"]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("how", [{}, {"estimator": "probe", "n_probes": 2}], ids=["exact", "probe"])
def test_command_training_and_hpo_measure_the_same(
    demo_csv: Path, how: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    section = {"affinity_batch_size": 32, "device": "cpu", "seed": 5, **how}
    data = {"target_columns": TASKS, "split_ratios": [0.6, 0.2, 0.2]}
    shared = {"data_path": str(demo_csv)}
    run = validate_values(TrainChempropConfig, {**shared, "data": data, "task_affinity": section})
    rows = {**shared, "rows": "train", "data": data | {"split_seed": run.seed}}
    command = validate_values(AffinityCommandConfig, section | rows)
    console = Console(quiet=True)
    inputs = read_inputs(run)
    trained = measure_run(run, inputs)
    measured = _measure(command, read_measured(command), console)
    # A trial keeps the groups alone; what it makes them of is seen on the way.
    of_trial: list[AffinityResult] = []

    def measure(*arguments: Any, **named: Any) -> AffinityResult:
        of_trial.append(measure_affinity(*arguments, **named))
        return of_trial[-1]

    monkeypatch.setattr(_objective, "measure_affinity", measure)
    study = validate_values(HPOChempropConfig, {**shared, "data": data, "task_affinity": section})
    tried = trial_config(study, {"task_affinity.enabled": True})
    rows_of_fold = MoleculeData.from_table(inputs.tables.train)
    _objective.with_measured_groups(tried, rows_of_fold, inputs.task_types)
    for other in (measured, *of_trial):
        np.testing.assert_array_equal(other.matrix, trained.matrix)
        np.testing.assert_array_equal(other.standard_errors, trained.standard_errors)
        assert other.task_names == trained.task_names == tuple(TASKS)
    assert len(of_trial) == 1
