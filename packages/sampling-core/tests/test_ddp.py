"""Two real processes under Lightning's distributed strategy draw the one stream between them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sampling_core import CurriculumState, JointSampler

SCRIPT = """
import os, sys
import lightning.pytorch as pl
import numpy as np
import torch
from sampling_core import CurriculumCallback, CurriculumState, JointSampler

targets, quality = np.load(sys.argv[1]), np.load(sys.argv[2])
rank = int(os.environ.get("LOCAL_RANK", 0))
state = CurriculumState(patience=1)
sampler = JointSampler(
    targets, quality, state, 0.5, num_samples=64, seed=7, rank=rank, world_size=2
)


class Model(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.rows = []

    def training_step(self, batch, _):
        self.rows += [(self.current_epoch, int(i)) for i in batch]
        return self.layer(batch.float()[:, None]).sum() * 0

    def validation_step(self, batch, _):
        # No epoch improves on the first, so that the curriculum moves.
        self.log("val_loss", torch.tensor(1.0), sync_dist=True)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


rows = torch.arange(len(targets))
model = Model()
trainer = pl.Trainer(
    accelerator="cpu", devices=2, strategy="ddp", max_epochs=3, use_distributed_sampler=False,
    logger=False, enable_checkpointing=False, enable_progress_bar=False,
    enable_model_summary=False, num_sanity_val_steps=0,
    callbacks=[CurriculumCallback(state)],
)
trainer.fit(
    model,
    torch.utils.data.DataLoader(rows, batch_size=8, sampler=sampler),
    torch.utils.data.DataLoader(rows[:4], batch_size=4),
)
np.savez(f"{sys.argv[3]}-{rank}.npz", rows=np.array(model.rows), phase=state.phase)
"""


@pytest.mark.slow
def test_the_ranks_of_lightning_draw_the_single_stream_between_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    targets = np.where(rng.random((60, 3)) < 0.5, 1.0, np.nan)
    targets[:, 0] = 1.0
    quality = np.array(["high", "medium", "low"])[rng.integers(3, size=60)]
    np.save(tmp_path / "targets.npy", targets)
    np.save(tmp_path / "quality.npy", quality)
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-W", "ignore", str(script)]
    command += [str(tmp_path / name) for name in ("targets.npy", "quality.npy", "rank")]
    clean = {k: v for k, v in os.environ.items() if k not in ("LOCAL_RANK", "WORLD_SIZE", "RANK")}
    done = subprocess.run(
        command,
        env={**clean, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ranks = [np.load(tmp_path / f"rank-{r}.npz") for r in range(2)]
    assert [str(rank["phase"]) for rank in ranks] == ["robust", "robust"]

    state = CurriculumState(patience=1)
    single = JointSampler(targets, quality, state, 0.5, num_samples=64, seed=7)
    for epoch in range(3):
        drawn = [rank["rows"][rank["rows"][:, 0] == epoch, 1] for rank in ranks]
        union = np.stack(drawn, axis=1).ravel()
        assert union.tolist() == single.draws(epoch).tolist()
        state.update(1.0)
