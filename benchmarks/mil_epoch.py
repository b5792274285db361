"""One training epoch on 20 000 bags: ours against torchmil's ABMIL behind the same encoder.

Bags of geometric size (mean 10). Both take the residual SwiGLU encoder of this package, one task,
AdamW, batches of 128 in one shuffled order, made from the same arrays within the time: ours packed,
the peer's padded to the longest of the batch with a mask, which is what its forward takes. Ours has
a mixer besides, its pool four heads. Epochs in turn in this process; the ratio is the median over
rounds. Exit status 1 below 3.

Physical limit: the encoder's products, which padding multiplies by its factor (printed); all else
is small, so the ratio can come near that factor, not above it.

    uv run --group bench python benchmarks/mil_epoch.py [--bags 20000] [--rounds 3] [--threads 2]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from statistics import median

import numpy as np
import torch
from claims import faster, in_turn, settle
from mil_attn import BagData, BagLoader, MILModelConfig, MILTaskAttnMixerWithAux
from molpool_common import EpochShuffle
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.nn.utils.rnn import pad_sequence

try:
    from torchmil.models import ABMIL
except ModuleNotFoundError as error:
    raise SystemExit(
        f"{error}: this benchmark needs the group bench (uv run --group bench)"
    ) from error

BAR = 3.0
MEAN, FEATURES, BATCH, SEED = 10, 200, 128, 0
MODEL = MILModelConfig(
    use_2d=False,
    inst_hidden=256,
    inst_layers=3,
    attn_heads=4,
    proj_dim=256,
    mixer_hidden=256,
    mixer_layers=1,
)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bags", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    data = bags(given.bags)
    order = list(EpochShuffle(len(data), SEED))
    longest = [int(data.sizes[batch].max()) for batch in batches(order)]
    padded = sum(n * len(batch) for n, batch in zip(longest, batches(order), strict=True))
    print(
        f"{len(data)} bags, {data.n_instances} instances, {given.threads} threads; "
        f"padding factor {padded / data.n_instances:.1f}"
    )
    ours, theirs = our_epoch(data), their_epoch(data)
    times = in_turn({"ours": ours, "theirs": theirs}, given.rounds)
    print(f"mil_attn, packed        {median(times['ours']):8.2f} s an epoch")
    print(f"torchmil ABMIL, padded  {median(times['theirs']):8.2f} s an epoch")
    return settle(faster("epoch against torchmil's ABMIL", BAR, times, unit="s"))


def bags(n: int) -> BagData:
    rng = np.random.default_rng(SEED)
    sizes = rng.geometric(1 / MEAN, n)
    return BagData(
        [str(i) for i in range(n)],
        rng.standard_normal((int(sizes.sum()), FEATURES), dtype=np.float32),
        np.concatenate([[0], np.cumsum(sizes)]),
        labels=rng.integers(0, 2, (n, 1)).astype(np.float64),
        task_names=("task",),
    )


def batches(order: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(order), BATCH):
        yield order[start : start + BATCH]


def our_epoch(data: BagData) -> Callable[[], None]:
    torch.manual_seed(SEED)
    model = MILTaskAttnMixerWithAux(MODEL, n_tasks=1, in_3d=FEATURES)
    optimiser = torch.optim.AdamW(model.parameters(), fused=True)

    def run() -> None:
        for batch in BagLoader(data, BATCH, EpochShuffle(len(data), SEED)):
            optimiser.zero_grad()
            assert batch.labels is not None
            binary_cross_entropy_with_logits(model(batch).logits, batch.labels).backward()
            optimiser.step()

    return run


def their_epoch(data: BagData) -> Callable[[], None]:
    torch.manual_seed(SEED)
    encoder = MILTaskAttnMixerWithAux(MODEL, n_tasks=1, in_3d=FEATURES).inst_enc
    model = ABMIL(in_shape=(FEATURES,), feat_ext=encoder)
    optimiser = torch.optim.AdamW(model.parameters(), fused=True)
    each = torch.from_numpy(data.instances).split(data.sizes.tolist())
    assert data.labels is not None
    labels = torch.from_numpy(data.labels[:, 0]).float()

    def padded(rows: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        some = [each[i] for i in rows]
        sizes = torch.tensor([len(x) for x in some])
        mask = torch.arange(int(sizes.max())) < sizes[:, None]
        return pad_sequence(some, batch_first=True), mask, labels[rows]

    def run() -> None:
        for rows in batches(list(EpochShuffle(len(data), SEED))):
            x, mask, y = padded(rows)
            optimiser.zero_grad()
            _, losses = model.compute_loss(y, x, mask)
            torch.stack(list(losses.values())).sum().backward()
            optimiser.step()

    return run


if __name__ == "__main__":
    sys.exit(main())
