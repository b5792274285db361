"""`molpool-train chemprop` and `mil`: one training run, from table to run folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from molpool_common import default_folder
from rich.console import Console

from molpool_pipelines.fitting._config import (
    TrainChempropCommand,
    TrainChempropConfig,
    TrainMILCommand,
    TrainMILConfig,
)
from molpool_pipelines.fitting._cross_validation import cross_validate, single_run
from molpool_pipelines.fitting._inputs import read_inputs, with_groups
from molpool_pipelines.runs import check_folder


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
    if isinstance(config, TrainChempropCommand):
        if config.cv.folds is not None:
            return cross_validate(config, train_chemprop, name=name, arguments=arguments)
        config = single_run(config)
    console = Console()
    # Before the folder is looked at, as a resumed run is compared with groups as lists.
    config = with_groups(config)
    path = Path(config.save_dir) if config.save_dir else default_folder(name)
    check_folder(config, path)
    inputs = read_inputs(config)
    for note in inputs.notes:
        console.print(note, highlight=False)

    # torch and chemprop take seconds to import: what is wrong with the table was said before.
    from molpool_pipelines.fitting._chemprop_run import train_and_write

    return train_and_write(console, config, inputs, path, arguments)


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
    if isinstance(config, TrainMILCommand):
        if config.cv.folds is not None:
            return cross_validate(config, train_mil, name=name, arguments=arguments)
        config = single_run(config)
    console = Console()
    path = Path(config.save_dir) if config.save_dir else default_folder(name)
    check_folder(config, path)

    # torch takes seconds to import.
    from molpool_pipelines.fitting._mil_run import train_and_write

    return train_and_write(console, config, path, arguments)
