"""A dozen models of bags on every set of bags, in honest folds.

Every model is fitted within each training fold: scales, widths of kernels, early stopping, costs
and the weights of blends, which come from five inner folds. MUSK1, Tiger and Elephant have the
stored 5 x 10 folds, and a bag is called at probability 0.5. EUOS25 is a draw of known odds with
conformers and 2D features, five folds by scaffold, and the mean of the areas under the curves of
its four tasks; a repeat is another seed in the same folds. Predictions are kept, out of the inner
folds too, so that blends of any models follow without fitting again. What is cheap comes first, all
sets and models before more folds.

    python studies/bags.py run results.jsonl --cache features
    python studies/bags.py table results.jsonl
    python studies/bags.py figure results.jsonl docs/explanation/bags.svg
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import mil_euos_study
import mil_small
import numpy as np
import polars as pl
import torch
from bag_references import MISVM, FisherVectors
from mil_attn import BagData, BagKernelModel, MILConfig, fit, make_folds, stored_folds
from mil_study import SETS, read_set, table_folder
from molpool_common import FloatArray, Split, UndefinedMetricError, roc_auc
from molpool_pipelines.fitting import BagBlendConfig
from molpool_pipelines.models import (
    AttentionMember,
    BagMember,
    BagMemberName,
    bag_member_words,
    blend_weights,
    fit_bag_member,
    mix,
)
from molpool_pipelines.scores import corrected_resampled_t
from scipy.special import expit, logit
from study_results import Results, table

CHEAP = (
    "minmax_kernel",
    "set_kernel",
    "mmd_kernel",
    "mean_min_kernel",
    "mi_graph",
    "minmax_svm",
    "extra_trees",
    "forest",
    "lightgbm",
)
REFERENCES = ("fisher", "mi_svm")
"""Of one task and of instances alone."""
NETWORKS = ("attention", "mean_pool")
MODELS = (*CHEAP, *REFERENCES, *NETWORKS)
ALONE = (*REFERENCES, "mean_pool", "forest")
"""Never part of a blend, so that no inner folds are needed."""
OWN_WORDS = {
    "minmax_svm": "support vectors, least and largest values",
    "fisher": "Fisher vectors (miFV)",
    "mi_svm": "MI-SVM",
    "mean_pool": "network, mean of instances",
    "blend": "default blend",
    "blend without attention": "default blend without attention",
}

EUOS, FOLDS, VALIDATION, THIN = "euos25", 5, 0.15, 16
"""A sixteenth of the molecules that `mil_euos_study.py` draws, but all of the rarest kind."""
SEEDS, LEAST_SHARE = 5, 0.05


@dataclass(frozen=True, eq=False)
class BagSet:
    """Bags, the folds of each repeat, and how much each bag counts in scores [N]."""

    data: BagData
    repeats: list[list[Split]]
    weights: FloatArray | None = None

    @property
    def labels(self) -> FloatArray:
        """Of all tasks, [N, T]."""
        assert self.data.labels is not None
        return self.data.labels

    def score(self, rows: Any, said: FloatArray) -> float:
        """Return the accuracy of bags of one task, or the mean area of several."""
        if self.weights is None:
            return float(((said >= 0.5) == (self.labels[rows] == 1)).mean())
        areas = []
        for t, y in enumerate(self.labels[rows].T):
            if y.min() < y.max():
                weights = self.weights[rows]
                areas.append(mil_euos_study.METRICS["AUC"](y, said[:, t], sample_weight=weights))
        return float(np.mean(areas))

    def inner(self, rows: Any, seed: int, n: int) -> list[Split]:
        """Return folds of some of the bags."""
        part = self.data.take(rows)
        by, smiles = ("stratified", None) if self.weights is None else ("scaffold", part.smiles)
        val = 0 if self.weights is None else VALIDATION
        return make_folds(
            by, n, groups=part.ids, labels=part.labels, smiles=smiles, val_ratio=val, seed=seed
        )


def bag_set(name: str, cache: Path | None) -> BagSet:
    """Return a set of bags by name."""
    if name != EUOS:
        data, numbers = read_set(name)
        return BagSet(data, [stored_folds(column, val_ratio=0) for column in numbers.T])
    frame = mil_euos_study.drawn(pl.read_csv(table_folder() / "euos25_train.csv.gz"), thin=THIN)
    given = argparse.Namespace(quick=False, features=False, cache=cache, workers=1)
    data = mil_euos_study.bags_of(frame, given)
    counts = dict(zip(frame["ID"].cast(pl.String), frame["weight"], strict=True))
    assert data.smiles is not None
    folds = make_folds("scaffold", FOLDS, groups=data.ids, smiles=data.smiles, val_ratio=VALIDATION)
    return BagSet(data, [folds] * SEEDS, np.array([counts[i] for i in data.ids]))


def fitted(name: str, data: BagData, fold: Split, seed: int, members: int | None) -> BagMember:
    """Return a model with the command's defaults, fitted to the bags of a fold that train.

    Of networks there may be fewer `members` than by default.
    """
    if name in NETWORKS:
        # Nothing of a small set is held back: its defaults stop at no validation.
        model = {"use_2d": data.x2d is not None, "mean_residual": float(name == "mean_pool")}
        training = {} if members is None else {"members": members}
        values = {"model": model, "training": training}
        config = MILConfig.model_validate(values).for_bags(len(fold.train))
        val = data.take(fold.val) if len(fold.val) else None
        return AttentionMember(fit(config, data.take(fold.train), val, seed=seed).module)
    train = data.take(np.sort(np.concatenate([fold.train, fold.val])))
    if name == "minmax_svm":
        return BagKernelModel("statistics", head="svm", seed=seed).fit(train)
    if name in REFERENCES:
        of = MISVM() if name == "mi_svm" else FisherVectors()
        return cast("BagMember", of.fit(train, seed))
    return fit_bag_member(cast("BagMemberName", name), train, seed=seed)


def cells(
    names: Sequence[str], models: Sequence[str], repeats: int
) -> Iterator[tuple[str, str, int]]:
    """Yield sets, models and repeats: what is cheap first, every set before another repeat."""
    for some in (CHEAP, REFERENCES, NETWORKS):
        for repeat in range(repeats):
            for name in names:
                for model in [m for m in some if m in models]:
                    if name != EUOS or model not in REFERENCES:
                        yield name, model, repeat


def run(results: Results, names: Sequence[str], given: argparse.Namespace) -> None:
    """Add what models say of the test bags and of inner folds, where it is not there."""
    known: dict[str, BagSet] = {}
    for name, model, repeat in cells(names, given.models, given.repeats):
        if name not in known:
            known[name] = bag_set(name, given.cache)
        if given.at_once and model == "attention":
            at_once(results, name, known[name], repeat, given)
            continue
        for number, fold in enumerate(known[name].repeats[repeat]):
            key = {"set": name, "model": model, "repeat": repeat, "fold": number}
            if not results.has(**key):
                seed = 1000 * repeat + number
                results.add(**key, **said(known[name], model, fold, seed, given))


def at_once(
    results: Results, name: str, of: BagSet, repeat: int, given: argparse.Namespace
) -> None:
    """Add what networks of attention say that `mil_small` trains at once on all folds."""
    folds, every = of.repeats[repeat], np.arange(len(of.data))
    if results.has(set=name, model="attention", repeat=repeat, fold=len(folds) - 1):
        return
    rests = [np.sort(np.concatenate([fold.train, fold.val])) for fold in folds]
    inner = [of.inner(rest, 1000 * repeat + k, given.inner) for k, rest in enumerate(rests)]
    setting, members = mil_small.BASE | {"mixup": 0.4}, given.members or 5
    times, found = [time.process_time()], []
    for j in range(-1, given.inner):
        train = rests if j < 0 else [r[w[j].train] for r, w in zip(rests, inner, strict=True)]
        splits = np.stack([np.isin(every, rows) for rows in train])
        p = mil_small.trained(of.data, splits, setting, members, 40, 100 * repeat + j + 1)[40]
        # As `MILEnsemble`: the mean of logits.
        found.append(expit(logit(np.clip(p, 1e-7, 1 - 1e-7)).mean(axis=1)))
        times.append(time.process_time())
    for k, fold in enumerate(folds):
        held = np.full(len(rests[k]), np.nan)
        for j, within in enumerate(inner[k]):
            held[within.test] = found[j + 1][k, rests[k][within.test]]
        results.add(
            set=name,
            model="attention",
            repeat=repeat,
            fold=k,
            test=np.round(found[0][k, fold.test, None], 5).tolist(),
            inner=np.round(held[:, None], 5).tolist(),
            seconds=round((times[1] - times[0]) / len(folds), 3),
            seconds_inner=round((times[-1] - times[1]) / len(folds), 3),
            folds_inner=given.inner,
            members=members,
            at_once=True,
        )


def said(
    of: BagSet, model: str, fold: Split, seed: int, given: argparse.Namespace
) -> dict[str, Any]:
    """Return predictions of a fold's test bags and, out of inner folds, of its other bags."""
    rest = np.sort(np.concatenate([fold.train, fold.val]))
    part = of.data.take(rest)
    start = time.process_time()
    inner: list[Any] = []
    if model not in ALONE and given.inner:
        held = np.full((len(part), of.labels.shape[1]), np.nan)
        for within in of.inner(rest, seed, given.inner):
            one = fitted(model, part, within, seed, given.members)
            held[within.test] = one.predict_with_sd(part.take(within.test))[0]
        inner = np.round(held, 5).tolist()
    whole = time.process_time()
    whole_model = fitted(model, of.data, fold, seed, given.members)
    test, _ = whole_model.predict_with_sd(of.data.take(fold.test))
    return {
        "test": np.round(test, 5).tolist(),
        "inner": inner,
        "seconds": round(time.process_time() - whole, 3),
        "seconds_inner": round(whole - start, 3),
        "folds_inner": given.inner,
        **({"members": given.members} if model in NETWORKS else {}),
    }


class Scored:
    """Scores of each model of one set, of blends too, by repeat and fold."""

    def __init__(self, results: Results, name: str, of: BagSet) -> None:
        self.of, self.rows = of, {}
        for row in results.of(set=name):
            self.rows[row["model"], row["repeat"], row["fold"]] = row
        self.scores: dict[str, dict[tuple[int, int], float]] = {}
        self.seconds: dict[str, float] = {}
        for model in [m for m in MODELS if any(key[0] == m for key in self.rows)]:
            of_model = {key[1:]: row for key, row in self.rows.items() if key[0] == model}
            self.scores[model] = {
                cell: of.score(self._fold(*cell).test, _columns(row["test"]))
                for cell, row in of_model.items()
            }
            self.seconds[model] = float(np.mean([row["seconds"] for row in of_model.values()]))
        n = len(of.repeats[0][0].train) + len(of.repeats[0][0].val)
        default = BagBlendConfig().of_bags(n)
        self.shares: dict[str, dict[str, float]] = {}
        self._blend("blend", default)
        self._blend("blend without attention", [m for m in default if m != "attention"])

    def _fold(self, repeat: int, number: int) -> Split:
        return self.of.repeats[repeat][number]

    def _blend(self, name: str, models: Sequence[str]) -> None:
        """Add the scores of models mixed by what they say out of the inner folds."""
        each = [
            {key[1:] for key, row in self.rows.items() if key[0] == model and row["inner"]}
            for model in models
        ]
        shared = sorted(set.intersection(*each))
        weights, scores, seconds = [], {}, 0.0
        for cell in shared:
            rows = [self.rows[model, *cell] for model in models]
            fold = self._fold(*cell)
            rest = np.sort(np.concatenate([fold.train, fold.val]))
            kinds = (self.of.data.task_kind,) * self.of.labels.shape[1]
            inner = np.stack([_columns(row["inner"]) for row in rows])
            found = blend_weights(self.of.labels[rest], inner, kinds)
            at = np.array([model == "attention" for model in models])
            if at.any() and found[at].mean() < LEAST_SHARE:
                # The command leaves it out, too.
                found[at] = 0
                found[~at] = blend_weights(self.of.labels[rest], inner[~at], kinds)
            weights.append(found)
            tests = np.stack([_columns(row["test"]) for row in rows])
            mean, _ = mix(tests, np.full(tests.shape, np.nan), weights[-1])
            scores[cell] = self.of.score(fold.test, mean)
            seconds += sum(row["seconds"] + row["seconds_inner"] for row in rows)
        if shared:
            self.scores[name], self.seconds[name] = scores, seconds / len(shared)
            means = np.mean(weights, axis=(0, 2))
            self.shares[name] = dict(zip(models, means.tolist(), strict=True))

    def mean(self, model: str) -> float:
        """Return the score over all test bags of the model's folds."""
        sizes = [len(self._fold(*cell).test) for cell in self.scores[model]]
        return float(np.average(list(self.scores[model].values()), weights=sizes))

    def error(self, model: str) -> float:
        """Return the standard error of `mean`, which knows that folds share training bags."""
        values = list(self.scores[model].values())
        return corrected_resampled_t(values, self._ratio).error if len(values) > 1 else np.nan

    @property
    def _ratio(self) -> float:
        """Bags of a test fold over those that train."""
        return 1 / (len(self.of.repeats[0]) - 1)

    def best(self) -> str:
        """Return the model of the highest score among those with the most folds."""
        most = max(len(scores) for scores in self.scores.values())
        return max((m for m in self.scores if len(self.scores[m]) == most), key=self.mean)

    def against(self, model: str, other: str) -> tuple[float, float, float]:
        """Return the mean difference by shared fold, its error and its p by the corrected t."""
        a, b = self.scores[model], self.scores[other]
        off = np.array([a[cell] - b[cell] for cell in a if cell in b])
        if len(off) < 2:
            return float(off.mean()) if len(off) else np.nan, np.nan, np.nan
        found = corrected_resampled_t(off, self._ratio)
        return found.difference, found.error, found.p

    def single(self, blend: str) -> str:
        """Return the single model that is best in the folds of a blend."""
        folds = self.scores[blend]
        there = [m for m in self.scores if m in MODELS and folds.keys() <= self.scores[m].keys()]
        return max(there, key=lambda model: np.mean([self.scores[model][cell] for cell in folds]))

    def by_seed(self, model: str) -> FloatArray:
        """Return the mean score of each repeat."""
        found: dict[int, list[float]] = {}
        for (repeat, _), score in self.scores[model].items():
            found.setdefault(repeat, []).append(score)
        return np.array([np.mean(scores) for scores in found.values()], dtype=np.float64)

    def auc(self, model: str) -> float:
        """Return the area under the curve over all test bags of a repeat, the mean of repeats."""
        found = []
        for repeat in sorted({key[1] for key in self.rows if key[0] == model}):
            parts = [k for k in self.rows if k[:2] == (model, repeat)]
            rows = np.concatenate([self._fold(*key[1:]).test for key in parts])
            p = np.concatenate([_columns(self.rows[key]["test"])[:, 0] for key in parts])
            try:
                found.append(roc_auc(self.of.labels[rows, 0], p))
            except UndefinedMetricError:
                continue
        return float(np.mean(found)) if found else np.nan


def _columns(values: Sequence[Any]) -> FloatArray:
    """Return predictions [n, T] of a row, which may hold those of one task flat."""
    return np.array(values, dtype=np.float64).reshape(len(values), -1)


def words(name: str) -> str:
    """Return what tables call a model."""
    return OWN_WORDS.get(name) or bag_member_words(cast("BagMemberName", name))


def tables(scored: dict[str, Scored]) -> str:
    """Return a table a set as Markdown."""
    text = ""
    for name, of in scored.items():
        best, one = of.best(), name != EUOS
        body = []
        for model in sorted(of.scores, key=of.mean, reverse=True):
            off, error, p = of.against(model, best)
            cells = [words(model), f"{of.mean(model):.3f} ± {of.error(model):.3f}"]
            cells += ["–" if model == best else f"{off:+.3f} ± {error:.3f} (p {p:.2f})"]
            cells += [f"{of.auc(model):.3f}" if model in MODELS else "–"] if one else []
            body.append([*cells, f"{of.seconds[model]:.2f}", str(len(of.scores[model]))])
        text += f"\n**{name}**\n\n"
        head = ["model", "accuracy" if one else "mean AUC", "minus the best, same folds"]
        text += table([*head, *(["AUC"] if one else []), "CPU s a fit", "folds"], body)
        for blend, shares in of.shares.items():
            each = ", ".join(f"{words(m)} {share:.0%}" for m, share in shares.items())
            other = of.single(blend)
            off, error, p = of.against(blend, other)
            text += (
                f"\n{words(blend).capitalize()} against {words(other)}, the best single model in "
                f"its {len(of.scores[blend])} folds: {off:+.3f} ± {error:.3f} (p {p:.2f}). Shares: "
                f"{each}.\n"
            )
        if not one:
            noise = {m: of.by_seed(m) for m in of.scores if len(of.by_seed(m)) > 1}
            each = ", ".join(f"{words(m)} {np.std(v, ddof=1):.3f}" for m, v in noise.items())
            text += f"\nSd of the mean over seeds: {each}.\n" if noise else ""
    return text


def figure(scored: dict[str, Scored], path: Path) -> None:
    """Draw scores and their standard errors, a panel a set."""
    import matplotlib.pyplot as plt

    known = (*MODELS, "blend without attention", "blend")
    models = [m for m in known[::-1] if any(m in of.scores for of in scored.values())]
    fig, axes = plt.subplots(1, len(scored), figsize=(2.6 * len(scored) + 2.8, 4.4), sharey=True)
    for ax, (name, of) in zip(np.atleast_1d(axes), scored.items(), strict=True):
        for row, model in enumerate(models):
            if model in of.scores:
                colour = "C1" if model.startswith("blend") else "C0"
                error = of.error(model)
                ax.errorbar(of.mean(model), row, xerr=error, fmt="o", color=colour, ms=5)
        ax.set_title(name, fontsize=10)
        ax.set_xlabel("mean AUC ± se" if name == EUOS else "accuracy ± se")
        ax.grid(axis="x", alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
    np.atleast_1d(axes)[0].set_yticks(range(len(models)), [words(m) for m in models])
    fig.tight_layout()
    fig.savefig(path, metadata={"Date": None})


def main() -> None:
    """Fit what is missing, and print tables, or draw them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=["run", "table", "figure"])
    parser.add_argument("results", type=Path)
    parser.add_argument("picture", type=Path, nargs="?", default=Path("bags.svg"))
    parser.add_argument("--sets", nargs="+", choices=(*SETS, EUOS), default=(*SETS, EUOS))
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--repeats", type=int, default=5, choices=range(1, 6))
    parser.add_argument("--members", type=int, help="networks of attention, by default as ever")
    parser.add_argument(
        "--at-once", action="store_true", help="networks as `mil_small.py` trains them, no EUOS25"
    )
    parser.add_argument(
        "--inner", type=int, default=5, help="inner folds, for weights of blends; 0: none"
    )
    parser.add_argument("--cache", type=Path, help="folder of computed features of molecules")
    given = parser.parse_args()
    torch.set_num_threads(1)
    results = Results(given.results)
    if given.what == "run":
        run(results, given.sets, given)
    there = [name for name in given.sets if results.has(set=name)]
    scored = {name: Scored(results, name, bag_set(name, given.cache)) for name in there}
    if given.what == "figure":
        figure(scored, given.picture)
        return
    sys.stdout.write(tables(scored))


if __name__ == "__main__":
    main()
