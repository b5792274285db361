"""A small training run; as a script, `killed_run.py FOLDER` trains until it is killed."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from chemprop_multitask import ChempropConfig, ChempropModel, MoleculeData

DROPOUT = {"hidden_size": 8, "dropout": 0.3}
CONFIG = {
    "model": {"message_passing": DROPOUT, "ffn": DROPOUT},
    "training": {"epochs": 3, "batch_size": 6, "checkpoint_every_steps": 1, "accelerator": "cpu"},
}


class WaitAtStep6(pl.Callback):  # type: ignore[misc]  # lightning has no types here
    """Says that step 6 is done, before its checkpoint, and waits for the end."""

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any, **__: Any) -> None:
        if trainer.global_step == 6:
            sys.stdout.write("step 6\n")
            sys.stdout.flush()
            time.sleep(300)


def train(folder: Path, *, resume: bool = False, wait: bool = False) -> dict[str, torch.Tensor]:
    """Return the final weights of 3 epochs of 4 steps."""
    smiles = ["C" * n + "O" for n in range(1, 25)]
    table = np.random.default_rng(0).normal(size=(24, 2))
    data = MoleculeData(smiles, table, task_names=("a", "b"))
    model = ChempropModel.from_config(ChempropConfig.model_validate(CONFIG), task_names=("a", "b"))
    model.fit(
        data,
        data,
        callbacks=[WaitAtStep6()] if wait else [],
        checkpoint_dir=folder,
        resume_from=folder / "last.ckpt" if resume else None,
    )
    weights: dict[str, torch.Tensor] = model.module.state_dict()
    return weights


if __name__ == "__main__":
    torch.set_num_threads(1)
    train(Path(sys.argv[1]), wait=True)
