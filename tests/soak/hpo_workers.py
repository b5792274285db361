"""Soak: eight workers on one PostgreSQL study of 200 trials, killed and cut off at random moments.

    uv run python tests/soak/hpo_workers.py [--workers 8] [--trials 200] [--kills 40] [--drops 20]

Each worker is a command of its own; one that is killed is started again. A drop ends all database
connections of the study at once. At the end each trial must have been finished exactly once and no
original be lost. Exit status 1 otherwise.

Last figures (29 November 2026, a load of 8 to 13): 8 workers, 200 trials, 40 kills and 20 drops.
At first 198 finished: a connection that broke within a trial was taken for a fault of the trial,
which was not tried again. Mended, 200 finished in 256 s, each once; many of the kills hit workers
that were still starting, as those take seconds there.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "packages/pipelines/tests/studies"
sys.path.insert(0, str(TESTS))

import hpo_toy  # noqa: E402  # beside the tests, whose toy model and server are used
import optuna  # noqa: E402
from optuna.trial import TrialState  # noqa: E402

from conftest import postgres  # noqa: E402  # pyrefly: ignore[missing-module-attribute]


class Folders:
    """Stands in for pytest's factory of folders."""

    def mktemp(self, name: str) -> Path:
        return Path(tempfile.mkdtemp(prefix=name))


def started(folder: Path, number: int, storage: str, trials: int) -> subprocess.Popen[bytes]:
    config = hpo_toy.ToyConfig.model_validate(
        {
            "save_dir": str(folder / f"worker-{number}"),
            "seconds": 0.3,
            "study": {
                "storage": storage,
                "workers": 1,
                "n_trials": trials,
                "study_name": "soak",
                "pruner": "none",
            },
        }
    )
    command = [sys.executable, hpo_toy.__file__, config.model_dump_json()]
    log = (folder / f"worker-{number}.log").open("wb")
    return subprocess.Popen(command, stdout=log, stderr=log)


def drop(storage: str) -> None:
    import psycopg

    with psycopg.connect(storage) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where pid <> pg_backend_pid() and backend_type = 'client backend'"
        )


def soak(folder: Path, storage: str, asked: argparse.Namespace) -> tuple[int, int]:
    """Run the workers until all trials are done; return the kills and drops of the time."""
    rng = random.Random(asked.seed)
    number, running = 0, {}
    for _ in range(asked.workers):
        running[number] = started(folder, number, storage, asked.trials)
        number += 1
    kills = drops = 0
    while running:
        time.sleep(rng.uniform(0.2, 1.5))
        ended = [n for n, process in running.items() if process.poll() is not None]
        for n in ended:
            code = running.pop(n).returncode
            if code:  # killed, or cut off from the database
                running[number] = started(folder, number, storage, asked.trials)
                number += 1
        if running and kills < asked.kills and rng.random() < 0.5:
            running[rng.choice([*running])].kill()
            kills += 1
        elif drops < asked.drops and rng.random() < 0.3:
            drop(storage)
            drops += 1
    return kills, drops


def check(storage: str, trials: int) -> list[str]:
    """Return what is wrong with the study, as Optuna itself has it."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    url = storage.replace("postgresql://", "postgresql+psycopg://")
    stored = optuna.load_study(study_name="soak", storage=url).trials
    # A trial that is tried again names the one that it is of.
    finished = Counter(
        t.system_attrs.get("failed_trial", t.number)
        for t in stored
        if t.state == TrialState.COMPLETE
    )
    begun = {t.number for t in stored if "failed_trial" not in t.system_attrs}
    begun = {n for n in begun if stored[n].state != TrialState.WAITING}
    wrong = []
    if len(finished) != trials:
        wrong.append(f"{len(finished)} of {trials} trials finished")
    if twice := [n for n, times in finished.items() if times > 1]:
        wrong.append(f"finished more than once: {twice}")
    if lost := begun - finished.keys():
        wrong.append(f"begun and never finished: {sorted(lost)}")
    states = Counter(t.state.name for t in stored)
    print(f"{len(finished)} finished; states of all {len(stored)}: {dict(states)}")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("workers", 8), ("trials", 200), ("kills", 40), ("drops", 20)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    server = postgres.__wrapped__(Folders())
    storage = next(server)
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    begun = time.monotonic()
    try:
        kills, drops = soak(folder, storage, asked)
        wrong = check(storage, asked.trials)
    finally:
        next(server, None)
    print(
        f"{asked.workers} workers, {kills} kills, {drops} drops, {time.monotonic() - begun:.0f} s"
    )
    for line in wrong:
        print("WRONG:", line)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
