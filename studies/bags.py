"""Ten models of bags on every set of bags, in 5 x 10 honest folds.

Every model is fitted within each training fold: scales, widths of kernels, early stopping and the
weights of blends, which come from five inner folds. Bags are called at probability 0.5. Predictions
are kept, out of the inner folds too, so that blends of any models follow without fitting again.

    python studies/bags.py run results.jsonl --sets musk1 tiger elephant
    python studies/bags.py table results.jsonl
    python studies/bags.py figure results.jsonl docs/explanation/bags.svg
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from mil_attn import BagData, BagKernelModel, MILConfig, fit, make_folds, stored_folds
from mil_study import SETS, read_set
from molpool_common import FloatArray, UndefinedMetricError, roc_auc
from molpool_pipelines.models import (
    AttentionMember,
    BagMember,
    bag_member_words,
    blend_weights,
    fit_bag_member,
    mix,
)
from molpool_pipelines.scores import corrected_resampled_t
from study_results import Results, table

MODELS = (
    "attention",
    "extra_trees",
    "lightgbm",
    "forest",
    "minmax_kernel",
    "minmax_svm",
    "set_kernel",
    "mi_graph",
    "mmd_kernel",
    "mean_min_kernel",
)
DEFAULT = ("attention", "extra_trees", "minmax_kernel", "set_kernel")
"""What `molpool-train mil` blends where bags are few."""

BLENDS = {
    "default": DEFAULT,
    "default without attention": DEFAULT[1:],
}
INNER, OUTER = 5, 10
RATIO = 1 / (OUTER - 1)
"""Bags of a test fold over those that train."""


def words(name: str) -> str:
    """Return what tables call a model."""
    if name in BLENDS:
        return f"blend: {name}"
    own = {"minmax_svm": "support vectors, least and largest values"}
    return own.get(name) or bag_member_words(name)  # type: ignore[arg-type]  # of the registry


def fitted(name: str, train: BagData, seed: int) -> BagMember:
    """Return a model with the command's defaults."""
    if name == "minmax_svm":
        return BagKernelModel("statistics", head="svm", seed=seed).fit(train)
    if name != "attention":
        return fit_bag_member(name, train, seed=seed)  # type: ignore[arg-type]  # of the registry
    # Nothing of a small set is held back: its defaults stop at no validation.
    config = MILConfig.model_validate({"model": {"use_2d": False}}).for_bags(len(train))
    return AttentionMember(fit(config, train, seed=seed).module)


def run(results: Results, name: str, models: Sequence[str], repeats: int, order: int = 0) -> None:
    """Add what models say of the test bags and of inner folds, where it is not there."""
    data, numbers = read_set(name)
    for repeat in range(repeats):
        for number, fold in enumerate(stored_folds(numbers[:, repeat], val_ratio=0)):
            train, test = data.take(fold.train), data.take(fold.test)
            seed = 1000 * repeat + number
            inner = make_folds(
                "stratified", INNER, groups=train.ids, labels=train.labels, val_ratio=0, seed=seed
            )
            for model in models:
                key = {"set": name, "model": model, "repeat": repeat, "fold": number}
                if results.has(**key):
                    continue
                start = time.process_time()

                held = np.full(len(train), np.nan)
                for part in inner:
                    one = fitted(model, train.take(part.train), seed)
                    held[part.test] = one.predict_with_sd(train.take(part.test))[0][:, 0]
                whole = time.process_time()
                said, _ = fitted(model, train, seed).predict_with_sd(test)
                results.add(
                    **key,
                    test=np.round(said[:, 0], 5).tolist(),
                    inner=np.round(held, 5).tolist(),
                    seconds=round(time.process_time() - whole, 3),
                    seconds_inner=round(whole - start, 3),
                )


class Scored:
    """Accuracy and area under the curve of each model in the folds that all of them have."""

    def __init__(self, results: Results, name: str) -> None:
        data, numbers = read_set(name)
        assert data.labels is not None
        y = data.labels[:, 0]
        rows = {(r["repeat"], r["fold"], r["model"]): r for r in results.of(set=name)}
        found = [m for m in MODELS if any(k[2] == m for k in rows)]
        cells = sorted({k[:2] for k in rows})
        self.cells = [c for c in cells if all((*c, m) in rows for m in found)]
        blends = {b: of for b, of in BLENDS.items() if set(of) <= set(found)}
        self.models = [*found, *blends]
        self.accuracy = {m: np.zeros(len(self.cells)) for m in self.models}
        self.seconds = dict.fromkeys(self.models, 0.0)
        self.sizes = np.zeros(len(self.cells))
        self.weights = {b: np.zeros(len(of)) for b, of in blends.items()}
        said: dict[tuple[str, int], FloatArray] = {}
        for i, (repeat, number) in enumerate(self.cells):
            fold = stored_folds(numbers[:, repeat], val_ratio=0)[number]
            self.sizes[i] = len(fold.test)
            each = {m: np.array(rows[repeat, number, m]["test"]) for m in found}
            for m in found:
                self.seconds[m] += rows[repeat, number, m]["seconds"] / len(self.cells)
            for b, of in blends.items():
                inner = np.array([rows[repeat, number, m]["inner"] for m in of])[:, :, None]
                weights = blend_weights(y[fold.train, None], inner, ("classification",))
                self.weights[b] += weights[:, 0] / len(self.cells)
                tests = np.stack([each[m] for m in of])[:, :, None]
                each[b] = mix(tests, np.full(tests.shape, np.nan), weights)[0][:, 0]
                self.seconds[b] += sum(
                    rows[repeat, number, m]["seconds"] + rows[repeat, number, m]["seconds_inner"]
                    for m in of
                ) / len(self.cells)
            for m, p in each.items():
                self.accuracy[m][i] = ((p >= 0.5) == (y[fold.test] == 1)).mean()
                said.setdefault((m, repeat), np.full(len(y), np.nan))[fold.test] = p
        self.auc = {m: _auc(y, [p for (n, _), p in said.items() if n == m]) for m in self.models}

    def mean(self, model: str) -> float:
        """Return the accuracy over all test bags."""
        return float(np.average(self.accuracy[model], weights=self.sizes))

    def error(self, model: str) -> float:
        """Return the standard error of `mean`, which knows that folds share training bags."""
        values = self.accuracy[model]
        return corrected_resampled_t(values, RATIO).error if len(values) > 1 else np.nan

    def against(self, model: str, other: str) -> tuple[float, float]:
        """Return the mean difference by fold, and its p by the corrected resampled t-test."""
        off = self.accuracy[model] - self.accuracy[other]
        if len(off) < 2:
            return float(off.mean()), np.nan
        found = corrected_resampled_t(off, RATIO)
        return found.difference, found.p


def _auc(y: FloatArray, repeats: Iterable[FloatArray]) -> float:
    found = []
    for p in repeats:
        there = np.isfinite(p)
        try:
            found.append(roc_auc(y[there], p[there]))
        except UndefinedMetricError:
            continue
    return float(np.mean(found)) if found else np.nan


def tables(results: Results) -> str:
    """Return a table a set as Markdown."""
    text = ""
    for name in dict.fromkeys(row["set"] for row in results.rows):
        scored = Scored(results, name)
        best = max(scored.models, key=scored.mean)
        body = []
        for model in sorted(scored.models, key=scored.mean, reverse=True):
            off, p = scored.against(model, best)
            body.append(
                [
                    words(model),
                    f"{scored.mean(model):.3f} ± {scored.error(model):.3f}",
                    "–" if model == best else f"{off:+.3f} (p {p:.2f})",
                    f"{scored.auc[model]:.3f}",
                    f"{scored.seconds[model]:.2f}",
                ]
            )
        text += f"\n**{name}**, {len(scored.cells)} folds\n\n"
        head = ["model", "accuracy", "minus the best", "AUC", "CPU s a fit"]
        text += table(head, body)
        for blend, weights in scored.weights.items():
            each = zip(BLENDS[blend], weights, strict=True)
            said = ", ".join(f"{words(m)} {w:.0%}" for m, w in each)
            text += f"\nShares in the blend {blend}: {said}.\n"
    return text


def figure(results: Results, path: Path) -> None:
    """Draw accuracies and their standard errors, a panel a set."""
    import matplotlib.pyplot as plt

    names = list(dict.fromkeys(row["set"] for row in results.rows))
    of_sets = {name: Scored(results, name) for name in names}
    models = list(dict.fromkeys(m for scored in of_sets.values() for m in scored.models))[::-1]
    fig, axes = plt.subplots(1, len(names), figsize=(3.1 * len(names) + 2.2, 4.2), sharey=True)
    for ax, (name, scored) in zip(np.atleast_1d(axes), of_sets.items(), strict=True):
        for row, model in enumerate(models):
            if model in scored.models:
                colour = "C1" if model in BLENDS else "C0"
                error = scored.error(model)
                ax.errorbar(scored.mean(model), row, xerr=error, fmt="o", color=colour, ms=5)
        ax.set_title(name, fontsize=10)
        ax.set_xlabel("accuracy ± se")
        ax.grid(axis="x", alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
    np.atleast_1d(axes)[0].set_yticks(range(len(models)), [words(m) for m in models])
    fig.tight_layout()
    fig.savefig(path, metadata={"Date": None})


def main() -> None:
    """Fit what is missing, print tables, or draw them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["run", "table", "figure"])
    parser.add_argument("results", type=Path)
    parser.add_argument("picture", type=Path, nargs="?")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--repeats", type=int, default=5, choices=range(1, 6))
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = Results(options.results)
    if options.what == "run":
        for name in options.sets:
            run(results, name, options.models, options.repeats)
    if options.what == "figure":
        figure(results, options.picture or Path("bags.svg"))
        return
    sys.stdout.write(tables(results))


if __name__ == "__main__":
    main()
