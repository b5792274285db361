"""Tables of the grouping study: errors with paired differences, and correlations of affinities."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from molpool_common import FloatArray
from scipy.stats import spearmanr, t

BASE = "one model"


def tables(rows: Sequence[dict[str, Any]]) -> str:
    """Return what the results of a study say, as Markdown."""
    trained = _by_name(rows, "train")
    measured = _by_name(rows, "affinity")
    return "".join(
        [*(_errors(trained) if trained else ()), *(_ranks(measured) if measured else ())]
    )


def paired(ours: FloatArray, theirs: FloatArray) -> tuple[float, float]:
    """Return the mean difference of paired values and half its 95 % interval.

    Parameters
    ----------
    ours, theirs : ndarray, [N]
        Of the same seeds, in the same order; normal differences are taken for granted.
    """
    difference = ours - theirs
    n = len(difference)
    half = t.ppf(0.975, n - 1) * difference.std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
    return float(difference.mean()), float(half)


def _by_name(rows: Iterable[dict[str, Any]], what: str) -> dict[str, dict[int, dict[str, Any]]]:
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for row in rows:
        if row["what"] == what:
            found.setdefault(row["name"], {})[row["seed"]] = row
    return found


def _errors(trained: dict[str, dict[int, dict[str, Any]]]) -> list[str]:
    tasks = list(next(iter(next(iter(trained.values())).values()))["mae"])
    head = ["setting", "seeds", "MA-RAE", f"minus {BASE}", *(f"MAE {task}" for task in tasks)]
    lines = [_line(head), _line(["---"] * len(head))]
    for name, by_seed in trained.items():
        macro = {seed: np.mean(list(row["ma_rae"].values())) for seed, row in by_seed.items()}
        both = sorted(macro.keys() & trained.get(BASE, {}).keys())
        against = "–"
        if name != BASE and both:
            base = [np.mean(list(trained[BASE][seed]["ma_rae"].values())) for seed in both]
            mean, half = paired(np.array([macro[seed] for seed in both]), np.array(base))
            against = f"{mean:+.3f} ± {half:.3f}"
        means = [np.mean([row["mae"][task] for row in by_seed.values()]) for task in tasks]
        spread = np.std(list(macro.values()), ddof=1) if len(macro) > 1 else np.nan
        error = f"{np.mean(list(macro.values())):.3f} ± {spread:.3f}"
        lines.append(_line([name, str(len(macro)), error, against, *(f"{m:.3f}" for m in means)]))
    return lines


def _ranks(measured: dict[str, dict[int, dict[str, Any]]]) -> list[str]:
    lines = ["\n", _line(["Spearman", "each seed"]), _line(["---", "---"])]
    for first, second in combinations(measured, 2):
        seeds = sorted(measured[first].keys() & measured[second].keys())
        ranks = [_rank(measured[first][seed], measured[second][seed]) for seed in seeds]
        lines.append(_line([f"{first}, {second}", " ".join(f"{r:.2f}" for r in ranks)]))
    for name, by_seed in measured.items():
        ranks = [_rank(by_seed[a], by_seed[b]) for a, b in combinations(sorted(by_seed), 2)]
        lines.append(_line([f"{name}, two seeds", " ".join(f"{r:.2f}" for r in ranks)]))
    return lines


def _rank(one: dict[str, Any], other: dict[str, Any]) -> float:
    return float(spearmanr(one["values"], other["values"]).statistic)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |\n"
