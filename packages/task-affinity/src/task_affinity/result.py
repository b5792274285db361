"""What a measurement gives, and its file."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from molpool_common import atomic_path
from numpy.typing import NDArray

from task_affinity.config import TaskAffinityConfig
from task_affinity.errors import TaskAffinityError, listed

_ARRAYS = ("matrix", "standard_errors", "counts", "block_sums", "block_counts")


@dataclass(frozen=True, eq=False)
class AffinityResult:
    """Affinities of T tasks.

    Parameters
    ----------
    task_names : tuple of str
        Names of the tasks, in the order of rows and columns.
    matrix : ndarray [T, T]
        Affinities; row i receives from column j. NaN for a pair that no measured batch had.
    standard_errors : ndarray [T, T]
        Their standard errors over batches; NaN for a pair that fewer than two had.
    counts : ndarray of int [T, T]
        Measured batches that had both tasks.
    block_sums : ndarray [S, T, T]
        Sums of affinities in blocks of consecutive batches, of a batch each in a short run; before
        normalisation where `dot_product` is normalised.
    block_counts : ndarray of int [S, T, T]
        Batches of each block that had the pair.
    config : TaskAffinityConfig
        How it was measured.
    estimator : str
        ``exact`` or ``probe``: what ran.
    n_steps : int
        Training steps that were taken.
    n_measured : int
        How many of them were measured.
    """

    task_names: tuple[str, ...]
    matrix: NDArray[np.float64]
    standard_errors: NDArray[np.float64]
    counts: NDArray[np.int64]
    block_sums: NDArray[np.float32]
    block_counts: NDArray[np.int32]
    config: TaskAffinityConfig
    estimator: str
    n_steps: int
    n_measured: int

    @property
    def samples(self) -> NDArray[np.float32]:
        """Mean affinities of each block of batches, [S, T, T]; NaN where a block had no pair."""
        missing = np.full(self.block_sums.shape, np.nan, np.float32)
        return np.divide(
            self.block_sums, self.block_counts, out=missing, where=self.block_counts > 0
        )

    def save(self, path: str | Path) -> None:
        """Write everything to an npz file, which numpy opens without pickle.

        Parameters
        ----------
        path : str or Path
            File to write or replace; it appears whole or not at all.
        """
        about = {
            "config": self.config.model_dump(mode="json"),
            "estimator": self.estimator,
            "n_steps": self.n_steps,
            "n_measured": self.n_measured,
        }
        arrays: dict[str, Any] = {name: getattr(self, name) for name in _ARRAYS}
        arrays["task_names"] = np.array(self.task_names, dtype=np.str_)
        arrays["about"] = np.array(json.dumps(about))
        with atomic_path(Path(path)) as unfinished, unfinished.open("wb") as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, path: str | Path) -> AffinityResult:
        """Read what `save` wrote.

        Raises
        ------
        TaskAffinityError
            If the file is missing, damaged or something else.
        """
        try:
            # Opened here, as numpy leaves a damaged archive's file open.
            with Path(path).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                arrays = dict(file)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise TaskAffinityError(
                f"{path}: expected an npz file of affinities; found {error}"
            ) from None
        except TypeError:
            arrays = {}  # a single array, which is no archive
        missing = [name for name in (*_ARRAYS, "task_names", "about") if name not in arrays]
        if missing:
            raise TaskAffinityError(
                f"{path}: expected an npz file of affinities; found one without {listed(missing)}"
            )
        about = json.loads(str(arrays.pop("about")))
        about["config"] = TaskAffinityConfig.model_validate(about["config"])
        names = tuple(str(name) for name in arrays.pop("task_names"))
        return cls(task_names=names, **{name: arrays[name] for name in _ARRAYS}, **about)
