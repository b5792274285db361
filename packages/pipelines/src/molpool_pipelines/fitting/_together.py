"""Training by several processes: started here, or by torchrun."""

from __future__ import annotations

from collections.abc import Sequence

from molpool_common import (
    InputError,
    engine_flags,
    is_rank,
    launch,
    local_world_size,
    world_size,
)

from molpool_pipelines.fitting._config import TrainChempropCommand, TrainMILCommand

Command = TrainChempropCommand | TrainMILCommand


def launched(config: Command, program: str, arguments: Sequence[str]) -> int | None:
    """Start the processes that a configuration asks for, and wait for them.

    Parameters
    ----------
    config : TrainChempropCommand or TrainMILCommand
        Its `trainer` section.
    program : str
        Module whose ``main()`` runs the command from ``sys.argv``.
    arguments : sequence of str
        Of the command.

    Returns
    -------
    int or None
        Exit code of the processes; None where this process is to train: as the only one, or as one
        of those that were started.
    """
    trainer = config.trainer
    alone = trainer.devices * trainer.num_nodes == 1 and trainer.strategy == "auto"
    if alone or is_rank():
        return None
    _refuse_folds(config)
    start = ["-c", f"from {program} import main; main()", *arguments, *engine_flags()]
    return launch(start, devices=trainer.devices, num_nodes=trainer.num_nodes)


def check_trainer(config: Command) -> None:
    """Refuse what the processes that run cannot do.

    Raises
    ------
    InputError
        If torchrun started others than the configuration says, or folds are asked for.
    """
    if world_size() > 1:
        _refuse_folds(config)
    local = local_world_size()
    for key, asked, there in (
        ("devices", config.trainer.devices, local),
        ("num_nodes", config.trainer.num_nodes, world_size() // local),
    ):
        if asked not in (1, there):
            raise InputError(
                f"trainer.{key}",
                expected=f"{there}, as many as were started, or nothing",
                found=str(asked),
                hint="molpool-train starts them itself; from Python use torchrun.",
            )


def _refuse_folds(config: Command) -> None:
    if config.cv.folds is not None:
        raise InputError(
            "cv.folds",
            expected="none with several processes, which train one model",
            found=str(config.cv.folds),
            hint="Run the folds one after another in one process each.",
        )
