"""Bags from SMILES: failures listed, cache, order; nothing computed twice."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mil_attn import BagData, MILError
from mil_attn._config import ConformerConfig, Descriptors2DConfig, MoleculeFeaturesConfig
from mil_attn.data import _smiles as computed

SMILES = ["CCO", None, "OCCN", "C1C#C1", "c1ccccc1O", "CCO", "xx"]
LABELS = np.array([[0.0], [1], [1], [0], [np.nan], [1], [0]])


def settings(**changes: Any) -> MoleculeFeaturesConfig:
    values: dict[str, Any] = {
        "conformers": ConformerConfig(count=3),
        "descriptors_3d": ["usrcat"],
        "descriptors_2d": Descriptors2DConfig(descriptors=False, morgan_bits=16),
    }
    return MoleculeFeaturesConfig(**{**values, **changes})


def bags(cache: Path | None = None, **changes: Any) -> BagData:
    values: dict[str, Any] = {
        "labels": LABELS,
        "task_names": ["y"],
        "features": settings(),
        "cache": cache,
    }
    return BagData.from_smiles(SMILES, **{**values, **changes})


def assert_same(one: BagData, other: BagData) -> None:
    for name in ("instances", "x2d", "energies", "offsets", "labels"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def refuse(*_: Any) -> Any:
    raise AssertionError("computed again")


def test_failures_are_listed_and_labels_stay_with_their_molecules() -> None:
    data = bags()
    assert data.ids == ("1", "3", "5", "6")
    assert [(f.id, f.row, f.smiles) for f in data.failures] == [
        ("2", 1, ""),
        ("4", 3, "C1C#C1"),
        ("7", 6, "xx"),
    ]
    assert [f.reason[:19] for f in data.failures] == [
        "not a SMILES: empty",
        "no conformer embeds",
        "not a SMILES: SMILE",
    ]
    assert data.labels is not None
    np.testing.assert_array_equal(data.labels[:, 0], [0, 1, np.nan, 1])
    assert data.instance_ids is not None
    assert data.instance_ids[0] == "1-1"
    assert (data.sizes >= 1).all()
    first, last = data.take([0]), data.take([3])  # the same SMILES
    np.testing.assert_array_equal(first.instances, last.instances)
    assert data.smiles == ("CCO", "OCCN", "c1ccccc1O", "CCO")


def test_second_run_computes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = bags(tmp_path)
    monkeypatch.setattr(computed, "embed", refuse)
    monkeypatch.setattr(computed, "describe_molecule", refuse)
    second = bags(tmp_path, progress=refuse)
    assert_same(first, second)
    assert second.failures == first.failures


def test_other_descriptors_are_computed_of_the_conformers_that_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bags(tmp_path)
    changed = settings(descriptors_3d=["autocorr3d", "usrcat"])
    fresh = bags(features=changed)
    monkeypatch.setattr(computed, "embed", refuse)
    assert_same(bags(tmp_path, features=changed), fresh)
    with pytest.raises(AssertionError, match="computed again"):
        bags(tmp_path, features=settings(conformers=ConformerConfig(count=3, seed=1)))


def test_an_interrupted_run_keeps_what_it_has(tmp_path: Path) -> None:
    def stop(stage: str, _: int, __: int) -> None:
        if stage == "conformers":
            raise KeyboardInterrupt

    told: list[tuple[str, int, int]] = []
    with pytest.raises(KeyboardInterrupt):
        bags(tmp_path, progress=stop)
    bags(tmp_path, progress=lambda *step: told.append(step))
    assert told == [("conformers", 2, 2)]  # of 6 different SMILES, the first 4 were kept


def test_one_kind_of_features_alone() -> None:
    flat = bags(features=settings(descriptors_3d=[]))
    assert flat.instances is None
    assert len(flat) == 5  # cyclopropyne has 2D features
    deep = bags(features=settings(use_2d=False))
    assert deep.x2d is None
    assert deep.feature_names_2d == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": LABELS + 2}, "task 'y': expected 0, 1 or NaN"),
        ({"ids": ["a"] * 7}, "ids: expected distinct values; found twice 'a'"),
        ({"ids": ["a"]}, "smiles: expected one per bag, 1; found 7"),
        ({"workers": 0}, "workers: expected at least 1; found 0"),
        ({"features": settings(descriptors_3d=[], use_2d=False)}, "found neither"),
        (
            {"features": settings(descriptors_2d={"descriptors": False, "morgan_bits": 0})},
            "neither",
        ),
    ],
)
def test_refuses_before_it_computes(
    changes: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(computed, "embed", refuse)
    monkeypatch.setattr(computed, "describe_molecule", refuse)
    with pytest.raises(MILError, match=message):
        bags(**changes)


def test_no_molecule_left() -> None:
    with pytest.raises(MILError, match=r"none of 2 \('C1C#C1' in row 1: no conformer embeds"):
        BagData.from_smiles(["C1C#C1", "xx"], features=settings())


def test_without_rdkit_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rdkit", None)
    with pytest.raises(ImportError, match=r"pip install 'mil-attn\[chem\]'"):
        bags()


@pytest.mark.slow
def test_two_processes_give_what_one_gives() -> None:
    smiles = ["CO", "CCN", "CCCF", "CCS", "CCCCO", "CC"]
    data = BagData.from_smiles(smiles, features=settings())
    assert_same(data, BagData.from_smiles(smiles, features=settings(), workers=2))


@pytest.mark.slow
def test_a_killed_run_loses_at_most_a_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = Path(__file__).with_name("spawned.py")
    # It ends itself, with nothing tidied up, after 10 of 12 molecules.
    done = subprocess.run([sys.executable, str(script), str(tmp_path)], check=False, timeout=120)
    assert done.returncode == 9
    smiles = [f"{'C' * (i + 1)}O" for i in range(12)]
    embedded: list[str] = []
    embed: Callable[..., Any] = computed.embed

    def counted(text: str, config: ConformerConfig) -> Any:
        embedded.append(text)
        return embed(text, config)

    monkeypatch.setattr(computed, "embed", counted)
    BagData.from_smiles(smiles, features=settings(), cache=tmp_path)
    assert embedded == smiles[8:]  # files of 4 molecules
