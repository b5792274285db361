"""Groups of tasks from a matrix of affinities, by any of the methods, and their file."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from molpool_common import (
    BoolArray,
    FloatArray,
    IntArray,
    checked,
    did_you_mean,
    listed,
    write_text,
)

from task_affinity._clustering import agglomerative, choose_n_groups, silhouette, spectral
from task_affinity._config import ClusteringMethod, TaskAffinityConfig
from task_affinity._errors import TaskAffinityError
from task_affinity._tag import serving, tag, tag_score

METHODS: tuple[str, ...] = get_args(ClusteringMethod)
SYMMETRIC = 1e-5
"""Largest difference across the diagonal that single-precision sums leave in cosines."""


def checked_method(method: str) -> str:
    """Return `method` if there is one of that name."""
    if method not in METHODS:
        raise TaskAffinityError(f"method: unknown {method!r}. {did_you_mean(str(method), METHODS)}")
    return method


def checked_affinity(affinity: Any, names: Sequence[str]) -> tuple[FloatArray, list[str]]:
    """Return matrix and names if they can be grouped.

    Parameters
    ----------
    affinity : array_like [T, T]
        Row i receives from column j. The diagonal is not read.
    names : sequence of str
        The tasks, in the order of rows and columns.

    Returns
    -------
    tuple of (ndarray [T, T], list of str)
        The matrix as double precision, with ones on its diagonal.

    Raises
    ------
    TaskAffinityError
        If the matrix is not square or not finite off its diagonal, or the names do not fit it.
    """
    matrix = np.array(affinity, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) == 0:
        raise TaskAffinityError(
            f"affinity: expected a square matrix, one row per task; found shape {matrix.shape}"
        )
    names = [str(name) for name in names]
    if len(names) != len(matrix):
        raise TaskAffinityError(
            f"names: expected one per row of the matrix, {len(matrix)}; found {len(names)}"
        )
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise TaskAffinityError(f"names: expected each task once; found twice: {listed(twice)}")
    np.fill_diagonal(matrix, 1.0)
    _check_finite(matrix, names)
    return matrix, names


def _check_finite(matrix: FloatArray, names: list[str]) -> None:
    bad = ~np.isfinite(matrix)
    if not bad.any():
        return
    i, j = np.nonzero(np.triu(bad | bad.T))
    pairs = [f"{names[a]} and {names[b]}" for a, b in zip(i, j, strict=True)]
    raise TaskAffinityError(
        f"affinity: expected finite numbers; found NaN or infinity between {listed(pairs)}."
        " No batch had labels of both, or a loss was not finite: measure longer or in larger"
        " batches, or leave tasks out"
    )


def checked_n_groups(n_groups: Any, n_tasks: int) -> int:
    """Return `n_groups` if that many groups can be made of the tasks."""
    is_integer = isinstance(n_groups, int | np.integer) and not isinstance(n_groups, bool)
    if not is_integer or not 1 <= n_groups <= n_tasks:
        raise TaskAffinityError(
            f"n_groups: expected 1 to {n_tasks}, the number of tasks, or 'auto'; found {n_groups!r}"
        )
    return int(n_groups)


def check_symmetric(matrix: FloatArray, names: list[str]) -> None:
    """Raise unless the matrix is symmetric, naming the pair that differs most."""
    difference = np.abs(matrix - matrix.T)
    i, j = np.unravel_index(difference.argmax(), matrix.shape)
    if difference[i, j] > SYMMETRIC * max(1.0, np.abs(matrix).max()):
        raise TaskAffinityError(
            f"affinity: expected a symmetric matrix for method 'spectral'; found"
            f" {matrix[i, j]:.4g} from {names[j]} to {names[i]} and {matrix[j, i]:.4g} back."
            " Use 'agglomerative' or 'tag'"
        )


def check_range(matrix: FloatArray, names: list[str]) -> None:
    """Raise unless affinities lie between -1 and 1, as those of cosines do."""
    i, j = np.unravel_index(np.abs(matrix).argmax(), matrix.shape)
    if np.abs(matrix[i, j]) > 1 + SYMMETRIC:
        raise TaskAffinityError(
            f"affinity: expected values from -1 to 1 for method 'spectral'; found"
            f" {matrix[i, j]:.4g} between {names[i]} and {names[j]}"
        )


@dataclass(frozen=True)
class Grouping:
    """Groups of tasks, and how they were found.

    Parameters
    ----------
    groups : list of list of str
        The tasks of each group, in the order of the matrix; groups by their first task. Only
        those of `tag` may overlap.
    assignment : dict of str to int
        The group that serves each task, counted from 0.
    method : str
        ``agglomerative``, ``spectral``, ``tag`` exact or ``tag`` by beam search (see `exact`).
    score : float
        What the method maximises. `tag`: the mean over tasks of the affinity received in the
        group that serves each; otherwise the mean silhouette on 1 - affinity, NaN for a single
        group or as many groups as tasks.
    exact : bool
        Whether no other grouping of at most as many groups can score more.
    silhouettes : dict of int to float
        For ``n_groups = "auto"``: mean silhouette at each number of groups that was tried.
    """

    groups: list[list[str]]
    assignment: dict[str, int]
    method: str
    score: float
    exact: bool
    silhouettes: dict[int, float] = field(default_factory=dict)

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return len(self.groups)

    def save(self, path: str | Path) -> None:
        """Write a JSON file that `load` reads; scores that are NaN become null."""
        values = asdict(self)
        values["score"] = _or_null(self.score)
        values["silhouettes"] = {str(n): _or_null(s) for n, s in self.silhouettes.items()}
        write_text(Path(path), json.dumps(values, indent=2, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Grouping:
        """Read what `save` wrote.

        Raises
        ------
        TaskAffinityError
            If there is no such file or it holds no groups.
        """
        try:
            values = json.loads(checked(path).read_text(encoding="utf-8"))
            return cls(
                groups=[[str(task) for task in group] for group in values["groups"]],
                assignment={str(task): int(k) for task, k in values["assignment"].items()},
                method=str(values["method"]),
                score=_or_nan(values["score"]),
                exact=bool(values["exact"]),
                silhouettes={int(n): _or_nan(s) for n, s in values["silhouettes"].items()},
            )
        except OSError as error:
            raise TaskAffinityError(f"groups: cannot read {str(path)!r}: {error}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise TaskAffinityError(
                f"groups: expected a file with groups as Grouping.save writes it;"
                f" found {str(path)!r}, where reading stopped at {error!r}"
            ) from error


def _or_null(value: float) -> float | None:
    return None if math.isnan(value) else value


def _or_nan(value: Any) -> float:
    return math.nan if value is None else float(value)


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
            found: dict[int, tuple[BoolArray, IntArray, bool]] = {}

            def score(n_groups: int) -> float:
                found[n_groups] = self._groups(matrix, n_groups)
                return silhouette(matrix, found[n_groups][1])

            n_groups, silhouettes = choose_n_groups(len(matrix), score)
            made = found.get(n_groups) or self._groups(matrix, n_groups)
        else:
            silhouettes = {}
            made = self._groups(matrix, checked_n_groups(self.n_groups, len(matrix)))
        self._take(matrix, names, *made, silhouettes)
        return self.groups_

    def _groups(self, matrix: FloatArray, n_groups: int) -> tuple[BoolArray, IntArray, bool]:
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

    def _take(
        self,
        matrix: FloatArray,
        names: list[str],
        members: BoolArray,
        served_by: IntArray,
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
        """The method's own score."""
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
    config = config or TaskAffinityConfig()
    grouper = TaskGrouper.from_config(config)
    grouper.n_groups = config.n_groups_of(len(names))
    grouper.cluster(affinity, names)
    return grouper.grouping_
