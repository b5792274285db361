"""Sentences that terminal and page share."""

from __future__ import annotations

import math

from molpool_affinity.measuring import Groups


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
