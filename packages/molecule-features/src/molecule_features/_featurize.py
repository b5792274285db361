"""Features of many molecules: each distinct molecule once, over the cores, cached on disk."""

from __future__ import annotations

import faulthandler
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from molpool_common import (
    BoolArray,
    ContentStore,
    Float32Array,
    IntArray,
    Keys,
    cache_folder,
    each_group,
    groups_of,
    text_keys,
)
from numpy.typing import NDArray

from molecule_features._errors import FeatureError
from molecule_features._featurizer import (
    MOLECULE_ERRORS,
    Block,
    Featurizer,
    OwnFeaturizer,
    first_line,
)
from molecule_features._molecules import Molecules, distinct
from molecule_features._registry import FeatureSet

Progress = Callable[[str, int, int], None]
"""Called with the name of a featuriser, how many molecules it has computed, and of how many."""

MAX_SECONDS = 60.0
_FILE_ROWS = 2048
"""Molecules of a file of the cache: what a killed run loses at most."""

_START_SECONDS = 2.0
"""Of work below which processes would take longer to start than to help."""

_GROUP_SECONDS = 0.3
_LARGEST_GROUP = 256


@dataclass(frozen=True)
class Features:
    """Numbers of N molecules.

    Parameters
    ----------
    values : ndarray of float32 [N, F]
        A molecule without features is a row of NaN; one that a single featuriser refuses has NaN in
        that block. NaN elsewhere is a descriptor that is not defined for the molecule.
    reasons : list of str [N]
        Why a molecule lacks features, "" where it lacks none.
    names : tuple of str [F]
        Of the columns.
    blocks : tuple of Block
        Which columns are whose, and of what kind.
    signature : dict
        What a model stores, for `featurize(..., stored=...)`.
    """

    values: Float32Array
    reasons: list[str]
    names: tuple[str, ...]
    blocks: tuple[Block, ...]
    signature: dict[str, Any]

    @property
    def failed(self) -> IntArray:
        """Rows of the molecules that lack features."""
        return np.flatnonzero([bool(reason) for reason in self.reasons])

    def block(self, name: str) -> Float32Array:
        """Return the columns of one featuriser."""
        for block in self.blocks:
            if block.name == name:
                return self.values[:, block.columns]
        raise FeatureError(
            f"block: expected one of {', '.join(b.name for b in self.blocks)}; found {name!r}"
        )

    def seen(self, end_points: Iterable[str]) -> dict[str, list[str]]:
        """Return the blocks whose network was trained on one of these end points, and on which.

        Such features look better in a test on public data than they will be.

        Parameters
        ----------
        end_points : iterable of str
            Names of tasks, compared with those of the public data and with what stands before
            their first underscore (``Caco2`` of ``Caco2_Wang``); case and punctuation do not count.
        """
        asked = list(end_points)
        found = {}
        for block in self.blocks:
            known = {_plain(text) for t in block.trained_on for text in (t, t.partition("_")[0])}
            found[block.name] = [name for name in asked if _plain(name) in known]
        return {name: seen for name, seen in found.items() if seen}


def _plain(name: str) -> str:
    return "".join(c for c in name.casefold() if c.isalnum())


def featurize(
    molecules: Iterable[Any],
    features: str | Sequence[str] = "rdkit2d+morgan_count",
    *,
    cache: str | os.PathLike[str] | None = "auto",
    workers: int | None = None,
    max_seconds: float = MAX_SECONDS,
    stored: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Features:
    """Return the features of molecules.

    Parameters
    ----------
    molecules : iterable of str or Mol, length N
        SMILES or RDKit molecules; None where one is missing. They are taken as they are: salts and
        tautomers are the caller's to standardise.
    features : str or sequence of str
        Names joined by "+", as `featurizer_names` lists them.
    cache : str or path, optional
        Folder of what was computed before, ``auto`` for the user's (or `MOLPOOL_CACHE`), None or
        ``none`` for no cache. Several processes may use one.
    workers : int, optional
        Processes; by default as many as this process may use cores, and one where the work takes
        about a second.
    max_seconds : float
        Limit for a molecule and featuriser, held where several processes work.
    stored : mapping, optional
        `Features.signature` of the features that a model was trained on.
    progress : callable, optional
        Called as molecules are done, where something has to be computed.

    Returns
    -------
    Features
        Values, reasons, names and blocks.

    Raises
    ------
    FeatureError
        If a name is unknown, or `stored` tells of other columns.
    MissingExtraError
        If a featuriser's package is not installed; names the extra.
    """
    if workers is not None and workers < 1:
        raise FeatureError(f"workers: expected at least 1; found {workers}")
    chosen = FeatureSet.named(features)
    if stored is not None:
        chosen.check(stored)
    found = distinct(molecules)
    folder = cache_folder(None if cache is None else os.fspath(cache))
    job = _Job(workers or _cores(), max_seconds, folder, progress)
    parts = [job.run(featurizer, found) for featurizer in chosen.featurizers]
    return _joined(parts, found, chosen)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Part(NamedTuple):
    """What one featuriser says of D distinct molecules: numbers [D, F] and reasons [D]."""

    values: Float32Array
    reasons: list[str]


def _joined(parts: Sequence[_Part], found: Molecules, chosen: FeatureSet) -> Features:
    values = np.full((len(found.which), chosen.width), np.nan, dtype=np.float32)
    rows = np.flatnonzero(found.which >= 0)
    which = found.which[rows]
    reasons = list(found.reasons)
    for block, part in zip(chosen.blocks, parts, strict=True):
        values[rows, block.columns] = part.values[which]
        for row, molecule in zip(rows.tolist(), which.tolist(), strict=True):
            if part.reasons[molecule]:
                before = f"{reasons[row]}; " if reasons[row] else ""
                reasons[row] = f"{before}{block.name}: {part.reasons[molecule]}"
    return Features(values, reasons, chosen.names, chosen.blocks, chosen.signature())


class _Done(NamedTuple):
    """One molecule's numbers, or the reason why it has none; `keep` where it is to be cached."""

    values: Float32Array | None
    reason: str = ""
    keep: bool = True


@dataclass(frozen=True)
class _Job:
    """How featurisers are run: see `featurize`."""

    workers: int
    max_seconds: float
    folder: Path | None
    progress: Progress | None

    def run(self, featurizer: Featurizer, found: Molecules) -> _Part:
        """Return what a featuriser says of all molecules: from the cache or computed now."""
        values = np.full((len(found.smiles), len(featurizer.names)), np.nan, dtype=np.float32)
        reasons = [""] * len(found.smiles)
        limit = getattr(featurizer, "max_heavy_atoms", OwnFeaturizer.max_heavy_atoms)
        todo = found.heavy_atoms <= limit
        for row in np.flatnonzero(~todo).tolist():
            reasons[row] = f"too large: {found.heavy_atoms[row]} heavy atoms, of at most {limit}"
        part = _Part(values, reasons)
        keys = text_keys(found.smiles)
        store = None if self.folder is None else ContentStore(self.folder / _folder(featurizer))
        _from_store(store, keys, part, todo)
        self._compute(featurizer, found.smiles, keys, part, todo, store)
        return part

    def _compute(
        self,
        featurizer: Featurizer,
        smiles: Sequence[str],
        keys: Keys,
        part: _Part,
        todo: BoolArray,
        store: ContentStore | None,
    ) -> None:
        rows = np.flatnonzero(todo).tolist()
        total, done = len(rows), 0
        new: list[int] = []
        try:
            for group, results in self._results(featurizer, smiles, rows):
                for row, result in zip(group, results, strict=True):
                    if result.values is not None:
                        part.values[row] = result.values
                    part.reasons[row] = result.reason
                    if result.keep:
                        new.append(row)
                if len(new) >= _FILE_ROWS:
                    _to_store(store, keys, part, new)
                    new = []
                done += len(group)
                if self.progress is not None:
                    self.progress(featurizer.name, done, total)
        finally:
            # Also where Ctrl-C ends it: what is done is done.
            _to_store(store, keys, part, new)

    def _results(
        self, featurizer: Featurizer, smiles: Sequence[str], rows: Sequence[int]
    ) -> Iterator[tuple[list[int], list[_Done]]]:
        """Yield rows and what became of them, in any order."""
        each = getattr(featurizer, "milliseconds", OwnFeaturizer.milliseconds) / 1000
        size = max(1, min(_LARGEST_GROUP, int(_GROUP_SECONDS / each)))
        # A class of the user's script is not found by another process.
        alone = (
            len(rows) * each < _START_SECONDS
            or type(featurizer).__module__ == "__main__"
            or not getattr(featurizer, "in_processes", True)
        )
        workers = 1 if alone else min(self.workers, -(-len(rows) // size))
        limit = None if workers == 1 else self.max_seconds
        work = partial(_computed, featurizer=featurizer, limit=limit)
        positions = {smiles[row]: row for row in rows}
        groups = groups_of(positions, size)
        for texts, results in each_group(work, groups, workers, partial(_dead, limit)):
            yield [positions[text] for text in texts], results


def _folder(featurizer: Featurizer) -> str:
    """Return the name of the folder of what a featuriser of this version computed."""
    name = "".join(c if c.isalnum() else "-" for c in featurizer.name)[:40]
    told = "\n".join((featurizer.name, featurizer.version, *featurizer.names))
    return f"features-{name}-{blake2b(told.encode(), digest_size=8).hexdigest()}"


def _from_store(store: ContentStore | None, keys: Keys, part: _Part, todo: BoolArray) -> None:
    """Fill in what is cached, and strike it from what is to do."""
    asked = np.flatnonzero(todo)
    if store is None or not len(asked):
        return
    for arrays, there, hits in store.find(keys[asked]):
        rows = asked[hits]
        part.values[rows] = arrays["values"][there]
        for row, reason in zip(rows.tolist(), arrays["reason"][there].tolist(), strict=True):
            part.reasons[row] = reason
        # A molecule that failed is stored as zeros, which counts can hold.
        failed = rows[arrays["reason"][there] != ""]
        part.values[failed] = np.nan
        todo[rows] = False


def _to_store(store: ContentStore | None, keys: Keys, part: _Part, rows: Sequence[int]) -> None:
    if store is None or not rows:
        return
    reasons = np.array([part.reasons[row] for row in rows], dtype=np.str_)
    values = part.values[list(rows)]
    values[reasons != ""] = 0
    store.add(keys[list(rows)], {"values": _smallest(values), "reason": reasons})


def _smallest(values: Float32Array) -> NDArray[Any]:
    """Return the same numbers in the smallest type that holds them exactly: counts in bytes."""
    for dtype in (np.uint8, np.uint16):
        inside = (values >= 0) & (values <= np.iinfo(dtype).max)
        if inside.all() and np.array_equal(values, np.trunc(values)):
            return values.astype(dtype)
    return values


def _dead(limit: float | None, _: str) -> _Done:
    """Return what becomes of a molecule at which a process ended."""
    return _Done(None, f"its process died, of memory or past the limit of {limit} s", keep=False)


def _computed(smiles: Sequence[str], featurizer: Featurizer, limit: float | None) -> list[_Done]:
    """Return what becomes of a group of molecules; a process whose time is up ends itself."""
    if limit is None:
        return _each(featurizer, smiles)
    # What has to be imported or loaded first does not count against the molecules.
    featurizer.transform([])
    with open(os.devnull, "w") as nowhere:
        # A thread in C, which does not wait for Python: RDKit's long calls hold its lock.
        faulthandler.dump_traceback_later(limit, exit=True, file=nowhere)
        try:
            return _each(featurizer, smiles)
        finally:
            faulthandler.cancel_dump_traceback_later()


def _each(featurizer: Featurizer, smiles: Sequence[str]) -> list[_Done]:
    """Compute a group at once, and one by one where a molecule of it fails."""
    from rdkit import rdBase

    with rdBase.BlockLogs():
        try:
            return _checked(featurizer, smiles)
        except MOLECULE_ERRORS as error:
            if isinstance(error, FeatureError):
                raise
            if len(smiles) == 1:
                return [_Done(None, first_line(error))]
        return [_each(featurizer, [text])[0] for text in smiles]


def _checked(featurizer: Featurizer, smiles: Sequence[str]) -> list[_Done]:
    values = np.asarray(featurizer.transform(smiles), dtype=np.float32)
    if values.shape != (len(smiles), len(featurizer.names)):
        raise FeatureError(
            f"featuriser {featurizer.name!r}: expected values of shape "
            f"({len(smiles)}, {len(featurizer.names)}); found {values.shape}"
        )
    values = np.where(np.isfinite(values), values, np.float32(np.nan))
    return [
        _Done(None, "not defined for this molecule") if np.isnan(row).all() else _Done(row)
        for row in values
    ]
