"""What a grouping is, and its file."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from molpool_common import write_text

from task_affinity.errors import TaskAffinityError


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
        What the method is judged by. `tag`: the mean over tasks of the affinity received in the
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
            values = json.loads(Path(path).read_text(encoding="utf-8"))
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
