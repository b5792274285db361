"""Sentences that terminal and page share."""

from __future__ import annotations

import math

from task_affinity import AffinityResult

from molpool_pipelines.affinity.measuring import Groups

ADVICE = (
    "Go by rank and by error bar, not by absolute thresholds. On real assays cosines of task"
    " gradients mostly lie between 0 and 0.3, so that limits such as 0.7 for tasks that belong"
    " together would never be met; what counts is who agrees with whom more than with others, by"
    " more than the standard errors.",
    "A group whose tasks stand together in most resamples is one that these data support. Where"
    " that share is low, the tasks could as well stand elsewhere: measure longer (affinity_epochs),"
    " ask for fewer groups, or let n_groups be auto.",
    "Standard errors are over the batches of one short training. Another seed adds a spread that"
    " they do not hold; two or three seeds show it.",
    "Agreeing gradients do not promise lower errors. Compare the groups with one model of all"
    " tasks, and with single tasks, on molecules that neither saw.",
)
"""How to read affinities and groups."""


def score_words(groups: Groups) -> str:
    """Return how the groups were found, their score, and how sure they are."""
    grouping = groups.grouping
    words = [f"By {method_words(groups)}: {_score(groups)}."]
    if grouping.silhouettes:
        tried = ", ".join(
            f"{n}: {_number(score)}" for n, score in sorted(grouping.silhouettes.items())
        )
        words.append(f"Number of groups by silhouette ({tried}).")
    if groups.stability is not None:
        words.append(
            f"{groups.stability.n_bootstrap} resamples of the batches agree with them to"
            f" {groups.stability.agreement:.2f} (adjusted Rand index; 1: always the same,"
            " 0: random)."
        )
    return " ".join(words)


def method_words(groups: Groups) -> str:
    """Return the method; of tag, which search ran."""
    grouping = groups.grouping
    if grouping.method == "tag":
        return f"tag ({'exact' if grouping.exact else 'beam search'})"
    return "average linkage" if grouping.method == "agglomerative" else "spectral clustering"


def _score(groups: Groups) -> str:
    grouping = groups.grouping
    if grouping.method == "tag":
        return f"a task receives {_number(grouping.score)} in the group that serves it, on average"
    if math.isnan(grouping.score):
        return "no silhouette, which needs 2 groups or more, and fewer than tasks"
    return f"mean silhouette {_number(grouping.score)}"


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


_MEASURES = {
    "cosine": "the cosine of their gradients, averaged over the batches that had labels of both",
    "dot_product": "the product of their gradients, averaged over the batches that had labels of"
    " both and divided at the end by the root of both tasks' own",
    "lookahead": "the share of one task's loss that a gradient step on the other removes from it,"
    " averaged over the batches that had labels of both (TAG, Fifty et al. 2021)",
}


def measured_words(result: AffinityResult) -> str:
    """Return what was trained and what an affinity is."""
    config = result.config
    kind = config.affinity_type
    if kind == "dot_product" and config.normalize_gradients:
        kind = "cosine"  # products of unit gradients
    words = [
        "A Chemprop model of default size was trained on all tasks at once for"
        f" {_count(config.affinity_epochs, 'epoch')} (Adam, learning rate {config.affinity_lr:g},"
        f" {config.affinity_batch_size} molecules a batch). The affinity of two tasks is"
        f" {_MEASURES[kind]}."
    ]
    if kind != "lookahead":
        of = (
            "encoder's output" if config.gradient_scope == "representation" else "encoder's weights"
        )
        words.append(f"Gradients are with respect to the {of}.")
    if result.estimator == "probe":
        words.append(f"They were estimated from {config.n_probes} random directions a step.")
    if config.every_n_steps > 1:
        words.append(f"One step in {config.every_n_steps} was measured.")
    return " ".join(words)


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
