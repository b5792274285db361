"""How much more often molecules like those that calibrate are among the new ones.

Intervals hold for molecules that come as the calibration rows did. Where new ones are others, but
their labels depend on structure as before, rows weighted by the ratio of both densities make up for
it (Tibshirani, Foygel Barber, Candès and Ramdas, NeurIPS 2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from molpool_common import FloatArray, InputError, morgan_fingerprints, parse_smiles

from molpool_pipelines.models._config import ShiftKind

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

_BINS = 8
"""Ranges of the distance to training molecules, equally full of both sets together."""

_BITS = 256
"""Of the structure: more would tell each molecule from every other."""

_MOST = 3.0
"""Largest ratio, and one over the smallest: larger ones rest on a handful of rows."""

MOST_NEW = 5_000
"""New molecules by which the density is estimated."""

_FOLDS = 5


@dataclass(frozen=True)
class Shift:
    """Density ratios p(new) / p(calibration).

    Parameters
    ----------
    known : ndarray [N]
        Of the calibration rows.
    new : ndarray [M]
        Of the new molecules.
    """

    known: FloatArray
    new: FloatArray

    @property
    def effective(self) -> float:
        """Rows of equal weight that would say as much as the calibration rows do."""
        return float(self.known.sum() ** 2 / (self.known**2).sum())


class ShiftModel:
    """Tells new molecules from those that calibrate.

    Parameters
    ----------
    kind : {"similarity", "structure"}
        By what: the distance to training molecules, or that and structure.
    known_smiles, new_smiles : sequence of str
        Of the N calibration rows, and of new molecules or a sample of them.
    known_distance, new_distance : ndarray
        1 - similarity to the nearest training molecule.

    Attributes
    ----------
    known : ndarray [N]
        Density ratios of the calibration rows, each by a model that has not seen the row.

    Raises
    ------
    InputError
        If there are too few of either to be told apart.
    """

    def __init__(
        self,
        kind: ShiftKind,
        known_smiles: Sequence[str],
        known_distance: FloatArray,
        new_smiles: Sequence[str],
        new_distance: FloatArray,
    ) -> None:
        from sklearn.model_selection import StratifiedKFold, cross_val_predict

        n, m = len(known_smiles), len(new_smiles)
        if min(n, m) < _FOLDS:
            raise InputError(
                "shift",
                expected=f"at least {_FOLDS} molecules that calibrate and {_FOLDS} new ones",
                found=f"{n} and {m}",
            )
        self._kind = kind
        both = np.concatenate([known_distance, new_distance])
        self._edges = np.unique(np.quantile(both, np.linspace(0, 1, _BINS + 1)[1:-1]))
        self._odds = n / m
        x = self._features([*known_smiles, *new_smiles], both)
        is_new = np.repeat([0, 1], [n, m])
        folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
        seen_by_others = cross_val_predict(
            _classifier(kind), x, is_new, cv=folds, method="predict_proba"
        )
        self.known = self._ratio(seen_by_others[:n, 1])
        self._model: LogisticRegression = _classifier(kind).fit(x, is_new)

    def of(self, smiles: Sequence[str], distance: FloatArray) -> Shift:
        """Return the ratios for these new molecules."""
        if not len(smiles):
            return Shift(self.known, np.empty(0))
        p = self._model.predict_proba(self._features(smiles, distance))[:, 1]
        return Shift(self.known, self._ratio(p))

    def _ratio(self, p: FloatArray) -> FloatArray:
        return np.asarray(np.clip(self._odds * p / (1 - p), 1 / _MOST, _MOST))

    def _features(self, smiles: Sequence[str], distance: FloatArray) -> FloatArray:
        place = np.searchsorted(self._edges, distance, side="right")
        ranges = np.eye(len(self._edges) + 1)[place]
        if self._kind == "similarity":
            return ranges
        return np.hstack([ranges, _bits(smiles)])


def _classifier(kind: ShiftKind) -> Any:
    from sklearn.linear_model import LogisticRegression

    # Ranges of one distance are a histogram, which needs next to no shrinkage.
    return LogisticRegression(C=1.0 if kind == "similarity" else 0.02, max_iter=1000)


def _bits(smiles: Sequence[str]) -> FloatArray:
    from rdkit.DataStructs import ConvertToNumpyArray

    found = np.zeros((len(smiles), _BITS))
    read = [(row, mol) for row, mol in enumerate(parse_smiles(smiles).mols) if mol is not None]
    prints = morgan_fingerprints([mol for _, mol in read], 2, _BITS)
    for (row, _), bits in zip(read, prints, strict=True):
        ConvertToNumpyArray(bits, found[row])
    return found
