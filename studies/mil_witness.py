"""Do attention, effects, Shapley values and gradients find the instance that makes a bag positive?
And does a model that was trained on bags of five hold on bags of fifty?

Bags are made as MUSK1's are: as many instances a bag, as many features, correlated through twenty
factors. A positive bag has one witness, high in three factors at once; every other instance is high
in one of the three, so that no single factor gives the witness away. Models are those that
`molpool-train mil` trains by default on as many bags; accounts are of test bags that no one trained
on.

    python studies/mil_witness.py find results.jsonl
    python studies/mil_witness.py sizes results.jsonl
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mil_attn import BagData, MILConfig, MILModule, explanations, find_witnesses, fit, predict
from molpool_common import BoolArray, roc_auc
from study_results import Results, spread, table

FACTORS, FEATURES, MEAN_SIZE, SHIFT = 20, 166, 5.2, 3.0
N_TEST = 200
POOLS: dict[str, dict[str, Any]] = {
    "attention": {},
    "mean": {"mean_residual": 1.0},
    "two highest": {"top_k": 2},
}


def make_bags(
    n: int, seed: int, *, size: int | None = None, witnesses: int = 1
) -> tuple[BagData, BoolArray]:
    """Return bags, half of them positive, and which instances are witnesses."""
    # Loadings are of the kind of set, the same for all of its tables.
    loadings = np.random.default_rng(7).normal(size=(FACTORS, FEATURES))
    rng = np.random.default_rng(seed)
    sizes = 2 + rng.geometric(1 / (MEAN_SIZE - 1), n) if size is None else np.full(n, size)
    bounds = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    z = rng.normal(size=(bounds[-1], FACTORS))
    # One of the three in every instance, which of them by chance: a third of the way to a witness.
    high = np.arange(3) == rng.integers(3, size=len(z))[:, None]
    positive = rng.random(n) < 0.5
    witness = np.zeros(len(z), dtype=bool)
    for bag in np.flatnonzero(positive):
        witness[bounds[bag] + rng.choice(sizes[bag], min(witnesses, sizes[bag]), False)] = True
    z[:, :3] += SHIFT * (high | witness[:, None])
    x = z @ loadings / FACTORS**0.5 + 0.3 * rng.normal(size=(len(z), FEATURES))
    labels = positive[:, None].astype(float)
    ids = [f"bag{seed}-{b}" for b in range(n)]
    data = BagData(ids, x.astype(np.float32), bounds, labels=labels, task_names=["active"])
    return data, witness


def trained(n: int, seed: int, *, size: int | None = None, **model: Any) -> MILModule:
    """Return what `molpool-train mil` trains by default on n bags."""
    train, _ = make_bags(n, 1000 + seed, size=size)
    values = {"model": {"use_2d": False, **model}, "training": {"accelerator": "cpu"}}
    config = MILConfig.model_validate(values).for_bags(n)
    held = make_bags(max(n // 10, 40), 3000 + seed, size=size)[0]
    return fit(config, train, None if config.training.keep == "last" else held, seed=seed).module


def find(n: int, seed: int, results: Results) -> None:
    """Add the accounts of a model of n bags."""
    if results.has(what="find", bags=n, seed=seed):
        return
    started = time.process_time()
    module = trained(n, seed)
    test, witness = make_bags(N_TEST, 2000 + seed)
    assert test.labels is not None
    auc = roc_auc(test.labels[:, 0], predict(module, test)[:, 0])
    for found in find_witnesses(explanations(module, test), test, witness):
        seconds = round(time.process_time() - started, 1)
        row = {"bags": n, "seed": seed, "model_auc": auc, "seconds": seconds}
        results.add(what="find", **(vars(found) | row))


def sizes(n: int, seed: int, results: Results) -> None:
    """Add how models trained on bags of five do on bags of five, twenty and fifty."""
    for name, model in POOLS.items():
        if results.has(what="sizes", bags=n, seed=seed, pool=name):
            continue
        module = trained(n, seed, size=5, **model)
        for size in (5, 20, 50):
            test, _ = make_bags(N_TEST, 2000 + seed, size=size)
            assert test.labels is not None
            y, p = test.labels[:, 0], predict(module, test)[:, 0]
            scores = {"auc": roc_auc(y, p), "right": float(((p >= 0.5) == (y == 1)).mean())}
            row = {"bags": n, "seed": seed, "pool": name, "size": size}
            results.add(what="sizes", **row, called=float((p >= 0.5).mean()), **scores)


def found_table(results: Results) -> str:
    """Return how often each account names the witness, as Markdown."""
    every = list(results.of(what="find"))
    names = list(dict.fromkeys(row["account"] for row in every))
    body = []
    for n in sorted({row["bags"] for row in every}):
        rows = [row for row in every if row["bags"] == n]
        model = spread([r["model_auc"] for r in rows if r["account"] == names[0]])
        chance = f"{np.mean([r['chance'] for r in rows]):.2f}"
        tops = [spread([r["top"] for r in rows if r["account"] == name]) for name in names]
        body.append([str(n), model, *tops, chance])
    return table(["training bags", "AUC of the model", *names, "chance"], body)


def sizes_table(results: Results) -> str:
    """Return what becomes of models on larger bags, as Markdown."""
    every = list(results.of(what="sizes"))
    body = []
    for key in dict.fromkeys((row["bags"], row["pool"]) for row in every):
        cells = []
        for size in (5, 20, 50):
            rows = [r for r in every if (r["bags"], r["pool"], r["size"]) == (*key, size)]
            cells += [spread([r[name] for r in rows]) for name in ("auc", "called")]
        body.append([str(key[0]), key[1], *cells])
    head = [f"{what}, {size}" for size in (5, 20, 50) for what in ("AUC", "called positive")]
    return table(["training bags", "pool", *head], body)


def main() -> None:
    """Do the part that the command line names, and print its table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=["find", "sizes"])
    parser.add_argument("results", type=Path)
    parser.add_argument("--bags", nargs="+", type=int, default=[100, 300])
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    results = Results(given.results)
    run, shown = (find, found_table) if given.what == "find" else (sizes, sizes_table)
    for n in given.bags:
        for seed in range(given.seeds):
            run(n, seed, results)
    sys.stdout.write(shown(results))


if __name__ == "__main__":
    main()
