"""Task groups of a run: as the configuration gives them, or as task affinity makes them.

What is trained is always a configuration with plain lists of groups: `with_groups` reads a file
that holds them, and `applied` puts in those that were measured. They are measured once per run on
the training split, also where an ensemble has folds, and stay in the run folder.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from molpool_common import RunFolder, atomic_path, doing, listed, marked_text, style, tell
from rich.console import Console
from sampling_core import sampling_from_config
from task_affinity import AffinityResult, Grouping, affinity_matrix_to_dataframe, format_matrix

from molpool_pipelines.affinity import (
    MAX_TASKS_PLOTTED,
    MOST_PRINTED,
    MOST_TAG,
    Affinity,
    check_measurement,
    dendrogram,
    group_tasks,
    heatmap,
    labelled_rows,
    measure_affinity,
    printing_matrix,
    read_affinity,
)
from molpool_pipelines.fitting._config import TrainChempropConfig
from molpool_pipelines.fitting._inputs import Inputs
from molpool_pipelines.fitting._jobs import data_of
from molpool_pipelines.runs import AFFINITY, DENDROGRAM, GROUPS, HEATMAP, MATRIX


def applied(config: TrainChempropConfig, grouping: Grouping) -> TrainChempropConfig:
    """Return the configuration as if these groups had been given by hand."""
    # Left on, every member of an ensemble would measure again, and `with_groups` refuses groups
    # given beside a measurement.
    measured_no_more = config.task_affinity.model_copy(update={"enabled": False})
    update = {
        "groups": grouping.groups,
        "group_assignment": grouping.assignment,
        "task_affinity": measured_no_more,
    }
    return config.model_copy(update=update)


def check_affinity(config: TrainChempropConfig, inputs: Inputs) -> None:
    """Stop before molecules are featurised at what would stop the measurement, if there is one.

    Raises
    ------
    InputError, SamplingError
        If a batch would be larger than the training split, there is no such device, or the rows
        cannot be drawn as `joint_sampling` has it, which would otherwise be said after minutes.
    """
    if not config.task_affinity.enabled:
        return
    train = inputs.tables.train
    # Built for its errors alone: a bad curriculum or quality label is found in milliseconds, before
    # molecules are featurised.
    sampling_from_config(config.joint_sampling, train.targets, train.quality)
    check_measurement(config.task_affinity, labelled_rows(train.targets), rows="training rows")


def find_affinity(
    console: Console, config: TrainChempropConfig, inputs: Inputs, path: Path
) -> Affinity | None:
    """Measure and group where the configuration asks for it; a resumed run reads its own files.

    Parameters
    ----------
    console : Console
        Where matrix and groups are printed.
    config : TrainChempropConfig
        The run.
    inputs : Inputs
        Checked tables.
    path : Path
        The run folder, there or not; nothing is written.

    Raises
    ------
    TaskAffinityError
        If nothing can be measured or grouped, or a file of the run folder is damaged.
    KeyboardInterrupt
        On Ctrl-C or SIGTERM, saying that nothing was written.
    """
    if not config.task_affinity.enabled:
        return None
    with doing("Grouping resamples of the batches"):
        # A second measurement could end in other groups, whose heads the checkpoints do not fit.
        affinity = read_affinity(path) if config.resume else None
    if affinity is not None:
        console.print("Task affinity: from the run folder, not measured again.", highlight=False)
    else:
        result = measure_run(config, inputs)
        if config.task_affinity.log_affinity_matrix:
            _say(console, _matrix_text(result))
        with doing("Grouping resamples of the batches"):
            # Without a limit each of the bootstrap resamples would run its own search of seconds.
            affinity = group_tasks(result, most_tag=MOST_TAG)
    _say(console, _groups_text(affinity.grouping, config.sharing))
    return affinity


def measure_run(config: TrainChempropConfig, inputs: Inputs) -> AffinityResult:
    """Measure on the training split with the run's architecture."""
    train = data_of(inputs.tables.train, inputs)
    try:
        # It is printed when the bar is gone.
        with printing_matrix(None, 0):
            return measure_affinity(
                config.task_affinity,
                config,
                train,
                inputs.task_types,
                on_step=lambda now: tell(
                    "Measuring task affinity", now.step, now.n_steps or 0, "steps"
                ),
            )
    except KeyboardInterrupt:
        # The run folder does not exist yet, so that there is nothing to resume from.
        raise KeyboardInterrupt(
            "Interrupted while task affinity was measured; nothing was written."
        ) from None


def write_affinity(run: RunFolder, affinity: Affinity) -> None:
    """Write matrix, groups and pictures, unless they are there: a resumed run keeps its files."""
    if (run.path / AFFINITY).is_file():
        return
    result, n_tasks = affinity.result, len(affinity.result.task_names)
    affinity.grouping.save(run.path / GROUPS)
    with atomic_path(run.path / MATRIX) as temporary:
        matrix = affinity_matrix_to_dataframe(result.matrix, result.task_names)
        matrix.rename(index=marked_text, columns=marked_text).to_csv(temporary)
    # One task has no pair to plot, and the labels of more than `MAX_TASKS_PLOTTED` overlap.
    pictures = (
        {HEATMAP: heatmap, DENDROGRAM: dendrogram} if 1 < n_tasks <= MAX_TASKS_PLOTTED else {}
    )
    for name, draw in pictures.items():
        figure = draw(affinity)
        with style(), atomic_path(run.path / name) as temporary:
            figure.savefig(temporary, format="png", dpi=150)
    result.save(run.path / AFFINITY)  # last: by it a resumed run knows that all are there
    run.log("task_affinity", **_log_fields(result, affinity.grouping))


def _log_fields(result: AffinityResult, grouping: Grouping) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "groups": grouping.groups,
        "assignment": grouping.assignment,
        "method": grouping.method,
        # JSON has no NaN.
        "score": None if math.isnan(grouping.score) else grouping.score,
        "steps": result.n_steps,
        "measured": result.n_measured,
        "estimator": result.estimator,
    }
    if result.config.log_affinity_matrix and len(result.task_names) <= MOST_PRINTED:
        # Six digits: far below the standard errors, and lines of the log stay readable.
        rows = result.matrix.round(6).tolist()
        fields["matrix"] = dict(zip(result.task_names, rows, strict=True))
    return fields


def _matrix_text(result: AffinityResult) -> str:
    n = len(result.task_names)
    if n > MOST_PRINTED:
        return f"Task affinity matrix computed: {n} tasks, in {MATRIX} of the run folder."
    return format_matrix(result.matrix, result.task_names)


def _groups_text(grouping: Grouping, sharing: str) -> str:
    each = "a head each" if sharing == "heads" else "a model each"
    lines = [f"Task groups ({grouping.method}), {each}:"]
    for k, group in enumerate(grouping.groups):
        helping = [task for task in group if grouping.assignment[task] != k]
        besides = f" (served by another group: {listed(helping)})" if helping else ""
        lines.append(f"  {k}: {', '.join(group)}{besides}")
    return "\n".join(lines)


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)
