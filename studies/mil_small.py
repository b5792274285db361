"""Which settings suit a hundred or two of bags, in the stored folds of MUSK1, Tiger and Elephant.

The networks of all ten folds, several a fold, are trained at once as one batched product, in which
a setting costs 16 seconds on MUSK1: blocks, pool and mixer are those of the package's model, less
stochastic depth. Features are scaled by what trains; nothing is chosen on a fold, and scores after
several numbers of epochs show what stopping early would.

    python studies/mil_small.py results.jsonl --sets musk1 tiger --members 3 --epochs 60
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import mil_study
import numpy as np
import torch
from mil_attn import BagData
from mil_study import SETS
from molpool_common import BoolArray, FloatArray, roc_auc
from study_results import Results, table
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

BASE: dict[str, Any] = {
    "width": 64,
    "layers": 2,
    "heads": 4,
    "dropout": 0.2,
    "lr": 5e-4,
    "weight_decay": 1e-3,
    "batch": 16,
    "instances": 0.0,
    "features": 0.0,
    "clip": 0.0,
    "mixup": 0.0,
    "kept": 1.0,
    "rebuilt": 0.0,
}
SETTINGS: dict[str, dict[str, Any]] = {
    "as in mil_study": {},
    "instances left out, 0.3": {"instances": 0.3},
    "features left out, 0.3": {"features": 0.3},
    "features clipped at 2 sd": {"clip": 2.0},
    "mix-up 0.4": {"mixup": 0.4},
    "dropout 0.5, weight decay 0.1": {"dropout": 0.5, "weight_decay": 0.1},
    "mix-up 0.4, third of features chosen": {"mixup": 0.4, "kept": 1 / 3},
    "mix-up 0.4, instances rebuilt": {"mixup": 0.4, "rebuilt": 0.5},
}
AFTER = (10, 20, 30, 40, 60)
_TO_REPORT = 40


class Linear(nn.Module):
    """K linear layers of one shape: rows [K, M, in] to [K, M, out]."""

    def __init__(self, k: int, n_in: int, n_out: int, *, zero: bool = False) -> None:
        super().__init__()
        bound = 0.0 if zero else n_in**-0.5
        self.weight = nn.Parameter(torch.empty(k, n_in, n_out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(k, 1, n_out).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """Return the layers' results."""
        return torch.baddbmm(self.bias, x, self.weight)


class Norm(nn.Module):
    """K layer norms."""

    def __init__(self, k: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(k, 1, width))
        self.bias = nn.Parameter(torch.zeros(k, 1, width))

    def forward(self, x: Tensor) -> Tensor:
        """Return normed rows."""
        return torch.addcmul(self.bias, F.layer_norm(x, x.shape[-1:]), self.weight)


class Encoder(nn.Module):
    """K encoders of residual blocks, the last of which starts as the identity."""

    def __init__(
        self, k: int, n_in: int, width: int, layers: int, dropout: float, gated: bool
    ) -> None:
        super().__init__()
        self.norm, self.dropout, self.gated = Norm(k, n_in), dropout, gated
        self.project = Linear(k, n_in, width)
        self.norms = nn.ModuleList([Norm(k, width) for _ in range(layers)])
        wide = 4 * width if gated else 2 * width
        self.first = nn.ModuleList([Linear(k, width, wide) for _ in range(layers)])
        self.second = nn.ModuleList(
            [Linear(k, 2 * width, width, zero=i == layers - 1) for i in range(layers)]
        )
        starts = [torch.full((k, 1, 1), min(1.0, (i + 1) / 3)) for i in range(layers)]
        self.scales = nn.ParameterList(starts)

    def forward(self, x: Tensor) -> Tensor:
        """Return rows [K, M, width]."""
        x = self.project(self.norm(x))
        parts = zip(self.norms, self.first, self.second, self.scales, strict=True)
        for norm, first, second, scale in parts:
            hidden = first(norm(x))
            if self.gated:
                value, gate = hidden.chunk(2, -1)
                hidden = F.silu(gate) * value
            else:
                hidden = F.gelu(hidden)
            hidden = F.dropout(hidden, self.dropout, self.training)
            x = x + scale * F.dropout(second(hidden), self.dropout, self.training)
        return x


class Networks(nn.Module):
    """K networks of one task, with attention over instances."""

    def __init__(self, k: int, n_features: int, setting: dict[str, Any]) -> None:
        super().__init__()
        self.setting = setting
        width, dropout = setting["width"], setting["dropout"]
        self.encoder = Encoder(k, n_features, width, setting["layers"], dropout, gated=True)
        self.norm = Norm(k, width)
        self.scores = Linear(k, width, setting["heads"])
        self.values, self.out = Linear(k, width, width), Linear(k, width, width)
        self.project, self.norm_3d = Linear(k, width, width), Norm(k, width)
        self.mixer = Encoder(k, width, width, 1, dropout, gated=False)
        self.head = Linear(k, width, 1)
        self.rebuild = Linear(k, width, n_features)

    def forward(
        self, x: Tensor, bag: Tensor, n_bags: int, mixed: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return logits [K, B] of instances [K, M, F], whose bags are [M].

        And how far instances are off [K, M] that a linear layer makes of what is encoded.
        """
        given = x
        k, m, n_features = x.shape
        left_out = self.setting["features"] if self.training else 0.0
        if left_out:
            x = x * (torch.rand(k, m, n_features) >= left_out) / (1 - left_out)
        rows = self.norm(self.encoder(x))
        scores = self.scores(rows).masked_fill(~self._stay(k, bag, n_bags)[..., None], -1e9)
        at = bag[None, :, None].expand_as(scores)
        top = scores.new_full((k, n_bags, scores.shape[2]), -1e30).scatter_reduce(
            1, at, scores, "amax"
        )
        attention = (scores - top.gather(1, at)).exp()
        attention = attention / torch.zeros_like(top).scatter_add(1, at, attention).gather(1, at)
        values = self.values(rows).unflatten(2, (scores.shape[2], -1)) * attention[..., None]
        values = values.flatten(2)
        pooled = values.new_zeros(k, n_bags, values.shape[2]).scatter_add(
            1, bag[None, :, None].expand_as(values), values
        )
        joined = self.norm_3d(self.project(self.out(pooled)))
        if mixed is not None:
            share, partner = mixed[0][..., None], mixed[1][..., None].expand_as(joined)
            joined = share * joined + (1 - share) * joined.gather(1, partner)
        off = ((self.rebuild(rows) - given) ** 2).mean(2)
        return self.head(self.mixer(joined))[..., 0], off

    def _stay(self, k: int, bag: Tensor, n_bags: int) -> Tensor:
        """Return which instances [K, M] stay: at least one of each bag."""
        draw = torch.rand(k, len(bag))
        at = bag.expand(k, len(bag))
        top = torch.zeros(k, n_bags).scatter_reduce(1, at, draw, "amax", include_self=False)
        rate = self.setting["instances"] if self.training else 0.0
        return (draw >= rate) | (draw == top.gather(1, at))


def scaled(data: BagData, trains: BoolArray, clip: float, kept: float) -> Tensor:
    """Return instances [S, M, F] scaled by the bags that train in each split [S, N].

    Features that are not kept are 0.
    """
    assert data.instances is not None
    x = data.instances[:, data.instances.std(axis=0) > 0].astype(np.float64)
    of = np.repeat(np.arange(len(data)), data.sizes)
    parts = []
    for split in trains:
        mean, sd = x[split[of]].mean(0), x[split[of]].std(0)
        z = (x - mean) / np.where(sd > 0, sd, 1.0)
        if kept < 1:
            z *= _apart(data, z, split) >= 1 - kept
        parts.append(clip * np.tanh(z / clip) if clip else z)
    return torch.tensor(np.stack(parts), dtype=torch.float32)


def _apart(data: BagData, z: FloatArray, trains: BoolArray) -> FloatArray:
    """Return the rank [F], 0 to 1, of Welch's t of the means of bags of either class."""
    assert data.labels is not None
    means = np.add.reduceat(z, data.bounds[:-1]) / data.sizes[:, None]
    one, other = (means[trains & (data.labels[:, 0] == label)] for label in (1, 0))
    t = np.abs(one.mean(0) - other.mean(0)) / np.sqrt(
        one.var(0) / len(one) + other.var(0) / len(other) + 1e-12
    )
    return t.argsort().argsort() / len(t)


def mixing(alpha: float, here: Tensor, labels: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Return mixed labels, shares and partners; bags mix with those that train too."""
    share = torch.distributions.Beta(alpha, alpha).sample(here.shape)
    share, partner = torch.maximum(share, 1 - share), torch.rand(here.shape).argsort(1)
    both = here * here.gather(1, partner)
    share = torch.where(both > 0, share, torch.ones(()))
    return share * labels + (1 - share) * labels.gather(1, partner), (share, partner)


def trained(
    data: BagData,
    splits: BoolArray,
    setting: dict[str, Any],
    members: int,
    epochs: int,
    seed: int,
) -> dict[int, FloatArray]:
    """Return probabilities [S, members, N] of all bags after some numbers of epochs.

    Of networks that are trained at once, `members` on the bags of each split [S, N].
    """
    assert data.labels is not None
    n = len(data)
    x = scaled(data, splits, setting["clip"], setting["kept"])
    y = torch.tensor(data.labels[:, 0]).float()
    which = torch.arange(len(splits) * members) // members
    trains = torch.tensor(splits).float()[which]
    n_batches = round(n * splits.mean() / setting["batch"])
    torch.manual_seed(seed)
    networks = Networks(len(which), x.shape[2], setting)
    rate = {"lr": setting["lr"], "weight_decay": setting["weight_decay"]}
    optimiser = torch.optim.AdamW(networks.parameters(), fused=True, **rate)
    rng, found = np.random.default_rng(seed), {}
    for epoch in range(1, epochs + 1):
        networks.train()
        # What of a batch does not train in a split does not count there.
        for some in np.array_split(rng.permutation(n), n_batches):
            rows = np.concatenate([np.arange(*data.bounds[b : b + 2]) for b in some])
            bag = torch.tensor(np.repeat(np.arange(len(some)), data.sizes[some]))
            here, labels, mixed = trains[:, some], y[some].expand(len(which), -1), None
            if setting["mixup"]:
                labels, mixed = mixing(setting["mixup"], here, labels)
            logits, off = networks(x[:, rows][which], bag, len(some), mixed)
            loss = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
            total = (loss * here).sum(1) / here.sum(1).clamp(min=1)
            if setting["rebuilt"]:
                count = here[:, bag]
                of_rows = (off * count).sum(1) / count.sum(1).clamp(min=1)
                total = total + setting["rebuilt"] * of_rows
            optimiser.zero_grad()
            total.sum().backward()
            optimiser.step()
        if epoch in AFTER:
            found[epoch] = said(networks, data, x, members)
    return found


@torch.inference_mode()
def said(networks: Networks, data: BagData, x: Tensor, members: int) -> FloatArray:
    """Return the probabilities [S, members, N] of each bag by each network."""
    networks.eval()
    bag = torch.tensor(np.repeat(np.arange(len(data)), data.sizes))
    which = torch.arange(len(x)).repeat_interleave(members)
    logits, _ = networks(x[which], bag, len(data))
    return np.asarray(logits.sigmoid().double().view(len(x), members, -1).numpy())


def scores(p: FloatArray, y: FloatArray) -> dict[str, float]:
    """Return accuracy and area under the curve of one network and of their mean, and log loss."""
    mean = p.mean(axis=1)
    sure = np.clip(np.where(y == 1, mean, 1 - mean), 1e-6, 1)
    return {
        "accuracy": float(((mean >= 0.5) == (y == 1)).mean()),
        "auc": roc_auc(y, mean),
        "log_loss": -float(np.log(sure).mean()),
        "accuracy_of_one": float(((p >= 0.5) == (y == 1)[:, None]).mean()),
        "auc_of_one": float(np.mean([roc_auc(y, one) for one in p.T])),
    }


def tables(results: Results) -> str:
    """Return scores by setting as Markdown."""
    body = []
    for setting in SETTINGS:
        cells = [setting]
        for name in SETS:
            row = next(iter(results.of(set=name, setting=setting, epoch=_TO_REPORT)), None)
            keys = ("accuracy", "auc", "log_loss")
            cells.append(", ".join(f"{row[key]:.3f}" for key in keys) if row else "–")
        body.append(cells)
    return table(["setting", *SETS], body)


def main() -> None:
    """Train what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=_TO_REPORT)
    parser.add_argument("--repeat", type=int, default=0, choices=range(5))
    given = parser.parse_args()
    torch.set_num_threads(1)
    results = Results(given.results)
    for name in given.sets:
        data, number = mil_study.read_set(name)
        assert data.labels is not None
        for setting in given.settings:
            key = {"set": name, "setting": setting, "repeat": given.repeat}
            if results.has(**key):
                continue
            started, wanted = time.process_time(), {**BASE, **SETTINGS[setting]}
            fold = number[:, given.repeat]
            splits = fold[None, :] != np.unique(fold)[:, None]
            of = trained(data, splits, wanted, given.members, given.epochs, given.repeat)
            seconds = round(time.process_time() - started, 1)
            place = np.unique(fold, return_inverse=True)[1]
            for epoch, every in of.items():
                p = every[place, :, np.arange(len(data))]
                row = {"epoch": epoch, "members": given.members, "seconds": seconds}
                results.add(**key, **row, **scores(p, data.labels[:, 0]))
    sys.stdout.write(tables(results))


if __name__ == "__main__":
    main()
