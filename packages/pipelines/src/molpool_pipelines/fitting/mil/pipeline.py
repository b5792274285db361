"""One training run of `molpool-train mil`, from tables to run folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from molpool_common import default_folder
from rich.console import Console

from molpool_pipelines.fitting.config import TrainMILConfig
from molpool_pipelines.runs import check_folder, open_folder, tracking


def train_mil(config: TrainMILConfig, *, name: str = "mil", arguments: Sequence[str] = ()) -> Path:
    """Train a model and leave a run folder behind.

    Parameters
    ----------
    config : TrainMILConfig
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
    InputError, MILError, SamplingError
        If tables, configuration or folder are wrong; then nothing has been written.
    """
    console = Console()
    path = Path(config.save_dir) if config.save_dir else default_folder(name)
    check_folder(config, path)

    # torch takes seconds to import.
    from molpool_pipelines.fitting.mil.inputs import read_inputs
    from molpool_pipelines.fitting.mil.run import MILFitting, check_run
    from molpool_pipelines.fitting.mil.screen import features_bar

    with features_bar(console) as told:
        inputs = read_inputs(config, told)
    for note in inputs.notes:
        console.print(note, highlight=False)
    check_run(config, inputs, path)
    run = open_folder(config, path, arguments)
    with tracking(config.tracking, path, config.model_dump(mode="json")) as tracker:
        fitting = MILFitting(console, config, run, inputs, tracker)
        fitting.train()
        fitting.write()
    fitting.close()
    return path
