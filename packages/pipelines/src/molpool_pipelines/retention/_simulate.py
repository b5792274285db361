"""The tables of a synthetic laboratory."""

from __future__ import annotations

from pathlib import Path

from molpool_common import atomic_path
from rt_ridge import SimulateConfig, Simulated
from rt_ridge import simulate as simulated

from molpool_pipelines.retention._config import SimulateRunConfig

TABLES = ("train", "test", "compounds", "species", "pairs")


def simulate(config: SimulateRunConfig) -> Simulated:
    """Return the tables of a synthetic laboratory; writes nothing."""
    return simulated(SimulateConfig(**config.model_dump(include=set(SimulateConfig.model_fields))))


def write_tables(made: Simulated, folder: Path, suffix: str) -> dict[str, int]:
    """Write each table, as ``parquet`` or ``csv``, and return their numbers of rows."""
    for name in TABLES:
        frame = getattr(made, name)
        with atomic_path(folder / f"{name}.{suffix}") as temporary:
            if suffix == "csv":
                frame.write_csv(temporary)
            else:
                frame.write_parquet(temporary)
    return {name: getattr(made, name).height for name in TABLES}
