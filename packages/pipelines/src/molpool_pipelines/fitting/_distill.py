"""One network in place of several models: it learns what they predict together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from molpool_common import FloatArray, RunFolder, TaskType, doing, from_scale, task_metrics

from molpool_pipelines.fitting._config import TrainTabularConfig
from molpool_pipelines.fitting._inputs import Inputs
from molpool_pipelines.fitting._tabular_rows import TrainingRows
from molpool_pipelines.models import (
    Blend,
    MemberSettings,
    Molecules,
    TabularModel,
    build_member,
    fit_member,
)
from molpool_pipelines.runs import DISTILLED
from molpool_pipelines.tables import exact_labels


def write_distilled(
    config: TrainTabularConfig,
    inputs: Inputs,
    rows: TrainingRows,
    model: TabularModel,
    run: RunFolder,
) -> str:
    """Train one network on what the models predict, and leave it in the run's folder.

    Parameters
    ----------
    config : TrainTabularConfig
        Size and training of the network.
    inputs : Inputs
        The table and its split.
    rows : TrainingRows
        That trained the models.
    model : TabularModel
        The models.
    run : RunFolder
        Where ``distilled`` goes.

    Returns
    -------
    str
        How well it does on the test molecules, in a sentence.
    """
    known, more = rows.molecules, rows.unlabelled
    molecules = Molecules([*known.smiles, *more.smiles], np.concatenate([known.X, more.X]))
    with doing(f"Distilling into one network, {len(molecules.X)} molecules"):
        taught, _ = model.blend.predict(molecules)
        student = build_member("mlp", _settings(config, rows, model.task_types))
        fit_member(student, molecules, taught, censoring=None)
    weights = np.ones((1, len(model.task_names)))
    one = Blend(("mlp",), (student,), weights, (False,))
    small = TabularModel(
        one,
        model.task_names,
        model.task_types,
        model.signature,
        structure=model.structure,
        scales=model.scales,
    )
    small.save(run.path / DISTILLED)
    return (
        f"Distilled into one network of {len(molecules.X)} molecules, {DISTILLED}, without "
        f"intervals{_compared(inputs, rows, model, one)}."
    )


def _settings(
    config: TrainTabularConfig, rows: TrainingRows, kinds: Sequence[TaskType]
) -> MemberSettings:
    # Probabilities are numbers to it, which end at 0 and 1.
    limits = np.array([(0, 1) if kind == "classification" else (np.nan,) * 2 for kind in kinds])
    options = {**config.mlp.model_dump(), "members": 1}
    number: TaskType = "regression"
    return MemberSettings(
        rows.features.blocks, (number,) * len(kinds), config.seed, limits, options
    )


def _compared(inputs: Inputs, rows: TrainingRows, model: TabularModel, one: Blend) -> str:
    """Return how both do on the test molecules, in words; nothing where there are none."""
    test = inputs.tables.test
    if not len(test):
        return ""
    # In the table's units, as all metrics of the run.
    in_units = test.in_units()
    exact = exact_labels(in_units.targets, in_units.censoring)
    said: list[str] = []
    for blend in (one, model.blend):
        mean: FloatArray = from_scale(np.nan_to_num(blend.predict(rows.tested)[0]), model.scales)
        found = task_metrics(exact, mean, test.task_names, list(model.task_types), model.scales)
        macro = found.macro()
        said.append(
            " and ".join(
                f"{label} {macro[metric].mean:.3f}"
                for metric, label in (("ma_rae", "RAE"), ("roc_auc", "ROC-AUC"))
                if metric in macro and macro[metric].mean is not None
            )
        )
    return (
        f", {said[0]} on test molecules, where the models together have {said[1]}"
        if said[0]
        else ""
    )
