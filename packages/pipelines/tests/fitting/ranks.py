"""Runs of one and of several processes: as a script, `ranks.py FOLDER` trains them all.

One process imports everything once and forks the ranks, as torchrun would start them.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

TRAINING = {"epochs": 3, "accelerator": "cpu", "checkpoint_every_steps": 1}
KILLED_AT = 8


def chemprop(folder: Path, *, resume: bool = False) -> None:
    """Train Chemprop in double: rows drawn by task and by a curriculum, 32 to a batch or fewer."""
    from molpool_pipelines.fitting import TrainChempropCommand, train_chemprop

    small = {"hidden_size": 8}
    config = {
        "data_path": str(folder.parent / "molecules.csv"),
        "save_dir": str(folder),
        "resume": resume,
        "baselines": "none",
        "page": resume,
        "data": {
            "cache_dir": str(folder.parent / "cache"),
            "id_column": "Molecule Name",
            "target_columns": ["LogP", "LogS", "MR"],
        },
        "model": {"message_passing": {**small, "depth": 2}, "ffn": {**small, "num_layers": 1}},
        "training": {**TRAINING, "batch_size": 32, "precision": "64"},
        "joint_sampling": {
            "enabled": True,
            "task_alpha": 0.5,
            "seed": 3,
            "curriculum": {"enabled": True, "phase_epochs": 1},
        },
    }
    train_chemprop(TrainChempropCommand.model_validate(config))


def mil(folder: Path, *, resume: bool = False) -> None:
    """Train attention in double over bags, in batches of 4, the last of two or three."""
    import torch
    from mil_attn import BagData
    from molpool_pipelines.fitting import TrainMILCommand, train_mil

    torch.set_default_dtype(torch.float64)
    single = BagData.batch
    # Batches are made in single precision, in which sums over ranks round otherwise.
    BagData.batch = lambda self, rows: single(self, rows).to(dtype=torch.float64)  # type: ignore[method-assign]
    config = {
        "data_path": str(folder.parent / "bags.csv"),
        "save_dir": str(folder),
        "resume": resume,
        "baselines": "none",
        "page": resume,
        "size": "large",  # without what is drawn by chance in small sets
        "blend": {"models": ["attention"]},
        "data": {
            "kind": "bags",
            "id_column": "bag_id",
            "target_columns": ["one", "two"],
            "instance_column": "instance",
        },
        "model": {
            "use_2d": False,
            "inst_hidden": 8,
            "inst_layers": 1,
            "inst_dropout": 0.0,
            "attn_heads": 1,
            "attn_dropout": 0.0,
            "proj_dim": 8,
            "mixer_hidden": 8,
            "mixer_layers": 1,
            "mixer_dropout": 0.0,
        },
        "sampling": {"rare_prev_thr": 0.3},
        "training": {**TRAINING, "batch_size": 4},
    }
    train_mil(TrainMILCommand.model_validate(config))


def tables(folder: Path) -> None:
    """Write the molecules and the bags that are trained on."""
    import numpy as np
    import polars as pl
    from molpool_pipelines.demo import build_demo

    build_demo(100, seed=1).write_csv(folder / "molecules.csv")
    rng = np.random.default_rng(0)
    rows = [
        {
            "bag_id": f"b{bag}",
            "instance": f"i{i}",
            "one": int(bag % 2 == 0),
            "two": int(bag % 7 == 0),
        }
        | {f"f{k}": float(rng.normal() + (bag % 2)) for k in range(3)}
        for bag in range(60)
        for i in range(1 + bag % 3)
    ]
    pl.DataFrame(rows).write_csv(folder / "bags.csv")


def ranks(
    n: int, work: Callable[[], Any], *, kill: bool = False, whole: bool = False
) -> dict[str, Any]:
    """Fork the ranks of a training; return how each ended, and the seconds after the first end."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    pids = []
    for rank in range(n):
        if (pid := os.fork()) == 0:
            _as_rank(rank, n, port, work, kill=kill, whole=whole)
        pids.append(pid)
    first, codes = 0.0, {}
    while len(codes) < n:
        pid, status = os.wait()
        first = first or time.monotonic()
        codes[pids.index(pid)] = os.waitstatus_to_exitcode(status)
    return {"codes": [codes[r] for r in range(n)], "seconds": time.monotonic() - first}


def _as_rank(
    rank: int, n: int, port: int, work: Callable[[], Any], *, kill: bool, whole: bool
) -> None:
    if n > 1:
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": n, "LOCAL_WORLD_SIZE": n}
        place |= {"MASTER_ADDR": "localhost", "MASTER_PORT": port, "GROUP_RANK": 0}
        os.environ.update({name: str(value) for name, value in place.items()})
        os.environ["TORCHELASTIC_RUN_ID"] = "test"
    import torch
    from molpool_common import guarded

    torch.set_num_threads(1)
    if not whole:
        _only_train()
    if kill and rank == n - 1:
        _die_at_a_step()
    code = 1
    try:
        code = guarded("ranks", work)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _only_train() -> None:
    """Leave out what the first rank does when the others have left; it takes twice as long."""
    from molpool_pipelines.fitting import _chemprop_run, _mil_run

    for fitting in (_chemprop_run.Fitting, _mil_run.MILFitting):
        for name in ("write", "close"):
            setattr(fitting, name, lambda _: None)


def _die_at_a_step() -> None:
    from molpool_common import StepSeed

    before = StepSeed.on_train_batch_start

    def die(self: StepSeed, trainer: Any, *rest: Any) -> None:
        if trainer.global_step == KILLED_AT:
            os.kill(os.getpid(), signal.SIGKILL)
        before(self, trainer, *rest)

    StepSeed.on_train_batch_start = die  # type: ignore[method-assign]


def main(folder: Path) -> None:
    """Train all runs and write how their processes ended."""
    for heavy in ("fitting._chemprop_run", "fitting._mil_run", "demo"):
        import_module(f"molpool_pipelines.{heavy}")  # once, before the fork
    ranks(1, partial(tables, folder))
    ended = {}
    for n in (1, 2):
        ended[f"chemprop-{n}"] = ranks(n, partial(chemprop, folder / f"chemprop-{n}"))
    killed = folder / "chemprop-killed"
    ended["killed"] = ranks(2, partial(chemprop, killed), kill=True)
    ended["resumed"] = ranks(3, partial(chemprop, killed, resume=True), whole=True)
    for n in (1, 3):
        ended[f"mil-{n}"] = ranks(n, partial(mil, folder / f"mil-{n}"))
    (folder / "ended.json").write_text(json.dumps(ended))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
