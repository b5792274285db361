"""`molpool-affinity`: from a table to affinities, groups and their report."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from chemprop_multitask import ChempropConfig, GraphStore, MoleculeData
from molpool_common import (
    answer,
    atomic_path,
    cache_folder,
    doing,
    marked_text,
    only_warned,
    write_table,
    write_text,
)
from molpool_common import console as new_console
from rich.console import Console
from task_affinity import AffinityResult, TaskAffinityError, affinity_matrix_to_dataframe

from molpool_pipelines.affinity._config import AffinityCommandConfig, check_outputs, matrix_csv
from molpool_pipelines.affinity._figures import dendrogram, heatmap
from molpool_pipelines.affinity._group import Affinity, group_tasks
from molpool_pipelines.affinity._inputs import Inputs, read_inputs
from molpool_pipelines.affinity._measure import check_device, measure_affinity
from molpool_pipelines.affinity._page import Measurement, affinity_report
from molpool_pipelines.affinity._words import AffinityScreen, print_outcome, printing_matrix
from molpool_pipelines.runs import write_rejected
from molpool_pipelines.tables import with_tasks


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
    console = new_console()
    check_device(config.measurement, key="")
    check_outputs(config)
    config, found = with_tasks(config)
    inputs = read_inputs(config)
    inputs.notes[:0] = found
    start = time.perf_counter()
    result = _measure(config, inputs, console)
    seconds = time.perf_counter() - start
    # Before grouping: the matrix is what took the time, and a grouping that fails must not lose it.
    written = _save_matrix(config, result)
    affinity = _group(config, result)
    if file := write_rejected(Path(config.save_path), inputs.rejected):
        written.append(str(file))
    print_outcome(console, inputs.notes, affinity)
    measurement = Measurement(config, inputs, affinity, seconds, arguments)
    with doing("Drawing"):
        written += _save_what_was_asked_for(measurement)
    answer(files=written, groups=affinity.grouping.groups, notes=inputs.notes, seconds=seconds)
    console.print(f"Took {seconds:.0f} s. Wrote {', '.join(written)}", markup=False)


def _measure(config: AffinityCommandConfig, inputs: Inputs, console: Console) -> AffinityResult:
    """Measure with the architecture of a training run that says nothing of it."""
    store = GraphStore(cache_folder(config.data.cache_dir))
    train = MoleculeData.from_table(inputs.table, cache=store)
    names, section = train.task_names, config.measurement
    screen = AffinityScreen(console, names, symmetric=section.affinity_type != "lookahead")
    with printing_matrix(console, len(names)), screen.showing():
        # Default architecture: rows and seed of a training run without model keys give that run's
        # matrix.
        return measure_affinity(section, ChempropConfig(), train, inputs.task_types, on_step=screen)


def _group(config: AffinityCommandConfig, result: AffinityResult) -> Affinity:
    try:
        with doing(f"Grouping {result.config.n_bootstrap} resamples of the batches"):
            return group_tasks(result)
    except TaskAffinityError as error:
        raise TaskAffinityError(f"{error}. The matrix is kept in {config.save_path}.") from None


def _save_matrix(config: AffinityCommandConfig, result: AffinityResult) -> list[str]:
    frame = affinity_matrix_to_dataframe(result.matrix, result.task_names)

    def save_csv(path: Path) -> None:
        with atomic_path(path) as unfinished:
            frame.rename(index=marked_text, columns=marked_text).to_csv(unfinished)

    return [_place(config.save_path, result.save), _place(matrix_csv(config), save_csv)]


def _save_what_was_asked_for(measurement: Measurement) -> list[str]:
    config, affinity = measurement.config, measurement.affinity
    wanted: dict[str | None, Callable[[Path], object]] = {
        config.output: lambda path: write_table(path, _matrix_table(affinity.result)),
        config.save_groups: affinity.grouping.save,
    }
    drawn: dict[str | None, Callable[[Path], object]] = {
        config.plot_heatmap: lambda path: heatmap(affinity, path),
        config.plot_dendrogram: lambda path: dendrogram(affinity, path),
        config.report: lambda path: write_text(path, affinity_report(measurement)),
    }
    written = [_place(path, save) for path, save in wanted.items() if path is not None]
    kept = f"The matrix is, in {config.save_path}, and the groups."
    for path, save in drawn.items():
        if path is not None:
            name = only_warned(path, kept, partial(_place, path, save))
            written += [name] if name else []
    return written


def _matrix_table(result: AffinityResult) -> pl.DataFrame:
    names = list(result.task_names)
    # A task may be called task itself.
    first = "task" if "task" not in names else "row task"
    matrix = pl.DataFrame(np.asarray(result.matrix), schema=names, orient="row")
    return matrix.insert_column(0, pl.Series(first, names))


def _place(path: str | Path, save: Callable[[Path], object]) -> str:
    """Let `save` write a file, in a folder that is made where it is missing; return its name."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    save(Path(path))
    return str(path)
