"""One training run, from table to run folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from molpool_common import default_folder
from rich.console import Console

from molpool_pipelines.fitting.config import TrainChempropConfig
from molpool_pipelines.fitting.inputs import read_inputs, with_groups
from molpool_pipelines.runs import check_folder, open_folder, tracking


def train_chemprop(
    config: TrainChempropConfig, *, name: str = "chemprop", arguments: Sequence[str] = ()
) -> Path:
    """Train a model and leave a run folder behind.

    Parameters
    ----------
    config : TrainChempropConfig
        The run.
    name : str
        Names the run folder where `config.save_dir` does not.
    arguments : sequence of str
        The command line, for the record.

    Returns
    -------
    Path
        The run folder.

    Raises
    ------
    InputError, SamplingError, ChempropError, TaskAffinityError
        If table, configuration or folder are wrong; then nothing has been written.
    """
    console = Console()
    config = with_groups(config)
    path = Path(config.save_dir) if config.save_dir else default_folder(name)
    check_folder(config, path)
    inputs = read_inputs(config)
    for note in inputs.notes:
        console.print(note, highlight=False)

    # torch and chemprop take seconds to import: what is wrong with the table was said before.
    from molpool_pipelines.fitting._affinity import (
        applied,
        check_affinity,
        find_affinity,
        write_affinity,
    )
    from molpool_pipelines.fitting.graphs import with_graphs
    from molpool_pipelines.fitting.run import Fitting
    from molpool_pipelines.fitting.trainees import build_trainees, check_checkpoints

    check_affinity(config, inputs)
    inputs = with_graphs(console, config, inputs)
    affinity = find_affinity(console, config, inputs, path)
    trainees = build_trainees(applied(config, affinity.grouping) if affinity else config, inputs)
    if config.resume:
        check_checkpoints(trainees, path)
    run = open_folder(config, path, arguments)
    if affinity is not None:
        write_affinity(run, affinity)
    with tracking(config.tracking, path, config.model_dump(mode="json")) as tracker:
        fitting = Fitting(console, config, run, inputs, trainees, tracker, affinity)
        fitting.train()
        fitting.write()
    fitting.close()
    return path
