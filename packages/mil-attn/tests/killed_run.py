"""A small training run; as a script, `killed_run.py FOLDER` trains until it is killed."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from mil_attn import BagData, MILConfig, fit

SMALL = {"inst_hidden": 16, "inst_layers": 1, "attn_heads": 4, "proj_dim": 16}
CONFIG = {
    "model": {**SMALL, "use_2d": False, "mixer_hidden": 16, "mixer_layers": 1},
    "training": {
        "epochs": 3,
        "batch_size": 4,
        "accumulate_grad_batches": 2,
        "checkpoint_every_steps": 1,
        "accelerator": "cpu",
    },
}


class WaitAtStep6(pl.Callback):  # type: ignore[misc]  # lightning has no types here
    """Says that step 6 is done, before its checkpoint, and waits for the end."""

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any, **__: Any) -> None:
        if trainer.global_step == 6:
            sys.stdout.write("step 6\n")
            sys.stdout.flush()
            time.sleep(300)


def train(folder: Path, *, resume: bool = False, wait: bool = False) -> dict[str, torch.Tensor]:
    """Return the final weights of 3 epochs of 4 steps, the last of each of 1 batch of 2."""
    rng = np.random.default_rng(0)
    offsets = np.arange(29) * 3
    data = BagData(
        [f"b{i}" for i in range(28)],
        rng.normal(size=(84, 5)).astype(np.float32),
        offsets,
        labels=rng.integers(0, 2, (28, 2)).astype(float),
        task_names=("a", "b"),
    )
    fit(
        MILConfig.model_validate(CONFIG),
        data,
        data,
        callbacks=[WaitAtStep6()] if wait else [],
        checkpoint_dir=folder,
        resume_from=folder / "last.ckpt" if resume else None,
    )
    weights: dict[str, torch.Tensor] = torch.load(folder / "last.ckpt")["state_dict"]
    return weights


if __name__ == "__main__":
    torch.set_num_threads(1)
    train(Path(sys.argv[1]), wait=True)
