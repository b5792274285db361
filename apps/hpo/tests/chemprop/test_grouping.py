"""Groups measured where a task has hardly a label."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from chemprop_multitask import MoleculeData
from molpool_hpo.chemprop import grouping
from molpool_hpo.chemprop.data import read_study_data
from molpool_hpo.chemprop.grouping import with_measured_groups
from molpool_hpo.chemprop.trial import trial_config
from task_affinity import AffinityResult, NoGradientStepsError

SECTION = {
    "task_affinity.enabled": True,
    "task_affinity.n_groups": 2,
    "task_affinity.every_n_steps": 1000,
    "task_affinity.affinity_batch_size": 4,
}


@pytest.mark.slow
def test_every_step_is_measured_where_a_task_is_too_rare_for_some(
    make_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config()
    table = read_study_data(config).folds[0].train
    targets = table.targets.copy()
    targets[np.flatnonzero(np.isfinite(targets[:, 2]))[2:], 2] = np.nan  # a scale needs two
    rare = MoleculeData.from_table(replace(table, targets=targets))
    run = trial_config(config, SECTION)
    steps = []
    measure = grouping._measured

    def spy(config: Any, section: Any, *rest: Any) -> AffinityResult:
        steps.append(section.every_n_steps)
        if section.every_n_steps > 1:
            with pytest.raises(NoGradientStepsError):  # as none of its labels is in the first batch
                measure(config, section, *rest)
            raise NoGradientStepsError("as above")
        return measure(config, section, *rest)

    monkeypatch.setattr(grouping, "_measured", spy)
    grouped = with_measured_groups(run, rare, ("regression",) * 3)
    assert steps == [1000, 1]
    assert sorted(name for group in grouped.groups for name in group) == ["a", "b", "c"]
