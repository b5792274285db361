"""Featurisers by name, and combinations of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from hashlib import blake2b
from importlib.metadata import entry_points
from typing import Any

from molpool_common import did_you_mean, listed

from molecule_features._admet import AdmetFingerprint, AdmetPrediction
from molecule_features._chemprop import PREFIX, ChempropEmbedding
from molecule_features._errors import FeatureError, FeatureVersionWarning
from molecule_features._featurizer import KINDS, Block, Featurizer
from molecule_features._fingerprints import FINGERPRINTS, Fingerprint
from molecule_features._minimol import MiniMol
from molecule_features._mordred import Mordred
from molecule_features._rdkit2d import Descriptors2D
from molecule_features._shape3d import Shape3D

GROUP = "molecule_features.featurizers"
"""Entry point group through which other packages offer featurisers."""

Factory = Callable[[], Featurizer]

_OWN: dict[str, Factory] = {
    "rdkit2d": Descriptors2D,
    **{name: partial(Fingerprint, name) for name in FINGERPRINTS},
    "shape3d": Shape3D,
    "mordred": Mordred,
    "minimol": MiniMol,
    "admet_fingerprint": AdmetFingerprint,
    "admet_prediction": AdmetPrediction,
}
_REGISTERED: dict[str, Factory] = {}


def register(name: str, factory: Factory) -> None:
    """Offer a featuriser under a name, in this process.

    Parameters
    ----------
    name : str
        Without "+", and none of this package's.
    factory : callable
        Returns the featuriser; called when the name is first asked for.

    Raises
    ------
    FeatureError
        If the name is taken or cannot be used.
    """
    if not name or "+" in name or name != name.strip():
        raise FeatureError(f"name: expected one without '+' and outer spaces; found {name!r}")
    if name in _OWN:
        raise FeatureError(f"name: expected one that is not taken; found {name!r}, a built-in")
    _REGISTERED[name] = factory
    _made.cache_clear()


def featurizer_names() -> tuple[str, ...]:
    """Return the names that `featurize` takes: this package's, other packages', registered ones.

    ``chemprop:PATH`` besides, for the embedding of a Chemprop file.
    """
    return (*_OWN, *sorted({*_offered(), *_REGISTERED} - _OWN.keys()))


@dataclass(frozen=True)
class FeatureSet:
    """Featurisers side by side.

    Parameters
    ----------
    featurizers : tuple of Featurizer
        At least one, in the order of their columns.
    """

    featurizers: tuple[Featurizer, ...]

    @classmethod
    def named(cls, features: str | Sequence[str]) -> FeatureSet:
        """Return the featurisers of ``"rdkit2d+morgan_count"`` or of a list of names.

        Raises
        ------
        FeatureError
            If a name is unknown (the nearest is named) or stands twice.
        MissingExtraError
            If a package is missing that a featuriser needs; names the extra.
        """
        parts = features.split("+") if isinstance(features, str) else list(features)
        names = [str(part).strip() for part in parts]
        if not any(names):
            raise FeatureError(
                "features: expected names of featurisers, joined by '+'; found none. "
                f"Valid: {listed(featurizer_names(), limit=30)}."
            )
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise FeatureError(f"features: expected each name once; found twice {listed(twice)}")
        found = cls(tuple(_made(name) for name in names))
        for featurizer in found.featurizers:
            _check(featurizer)
        return found

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """Where the columns of each featuriser are."""
        blocks: list[Block] = []
        for f in self.featurizers:
            start = blocks[-1].stop if blocks else 0
            trained_on = tuple(getattr(f, "trained_on", ()))
            blocks.append(Block(f.name, start, start + len(f.names), f.kind, f.version, trained_on))
        return tuple(blocks)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the columns, all different: with the featuriser's name where two featurisers agree."""
        flat = [name for f in self.featurizers for name in f.names]
        if len(set(flat)) == len(flat):
            return tuple(flat)
        return tuple(f"{f.name}.{name}" for f in self.featurizers for name in f.names)

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.blocks[-1].stop

    def signature(self) -> dict[str, Any]:
        """Return what a model stores to know its features again: a dict for JSON."""
        return {
            "features": [f.name for f in self.featurizers],
            "versions": [f.version for f in self.featurizers],
            "columns": [_digest(f.names) for f in self.featurizers],
            "widths": [len(f.names) for f in self.featurizers],
        }

    def check(self, stored: Mapping[str, Any]) -> None:
        """Compare with the signature that a model stored.

        Raises
        ------
        FeatureError
            If featurisers or their columns are others.

        Warns
        -----
        FeatureVersionWarning
            If the columns are the same, by another version of a library or of weights.
        """
        names = [f.name for f in self.featurizers]
        if list(stored["features"]) != names:
            raise FeatureError(
                f"features: expected those that the model was trained on, "
                f"{'+'.join(stored['features'])!r}; found {'+'.join(names)!r}"
            )
        for f, version, columns, width in zip(
            self.featurizers, stored["versions"], stored["columns"], stored["widths"], strict=True
        ):
            if columns != _digest(f.names):
                raise FeatureError(
                    f"features {f.name!r}: expected the {width} columns of version {version}, on "
                    f"which the model was trained; found {len(f.names)} columns of version "
                    f"{f.version}. Install the libraries of that version, or train again."
                )
            if version != f.version:
                warnings.warn(
                    f"features {f.name!r}: expected version {version}, on which the model was "
                    f"trained; found {f.version}. The columns are the same, numbers may differ.",
                    FeatureVersionWarning,
                    stacklevel=2,
                )


def _digest(names: Sequence[str]) -> str:
    return blake2b("\n".join(names).encode(), digest_size=8).hexdigest()


@cache
def _made(name: str) -> Featurizer:
    factory = _OWN.get(name) or _REGISTERED.get(name)
    if factory is not None:
        return factory()
    if name.startswith(PREFIX):
        return ChempropEmbedding(name.removeprefix(PREFIX))
    offered = _offered()
    if name in offered:
        made: Featurizer = offered[name].load()()
        return made
    raise FeatureError(
        f"features: expected names of featurisers; found {name!r}. "
        f"{did_you_mean(name, featurizer_names())}"
    )


def _offered() -> dict[str, Any]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _check(featurizer: Featurizer) -> None:
    """Refuse another package's featuriser that lacks what the protocol asks for."""
    lacking = [a for a in ("name", "version", "kind", "names") if not hasattr(featurizer, a)]
    if lacking or not callable(getattr(featurizer, "transform", None)):
        raise FeatureError(
            f"featuriser {type(featurizer).__name__}: expected name, version, kind, names and "
            f"transform; found no {listed(lacking or ['transform'])}"
        )
    if featurizer.kind not in KINDS:
        raise FeatureError(
            f"featuriser {featurizer.name!r}: expected kind {listed(KINDS)}; "
            f"found {featurizer.kind!r}"
        )
