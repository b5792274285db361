"""The table of a run as it is today, to hold against what the run was started with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from molpool_common import checked, load_config, read_yaml

from molpool_pipelines.fitting._config import (
    TrainChempropConfig,
    TrainMILConfig,
    TrainTabularConfig,
)
from molpool_pipelines.runs import CONFIG, TableRows

if TYPE_CHECKING:
    from molpool_pipelines.fitting._mil_run import MILInputs


def read_bag_inputs(config: TrainMILConfig) -> MILInputs:
    """Read, check and divide the bags of a run, as training does before anything is computed.

    Raises
    ------
    InputError, MILError
        For what is wrong with the tables or does not fit them.
    """
    # torch takes seconds to import.
    from molpool_pipelines.fitting._mil_run import read_inputs

    return read_inputs(config)


def rows_of_run(folder: Path) -> TableRows:
    """Return the digests of the table that the configuration of a run folder names, as it is now.

    Raises
    ------
    InputError, MILError
        If it cannot be read any more.
    """
    file = folder / CONFIG
    values = read_yaml(checked(file)).data
    if "task_kind" in values:
        return read_bag_inputs(load_config(TrainMILConfig, file)).rows
    from molpool_pipelines.fitting._inputs import read_rows

    # Of models on features the key names several, of networks on graphs it is a section.
    if isinstance(values.get("model"), list):
        return read_rows(load_config(TrainTabularConfig, file))
    return read_rows(load_config(TrainChempropConfig, file))
