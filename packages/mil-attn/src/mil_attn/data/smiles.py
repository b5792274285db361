"""Bags of conformers from SMILES."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from molpool_common import listed
from numpy.typing import NDArray

from mil_attn.data import descriptors_2d, descriptors_3d
from mil_attn.data.bag_data import BagData, Failure, TaskKind
from mil_attn.data.chem import require_rdkit
from mil_attn.data.computed import described, instances_of
from mil_attn.data.config import MoleculeFeaturesConfig
from mil_attn.data.descriptors_2d import Described
from mil_attn.data.packed import Instances
from mil_attn.errors import MILError

StageProgress = Callable[[str, int, int], None]
"""Told what is computed (``descriptors`` or ``conformers``), and how many molecules of how many."""


def from_smiles(
    smiles: Sequence[str | None],
    *,
    ids: Sequence[str] | None = None,
    labels: NDArray[np.float64] | None = None,
    task_names: Sequence[str] = (),
    task_kind: TaskKind = "classification",
    weights: NDArray[np.float64] | None = None,
    aux: Mapping[str, NDArray[np.float64]] | None = None,
    aux_weights: Mapping[str, NDArray[np.float64]] | None = None,
    aux_names: Mapping[str, Sequence[str]] | None = None,
    features: MoleculeFeaturesConfig | None = None,
    cache: str | Path | None = None,
    workers: int = 1,
    progress: StageProgress | None = None,
) -> BagData:
    """Return the molecules of SMILES with conformers, their descriptors and 2D features.

    Conformers are embedded with ETKDGv3, relaxed with MMFF94 and pruned; they are a molecule's
    instances, lowest first. A molecule of which none embeds, or that is no molecule, is left out
    and listed in ``failures``. Descriptors that are not defined for a molecule are NaN: scale the
    data before use.

    Parameters
    ----------
    smiles : sequence of str or None [N]
        Each different text is computed once.
    ids : sequence of str [N], optional
        Distinct names; by default 1, 2, ...
    labels, task_names, task_kind, weights, aux, aux_weights, aux_names
        As of `BagData`, a row a SMILES.
    features : MoleculeFeaturesConfig, optional
        What to compute; without `descriptors_3d` there are no conformers.
    cache : str or Path, optional
        Folder in which several processes may keep what they compute for the next run. A run that
        is killed loses at most some dozen molecules.
    workers : int
        Processes. More than 1 are spawned: a script needs ``if __name__ == "__main__":``.
    progress : callable, optional
        Told how far it is, where something has to be computed.

    Raises
    ------
    MILError
        If no molecule is left, ids or labels are wrong, or nothing is to be computed.
    ImportError
        Without RDKit.
    """
    require_rdkit()
    config = features or MoleculeFeaturesConfig()
    _check_request(config, workers)
    names = [str(i + 1) for i in range(len(smiles))] if ids is None else [str(i) for i in ids]
    frame = BagData(  # the labels are checked before minutes of work
        names,
        x2d=np.zeros((len(names), 0), dtype=np.float32),
        labels=labels,
        task_names=task_names,
        task_kind=task_kind,
        weights=weights,
        aux=aux or {},
        aux_weights=aux_weights or {},
        aux_names=aux_names or {},
        smiles=[text or "" for text in smiles],
    )
    computed = _Computed(frame.smiles or (), config, cache, workers, progress)
    failures = computed.failures(frame)
    failed = {failure.row for failure in failures}
    kept = [row for row in range(len(frame)) if row not in failed]
    if not kept:
        raise MILError(
            f"smiles: expected at least one molecule that can be computed; found none of "
            f"{len(frame)}{_reasons(failures)}."
        )
    data = frame.take(kept)
    return data.replace(failures=failures, undefined_ok=True, **computed.features(data))


class _Computed:
    """Features by SMILES, each different text once."""

    def __init__(
        self,
        smiles: Sequence[str],
        config: MoleculeFeaturesConfig,
        cache: str | Path | None,
        workers: int,
        progress: StageProgress | None,
    ) -> None:
        texts = list(dict.fromkeys(smiles))
        folder = None if cache is None else Path(cache)

        def told(stage: str) -> Callable[[int, int], None] | None:
            return None if progress is None else partial(progress, stage)

        self.config = config
        self.flat: dict[str, Described] | None = None
        self.deep: dict[str, Instances] | None = None
        if config.use_2d:
            two_d = config.descriptors_2d
            flat = described(
                texts, two_d, cache=folder, workers=workers, progress=told("descriptors")
            )
            self.flat = dict(zip(texts, flat, strict=True))
        if config.descriptors_3d:
            deep = instances_of(
                texts,
                config.conformers,
                config.descriptors_3d,
                cache=folder,
                workers=workers,
                progress=told("conformers"),
            )
            self.deep = dict(zip(texts, deep, strict=True))

    def failures(self, frame: BagData) -> tuple[Failure, ...]:
        """Return the molecules that have no features, with reasons."""
        tables = [table for table in (self.flat, self.deep) if table is not None]
        failures = []
        for row, text in enumerate(frame.smiles or ()):
            reasons = [table[text].reason for table in tables if table[text].reason]
            if reasons:
                failures.append(Failure(frame.ids[row], row, text, reasons[0]))
        return tuple(failures)

    def features(self, data: BagData) -> dict[str, Any]:
        """Return what `BagData` wants of molecules that all have features."""
        parts: dict[str, Any] = {"x2d": None, "feature_names_2d": ()}
        smiles = data.smiles or ()
        if self.flat is not None:
            names = descriptors_2d.feature_names(self.config.descriptors_2d)
            x2d = np.empty((len(smiles), len(names)), dtype=np.float32)
            for row, text in enumerate(smiles):
                flat = self.flat[text]
                x2d[row, : len(flat.values)] = flat.values
                x2d[row, len(flat.values) :] = flat.counts
            parts |= {"x2d": x2d, "feature_names_2d": names}
        if self.deep is not None:
            deep = [self.deep[text] for text in smiles]
            sizes = [len(part.energies) for part in deep]
            parts |= {
                "instances": np.concatenate([part.values for part in deep]),
                "energies": np.concatenate([part.energies for part in deep]),
                "offsets": np.concatenate([[0], np.cumsum(sizes)]),
                "feature_names_3d": descriptors_3d.feature_names(self.config.descriptors_3d),
                "instance_ids": [
                    f"{name}-{k + 1}"
                    for name, size in zip(data.ids, sizes, strict=True)
                    for k in range(size)
                ],
            }
        return parts


def _check_request(config: MoleculeFeaturesConfig, workers: int) -> None:
    two_d = config.descriptors_2d
    if config.use_2d and not (two_d.descriptors or two_d.morgan_bits):
        raise MILError(
            "descriptors_2d: expected descriptors, morgan_bits or both with use_2d; found neither."
        )
    if not (config.use_2d or config.descriptors_3d):
        raise MILError("features: expected descriptors_3d, use_2d or both; found neither.")
    if workers < 1:
        raise MILError(f"workers: expected at least 1; found {workers}.")


def _reasons(failures: Sequence[Failure]) -> str:
    shown = [f"{f.smiles!r} in row {f.row + 1}: {f.reason}" for f in failures]
    return f" ({listed(shown, 3)})" if shown else ""
