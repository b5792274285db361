"""Groups of tasks from a matrix of affinities, by any of the methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from molpool_common import FloatArray

from task_affinity.config import ClusteringMethod, TaskAffinityConfig
from task_affinity.grouping.agglomerative import Labels, agglomerative
from task_affinity.grouping.auto import choose_n_groups, silhouette
from task_affinity.grouping.checks import (
    check_range,
    check_symmetric,
    checked_affinity,
    checked_method,
    checked_n_groups,
)
from task_affinity.grouping.objective import Members, tag_score
from task_affinity.grouping.result import Grouping
from task_affinity.grouping.spectral import spectral
from task_affinity.grouping.tag import serving, tag


class TaskGrouper:
    """Put tasks into groups that are trained together.

    Parameters
    ----------
    n_groups : int or "auto"
        Number of groups, 1 to that of tasks; for `tag` the most that are made. ``"auto"`` starts
        from ``ceil(T / 2.5)`` and its halves and goes where the mean silhouette on 1 - affinity
        rises.
    method : {"agglomerative", "spectral", "tag"}
        Average linkage on 1 - affinity; spectral clustering on (affinity + 1) / 2; or groups that
        may overlap, by the affinity that each task receives (Fifty et al. 2021).
    seed : int
        Seed of `spectral` and of `tag`'s beam search.

    Attributes
    ----------
    groups_ : list of list of str
        What `cluster` returned.
    assignment_ : dict of str to int
        The group that serves each task, counted from 0.
    score_ : float
        For `tag` its objective, otherwise the mean silhouette; see `Grouping`.
    exact_ : bool
        Whether no other grouping can score more.
    n_groups_ : int
        Number of groups made.
    scores_ : dict of int to float
        Silhouettes that ``"auto"`` compared.
    grouping_ : Grouping
        All of it, ready to be saved.

    Raises
    ------
    TaskAffinityError
        If there is no such method.
    """

    def __init__(
        self,
        n_groups: int | Literal["auto"] = 3,
        method: ClusteringMethod = "agglomerative",
        seed: int = 42,
    ) -> None:
        self.n_groups = n_groups
        self.method = checked_method(method)
        self.seed = seed

    @classmethod
    def from_config(cls, config: TaskAffinityConfig) -> TaskGrouper:
        """Return the grouper of a configuration."""
        return cls(config.n_groups, config.clustering_method, config.seed)

    def cluster(self, affinity: Any, names: Sequence[str]) -> list[list[str]]:
        """Group the tasks.

        Parameters
        ----------
        affinity : array_like [T, T]
            Row i receives from column j. The diagonal is not read. `agglomerative` takes the mean
            of both directions, `spectral` wants them equal.
        names : sequence of str
            The tasks, in the order of rows and columns.

        Returns
        -------
        list of list of str
            Tasks in the order of `names`, groups in that of their first tasks. Fewer than
            `n_groups` for `tag` where a further group would help no task.

        Raises
        ------
        TaskAffinityError
            If the matrix is not square, not finite, or (for `spectral`) not symmetric; if the
            names do not fit it; or if `n_groups` is not from 1 to T.
        """
        matrix, names = checked_affinity(affinity, names)
        if self.method == "spectral":
            check_symmetric(matrix, names)
            check_range(matrix, names)
        if self.n_groups == "auto":
            found: dict[int, tuple[Members, Labels, bool]] = {}

            def score(n_groups: int) -> float:
                found[n_groups] = self._groups(matrix, n_groups)
                return silhouette(matrix, found[n_groups][1])

            n_groups, silhouettes = choose_n_groups(len(matrix), score)
            made = found.get(n_groups) or self._groups(matrix, n_groups)
        else:
            silhouettes = {}
            made = self._groups(matrix, checked_n_groups(self.n_groups, len(matrix)))
        self._keep(matrix, names, *made, silhouettes)
        return self.groups_

    def _groups(self, matrix: FloatArray, n_groups: int) -> tuple[Members, Labels, bool]:
        """Return groups [K, T] in the order of their first tasks, who serves whom, and a proof."""
        if self.method == "tag":
            members, exact = tag(matrix, n_groups, self.seed)
            members = members[np.lexsort(~members.T[::-1])]
            return members, serving(matrix, members), exact
        labels = (
            spectral(matrix, n_groups, self.seed)
            if self.method == "spectral"
            else agglomerative(matrix, n_groups)
        )
        _, first = np.unique(labels, return_index=True)
        members = labels == labels[np.sort(first)][:, None]
        return members, members.argmax(axis=0), False

    def _keep(
        self,
        matrix: FloatArray,
        names: list[str],
        members: Members,
        served_by: Labels,
        exact: bool,
        silhouettes: dict[int, float],
    ) -> None:
        if self.method == "tag":
            score = tag_score(matrix, members)
        else:
            score = silhouette(matrix, served_by)
        self.grouping_ = Grouping(
            groups=[[names[t] for t in np.flatnonzero(group)] for group in members],
            assignment={name: int(k) for name, k in zip(names, served_by, strict=True)},
            method=self.method,
            score=score,
            exact=exact,
            silhouettes=silhouettes,
        )

    @property
    def groups_(self) -> list[list[str]]:
        """Groups of task names."""
        return self.grouping_.groups

    @property
    def assignment_(self) -> dict[str, int]:
        """The group that serves each task."""
        return self.grouping_.assignment

    @property
    def score_(self) -> float:
        """What the method is judged by."""
        return self.grouping_.score

    @property
    def exact_(self) -> bool:
        """Whether no other grouping can score more."""
        return self.grouping_.exact

    @property
    def n_groups_(self) -> int:
        """Number of groups made."""
        return self.grouping_.n_groups

    @property
    def scores_(self) -> dict[int, float]:
        """Silhouettes that ``"auto"`` compared."""
        return self.grouping_.silhouettes


def select_groups(
    affinity: Any, names: Sequence[str], config: TaskAffinityConfig | None = None
) -> Grouping:
    """Group tasks as a configuration says.

    Parameters
    ----------
    affinity : array_like [T, T]
        Row i receives from column j.
    names : sequence of str
        The tasks, in the order of rows and columns.
    config : TaskAffinityConfig or None
        Its `n_groups`, `clustering_method` and `seed` are read.

    Returns
    -------
    Grouping
        Groups, which of them serves each task, and the score.

    Raises
    ------
    TaskAffinityError
        See `TaskGrouper.cluster`.
    """
    grouper = TaskGrouper.from_config(config or TaskAffinityConfig())
    grouper.cluster(affinity, names)
    return grouper.grouping_
