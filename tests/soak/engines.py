"""The same commands here and on a Dask cluster of this machine, a worker of which is killed too.

    python tests/soak/engines.py [--rows 5000] [--only predict ...]

Each command must leave the same numbers, to 1e-10, under ``--engine local``, ``--engine dask`` and
``--engine dask`` with a worker killed at a random moment. Printed are seconds of the clock and of
the processor.

Last figures (30 November 2026, two cores under a load of 25, where a second of the processor does
half of what it does on a quiet machine; most of Dask's are the start of its cluster). All equal to
the bit; a worker died in each third run:

    predict, 2 000 molecules, chunks of 500    14 s here, 54 s on Dask, 30 s killed after 172 s
    rt fit, 3 files of 12 000 rows             4 s, 22 s, 20 s killed after 95 s
    tautomers, 40 molecules, forest            14 s, 35 s, 28 s killed after 139 s
    conformers, 40 molecules, attention        23 s, 43 s, 33 s killed after 29 s

What a worker that was killed had used is not counted. `features` has not been run.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import psutil

sys.path.insert(0, str(Path(__file__).parents[2] / "studies"))

from scaling import molecules, retention_times  # its tables, as large as one asks

MODEL = "--smiles-column SMILES --target-columns y z --baselines none --data.cache-dir none"
COMMANDS = {
    "predict": "evaluate predict --model-dir {here}/model --data-path {here}/m.csv "
    "--chunk-rows 500 --output {out}/p.parquet",
    "features": f"train tabular --data-path {{here}}/m.csv {MODEL} --features rdkit2d "
    "--model forest --save-dir {out}/run",
    "tautomers": f"train tabular --data-path {{here}}/few.csv {MODEL} --features morgan_count "
    "--data.standardize tautomer --data.structure tautomer --model forest --save-dir {out}/run",
    "conformers": "train mil --data-path {here}/few.csv --data.smiles-column SMILES "
    "--data.target-columns y --task-kind regression --data.cache-dir none --training.epochs 1 "
    "--save-dir {out}/run",
    "rt fit": "rt fit --data {here}/rt-0.parquet {here}/rt-1.parquet {here}/rt-2.parquet "
    "--structure fixed --save-dir {out}/rt",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run every command in the three ways; returns 1 where numbers differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=list(COMMANDS), choices=COMMANDS)
    options = parser.parse_args(argv)
    draw, wrong = random.Random(options.seed), 0
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        molecules(options.rows).write_csv(here / "m.csv")
        few = molecules(options.rows).sample(max(options.rows // 50, 40), seed=0)
        few.write_csv(here / "few.csv")
        for i in range(3):
            retention_times(options.rows * 20).write_parquet(here / f"rt-{i}.parquet")
        train = f"train chemprop --data-path {here}/few.csv {MODEL} --training.epochs 1"
        run(f"{train} --save-dir {here}/model")
        for name in options.only:
            wrong += not same(name, COMMANDS[name], here, draw)
    return int(wrong > 0)


def same(name: str, command: str, here: Path, draw: random.Random) -> bool:
    """Run a command in the three ways, say what it took, and whether numbers are the same."""
    found: dict[str, dict[str, pl.DataFrame]] = {}
    worked = 0.0
    for way in ("local", "dask", "killed"):
        out = here / f"{name}-{way}".replace(" ", "-")
        engine = "local" if way == "local" else "dask"
        share = draw.uniform(0.05, 0.9)
        while True:
            out.mkdir()
            at = share * worked if way == "killed" else None
            took = run(f"{command.format(here=here, out=out)} --engine {engine}", at, draw)
            if at is None or took.killed:
                break
            # It was over before: how long workers work varies on a busy machine.
            share /= 2
            shutil.rmtree(out)
        worked = took.worked
        found[way] = dict(numbers(out))
        off = max(map(difference, found["local"].values(), found[way].values()), default=np.inf)
        word = f"{way} {at:.1f} s after its workers came" if at is not None else way
        print(
            f"{name}, {word}: {took.wall:.1f} s, {took.cpu:.1f} s of the processor, off {off:.1g}"
        )
        sys.stdout.flush()
        if found[way].keys() != found["local"].keys() or off > 1e-10:
            print(f"{name}: DIFFERS")
            return False
    return True


class Took(NamedTuple):
    """Seconds of the clock, of processors, and for which there were workers; how many were killed.

    Seconds of processors are without those of a worker that was killed.
    """

    wall: float
    cpu: float
    worked: float
    killed: int


def run(command: str, kill_after: float | None = None, draw: random.Random | None = None) -> Took:
    """Run a command, and kill one of its workers some seconds after they came."""
    app, *words = command.split()
    program = Path(sys.executable).with_name(f"molpool-{app}")
    begun, came = time.monotonic(), None
    process = subprocess.Popen([str(program), *words], stdout=subprocess.DEVNULL)
    killed = 0
    # Without reaping it, as wait4 below tells what it used.
    over = os.WEXITED | os.WNOHANG | os.WNOWAIT
    while os.waitid(os.P_PID, process.pid, over) is None:
        time.sleep(0.05)
        workers = _workers(process.pid)
        came = came or (time.monotonic() if workers else None)
        late = came is not None and time.monotonic() - came > (kill_after or 0.0)
        if kill_after is not None and draw is not None and workers and late and not killed:
            draw.choice(workers).kill()
            killed = 1
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"exit {os.waitstatus_to_exitcode(status)}: {command}")
    now = time.monotonic()
    return Took(now - begun, used.ru_utime + used.ru_stime, now - (came or now), killed)


def _workers(pid: int) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
    return found


def numbers(folder: Path) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield the columns of numbers that a command left."""
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.name in ("predictions.parquet", "p.parquet"):
            yield name, pl.read_parquet(path).select(pl.selectors.numeric())
        elif path.name == "coefficients.npz":
            with np.load(path, allow_pickle=False) as file:
                arrays = {k: file[k].ravel() for k in file.files if file[k].dtype.kind in "fi"}
            for key, values in arrays.items():
                yield f"{name}/{key}", pl.DataFrame({key: values})


def difference(one: pl.DataFrame, other: pl.DataFrame) -> float:
    """Return the largest difference, relative where numbers are above 1."""
    a, b = (f.cast(pl.Float64).fill_null(np.nan).to_numpy() for f in (one, other))
    if a.shape != b.shape or (np.isnan(a) != np.isnan(b)).any():
        return float("inf")
    off = np.abs(a - b) / np.maximum(np.abs(a), 1)
    return float(np.nanmax(off)) if np.isfinite(off).any() else 0.0


if __name__ == "__main__":
    raise SystemExit(main())
