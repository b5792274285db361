"""Features of many molecules, as one matrix."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from molpool_common import Float32Array, IntArray, cache_folder, cores

from molecule_features._errors import FeatureError
from molecule_features._featurizer import Block
from molecule_features._molecules import Molecules, distinct
from molecule_features._registry import FeatureSet
from molecule_features._running import MAX_SECONDS, Part, Progress, compute

_ROWS = 4096
"""That are joined at a time."""


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
        Limit for a molecule and featuriser, past which its process ends; 0 for none. Long SMILES
        go to another process even where one would do.
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
    parts = [Part(featurizer, found, folder, progress) for featurizer in chosen.featurizers]
    compute(parts, workers or cores(), max_seconds)
    return _joined(parts, found, chosen)


def _joined(parts: Sequence[Part], found: Molecules, chosen: FeatureSet) -> Features:
    rows = np.flatnonzero(found.which >= 0)
    which = found.which[rows]
    # A copy of the only block, in the order it has, would be gigabytes for nothing.
    as_they_are = len(parts) == 1 and np.array_equal(found.which, np.arange(len(parts[0].values)))
    values: Float32Array = (
        parts[0].values
        if as_they_are
        else np.empty((len(found.which), chosen.width), dtype=np.float32)
    )
    values[found.which < 0] = np.nan
    reasons = list(found.reasons)
    for block, part in zip(chosen.blocks, parts, strict=True):
        # Some at a time, and what is joined is let go: all of it twice is gigabytes.
        for start in range(0, 0 if as_they_are else len(rows), _ROWS):
            some = slice(start, start + _ROWS)
            values[rows[some], block.columns] = part.values[which[some]]
        part.values = np.empty((0, block.width), dtype=np.float32)
        for row, molecule in zip(rows.tolist(), which.tolist(), strict=True):
            if part.reasons[molecule]:
                before = f"{reasons[row]}; " if reasons[row] else ""
                reasons[row] = f"{before}{block.name}: {part.reasons[molecule]}"
    return Features(values, reasons, chosen.names, chosen.blocks, chosen.signature())
