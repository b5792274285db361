"""What a comparison means, in sentences that the page and the screen share."""

from __future__ import annotations

from molpool_common import LABELS, mean_label

from molpool_pipelines.runs import MACRO
from molpool_pipelines.scores.comparison._comparison import NOT_SIGNIFICANT, Comparison


def method(found: Comparison) -> str:
    """Say how differences were tested and how many errors that allows."""
    alpha = f"{1 - found.level:.2g}"
    percent = f"{100 * found.level:g} %"
    if found.design == "values":
        return "Values of files without their predictions: no difference is tested."
    if found.design == "test_set":
        return (
            f"Paired bootstrap over the {found.n_rows:,} molecules of one test set, "
            f"{found.n_resamples:,} resamples, the same for all models and tasks. Intervals are "
            f"percentiles of the difference of that pair alone ({percent}). A win: the p-value, "
            f"adjusted by Holm's method over the pairs of one task and metric, is at most {alpha}. "
            "It speaks of these trained models on molecules like these, not of training again."
        )
    guard = (
        "and so is that of the corrected resampled t-test (Nadeau and Bengio 2003, Holm over the "
        "pairs), because folds share training rows and Tukey's test takes them for independent."
        if found.guard
        else "though folds share training rows, which it takes for independent: it wins too often."
    )
    return (
        f"Scores on {found.n_folds} folds, as Ash et al. (2024) advise: repeated-measures analysis "
        f"of variance, the folds being the subjects, and Tukey's HSD. Intervals of differences "
        f"hold for all pairs of one task and metric at once ({percent}). A win: Tukey's p-value "
        f"is at most {alpha}, {guard}"
    )


def families(found: Comparison) -> str:
    """Say what multiple testing is left."""
    n_pairs = len(found.models) * (len(found.models) - 1) // 2
    n = len(found.places)
    return (
        f"{n_pairs} {'pair' if n_pairs == 1 else 'pairs'} on each of {n} tasks and metrics. The "
        f"adjustment is over pairs, not over tasks and metrics: were no models different, up to "
        f"{(1 - found.level) * n:.1f} of these {n} families would show a false win on average. "
        "Choose the metric that decides before you look."
    )


def headline(found: Comparison) -> str:
    """Say who wins by the first metric."""
    metric = found.metrics[0]
    place = MACRO if (MACRO, metric) in found.places else None
    task = place or next(t for t, m in found.places if m == metric)
    wins = [p for p in found.pairs_of(task, metric) if p.winner != NOT_SIGNIFICANT]
    where = f"{mean_label(metric) if place else LABELS[metric]}, {task}"
    if not wins:
        return f"{where}: no two models are distinguishable."
    words = [f"{p.winner} over {p.b if p.winner == p.a else p.a}" for p in wins]
    rest = len(found.pairs_of(task, metric)) - len(wins)
    more = f"; {rest} {'pair is' if rest == 1 else 'pairs are'} indistinguishable" if rest else ""
    return f"{where}: {', '.join(words)}{more}."
