"""From a table to affinities, groups and what tells of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from molpool_common import atomic_path, write_text
from rich.console import Console
from task_affinity import AffinityResult, TaskAffinityError, affinity_matrix_to_dataframe

from molpool_pipelines.affinity.config import AffinityCommandConfig
from molpool_pipelines.affinity.inputs import read_inputs
from molpool_pipelines.affinity.measuring import Groups, group, measure
from molpool_pipelines.affinity.outcome import print_outcome
from molpool_pipelines.affinity.outputs import check_outputs, matrix_csv
from molpool_pipelines.affinity.pictures import dendrogram, heatmap
from molpool_pipelines.affinity.report import Measurement, affinity_report


def measure_table(config: AffinityCommandConfig, *, arguments: Sequence[str] = ()) -> None:
    """Measure the affinities of a table's tasks, group the tasks and write what was asked for.

    Parameters
    ----------
    config : AffinityCommandConfig
        The command.
    arguments : sequence of str
        The command line, for the report.

    Raises
    ------
    InputError, TaskAffinityError
        If the input is wrong; nothing is written then, but for the matrix where the groups alone
        cannot be made.
    """
    console = Console(highlight=False)
    check_outputs(config)
    inputs = read_inputs(config)
    start = time.perf_counter()
    result = measure(config.measurement, inputs, console)
    seconds = time.perf_counter() - start
    written = _save_matrix(config, result)
    groups = _group(config, result, console)
    print_outcome(console, inputs, result, groups)
    measurement = Measurement(config, inputs, result, groups, seconds, arguments)
    with console.status("Drawing"):
        written += _save_what_was_asked_for(measurement)
    console.print(f"Took {seconds:.0f} s. Wrote {', '.join(written)}", markup=False)


def _save_matrix(config: AffinityCommandConfig, result: AffinityResult) -> list[str]:
    frame = affinity_matrix_to_dataframe(result.matrix, result.task_names)

    def save_csv(path: Path) -> None:
        with atomic_path(path) as unfinished:
            frame.to_csv(unfinished)

    return [_place(config.save_path, result.save), _place(matrix_csv(config), save_csv)]


def _save_what_was_asked_for(measurement: Measurement) -> list[str]:
    config, result, groups = measurement.config, measurement.result, measurement.groups
    wanted: dict[str | None, Callable[[Path], object]] = {
        config.save_groups: groups.grouping.save,
        config.plot_heatmap: lambda path: heatmap(result, path),
        config.plot_dendrogram: lambda path: dendrogram(result, groups, path),
        config.report: lambda path: write_text(path, affinity_report(measurement)),
    }
    return [_place(path, save) for path, save in wanted.items() if path is not None]


def _place(path: str | Path, save: Callable[[Path], object]) -> str:
    """Let `save` write a file, in a folder that is made where it is missing; return its name."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    save(Path(path))
    return str(path)


def _group(config: AffinityCommandConfig, result: AffinityResult, console: Console) -> Groups:
    try:
        return group(result, console)
    except TaskAffinityError as error:
        raise TaskAffinityError(f"{error}. The matrix is kept in {config.save_path}.") from None
