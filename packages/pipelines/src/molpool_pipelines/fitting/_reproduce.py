"""Train a run again from what its folder says, and compare what comes of it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from molpool_common import ConfigModel, InputError, answer, environment, folders_inside
from molpool_common import console as new_console

from molpool_pipelines.fitting._config import (
    ReproduceConfig,
    TrainAutoCommand,
    TrainBlendCommand,
    TrainChempropCommand,
    TrainMILCommand,
    TrainTabularCommand,
)
from molpool_pipelines.fitting._train import train_auto, train_chemprop, train_mil, train_tabular
from molpool_pipelines.runs import (
    CONFIG,
    ENVIRONMENT,
    METRICS,
    TableRows,
    load_stored,
    read_metrics,
    read_run_predictions,
)

_TRAINED_BY: dict[str, tuple[type[ConfigModel], Callable[..., Path]]] = {
    "chemprop": (TrainChempropCommand, train_chemprop),
    "mil": (TrainMILCommand, train_mil),
    "tabular": (TrainTabularCommand, train_tabular),
    "blend": (TrainBlendCommand, train_tabular),
    "auto": (TrainAutoCommand, train_auto),
}
_OF_MACHINE = ("python", "platform", "cpus")
_NAMED = 5
"""Differences that are named."""


def reproduce(config: ReproduceConfig, *, arguments: Sequence[str] = ()) -> bool:
    """Train a run again and say whether its predictions are the same to the bit.

    Parameters
    ----------
    config : ReproduceConfig
        The run.
    arguments : sequence of str
        The command line, for the record of the second run.

    Returns
    -------
    bool
        Whether all predictions are equal, splits and ids too.

    Raises
    ------
    InputError
        If the folder is no finished training run, or whatever its training raises.
    """
    if config.run is None:
        raise InputError("RUN", expected="the folder of a training run", found="none")
    folder = Path(config.run)
    command = _command(folder)
    model, train = _TRAINED_BY[command]
    again = Path(config.save_dir or f"{folder}-reproduced")
    stored: Any = load_stored(model, folder / CONFIG)
    # The run of then is logged already; its copy is no further result.
    tracking = stored.tracking.model_copy(update={"enabled": False})
    begun = _begun(again)
    # One that was gone on with begins anew here.
    update = {"save_dir": str(again), "tracking": tracking, "resume": begun}
    asked = ["reproduce", str(folder)]
    asked += ["--save-dir", str(again)] if config.save_dir else []
    try:
        train(stored.model_copy(update=update), name=again.name, arguments=arguments)
    except KeyboardInterrupt:
        # Not what training says, after which nothing would be compared.
        go_on = shlex.join(["molpool-train", *asked])
        raise KeyboardInterrupt(f"Interrupted. Go on with: {go_on}") from None
    console = new_console()
    found = [*_other_rows(folder, again), *differences(folder, again)]
    answer(run=folder, again=again, equal=not found, differences=found)
    for line in found:
        console.print(line, soft_wrap=True)
    if not found:
        console.print(f"Equal to the bit: all predictions of {folder} and {again}.", soft_wrap=True)
        return True
    for line in _other_machine(folder):
        console.print(line, soft_wrap=True)
    return False


def differences(one: Path, other: Path) -> list[str]:
    """Return how the predictions of two runs differ, a sentence for each column that does."""
    before, now = (read_run_predictions(folder) for folder in (one, other))
    if before.columns != now.columns or before.height != now.height:
        return [
            f"Predictions: {before.height} rows of {before.width} columns before, "
            f"{now.height} of {now.width} now."
        ]
    said = []
    for name in before.columns:
        a, b = before[name], now[name]
        unequal = a.ne_missing(b)
        if not unequal.any():
            continue
        off = (a - b).abs().drop_nulls().to_numpy() if a.dtype.is_float() else np.array([])
        far = f", by at most {off.max():.3g} (mean {off.mean():.3g})" if len(off) else ""
        rows = f"{int(unequal.sum())} of {before.height} rows"
        said.append(f"{name}: {rows} differ{far}.")
    return said[:_NAMED] + ([f"... and {len(said) - _NAMED} columns."] if said[_NAMED:] else [])


def _begun(again: Path) -> bool:
    """Return whether the second run was interrupted, or refuse one that came to its end."""
    if (again / METRICS).is_file():
        raise InputError(
            "save_dir",
            expected="a new folder, or one in which this command was interrupted",
            found=f"{str(again)!r}, which holds a finished run",
            hint="Give another --save-dir.",
        )
    return (again / ENVIRONMENT).is_file()


def _command(folder: Path) -> str:
    """Return the command that a run is of."""
    for name in (CONFIG, ENVIRONMENT):
        if not (folder / name).is_file():
            raise InputError(
                "RUN",
                expected=f"the folder of a training run, with {name}",
                found=str(folder),
                hint=folders_inside(folder, name),
            )
    # Raises where the run has not ended.
    kind = read_metrics(folder).kind
    arguments = json.loads((folder / ENVIRONMENT).read_text(encoding="utf-8"))["arguments"]
    # A blend and auto are tabular runs to whoever reads one; how they were asked for differs.
    found = next((word for word in arguments[1:3] if word in _TRAINED_BY), kind)
    if found not in _TRAINED_BY:
        raise InputError("RUN", expected="a training run", found=f"{kind!r} in {folder}")
    return found


def _other_rows(folder: Path, again: Path) -> list[str]:
    before, now = TableRows.read(folder), TableRows.read(again)
    if before is None or now is None:
        return []
    return [f"The table is another one: {change}." for change in before.changes(now)]


def _other_machine(folder: Path) -> list[str]:
    """Return what else is different here than where the run was trained."""
    before = json.loads((folder / ENVIRONMENT).read_text(encoding="utf-8"))
    now = environment()
    said = [
        f"{key}: {before.get(key)} before, {now[key]} now."
        for key in _OF_MACHINE
        if before.get(key) != now[key]
    ]
    packages = pl.DataFrame(
        [
            (name, before["packages"].get(name), now["packages"].get(name))
            for name in sorted({*before["packages"], *now["packages"]})
        ],
        schema=["name", "before", "now"],
        orient="row",
    ).filter(pl.col("before").ne_missing(pl.col("now")))
    others = [f"{name} {a or 'none'} → {b or 'none'}" for name, a, b in packages.rows()]
    return [*said, *([f"Packages: {', '.join(others)}."] if others else [])]
