"""Claim: an epoch of two processes that train together is at least .8 times as fast as one of two
threads, and two workers of Dask featurise at least .9 times as fast as two of the local engine.

Training is of Chemprop (300 wide, batches of 256) on made-up molecules, by `--trainer.devices 2`,
one thread each, against one process: the median of the epochs after the first. Features are rdkit2d
of ten times as many molecules without cache, a minute of work on two cores, both with the start of
their processes, which costs Dask 5 s of a processor more, once; the ratio without that of the
cluster is printed besides. Exit status 1 if a ratio is below its claim. It means something on a
quiet machine with two cores only.

Physical limit: 1 for both, as each side has the same two cores; ranks exchange all gradients (1 MB
here) at each step besides, and Dask's workers import what the pool's have at hand. With batches of
64 each rank has 32 molecules a step, which cost 1.3 times the processor seconds a molecule: .79.

    uv run --extra dask python benchmarks/more_processes.py [MOLECULES [EPOCHS]]
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from claims import Claim, settle
from molecule_features import featurize
from molpool_common import engine_workers, working_on

sys.path.insert(0, str(Path(__file__).parents[1] / "studies"))

from scaling import molecules  # its tables, as large as one asks

TRAINING_BAR, FEATURES_BAR = 0.8, 0.9
MOLECULES, EPOCHS = 3000, 4


def epoch(table: Path, folder: Path, epochs: int, devices: int) -> float:
    """Train, and return the seconds of an epoch."""
    command = [
        *(str(Path(sys.executable).with_name("molpool-train")), "chemprop"),
        *("--data-path", str(table), "--target-columns", "y", "z", "--baselines", "none"),
        *("--save-dir", str(folder), "--data.cache-dir", str(table.parent / "cache")),
        *("--training.epochs", str(epochs), "--training.patience", "None", "--page", "false"),
        *("--training.batch-size", "256", "--trainer.devices", str(devices)),
    ]
    threads = {"OMP_NUM_THREADS": str(2 // devices)}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **threads})
    events = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    seconds = [event["seconds"] for event in events if event["event"] == "epoch"]
    return statistics.median(seconds[1:])


def features(smiles: list[str], engine: str) -> tuple[float, float]:
    """Compute features; return the seconds that the engine took to start, and those after."""
    begun = perf_counter()
    with working_on(engine):
        engine_workers(2)  # connects
        connected = perf_counter()
        featurize(smiles, "rdkit2d", cache=None, workers=2)
    return connected - begun, perf_counter() - connected


def main() -> int:
    given = [int(word) for word in sys.argv[1:]]
    n, epochs = (*given, *(MOLECULES, EPOCHS)[len(given) :])
    with tempfile.TemporaryDirectory() as scratch:
        here = Path(scratch)
        molecules(n).write_csv(here / "m.csv")
        together = epoch(here / "m.csv", here / "two", epochs, 2)
        alone = epoch(here / "m.csv", here / "one", epochs, 1)
    smiles = molecules(10 * n)["SMILES"].to_list()
    (_, local), (start, dask) = features(smiles, "local"), features(smiles, "dask")
    print(f"features without the start of the cluster, {start:.1f} s: ratio {local / dask:.2f}")
    return settle(
        Claim(
            "an epoch of two processes against one of two threads",
            alone / together,
            TRAINING_BAR,
            ours=f"{together:.2f} s",
            peer=f"{alone:.2f} s",
        ),
        Claim(
            "features by two workers of Dask against two of ours",
            local / (start + dask),
            FEATURES_BAR,
            ours=f"{start + dask:.1f} s",
            peer=f"{local:.1f} s",
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
