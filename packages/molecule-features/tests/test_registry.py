"""Names, combinations, versions."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from molecule_features import (
    FeatureError,
    FeatureSet,
    FeatureVersionWarning,
    Kind,
    MissingExtraError,
    featurize,
    featurizer_names,
    register,
)
from molecule_features import _registry as registry
from molecule_features._fingerprints import Fingerprint


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """Forget what a test registers or changes."""
    before = dict(registry._REGISTERED)
    yield
    registry._REGISTERED.clear()
    registry._REGISTERED.update(before)
    registry._made.cache_clear()


@pytest.mark.core
@pytest.mark.parametrize(
    ("features", "message"),
    [
        ("rdkit2", r"found 'rdkit2'\. Did you mean 'rdkit2d'\?"),
        ("morgan-count+maccs", r"Did you mean 'morgan_count'\?"),
        ("zzzz", r"found 'zzzz'\. Valid: 'rdkit2d', 'morgan_count'"),
        ("", "found none. Valid: rdkit2d, "),
        ([], "found none"),
        ("maccs+maccs", "expected each name once; found twice maccs"),
        ("maccs++erg", "expected names of featurisers; found ''"),
        ("chemprop:/nowhere.pt", "expected the file of a Chemprop network; found none there"),
    ],
)
def test_names_that_cannot_be_used(features: Any, message: str) -> None:
    with pytest.raises(FeatureError, match=message) as error:
        featurize(["CCO"], features)
    assert error.value.exit_code == 2


def test_all_names_are_unique_and_tell_their_kind() -> None:
    for name in featurizer_names():
        try:
            found = FeatureSet.named(name)
            names = found.names
        except MissingExtraError:
            continue
        assert len(set(names)) == len(names) == found.width
        assert found.blocks[0].name == name


def test_equal_names_of_columns_get_their_featurisers() -> None:
    class Other:
        name, version, names = "other", "1", ("maccs_0",)
        kind: Kind = "bit"

        def transform(self, smiles: Any, /) -> Any:
            """Return nothing: never called."""

    register("other", Other)
    assert FeatureSet.named("maccs+other").names[-1] == "other.maccs_0"


@pytest.mark.parametrize(("name", "words"), [("a+b", "without"), ("", "without"), ("erg", "taken")])
def test_names_that_cannot_be_registered(name: str, words: str) -> None:
    with pytest.raises(FeatureError, match=words):
        register(name, lambda: Fingerprint("erg"))


def test_an_incomplete_featuriser_is_refused() -> None:
    class Nameless:
        version, kind, names = "1", "bit", ("one",)

        def transform(self, smiles: Any, /) -> Any:
            """Return nothing: never called."""

    register("nameless", Nameless)  # pyrefly: ignore[bad-argument-type]
    with pytest.raises(FeatureError, match=r"Nameless: expected name, version.*found no name"):
        FeatureSet.named("nameless")


def test_another_packages_featuriser_comes_by_its_entry_point(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Point:
        name = "theirs"

        def load(self) -> Any:
            """Return a factory."""
            return lambda: Fingerprint("maccs")

    monkeypatch.setattr(registry, "entry_points", lambda group: [Point()])
    assert "theirs" in featurizer_names()
    assert FeatureSet.named("theirs").width == 167
    with pytest.raises(FeatureError, match="Did you mean 'theirs'"):
        FeatureSet.named("their")


def test_a_stored_signature_of_the_same_features_is_silent() -> None:
    stored = featurize(["CCO"], "maccs+erg", cache=None).signature
    with warnings.catch_warnings(record=True) as said:
        found = featurize(["CCN"], "maccs+erg", cache=None, stored=stored)
    assert not said
    assert found.signature == stored


def test_other_features_than_the_models_are_refused() -> None:
    stored = FeatureSet.named("maccs+erg").signature()
    with pytest.raises(FeatureError, match=r"trained on, 'maccs\+erg'; found 'erg\+maccs'"):
        featurize(["CCO"], "erg+maccs", stored=stored)


def test_another_version_is_told_and_other_columns_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stored = FeatureSet.named("maccs").signature()
    monkeypatch.setattr(Fingerprint, "version", "of tomorrow")
    with pytest.warns(FeatureVersionWarning, match="found of tomorrow. The columns are the same"):
        featurize(["CCO"], "maccs", cache=None, stored=stored)
    monkeypatch.setattr(Fingerprint, "names", ("one", "two"))
    with pytest.raises(
        FeatureError, match=r"expected the 167 columns of version 1-rdkit.*found 2 col"
    ):
        featurize(["CCO"], "maccs", stored=stored)
