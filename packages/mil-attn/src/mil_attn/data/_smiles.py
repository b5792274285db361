"""Features of SMILES, each computed once and kept between runs.

Bags of conformers from SMILES.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from molpool_common import ContentStore, Keys, listed, text_keys
from numpy.typing import NDArray

from mil_attn._config import (
    ConformerConfig,
    Descriptors2DConfig,
    DescriptorSet,
    MoleculeFeaturesConfig,
)
from mil_attn._errors import MILError
from mil_attn.data import _molecule_features as descriptors_2d
from mil_attn.data import _molecule_features as descriptors_3d
from mil_attn.data._bag_data import BagData, Failure, TaskKind
from mil_attn.data._feature_cache import (
    CHUNK,
    Instances,
    Shelf,
    found,
    no_instances,
    pack_conformers,
    pack_described,
    pack_instances,
    store_of,
    unpack_conformers,
    unpack_described,
    unpack_instances,
)
from mil_attn.data._molecule_features import (
    Conformers,
    Described,
    conformer_molecule,
    embed,
    require_rdkit,
)
from mil_attn.data._parallel import each_group, groups_of

Progress = Callable[[int, int], None]
"""Told how many molecules of how many are done."""

_DIED = "the process that computed it died"


class _Task(NamedTuple):
    """A molecule to compute: its position, and its conformers where they are known."""

    position: int
    smiles: str
    conformers: Conformers | None = None


class _Done(NamedTuple):
    """What was computed of a molecule; conformers where they are new."""

    result: Any
    conformers: Conformers | None = None
    keep: bool = True


def instances_of(
    smiles: Sequence[str],
    config: ConformerConfig,
    families: Sequence[DescriptorSet],
    *,
    cache: Path | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> list[Instances]:
    """Return the descriptors of the conformers of each molecule.

    Parameters
    ----------
    smiles : sequence of str [N]
        Distinct.
    config : ConformerConfig
        How conformers are made.
    families : sequence of str
        Descriptors.
    cache : Path, optional
        Folder that keeps conformers and descriptors. Those of other settings or of another RDKit
        are not found; other descriptors are computed of the conformers that are there.
    workers : int
        Processes.
    progress : callable, optional
        Told how far it is, where something has to be computed.
    """
    keys = text_keys(smiles)
    store = store_of(cache, "descriptors3d", config, families)
    conformers = store_of(cache, "conformers", config)
    results = dict(found(keys, store, unpack_instances))
    todo = [_Task(i, text) for i, text in enumerate(smiles) if i not in results]

    def died(_: _Task) -> _Done:
        return _Done(no_instances(families, _DIED), keep=False)

    work = partial(_instances, config=config, families=tuple(families))
    groups = _with_conformers(todo, keys, conformers)
    with Shelf(store, pack_instances) as ours, Shelf(conformers, pack_conformers) as theirs:
        for task, done in _each(each_group(work, groups, workers, died), len(todo), progress):
            results[task.position] = done.result
            if done.conformers is not None:
                theirs.put(keys[task.position], done.conformers)
            if done.keep:
                ours.put(keys[task.position], done.result)
    return [results[i] for i in range(len(smiles))]


def described(
    smiles: Sequence[str],
    config: Descriptors2DConfig,
    *,
    cache: Path | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> list[Described]:
    """Return the 2D features of each molecule; parameters as of `instances_of`."""
    keys = text_keys(smiles)
    store = store_of(cache, "descriptors2d", config)
    results = dict(found(keys, store, unpack_described))
    todo = [_Task(i, text) for i, text in enumerate(smiles) if i not in results]

    def died(_: _Task) -> _Done:
        return _Done(descriptors_2d.nothing_described(config, _DIED), keep=False)

    work = partial(_described, config=config)
    groups = groups_of(todo, CHUNK)
    with Shelf(store, pack_described) as ours:
        for task, done in _each(each_group(work, groups, workers, died), len(todo), progress):
            results[task.position] = done.result
            if done.keep:
                ours.put(keys[task.position], done.result)
    return [results[i] for i in range(len(smiles))]


def conformers_of(
    smiles: Sequence[str], config: ConformerConfig, *, cache: Path | None = None
) -> list[Conformers]:
    """Return the conformers of a few molecules: those kept, the others computed here and now.

    Parameters
    ----------
    smiles : sequence of str [N]
        Distinct.
    config : ConformerConfig
        How conformers are made.
    cache : Path, optional
        As of `instances_of`.
    """
    store = store_of(cache, "conformers", config)
    known = dict(found(text_keys(smiles), store, unpack_conformers))
    return [known[i] if i in known else embed(text, config) for i, text in enumerate(smiles)]


def _instances(
    tasks: Sequence[_Task], config: ConformerConfig, families: tuple[DescriptorSet, ...]
) -> list[_Done]:
    return [_instances_of_one(task, config, families) for task in tasks]


def _instances_of_one(
    task: _Task, config: ConformerConfig, families: tuple[DescriptorSet, ...]
) -> _Done:
    conformers = embed(task.smiles, config) if task.conformers is None else task.conformers
    new = conformers if task.conformers is None else None
    if not len(conformers.positions):
        return _Done(no_instances(families, conformers.reason), new)
    values = descriptors_3d.describe_conformers(
        conformer_molecule(task.smiles, conformers, config), families
    )
    return _Done(Instances(values, conformers.energies, ""), new)


def _described(tasks: Sequence[_Task], config: Descriptors2DConfig) -> list[_Done]:
    return [_Done(descriptors_2d.describe_molecule(task.smiles, config)) for task in tasks]


def _with_conformers(
    todo: Sequence[_Task], keys: Keys, store: ContentStore | None
) -> Iterator[list[_Task]]:
    """Yield groups of tasks: first those whose conformers are kept, as these are read."""
    missing = dict(enumerate(todo))

    def known() -> Iterator[_Task]:
        asked = keys[[task.position for task in todo]]
        for i, conformers in found(asked, store, unpack_conformers):
            yield missing.pop(i)._replace(conformers=conformers)

    def unknown() -> Iterator[_Task]:
        yield from missing.values()

    return chain(groups_of(known()), groups_of(unknown()))


def _each(
    groups: Iterable[tuple[list[_Task], list[_Done]]], total: int, progress: Progress | None
) -> Iterator[tuple[_Task, _Done]]:
    done = 0
    for tasks, results in groups:
        yield from zip(tasks, results, strict=True)
        done += len(tasks)
        if progress is not None:
            progress(done, total)


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
            names = descriptors_2d.names_2d(self.config.descriptors_2d)
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
                "feature_names_3d": descriptors_3d.names_3d(self.config.descriptors_3d),
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
