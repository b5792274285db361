"""Features of SMILES, each computed once and cached between runs.

`SmilesFeatures` computes what the conformers and the 2D features of molecules are;
`BagData.from_smiles` makes bags of it. Work goes to processes a few molecules at a time
(`_parallel`), and what is done goes to the cache file by file (`_feature_cache`), so that a run
that is killed loses little.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from molpool_common import (
    ContentStore,
    Float32Array,
    Keys,
    Structure,
    each_group,
    ending_after,
    groups_of,
    tell,
    text_keys,
)

from mil_attn._config import (
    ConformerConfig,
    Descriptors2DConfig,
    DescriptorSet,
    MoleculeFeaturesConfig,
)
from mil_attn._errors import MILError
from mil_attn.data._failures import Failure
from mil_attn.data._feature_cache import (
    CHUNK,
    CacheWriter,
    Instances,
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
    boltzmann_weights,
    conformer_molecule,
    describe_conformers,
    describe_molecule,
    embed,
    names_2d,
    names_3d,
    nothing_described,
)

Progress = Callable[[int, int], None]
"""Called with how many molecules of how many are done."""

StageProgress = Callable[[str, int, int], None]
"""Called with ``descriptors`` or ``conformers``, how many molecules are done, and of how many."""

Describe2D = Callable[[Sequence[str], str], tuple[Float32Array, tuple[str, ...], Sequence[str]]]
"""Called with N SMILES and the names of featurisers, joined by +.

It gives values [N, D], the names of the columns, and why a molecule has none, "" where it has.
"""

_DIED = "the process that computed it died, of memory or past the limit of {} s"


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
        Folder of conformers and descriptors computed before. Those of other settings or of another
        RDKit are not found; other descriptors are computed of the conformers that are there.
    workers : int
        Processes.
    progress : callable, optional
        Called as molecules are done, where something has to be computed.
    """
    keys = text_keys(smiles)
    store = store_of(cache, "descriptors3d", config, families)
    conformers = store_of(cache, "conformers", config)
    results = dict(found(keys, store, unpack_instances))
    todo = [_Task(i, text) for i, text in enumerate(smiles) if i not in results]

    def died(_: _Task) -> _Done:
        reason = _DIED.format(config.max_seconds)
        return _Done(no_instances(families, reason), keep=False)

    work = partial(_instances, config=config, families=tuple(families))
    groups = _with_conformers(todo, keys, conformers)
    with (
        CacheWriter(store, pack_instances) as ours,
        CacheWriter(conformers, pack_conformers) as theirs,
    ):
        spread = each_group(work, groups, workers, died, aside=_may_be_slow)
        for task, done in _each(spread, len(todo), progress):
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
    max_seconds: int,
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
        return _Done(nothing_described(config, _DIED.format(max_seconds)), keep=False)

    work = partial(_described, config=config, max_seconds=max_seconds)
    groups = groups_of(todo, CHUNK)
    with CacheWriter(store, pack_described) as ours:
        spread = each_group(work, groups, workers, died, aside=_may_be_slow)
        for task, done in _each(spread, len(todo), progress):
            results[task.position] = done.result
            if done.keep:
                ours.put(keys[task.position], done.result)
    return [results[i] for i in range(len(smiles))]


def conformers_of(
    smiles: Sequence[str], config: ConformerConfig, *, cache: Path | None = None
) -> list[Conformers]:
    """Return the conformers of a few molecules: those cached, the others computed here and now.

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
    found = []
    _load()
    for task in tasks:
        with ending_after(config.max_seconds):
            found.append(_instances_of_one(task, config, families))
    return found


def _instances_of_one(
    task: _Task, config: ConformerConfig, families: tuple[DescriptorSet, ...]
) -> _Done:
    conformers = embed(task.smiles, config) if task.conformers is None else task.conformers
    new = conformers if task.conformers is None else None
    if not len(conformers.positions):
        return _Done(no_instances(families, conformers.reason), new)
    values = describe_conformers(conformer_molecule(task.smiles, conformers, config), families)
    return _Done(Instances(values, conformers.energies, ""), new)


def _described(
    tasks: Sequence[_Task], config: Descriptors2DConfig, max_seconds: int
) -> list[_Done]:
    found = []
    _load()
    for task in tasks:
        with ending_after(max_seconds):
            found.append(_Done(describe_molecule(task.smiles, config)))
    return found


def _load() -> None:
    """Import what a worker needs, which is not to count against its first molecule."""
    from rdkit.Chem import Descriptors, rdDistGeom, rdForceFieldHelpers  # noqa: F401


def _may_be_slow(task: _Task) -> bool:
    from molpool_common import may_be_slow

    return may_be_slow(task.smiles)


def _with_conformers(
    todo: Sequence[_Task], keys: Keys, store: ContentStore | None
) -> Iterator[list[_Task]]:
    """Yield groups of tasks: first those whose conformers are cached, as these are read."""
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


class SmilesFeatures:
    """Features of molecules by SMILES, each different text computed once.

    Parameters
    ----------
    smiles : sequence of str [N]
        "" where there is none.
    config, cache, workers, progress, describe_2d
        As of `BagData.from_smiles`.
    """

    def __init__(
        self,
        smiles: Sequence[str],
        config: MoleculeFeaturesConfig,
        cache: str | Path | None,
        workers: int,
        progress: StageProgress | None,
        describe_2d: Describe2D | None = None,
    ) -> None:
        # A table repeats molecules (salts, replicates), and each costs seconds of embedding.
        texts = list(dict.fromkeys(smiles))
        folder = None if cache is None else Path(cache)

        def counted(stage: str) -> Progress:
            def told(done: int, total: int) -> None:
                tell(stage.capitalize(), done, total, "molecules")
                if progress is not None:
                    progress(stage, done, total)

            return told

        self.config = config
        self.flat: dict[str, Described] | None = None
        self.deep: dict[str, Instances] | None = None
        self.names_2d: tuple[str, ...] = ()
        two_d = config.descriptors_2d
        if config.use_2d and two_d.featurizers is not None:
            assert describe_2d is not None, "checked by `check_request`"
            values, self.names_2d, reasons = describe_2d(texts, two_d.featurizers)
            none = np.zeros(0, dtype=np.uint16)
            self.flat = {
                text: Described(row, none, reason)
                for text, row, reason in zip(texts, values, reasons, strict=True)
            }
        elif config.use_2d:
            flat = described(
                texts,
                two_d,
                max_seconds=config.conformers.max_seconds,
                cache=folder,
                workers=workers,
                progress=counted("descriptors"),
            )
            self.flat = dict(zip(texts, flat, strict=True))
            self.names_2d = names_2d(two_d)
        if config.descriptors_3d:
            deep = instances_of(
                texts,
                config.conformers,
                config.descriptors_3d,
                cache=folder,
                workers=workers,
                progress=counted("conformers"),
            )
            self.deep = dict(zip(texts, deep, strict=True))

    def failures(self, ids: Sequence[str], smiles: Sequence[str]) -> tuple[Failure, ...]:
        """Return the molecules that have no features, with reasons."""
        tables = [table for table in (self.flat, self.deep) if table is not None]
        failures = []
        for row, text in enumerate(smiles):
            reasons = [table[text].reason for table in tables if table[text].reason]
            if reasons:
                failures.append(Failure(ids[row], row, text, reasons[0]))
        return tuple(failures)

    def fields(self, ids: Sequence[str], smiles: Sequence[str]) -> dict[str, Any]:
        """Return the fields of `BagData` for molecules that all have features."""
        parts: dict[str, Any] = {"x2d": None, "feature_names_2d": ()}
        if self.flat is not None:
            names = self.names_2d
            x2d = np.empty((len(smiles), len(names)), dtype=np.float32)
            for row, text in enumerate(smiles):
                flat = self.flat[text]
                x2d[row, : len(flat.values)] = flat.values
                x2d[row, len(flat.values) :] = flat.counts
            parts |= {"x2d": x2d, "feature_names_2d": names}
        if self.deep is not None:
            deep, families = [self.deep[text] for text in smiles], self.config.descriptors_3d
            sizes = [len(part.energies) for part in deep]
            offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
            energies = np.concatenate([part.energies for part in deep])
            values, names = np.concatenate([part.values for part in deep]), names_3d(families)
            if self.config.energies:
                weights = boltzmann_weights(energies, offsets)
                more = np.column_stack([energies, weights]).astype(np.float32)
                values, names = np.hstack([values, more]), (*names, "energy", "boltzmann_weight")
            parts |= {
                "instances": values,
                "energies": energies,
                "offsets": offsets,
                "feature_names_3d": names,
                "instance_ids": [
                    f"{name}-{k + 1}"
                    for name, size in zip(ids, sizes, strict=True)
                    for k in range(size)
                ],
            }
        return parts


def seen_of(smiles: Sequence[str], structure: Structure) -> Sequence[str]:
    """Return the SMILES of the structures of which features are computed."""
    if structure == "given":
        return smiles
    from molpool_common import structures_of  # needs the extra `chem`

    return structures_of(smiles, structure)


def check_request(
    config: MoleculeFeaturesConfig, workers: int, describe_2d: Describe2D | None = None
) -> None:
    """Raise MILError unless there is something to compute, by at least one process."""
    two_d = config.descriptors_2d
    if config.use_2d and two_d.featurizers is not None and describe_2d is None:
        raise MILError(
            "descriptors_2d.featurizers: expected describe_2d with it, which computes them; found "
            f"none for {two_d.featurizers!r}."
        )
    if config.use_2d and not (two_d.descriptors or two_d.morgan_bits or two_d.featurizers):
        raise MILError(
            "descriptors_2d: expected descriptors, morgan_bits or both with use_2d; found neither."
        )
    if not (config.use_2d or config.descriptors_3d):
        raise MILError("features: expected descriptors_3d, use_2d or both; found neither.")
    if workers < 1:
        raise MILError(f"workers: expected at least 1; found {workers}.")
