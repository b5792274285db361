"""`molpool-rt simulate`: the tables of a synthetic laboratory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from molpool_common import atomic_path
from rich.console import Console
from rt_ridge import SimulateConfig, simulate

from molpool_pipelines.retention.config import SimulateRunConfig
from molpool_pipelines.retention.folder import free_folder, open_folder

TABLES = ("train", "test", "compounds", "species", "pairs")


def main(config: SimulateRunConfig, arguments: Sequence[str]) -> None:
    """Write the tables and say where."""
    path = free_folder(config, "simulate")
    run = open_folder(config, path, arguments)
    knobs = config.model_dump(include=set(SimulateConfig.model_fields))
    sizes = write_tables(SimulateConfig(**knobs), run.path, config.format)
    run.log("finished", **sizes)
    Console(highlight=False, soft_wrap=True).print(
        f"{path}: {sizes['train']:,} training and {sizes['test']:,} test rows"
        f" of {sizes['species']:,} species and {sizes['compounds']:,} compounds"
    )


def write_tables(config: SimulateConfig, folder: Path, suffix: str) -> dict[str, int]:
    """Simulate, write each table, and return their numbers of rows."""
    made = simulate(config)
    for name in TABLES:
        frame = getattr(made, name)
        with atomic_path(table_path(folder, name, suffix)) as temporary:
            if suffix == "csv":
                frame.write_csv(temporary)
            else:
                frame.write_parquet(temporary)
    return {name: getattr(made, name).height for name in TABLES}


def table_path(folder: Path, name: str, suffix: str) -> Path:
    """Return where a table of a simulation lies."""
    return folder / f"{name}.{suffix}"
