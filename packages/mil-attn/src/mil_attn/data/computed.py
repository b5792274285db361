"""Features of SMILES, each computed once and kept between runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from molpool_common import ContentStore, Keys, text_keys

from mil_attn.data import descriptors_2d, descriptors_3d
from mil_attn.data.config import ConformerConfig, Descriptors2DConfig, DescriptorSet
from mil_attn.data.conformers import Conformers, conformer_molecule, embed
from mil_attn.data.descriptors_2d import Described
from mil_attn.data.kept import CHUNK, Shelf, found, store_of
from mil_attn.data.packed import (
    Instances,
    no_instances,
    pack_conformers,
    pack_described,
    pack_instances,
    unpack_conformers,
    unpack_described,
    unpack_instances,
)
from mil_attn.data.parallel import each_group, groups_of

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
        return _Done(descriptors_2d.nothing(config, _DIED), keep=False)

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
    values = descriptors_3d.describe(conformer_molecule(task.smiles, conformers, config), families)
    return _Done(Instances(values, conformers.energies, ""), new)


def _described(tasks: Sequence[_Task], config: Descriptors2DConfig) -> list[_Done]:
    return [_Done(descriptors_2d.describe(task.smiles, config)) for task in tasks]


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
