"""`molpool-train chemprop`, `tabular` and `mil`: one training run, from table to run folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from molpool_common import (
    ConfigModel,
    default_folder,
    first_rank_first,
    from_first_rank,
    join_ranks,
    rank,
    read_yaml,
)
from molpool_common import console as new_console

from molpool_pipelines.fitting._auto import choose
from molpool_pipelines.fitting._budget import Budget
from molpool_pipelines.fitting._config import (
    TrainAutoConfig,
    TrainChempropCommand,
    TrainChempropConfig,
    TrainMILCommand,
    TrainMILConfig,
    TrainTabularConfig,
)
from molpool_pipelines.fitting._cross_validation import (
    cross_validate,
    is_command,
    single_run,
)
from molpool_pipelines.fitting._inputs import read_inputs, with_groups
from molpool_pipelines.fitting._together import check_trainer
from molpool_pipelines.runs import (
    CONFIG,
    check_accelerator,
    check_folder,
    check_same_table,
    check_tracking,
)
from molpool_pipelines.tables import with_tasks

ConfigT = TypeVar("ConfigT", bound=ConfigModel)


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
        check_trainer(config)
        if config.cv.folds is not None:
            config = _with_said_tasks(config)
            return cross_validate(config, train_chemprop, name=name, arguments=arguments)
        config = single_run(config)
    console = new_console()
    check_machine(config)
    # Before the folder is looked at, as a resumed run is compared with tasks and groups as lists.
    config, found = with_tasks(config)
    config = with_groups(config)
    path = _folder(config, name)
    _check_folder(config, path)
    with first_rank_first():
        inputs = read_inputs(config, config.ensemble.n_folds)
    inputs.notes[:0] = found
    if config.resume:
        accept = config.accept_changed_table
        inputs.notes.extend(check_same_table(path, inputs.rows, accept=accept))
    for note in inputs.notes:
        console.print(note, highlight=False)

    # torch and chemprop take seconds to import: what is wrong with the table was said before.
    from molpool_pipelines.fitting._chemprop_run import train_and_write

    return train_and_write(console, config, inputs, path, arguments)


def train_tabular(
    config: TrainTabularConfig,
    *,
    name: str = "tabular",
    arguments: Sequence[str] = (),
    notes: Sequence[str] = (),
    budget: Budget | None = None,
) -> Path:
    """Train models on features, mixed and calibrated, and leave a run folder behind.

    Parameters
    ----------
    config : TrainTabularConfig
        The run.
    name : str
        Names the run folder where `config.save_dir` does not.
    arguments : sequence of str
        The command line, for the record.
    notes : sequence of str
        What was chosen for the user, to be said and recorded first.
    budget : Budget or None
        The time that the run may take, where it began before; None: `config.time_budget` from now.

    Returns
    -------
    Path
        The run folder.

    Raises
    ------
    InputError, FeatureError, ModelError
        If table, configuration or folder are wrong; then nothing has been written.
    """
    budget = budget or Budget(config.time_budget)
    config, found = with_tasks(config)
    notes = [*notes, *found]
    if is_command(config):
        if config.cv.folds is not None:
            for note in notes:
                new_console().print(note, highlight=False)
            return cross_validate(config, train_tabular, name=name, arguments=arguments)
        config = single_run(config)
    console = new_console()
    check_tracking(config.tracking)
    path = Path(config.save_dir) if config.save_dir else default_folder(name)
    check_folder(config, path)
    inputs = read_inputs(config)
    tested = len(inputs.tables.test)
    budget.reserve(len(inputs.task_types), len(inputs.table) - tested, tested)
    inputs.notes[:0] = notes
    if config.resume:
        accept = config.accept_changed_table
        inputs.notes.extend(check_same_table(path, inputs.rows, accept=accept))
    for note in inputs.notes:
        console.print(note, highlight=False)

    # torch takes seconds to import: what is wrong with the table was said before.
    from molpool_pipelines.fitting._tabular_run import train_and_write

    return train_and_write(console, config, inputs, path, arguments, budget)


def train_auto(
    config: TrainAutoConfig, *, name: str = "auto", arguments: Sequence[str] = ()
) -> Path:
    """Choose columns and split, and train a calibrated blend within the time budget.

    Parameters
    ----------
    config : TrainAutoConfig
        The run; what is not said is chosen.
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
    InputError, FeatureError, ModelError
        If table, configuration or folder are wrong; then nothing has been written.
    """
    budget = Budget(config.time_budget)
    config, notes = choose(config)
    return train_tabular(config, name=name, arguments=arguments, notes=notes, budget=budget)


def _with_said_tasks(config: ConfigT) -> ConfigT:
    config, found = with_tasks(config)
    for note in found:
        new_console().print(note, highlight=False)
    return config


def _folder(config: TrainChempropConfig | TrainMILConfig, name: str) -> Path:
    """Meet the other processes, if any, and return the run's folder."""
    join_ranks()
    return from_first_rank(
        lambda: Path(config.save_dir) if config.save_dir else default_folder(name)
    )


def _check_folder(config: TrainChempropConfig | TrainMILConfig, path: Path) -> None:
    """Refuse what could not be written or resumed; the first rank says so for all."""
    with first_rank_first():
        if rank() == 0:
            check_folder(config, path)


def check_machine(config: TrainChempropConfig | TrainMILConfig) -> None:
    """Refuse what this machine does not have, before a table is read.

    Raises
    ------
    InputError
        If there is no such accelerator or device.
    ImportError
        If MLflow is wanted and not installed.
    """
    check_accelerator(config.training.accelerator)
    check_tracking(config.tracking)
    if isinstance(config, TrainChempropConfig) and config.model.from_foundation is not None:
        from chemprop_multitask import check_foundation

        check_foundation(config.model)
    affinity = getattr(config, "task_affinity", None)  # bags have none
    if affinity is not None and affinity.enabled and affinity.device not in {"auto", "cpu"}:
        from molpool_pipelines.affinity import check_device

        check_device(affinity)


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
        check_trainer(config)
        if config.cv.folds is not None:
            config = _with_said_tasks(config)
            return cross_validate(config, train_mil, name=name, arguments=arguments)
        config = single_run(config)
    console = new_console()
    check_machine(config)
    config, found = with_tasks(config)
    path = _folder(config, name)
    # Before the folder is looked at, which holds the defaults that were chosen.
    config = _with_size(config, path) if config.resume else config
    _check_folder(config, path)

    # torch takes seconds to import.
    from molpool_pipelines.fitting._bag_run import train_and_write

    return train_and_write(console, config, path, arguments, found)


def _with_size(config: TrainMILConfig, path: Path) -> TrainMILConfig:
    """Return the configuration of a run that is resumed with the defaults that it was begun with.

    Runs of before there were two sizes were large.
    """
    stored = path / CONFIG
    if config.size != "auto" or not stored.is_file():
        return config
    size = read_yaml(stored).data.get("size") or "large"
    return config.model_copy(update={"size": size}).for_bags(0)
