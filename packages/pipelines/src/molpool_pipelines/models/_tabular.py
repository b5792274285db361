"""Models of `molpool-train tabular`, `blend` and `auto`: members on features, and weights."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from molpool_common import Float32Array, FloatArray, InputError, TaskType, atomic_path

from molpool_pipelines.models._files import TABULAR
from molpool_pipelines.models._members import asks_sd, load_member, predict_member
from molpool_pipelines.models._protocol import Kind, Predicted
from molpool_pipelines.runs import TABULAR_FOLDER

if TYPE_CHECKING:
    from multitask_models import MultitaskModel

FORMAT = 1
"""Version of the folder."""


@dataclass(frozen=True)
class Blend:
    """Members on the same features, mixed by task.

    Parameters
    ----------
    names : tuple of str, length M
        Of the members.
    members : tuple of MultitaskModel, length M
        Fitted.
    weights : ndarray [M, T]
        Of each member in each task; columns sum to 1.
    """

    names: tuple[str, ...]
    members: tuple[MultitaskModel, ...]
    weights: FloatArray

    def predict(self, X: Float32Array) -> tuple[FloatArray, FloatArray]:
        """Return predictions and their standard deviations, [N, T] each."""
        n = len(self.members)
        each = [
            predict_member(member, X, with_sd=asks_sd(name, n))
            for name, member in zip(self.names, self.members, strict=True)
        ]
        return mix(np.stack([m for m, _ in each]), np.stack([s for _, s in each]), self.weights)


def mix(means: FloatArray, sds: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return mean and standard deviation of a mixture.

    Parameters
    ----------
    means, sds : ndarray [M, N, T]
        Of the members; an sd of NaN counts as none, and a mean of NaN gives its weight to others.
    weights : ndarray [M, T]
        Not negative.

    Returns
    -------
    mean, sd : ndarray [N, T]
        The sd is that of the mixture: of members that disagree, or are unsure, or both.
    """
    share = np.where(np.isnan(means), 0.0, weights[:, None, :])
    total = share.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = share / total
    filled = np.nan_to_num(means)
    mean = np.where(total > 0, (share * filled).sum(axis=0), np.nan)
    variance = np.nan_to_num(sds) ** 2 + (filled - np.nan_to_num(mean)) ** 2
    sd = np.sqrt(np.where(total > 0, (share * variance).sum(axis=0), np.nan))
    return mean, sd


class TabularModel:
    """A blend with what it needs to read molecules.

    Parameters
    ----------
    blend : Blend
        The members and their weights.
    task_names, task_types : tuple of str, length T
        The tasks and what they are.
    signature : mapping
        Of the features, as `molecule_features.Features.signature` gives it.
    cache : str
        Folder of cached features, ``auto`` for the user's.
    """

    kind: Kind = "tabular"
    chunk_rows = 1 << 14

    def __init__(
        self,
        blend: Blend,
        task_names: tuple[str, ...],
        task_types: tuple[TaskType, ...],
        signature: Mapping[str, Any],
        cache: str = "auto",
    ) -> None:
        self.blend = blend
        self.task_names = task_names
        self.task_types = task_types
        self.signature = signature
        self.n_members = len(blend.members)
        self._cache = cache

    def predict(self, smiles: Sequence[str], batch_size: int) -> Predicted:
        """Predict molecules; those without any feature have a reason instead."""
        from molecule_features import featurize

        found = featurize(
            smiles, self.signature["features"], cache=self._cache, stored=self.signature
        )
        mean, sd = self.blend.predict(found.values)
        gone = np.asarray(np.isnan(mean).all(axis=1))
        reasons = [
            (reason or "no features") if lost else None
            for reason, lost in zip(found.reasons, gone, strict=True)
        ]
        return Predicted(mean, sd, None, reasons)

    def save(self, folder: Path) -> Path:
        """Write the members and what they are into a folder; return the file that names them."""
        folder.mkdir(parents=True, exist_ok=True)
        files = []
        for number, (name, member) in enumerate(
            zip(self.blend.names, self.blend.members, strict=True)
        ):
            file = f"member-{number:03d}-{name}.npz"
            member.save(folder / file)
            files.append(file)
        described = {
            "format": FORMAT,
            "task_names": self.task_names,
            "task_types": self.task_types,
            "features": dict(self.signature),
            "members": [
                {
                    "name": name,
                    "file": file,
                    "weights": dict(zip(self.task_names, weights.tolist(), strict=True)),
                }
                for name, file, weights in zip(
                    self.blend.names, files, self.blend.weights, strict=True
                )
            ],
        }
        path = folder / TABULAR
        # Last: a folder without it holds no model.
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(described, indent=1), encoding="utf-8")
        return path

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a run folder, or the folder that `save` wrote.

        Raises
        ------
        InputError
            If there is none, or one of a later version.
        """
        folder = path if (path / TABULAR).is_file() else path / TABULAR_FOLDER
        try:
            described = json.loads((folder / TABULAR).read_text(encoding="utf-8"))
            tasks = tuple(described["task_names"])
            files = [folder / member["file"] for member in described["members"]]
            weights = np.array(
                [[member["weights"][task] for task in tasks] for member in described["members"]]
            )
            later = described["format"] > FORMAT
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                "model_dir", expected="a model on features", found=str(error), where=str(folder)
            ) from None
        if later:
            raise InputError(
                "model_dir",
                expected=f"format {FORMAT}",
                found=str(described["format"]),
                where=str(folder),
                hint="A later version of molpool wrote it.",
            )
        names = tuple(member["name"] for member in described["members"])
        members = tuple(load_member(*pair) for pair in zip(names, files, strict=True))
        return cls(
            Blend(names, members, weights),
            tasks,
            tuple(described["task_types"]),
            described["features"],
        )
