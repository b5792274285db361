"""Models of `molpool-train tabular`, `blend` and `auto`: members of several kinds, and weights."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
from molpool_common import (
    BoolArray,
    Float32Array,
    FloatArray,
    InputError,
    ScaleName,
    Structure,
    TaskType,
    atomic_path,
    checked,
    structures_of,
)

from molpool_pipelines.models._files import TABULAR, read_blend, run_cache
from molpool_pipelines.models._members import (
    MEMBERS,
    MemberName,
    Molecules,
    load_member,
    predict_member,
)
from molpool_pipelines.models._protocol import Kind, Predicted
from molpool_pipelines.runs import TABULAR_FOLDER

if TYPE_CHECKING:
    from multitask_models import MultitaskModel

    from molpool_pipelines.models._members import Member

FORMAT = 2
"""Version of the folder; 1 is written where nothing of it is used that 2 has."""

_SAID = 1e-3
"""Weight by which a member without any says how unsure a prediction is."""


@dataclass(frozen=True)
class Blend:
    """Models of the same molecules, mixed by task.

    Parameters
    ----------
    names : tuple of str, length M
        Of the members.
    members : tuple of MultitaskModel or GraphNetworks, length M
        Fitted.
    weights : ndarray [M, T]
        Of each member in each task; columns sum to 1.
    with_sd : tuple of bool, length M
        Whether a member is asked for standard deviations, as it was out of fold.
    surrogates : tuple of MultitaskModel
        Models of related assays, whose predictions some members take after the features.
    inputs : tuple of tuple of int, length M, or ()
        The surrogates that each member takes; none of them where there is no entry.
    """

    names: tuple[MemberName, ...]
    members: tuple[Member, ...]
    weights: FloatArray
    with_sd: tuple[bool, ...]
    surrogates: tuple[MultitaskModel, ...] = ()
    inputs: tuple[tuple[int, ...], ...] = ()

    def predict(
        self, molecules: Molecules, *, latent: bool = False
    ) -> tuple[FloatArray, FloatArray]:
        """Return predictions and their standard deviations, [N, T] each.

        Parameters
        ----------
        molecules : Molecules
            N of them.
        latent : bool
            Predict the values behind the assays, which may lie beyond their limits.
        """
        n_tasks = self.weights.shape[1]
        if not len(molecules.smiles):
            # A request or a chunk of a table in which nothing parses; members refuse no rows.
            return np.empty((0, n_tasks)), np.empty((0, n_tasks))
        means, sds = [], []
        seen = self._seen(molecules)
        for member, own, with_sd in zip(self.members, seen, self.with_sd, strict=True):
            mean, sd = predict_member(member, own, with_sd=with_sd, latent=latent)
            # Heads of related assays come after those of the tasks.
            means.append(mean[:, :n_tasks])
            sds.append(sd[:, :n_tasks])
        return mix(np.stack(means), np.stack(sds), self.weights)

    def _seen(self, molecules: Molecules) -> Iterator[Molecules]:
        """Yield what each member sees of molecules."""
        said = [
            np.asarray(model.predict(molecules.X), dtype=np.float32) for model in self.surrogates
        ]
        for i in range(len(self.members)):
            yield molecules.beside([said[j] for j in self.taken(i)])

    def encode(self, molecules: Molecules) -> Float32Array:
        """Return the last hidden units [N, H] of the networks on features.

        Raises
        ------
        InputError
            If no member is one.
        """
        # torch takes seconds to import.
        from multitask_models import MultitaskMLP

        found = [
            member.encode(own.X)
            for member, own in zip(self.members, self._seen(molecules), strict=True)
            if isinstance(member, MultitaskMLP)
        ]
        if not found:
            names = ", ".join(self.names)
            raise InputError("model", expected="a network on features (mlp)", found=names)
        return np.hstack(found)

    def taken(self, member: int) -> tuple[int, ...]:
        """Return the surrogates whose predictions a member takes."""
        return self.inputs[member] if self.inputs else ()

    @property
    def format(self) -> int:
        """The earliest version of the folder that says what this blend is."""
        tasks = self.weights.shape[1]
        # Networks of graphs have no heads beside those of the tasks.
        more = any(len(getattr(m, "single_values_", ())) > tasks for m in self.members)
        return 2 if self.surrogates or more else 1


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
        The sd is that of the mixture: of members that disagree, or are unsure, or both. How unsure
        they are is said by those that say it, even where they weigh little. NaN where no member
        says it and one alone has all the weight: that is no certainty.
    """
    share = _shares(np.isfinite(means), weights)
    filled = np.nan_to_num(means)
    there = share.sum(axis=0) > 0
    mean = np.where(there, (share * filled).sum(axis=0), np.nan)
    between = (share * (filled - np.nan_to_num(mean)) ** 2).sum(axis=0)
    known = np.isfinite(sds) & np.isfinite(means)
    within = (_shares(known, weights + _SAID) * np.nan_to_num(sds) ** 2).sum(axis=0)
    variance = within + between
    unsaid = ~known.any(axis=0) & ((share > 0).sum(axis=0) < 2)
    return mean, np.where(there & ~unsaid, np.sqrt(variance), np.nan)


def _shares(there: BoolArray, weights: FloatArray) -> FloatArray:
    """Return weights [M, T] of the members that are there [M, N, T], which sum to 1 or to 0."""
    share = np.where(there, weights[:, None, :], 0.0)
    total = share.sum(axis=0)
    return np.asarray(share / np.where(total > 0, total, 1.0))


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
    structure : {"given", "parent", "tautomer"}
        What the model sees of a molecule.
    scales : tuple of str, length T
        Scale on which the blend says each task, as `from_scale` takes it.
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
        structure: Structure = "given",
        scales: tuple[ScaleName, ...] = (),
    ) -> None:
        self.blend = blend
        self.task_names = task_names
        self.task_types = task_types
        self.signature = signature
        self.n_members = len(blend.members)
        self.structure: Structure = structure
        none: tuple[ScaleName, ...] = ("none",)
        self.scales = scales or none * len(task_names)
        self._cache = cache

    def predict(self, smiles: Sequence[str], batch_size: int, *, latent: bool = False) -> Predicted:
        """Predict molecules, on the scales; those without any feature have a reason instead.

        `latent` predicts values behind the assays, which may lie beyond their limits.
        """
        molecules, known = self._read(smiles)
        mean, sd = self.blend.predict(molecules, latent=latent)
        gone = np.asarray(np.isnan(mean).all(axis=1))
        reasons = [
            (reason or "no features") if lost else None
            for reason, lost in zip(known, gone, strict=True)
        ]
        return Predicted(mean, sd, None, reasons)

    def encode(self, smiles: Sequence[str]) -> Float32Array:
        """Return the last hidden units [N, H] of its networks, NaN for molecules not featurised.

        Raises
        ------
        InputError
            If none of its members is a network on features.
        """
        return self.blend.encode(self._read(smiles)[0])

    def _read(self, smiles: Sequence[str]) -> tuple[Molecules, Sequence[str | None]]:
        """Return molecules with their features, and why one has none."""
        from molecule_features import featurize

        seen = structures_of(smiles, self.structure)
        found = featurize(
            seen, self.signature["features"], cache=self._cache, stored=self.signature
        )
        return Molecules(seen, found.values), found.reasons

    def save(self, folder: Path) -> Path:
        """Write the members and what they are into a folder; return the file that names them."""
        folder.mkdir(parents=True, exist_ok=True)
        files = []
        for number, (name, member) in enumerate(
            zip(self.blend.names, self.blend.members, strict=True)
        ):
            # Networks are a folder of files, each of which Chemprop reads.
            file = f"member-{number:03d}-{name}" + ("" if name == "chemprop" else ".npz")
            member.save(folder / file)
            files.append(file)
        surrogates = [f"related-{i:03d}.npz" for i in range(len(self.blend.surrogates))]
        for file, model in zip(surrogates, self.blend.surrogates, strict=True):
            model.save(folder / file)
        described: dict[str, Any] = {
            # Earlier versions, which would show it what is given, refuse a model of parents.
            "format": self.blend.format if self.structure == "given" else FORMAT,
            "structure": self.structure,
            "task_names": self.task_names,
            "task_types": self.task_types,
            "scales": self.scales,
            "features": dict(self.signature),
            "members": [
                {
                    "name": name,
                    "file": file,
                    "sd": with_sd,
                    "weights": dict(zip(self.task_names, weights.tolist(), strict=True)),
                    **({"surrogates": self.blend.taken(i)} if surrogates else {}),
                }
                for i, (name, file, with_sd, weights) in enumerate(
                    zip(
                        self.blend.names, files, self.blend.with_sd, self.blend.weights, strict=True
                    )
                )
            ],
        }
        if surrogates:
            described["surrogates"] = surrogates
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
        folder = checked(path if (path / TABULAR).is_file() else path / TABULAR_FOLDER)
        found = read_blend(
            folder / TABULAR,
            folder,
            what="a model on features",
            latest=FORMAT,
            known=MEMBERS,
            needs=("task_types", "features"),
        )
        described, entries = found.described, found.described["members"]
        inputs = tuple(tuple(entry.get("surrogates", ())) for entry in entries)
        surrogates, signature = _surrogates(found.surrogates), described["features"]
        known = isinstance(signature, dict) and "features" in signature
        if not known or any(not 0 <= i < len(surrogates) for taken in inputs for i in taken):
            raise InputError(
                "model_dir",
                expected="a model on features",
                found=f"features {signature}, {len(surrogates)} surrogates, members of {inputs}",
                where=str(folder),
            )
        names = cast("tuple[MemberName, ...]", found.names)
        blend = Blend(
            names,
            tuple(load_member(*pair) for pair in zip(names, found.files, strict=True)),
            np.array(found.weights),
            tuple(bool(entry.get("sd")) for entry in entries),
            surrogates,
            inputs,
        )
        return cls(
            blend,
            found.tasks,
            tuple(described["task_types"]),
            signature,
            run_cache(path),
            scales=tuple(described.get("scales", ())),
            structure=described.get("structure", "given"),
        )


def _surrogates(files: Sequence[Path]) -> tuple[MultitaskModel, ...]:
    if not files:
        return ()
    # torch takes seconds to import.
    from multitask_models import MultitaskMLP

    return tuple(MultitaskMLP.load(file) for file in files)
