"""Computing what is not cached: each distinct molecule once, in several processes where it pays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from molpool_common import (
    ContentStore,
    Float32Array,
    each_group,
    ending_after,
    engine_workers,
    groups_of,
    heed_ctrl_c,
    may_be_slow,
    tell,
    text_keys,
)
from numpy.typing import NDArray

from molecule_features._errors import FeatureError
from molecule_features._featurizer import MOLECULE_ERRORS, Featurizer, OwnFeaturizer, first_line
from molecule_features._molecules import Molecules

Progress = Callable[[str, int, int], None]
"""Called with the name of a featuriser, how many molecules it has computed, and of how many."""

MAX_SECONDS = 60.0
_FILE_ROWS = 2048
"""Molecules of a file of the cache: what a killed run loses at most."""

_START_SECONDS = 2.0
"""Of work below which processes would take longer to start than to help."""

_GROUP_SECONDS = 0.3
_LARGEST_GROUP = 256


class _Item(NamedTuple):
    """A molecule for one featuriser: the number of the part, the row in it, canonical SMILES."""

    part: int
    row: int
    smiles: str


class _Done(NamedTuple):
    """One molecule's numbers, or the reason why it has none; `keep` where it is to be cached."""

    values: Float32Array | None
    reason: str = ""
    keep: bool = True


class Part:
    """What one featuriser says of D distinct molecules.

    Parameters
    ----------
    featurizer : Featurizer
        The featuriser.
    found : Molecules
        The molecules.
    folder : Path, optional
        Of the cache.
    progress : callable, optional
        Called as molecules are done.

    Attributes
    ----------
    values : ndarray of float32 [D, F]
        NaN until they are computed.
    reasons : list of str [D]
        Why a molecule has none, "" where it has.
    todo : list of int
        Rows that are neither cached nor refused.
    """

    def __init__(
        self,
        featurizer: Featurizer,
        found: Molecules,
        folder: Path | None,
        progress: Progress | None,
    ) -> None:
        self.featurizer = featurizer
        self.smiles = found.smiles
        shape = (len(found.smiles), len(featurizer.names))
        self.values: Float32Array = np.full(shape, np.nan, dtype=np.float32)
        self.reasons = [""] * len(found.smiles)
        self._progress = progress
        self._keys = text_keys(found.smiles)
        self._store = (
            None if folder is None else ContentStore(folder / _folder(featurizer), merges=True)
        )
        self._new: list[int] = []
        self._done = 0
        limit = getattr(featurizer, "max_heavy_atoms", OwnFeaturizer.max_heavy_atoms)
        small = found.heavy_atoms <= limit
        for row in np.flatnonzero(~small).tolist():
            self.reasons[row] = (
                f"too large: {found.heavy_atoms[row]} heavy atoms, of at most {limit}"
            )
        self._find(small)
        self.todo: list[int] = np.flatnonzero(small).tolist()

    @property
    def seconds(self) -> float:
        """Of a molecule on one core, roughly."""
        return float(getattr(self.featurizer, "milliseconds", OwnFeaturizer.milliseconds)) / 1000

    @property
    def spreads(self) -> bool:
        """Whether other processes can help: they do not find a class of the user's script."""
        own = type(self.featurizer).__module__ == "__main__"
        return not own and bool(getattr(self.featurizer, "in_processes", True))

    def groups(self, number: int) -> Iterator[list[_Item]]:
        """Yield what is to do in groups of about as much work, as part `number`."""
        size = max(1, min(_LARGEST_GROUP, int(_GROUP_SECONDS / self.seconds)))
        return groups_of((_Item(number, row, self.smiles[row]) for row in self.todo), size)

    def take(self, items: Sequence[_Item], results: Sequence[_Done]) -> None:
        """Take what became of a group, and store it where there is enough for a file."""
        for item, result in zip(items, results, strict=True):
            if result.values is not None:
                self.values[item.row] = result.values
            self.reasons[item.row] = result.reason
            if result.keep:
                self._new.append(item.row)
        if len(self._new) >= _FILE_ROWS:
            self.write()
        self._done += len(items)
        tell(f"Features {self.featurizer.name}", self._done, len(self.todo), "molecules")
        if self._progress is not None:
            self._progress(self.featurizer.name, self._done, len(self.todo))

    def _find(self, wanted: NDArray[np.bool_]) -> None:
        """Fill in what is cached, and strike it from what is wanted."""
        asked = np.flatnonzero(wanted)
        if self._store is None or not len(asked):
            return
        for arrays, there, hits in self._store.find(self._keys[asked]):
            rows = asked[hits]
            self.values[rows] = arrays["values"][there]
            for row, reason in zip(rows.tolist(), arrays["reason"][there].tolist(), strict=True):
                self.reasons[row] = reason
            # A molecule that failed is stored as zeros, which counts can hold.
            failed = rows[arrays["reason"][there] != ""]
            self.values[failed] = np.nan
            wanted[rows] = False

    def write(self) -> None:
        """Store what is new."""
        rows, self._new = self._new, []
        if self._store is None or not rows:
            return
        reasons = np.array([self.reasons[row] for row in rows], dtype=np.str_)
        values = self.values[rows]
        values[reasons != ""] = 0
        self._store.add(self._keys[rows], {"values": _smallest(values), "reason": reasons})


def compute(parts: Sequence[Part], workers: int, max_seconds: float) -> None:
    """Compute all that is to do, in processes that are started once for all featurisers.

    Parameters
    ----------
    parts : sequence of Part
        One a featuriser.
    workers : int
        Processes at most.
    max_seconds : float
        Limit for a molecule; 0 for none.
    """
    workers = engine_workers(workers)
    work = sum(len(part.todo) * part.seconds for part in parts if part.spreads)
    spread = [part.spreads and workers > 1 and work >= _START_SECONDS for part in parts]
    try:
        for count, chosen in ((workers, True), (1, False)):
            numbers = [i for i, each in enumerate(spread) if each is chosen and parts[i].todo]
            if numbers:
                _compute(parts, numbers, count, max_seconds)
    finally:
        # Also where Ctrl-C ends it: what is done is done.
        for part in parts:
            part.write()


def _compute(parts: Sequence[Part], numbers: Sequence[int], count: int, seconds: float) -> None:
    featurizers = {i: parts[i].featurizer for i in numbers}
    work = partial(_computed, featurizers=featurizers, limit=seconds)
    groups = chain.from_iterable(parts[i].groups(i) for i in numbers)

    def aside(item: _Item) -> bool:
        return bool(seconds) and parts[item.part].spreads and may_be_slow(item.smiles)

    for items, results in each_group(work, groups, count, partial(_dead, seconds), aside=aside):
        parts[items[0].part].take(items, results)


def _folder(featurizer: Featurizer) -> str:
    """Return the name of the folder of what a featuriser of this version computed."""
    name = "".join(c if c.isalnum() else "-" for c in featurizer.name)[:40]
    told = "\n".join((featurizer.name, featurizer.version, *featurizer.names))
    return f"features-{name}-{blake2b(told.encode(), digest_size=8).hexdigest()}"


def _smallest(values: Float32Array) -> NDArray[Any]:
    """Return the same numbers in the smallest type that holds them exactly: counts in bytes."""
    for dtype in (np.uint8, np.uint16):
        inside = (values >= 0) & (values <= np.iinfo(dtype).max)
        if inside.all() and np.array_equal(values, np.trunc(values)):
            return values.astype(dtype)
    return values


def _dead(limit: float, _: _Item) -> _Done:
    """Return what becomes of a molecule at which a process ended."""
    return _Done(None, f"its process died, of memory or past the limit of {limit:g} s", keep=False)


def _computed(
    items: Sequence[_Item], featurizers: dict[int, Featurizer], limit: float
) -> list[_Done]:
    """Return what becomes of a group of molecules; a process whose time is up ends itself."""
    featurizer = featurizers[items[0].part]
    # What has to be imported or loaded first does not count against the molecules.
    featurizer.transform([])
    try:
        with ending_after(limit):
            return _each(featurizer, [item.smiles for item in items])
    finally:
        # Descriptors match substructures, after which RDKit swallows it: training went on.
        heed_ctrl_c()


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
