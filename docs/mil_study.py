"""Bags of MUSK1, Tiger and Elephant in the stored 5 x 10 folds, without choosing on test folds.

Every method gets the same encoder, optimiser, epochs and seeds, and its last epoch counts; bags are
called at probability 0.5. Beside it stands what the same runs would report if the epoch were chosen
by the accuracy on the test fold itself. ``MOLPOOL_DATA`` names the folder of the public tables, as
for `molpool-data`. ABMIL and DSMIL are torchmil's; without it they are left out, which is said.

    python docs/mil_study.py musk1 tiger elephant --repeats 5
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from mil_attn import BagData, MILModelConfig, MILTaskAttnMixerWithAux, stored_folds
from mil_attn.bags import Bags
from mil_attn.data.scaling import FeatureScaler
from mil_attn.training.loader import BagLoader, Shuffle
from molpool_common.metrics import UndefinedMetricError, roc_auc
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

SETS = ("musk1", "tiger", "elephant")
QUOTED = {"musk1": 0.875, "tiger": 0.808, "elephant": 0.821}
"""Accuracy of an untuned attention model, as the question was put to us."""

MODEL = {
    "use_2d": False,
    "inst_hidden": 64,
    "inst_layers": 2,
    "inst_dropout": 0.2,
    "proj_dim": 64,
    "attn_heads": 4,
    "mixer_hidden": 64,
    "mixer_layers": 1,
    "mixer_dropout": 0.2,
}
LR, WEIGHT_DECAY, BATCH = 5e-4, 1e-3, 16

Arrays = NDArray[np.float64]


class Ours(nn.Module):
    """The package's model of one task; `mean_residual` 1 makes its pool the plain mean."""

    def __init__(self, in_3d: int, **model: Any) -> None:
        super().__init__()
        config = MILModelConfig.model_validate({**MODEL, **model})
        self.network = MILTaskAttnMixerWithAux(config, n_tasks=1, in_3d=in_3d)

    def loss(self, bags: Bags, labels: Tensor) -> Tensor:
        """Return the mean cross-entropy of a batch."""
        return binary_cross_entropy_with_logits(self.logits(bags), labels)

    def logits(self, bags: Bags) -> Tensor:
        """Return logits [B]."""
        logits: Tensor = self.network(bags).logits[:, 0]
        return logits


class Peer(nn.Module):
    """A model of torchmil behind the same encoder; each bag alone, so that nothing is padded."""

    def __init__(self, name: str, in_3d: int) -> None:
        super().__init__()
        models = import_module("torchmil.models")
        # Our encoder, with its weights drawn as in our model.
        encoder = Ours(in_3d).network.inst_enc
        self.model: Any = getattr(models, name)(in_shape=(in_3d,), feat_ext=encoder)

    def loss(self, bags: Bags, labels: Tensor) -> Tensor:
        """Return the mean of the model's own loss of a batch."""
        losses = []
        for x, y in zip(_each(bags), labels, strict=True):
            _, terms = self.model.compute_loss(y[None], x[None])
            losses.append(torch.stack(list(terms.values())).sum())
        return torch.stack(losses).mean()

    def logits(self, bags: Bags) -> Tensor:
        """Return logits [B]."""
        found = [self.model.predict(x[None], return_inst_pred=False) for x in _each(bags)]
        return torch.cat([f.reshape(1) for f in found])


def _each(bags: Bags) -> Sequence[Tensor]:
    assert bags.instances is not None
    return torch.split(bags.instances, bags.sizes.tolist())


@dataclass(frozen=True)
class FoldResult:
    """Probabilities of the test bags after each epoch [E, n], and their labels [n]."""

    probabilities: Arrays
    labels: Arrays

    @property
    def correct(self) -> Arrays:
        """Number of bags called right after each epoch."""
        right: Arrays = ((self.probabilities >= 0.5) == (self.labels == 1)).sum(axis=1)
        return right

    @property
    def auc(self) -> float | None:
        """Area under the curve after the last epoch; None for a fold of one class."""
        try:
            return roc_auc(self.labels, self.probabilities[-1])
        except UndefinedMetricError:
            return None


def train(
    make: Callable[[int], nn.Module],
    data: BagData,
    rows: Any,
    test: Any,
    epochs: int,
    seed: int,
    *,
    last_only: bool = False,
) -> FoldResult:
    """Train on some bags and predict others after each epoch, or the last; nothing is chosen."""
    part = data.take(rows)
    scaler = FeatureScaler.fit(part)
    part, held = scaler.transform(part), scaler.transform(data.take(test))
    assert part.instances is not None
    torch.manual_seed(seed)
    model: Any = make(part.instances.shape[1])
    optimiser = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=WEIGHT_DECAY, fused=True)
    sampler = Shuffle(len(part), seed)
    whole = held.batch(range(len(held)))
    found = []
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        model.train()
        for bags in BagLoader(part, BATCH, sampler):
            assert bags.labels is not None
            optimiser.zero_grad()
            model.loss(bags, bags.labels[:, 0]).backward()
            optimiser.step()
        if last_only and epoch < epochs - 1:
            continue
        model.eval()
        with torch.inference_mode():
            found.append(model.logits(whole).sigmoid().double().numpy())
    assert held.labels is not None
    return FoldResult(np.stack(found), held.labels[:, 0])


def methods() -> dict[str, Callable[[int], nn.Module]]:
    """Return the methods by name; those of torchmil where it is installed."""
    found: dict[str, Callable[[int], nn.Module]] = {
        "mean pool": lambda n: Ours(n, mean_residual=1.0),
        "attention pool": Ours,
    }
    if find_spec("torchmil") is None:
        sys.stdout.write("torchmil is not installed: ABMIL and DSMIL are left out.\n")
        return found
    return found | {
        "ABMIL (torchmil)": lambda n: Peer("ABMIL", n),
        "DSMIL (torchmil)": lambda n: Peer("DSMIL", n),
    }


def repeat_scores(
    make: Callable[[int], nn.Module], data: BagData, folds: Any, epochs: int, seed: int
) -> tuple[float, float, float]:
    """Return accuracy, mean AUC of the folds, and the accuracy with epochs chosen on test folds."""
    results = [
        train(make, data, fold.train, fold.test, epochs, 1000 * seed + f)
        for f, fold in enumerate(folds)
    ]
    n = sum(len(r.labels) for r in results)
    aucs = [r.auc for r in results if r.auc is not None]
    return (
        sum(float(r.correct[-1]) for r in results) / n,
        float(np.mean(aucs)),
        sum(float(r.correct.max()) for r in results) / n,
    )


def table_folder() -> Path:
    """Return the folder of the bag tables."""
    near = (p / "shared" / "data" for p in Path(__file__).resolve().parents)
    folder = os.environ.get("MOLPOOL_DATA") or next(filter(Path.is_dir, near), None)
    if folder is None:
        raise SystemExit("MOLPOOL_DATA: expected the folder of the public tables; found none")
    return Path(folder) / "mil"


def study(
    name: str, repeats: int, epochs: int, chosen: Sequence[str] | None = None
) -> pl.DataFrame:
    """Return a row a method of one data set."""
    folder = table_folder()
    data = BagData.from_bag_table(folder / f"{name}.csv.gz")
    stored = pl.read_csv(folder / "cv_folds_5x10.csv").filter(dataset=name)
    stored = stored.with_columns(pl.col("bag_id").cast(pl.String))
    order = pl.DataFrame({"bag_id": list(data.ids)}).join(stored, on="bag_id", how="left")
    assert data.labels is not None
    assert (order["label"].to_numpy() == data.labels[:, 0]).all()
    rows = []
    for method, make in methods().items():
        if chosen and method not in chosen:
            continue
        started = time.perf_counter()
        scores = np.array(
            [
                repeat_scores(
                    make,
                    data,
                    stored_folds(order[f"rep{r + 1}_test_fold"].to_numpy(), val_ratio=0),
                    epochs,
                    r,
                )
                for r in range(repeats)
            ]
        )
        row: dict[str, Any] = {"set": name, "method": method}
        for column, values in zip(
            ("accuracy", "AUC", "epoch chosen on test"), scores.T, strict=True
        ):
            sd = f" ± {values.std(ddof=1):.3f}" if repeats > 1 else ""
            row[column] = f"{values.mean():.3f}{sd}"
        row["inflation"] = f"+{(scores[:, 2] - scores[:, 0]).mean():.3f}"
        row["seconds"] = round(time.perf_counter() - started)
        rows.append(row)
    return pl.DataFrame(rows)


def main() -> None:
    """Print a table a data set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", default=[], help=f"of {', '.join(SETS)}")
    parser.add_argument("--sets", dest="more", nargs="+", choices=SETS, default=[])
    parser.add_argument("--repeats", type=int, default=5, choices=range(1, 6))
    parser.add_argument("--epochs", type=int, default=40)
    options = parser.parse_args()
    torch.set_num_threads(1)
    sys.stdout.write(
        f"Stored folds, {options.repeats} x 10; {options.epochs} epochs, the last one counts; "
        "mean ± sd over repeats. The last but two columns: the epoch chosen on each test fold.\n"
    )
    for name in [*options.sets, *options.more] or SETS:
        sys.stdout.write(f"\n{name} (quoted for an untuned attention model: {QUOTED[name]})\n")
        with pl.Config(
            tbl_rows=-1, tbl_cols=-1, tbl_width_chars=140, tbl_hide_dataframe_shape=True
        ):
            sys.stdout.write(f"{study(name, options.repeats, options.epochs)}\n")


if __name__ == "__main__":
    main()
