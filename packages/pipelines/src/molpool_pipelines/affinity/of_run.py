"""Groups that task affinity makes: measured once a run, kept in its folder."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molpool_common import RunFolder, atomic_path, listed, style
from rich.console import Console
from task_affinity import (
    AffinityResult,
    Grouping,
    GroupingStability,
    affinity_matrix_to_dataframe,
    format_matrix,
    grouping_stability,
    plot_task_affinity_heatmap,
    plot_task_dendrogram,
    select_groups,
)

from molpool_pipelines.affinity.groups import grouped
from molpool_pipelines.affinity.measuring_run import measure
from molpool_pipelines.fitting import Inputs, TrainChempropConfig
from molpool_pipelines.runs import AFFINITY, DENDROGRAM, GROUPS, HEATMAP, MATRIX

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_PRINTED = 40
"""Tasks up to which the matrix is printed; a larger one is for its file."""
MOST_DRAWN = 200
"""Tasks up to which heatmap and dendrogram are drawn."""
MOST_TAG = 12
"""Tasks up to which `tag` groups resamples too; each of its searches takes seconds beyond."""


@dataclass(frozen=True)
class Affinity:
    """What was measured, and the groups that it makes.

    Parameters
    ----------
    result : AffinityResult
        Affinities with standard errors.
    grouping : Grouping
        Groups, and the group that serves each task.
    stability : GroupingStability or None
        How often resamples of the batches group the tasks alike, where that was asked for.
    """

    result: AffinityResult
    grouping: Grouping
    stability: GroupingStability | None = None

    @property
    def is_tree(self) -> bool:
        """Whether the groups are branches of the dendrogram."""
        return self.grouping.method == "agglomerative"

    def applied(self, config: TrainChempropConfig) -> TrainChempropConfig:
        """Return the configuration with the groups in it, as if they had been given by hand."""
        return grouped(config, self.grouping.groups, self.grouping.assignment)

    def figures(self) -> tuple[Figure, Figure] | None:
        """Return heatmap and dendrogram, None where there are too few or too many tasks."""
        names = self.result.task_names
        if not 1 < len(names) <= MOST_DRAWN:
            return None
        matrix, errors = self.result.matrix, self.result.standard_errors
        return (
            plot_task_affinity_heatmap(matrix, names, standard_errors=errors),
            plot_task_dendrogram(
                matrix, names, n_groups=self.grouping.n_groups if self.is_tree else None
            ),
        )


def find_affinity(
    console: Console, config: TrainChempropConfig, inputs: Inputs, path: Path
) -> Affinity | None:
    """Measure and group where the configuration asks for it; a resumed run reads its own files.

    Parameters
    ----------
    console : Console
        Told of matrix and groups.
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
    section = config.task_affinity
    if not section.enabled:
        return None
    if config.resume and all((path / name).is_file() for name in (AFFINITY, GROUPS)):
        result, grouping = AffinityResult.load(path / AFFINITY), Grouping.load(path / GROUPS)
        console.print("Task affinity: from the run folder, not measured again.", highlight=False)
    else:
        try:
            result = measure(console, config, inputs)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                "Interrupted while task affinity was measured; nothing was written."
            ) from None
        grouping = select_groups(result.matrix, result.task_names, section)
        if section.log_affinity_matrix:
            _say(console, _matrix_text(result))
    _say(console, _groups_text(grouping, config.sharing))
    with console.status("Grouping resamples of the batches"):
        return Affinity(result, grouping, _stability(result))


def _stability(result: AffinityResult) -> GroupingStability | None:
    config, n_tasks = result.config, len(result.task_names)
    slow = config.clustering_method == "tag" and n_tasks > MOST_TAG
    if config.n_bootstrap == 0 or len(result.block_sums) < 2 or n_tasks < 2 or slow:
        return None
    return grouping_stability(
        result.block_sums,
        result.block_counts,
        result.task_names,
        config,
        normalize=config.affinity_type == "dot_product" and not config.normalize_gradients,
    )


def write_affinity(run: RunFolder, affinity: Affinity) -> None:
    """Write matrix, groups and pictures, unless they are there: a resumed run keeps its files."""
    if (run.path / AFFINITY).is_file():
        return
    result, grouping = affinity.result, affinity.grouping
    grouping.save(run.path / GROUPS)
    with atomic_path(run.path / MATRIX) as temporary:
        affinity_matrix_to_dataframe(result.matrix, result.task_names).to_csv(temporary)
    for name, figure in zip((HEATMAP, DENDROGRAM), affinity.figures() or (), strict=False):
        with style(), atomic_path(run.path / name) as temporary:
            figure.savefig(temporary, format="png", dpi=150)
    result.save(run.path / AFFINITY)  # last: by it a resumed run knows that all are there
    run.log("task_affinity", **_log_fields(result, grouping))


def _log_fields(result: AffinityResult, grouping: Grouping) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "groups": grouping.groups,
        "assignment": grouping.assignment,
        "method": grouping.method,
        "score": None if math.isnan(grouping.score) else grouping.score,
        "steps": result.n_steps,
        "measured": result.n_measured,
        "estimator": result.estimator,
    }
    if result.config.log_affinity_matrix and len(result.task_names) <= MOST_PRINTED:
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
        lines.append(f"  {k + 1}: {', '.join(group)}{besides}")
    return "\n".join(lines)


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)
