"""Which settings of the pool keep to what multiple-instance learning assumes.

Synthetic bags whose label follows from instances by a known rule, and whose test bags break what
training bags happen to suggest besides: a model that learned the rule ranks them right (area under
the curve near 1), one that learned the suggestion does not (0.5), or ranks them upside down (0).
After Raff and Holt, "Reproducibility in multiple instance learning: a case for algorithmic unit
tests", NeurIPS (2023), arXiv:2310.17867; the generators are our own.

    python studies/mil_assumptions.py --seeds 3
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

import mil_study
import numpy as np
import torch
from mil_attn import BagData, Bags
from molpool_common import roc_auc
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

DIM, SHIFT = 16, 4.0
N_TRAIN, N_TEST = 300, 200
LEARNED = 0.9
"""Area under the curve, in training and on test bags, from which a rule counts as learned."""

Counts = Sequence[int]
Plan = Callable[[np.random.Generator, bool, bool], tuple[Counts, int]]
"""Of label and side: how many instances of each of three marked kinds, and how many unmarked."""


def planted_key(rng: np.random.Generator, positive: bool, test: bool) -> tuple[Counts, int]:
    """Positive: one key instance. Test bags are four times as long."""
    background = int(rng.integers(20, 60) if test else rng.integers(5, 15))
    return (int(positive), 0, 0), background


def count_threshold(rng: np.random.Generator, positive: bool, test: bool) -> tuple[Counts, int]:
    """Positive: three keys or more. Test bags are three times as long, so that shares mislead."""
    keys = int(rng.integers(3, 6) if positive else rng.integers(0, 3))
    return (keys, 0, 0), int(rng.integers(15, 45) if test else rng.integers(5, 15))


def false_positive_instance(
    rng: np.random.Generator, positive: bool, test: bool
) -> tuple[Counts, int]:
    """Positive: one key. In training negatives alone have a marked instance; in test positives."""
    return (int(positive), 0, int(positive == test)), int(rng.integers(5, 15))


def false_frequency(rng: np.random.Generator, positive: bool, test: bool) -> tuple[Counts, int]:
    """Positive: two keys together. Negatives have many of one; in test positives have many."""
    many = 4
    if positive:
        return ((many, many, 0) if test else (1, 1, 0)), int(rng.integers(5, 15))
    count = 1 if test else many
    return ((count, 0, 0) if rng.random() < 0.5 else (0, count, 0)), int(rng.integers(5, 15))


TESTS: dict[str, Plan] = {
    "planted key": planted_key,
    "count threshold": count_threshold,
    "false-positive instance": false_positive_instance,
    "false frequency": false_frequency,
}


def bags_of(plan: Plan, seed: int) -> BagData:
    """Return training bags, then test bags; half of either are positive."""
    rng = np.random.default_rng(seed)
    marks = np.linalg.qr(rng.normal(size=(DIM, 3)))[0].T * SHIFT * np.array([[1], [1], [1.5]])
    matrices, labels = [], []
    for i in range(N_TRAIN + N_TEST):
        positive = bool(i % 2)
        counts, background = plan(rng, positive, i >= N_TRAIN)
        shift = np.repeat(np.vstack([marks, np.zeros(DIM)]), [*counts, background], axis=0)
        matrices.append(rng.normal(size=shift.shape) + shift)
        labels.append(float(positive))
    return BagData(
        [str(i) for i in range(len(labels))],
        np.concatenate(matrices).astype(np.float32),
        np.concatenate([[0], np.cumsum([len(m) for m in matrices])]),
        labels=np.array(labels)[:, None],
        task_names=("rule",),
    )


class MaxOfInstances(nn.Module):
    """The rule itself as a model: a bag's logit is the largest of its instances'."""

    def __init__(self, in_3d: int) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(in_3d, 64), nn.ReLU(), nn.Linear(64, 1))

    def loss(self, bags: Bags, labels: Tensor) -> Tensor:
        """Return the mean cross-entropy of a batch."""
        return binary_cross_entropy_with_logits(self.logits(bags), labels)

    def logits(self, bags: Bags) -> Tensor:
        """Return logits [B]."""
        scores = self.score(bags.instances)[:, 0]
        return torch.stack([part.max() for part in torch.split(scores, bags.sizes.tolist())])


def ours(**model: Any) -> Callable[[int], nn.Module]:
    """Return what makes the package's model with these settings."""
    return lambda n: mil_study.Ours(n, **model)


SETTINGS: dict[str, Callable[[int], nn.Module]] = {
    "mean pool": ours(mean_residual=1.0),
    "attn_out (default)": ours(),
    "normed_inputs": ours(pool_source="normed_inputs"),
    "inputs": ours(pool_source="inputs"),
    "inputs, tie_mha_v": ours(pool_source="inputs", tie_mha_v=True),
    "attn_temperature 0.25": ours(attn_temperature=0.25),
    "top_k 2": ours(top_k=2),
    "mean_residual 0.25": ours(mean_residual=0.25),
    "max of instances (reference)": MaxOfInstances,
}


def scores(make: Callable[[int], nn.Module], plan: Plan, seed: int, epochs: int) -> NDArray[Any]:
    """Return the area under the curve on training and on test bags."""
    data = bags_of(plan, seed)
    rows = np.arange(N_TRAIN)
    every = np.arange(N_TRAIN + N_TEST)
    found = mil_study.train(make, data, rows, every, epochs, seed, last_only=True)
    last, y = found.probabilities[-1], found.labels
    sides = (rows, np.arange(N_TRAIN, N_TRAIN + N_TEST))
    return np.array([roc_auc(y[side], last[side]) for side in sides])


def cell(found: NDArray[Any]) -> str:
    """Return test areas in words: mean and least over seeds, and the verdict."""
    train, test = found[:, 0], found[:, 1]
    if train.min() < LEARNED:
        verdict = "not learned"
    elif test.min() >= LEARNED:
        verdict = "**passes**"
    else:
        verdict = "violates" if test.mean() < 0.5 else "fails"
    least = f", least {test.min():.2f}" if len(test) > 1 else ""
    return f"{verdict} ({test.mean():.2f}{least})"


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--tests", nargs="+", default=list(TESTS), choices=list(TESTS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    write = sys.stdout.write
    write(
        f"Area under the curve on test bags, {options.seeds} seeds, {options.epochs} epochs. "
        f"Passes: {LEARNED} or more for every seed; violates: below 0.5; not learned: less than "
        f"{LEARNED} even on training bags.\n\n"
    )
    write("| pool | " + " | ".join(options.tests) + " |\n")
    write("| --- |" + " --- |" * len(options.tests) + "\n")
    for name in options.settings:
        cells = []
        for test in options.tests:
            found = [
                scores(SETTINGS[name], TESTS[test], seed, options.epochs)
                for seed in range(options.seeds)
            ]
            cells.append(cell(np.stack(found)))
        write(f"| {name} | " + " | ".join(cells) + " |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
