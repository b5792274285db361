from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chemprop_multitask import (
    ChempropError,
    ChempropModel,
    Ensemble,
    EnsembleConfig,
    Member,
    MoleculeData,
    plan_members,
)
from numpy.typing import NDArray

TASKS = ("a", "b", "c")
UNSEEN = ["CCCCN", "c1ccccc1CCO", "OC(=O)CCl"]


@pytest.fixture
def config(settings: Any) -> EnsembleConfig:
    return EnsembleConfig(n_seeds=2, n_folds=2, **dict(settings(learning_rate=1e-2)))


@pytest.fixture
def folds(
    smiles: list[str], table: NDArray[np.float64]
) -> list[tuple[MoleculeData, MoleculeData | None]]:
    side = np.arange(32) % 2 == 0

    def part(rows: NDArray[np.bool_]) -> MoleculeData:
        chosen = [s for s, keep in zip(smiles, rows, strict=True) if keep]
        return MoleculeData(chosen, table[rows], task_names=TASKS)

    return [(part(side), part(~side)), (part(~side), part(side))]


@pytest.fixture
def ensemble(config: EnsembleConfig, folds: Any) -> Ensemble:
    return Ensemble.fit(config, folds, task_names=TASKS)


def test_mean_and_spread_are_the_members(ensemble: Ensemble) -> None:
    each = np.stack([member.predict(UNSEEN) for member in ensemble.members])
    assert each.shape == (4, 3, 3)
    mean, sd = ensemble.predict(UNSEEN)
    np.testing.assert_allclose(mean, sum(each) / 4, rtol=1e-12)
    deviation = sum((one - mean) ** 2 for one in each)
    np.testing.assert_allclose(sd, np.sqrt(deviation / 3), rtol=1e-9)
    assert (sd > 0).all()
    for i in range(4):
        for j in range(i):
            assert not np.allclose(each[i], each[j])


def test_members_do_not_depend_on_how_many_there_are(
    ensemble: Ensemble, config: EnsembleConfig, folds: Any
) -> None:
    asked: list[int] = []

    def fold(number: int) -> Any:
        asked.append(number)
        return folds[number]

    one = Ensemble.fit(config.model_copy(update={"n_seeds": 1}), fold, task_names=TASKS)
    assert asked == [0, 1]
    for first, second in zip(one.members, ensemble.members, strict=False):
        np.testing.assert_array_equal(first.predict(UNSEEN), second.predict(UNSEEN))


def test_each_epoch_is_told_with_its_member(config: EnsembleConfig, folds: Any) -> None:
    told: list[tuple[int, int]] = []
    Ensemble.fit(config, folds, task_names=TASKS, on_epoch=lambda m, r: told.append((m, r.epoch)))
    assert told == [(m, e) for m in range(4) for e in range(2)]


def test_save_and_load(ensemble: Ensemble, tmp_path: Path) -> None:
    ensemble.save(tmp_path / "models")
    loaded = Ensemble.load(tmp_path / "models")
    assert loaded.task_names == TASKS
    for first, second in zip(loaded.predict(UNSEEN), ensemble.predict(UNSEEN), strict=True):
        np.testing.assert_array_equal(first, second)
    with pytest.raises(ChempropError, match=r"without model files; found .*member-000\.pt"):
        ensemble.save(tmp_path / "models")


def test_one_member_has_no_spread(settings: Any) -> None:
    member = ChempropModel.from_config(settings(), task_names=TASKS)
    mean, sd = Ensemble([member]).predict(UNSEEN)
    np.testing.assert_array_equal(mean, member.predict(UNSEEN))
    assert np.isnan(sd).all()


def test_what_does_not_fit_is_named(
    config: EnsembleConfig, folds: Any, settings: Any, tmp_path: Path
) -> None:
    with pytest.raises(ChempropError, match="folds: expected 2, as n_folds has it; found 1"):
        Ensemble.fit(config, folds[:1], task_names=TASKS)
    with pytest.raises(ChempropError, match="found none"):
        Ensemble([])
    with pytest.raises(ChempropError, match=r"member-\*\.pt in .*; found none"):
        Ensemble.load(tmp_path)
    members = [ChempropModel.from_config(settings(), task_names=names) for names in ("ab", "ac")]
    with pytest.raises(ChempropError, match=r"\['a', 'b'\]; member 1 has \['a', 'c'\]"):
        Ensemble(members)


def test_members_are_planned_seed_by_seed() -> None:
    plan = plan_members(2, 3, seed=5)
    assert [(m.number, m.seed_number, m.fold) for m in plan] == [
        (0, 0, 0), (1, 0, 1), (2, 0, 2), (3, 1, 0), (4, 1, 1), (5, 1, 2),
    ]  # fmt: skip
    assert len({m.seed for m in plan}) == 6
    own = np.random.SeedSequence(5, spawn_key=(1, 2)).generate_state(1)[0]
    assert plan[5] == Member(5, 1, 2, int(own))


def test_one_path_loads_whatever_model_there_is(settings: Any, tmp_path: Path) -> None:
    members = [ChempropModel.from_config(settings(), task_names="ab", seed=s) for s in (1, 2)]
    one, many = tmp_path / "one", tmp_path / "many"
    one.mkdir()
    members[0].save(one / "model.pt")
    Ensemble(members).save(many / "models")
    for path in (one, one / "model.pt"):
        (member,) = Ensemble.load(path).members
        np.testing.assert_array_equal(member.predict(UNSEEN), members[0].predict(UNSEEN))
        np.testing.assert_array_equal(
            ChempropModel.load(path).predict(UNSEEN), members[0].predict(UNSEEN)
        )
    for path in (many, many / "models"):
        np.testing.assert_array_equal(
            Ensemble.load(path).predict(UNSEEN)[1], Ensemble(members).predict(UNSEEN)[1]
        )
    with pytest.raises(ChempropError, match=r"expected one model; found 2 in .*Ensemble\.load"):
        ChempropModel.load(many)


def test_the_batch_size_changes_rounding_alone(ensemble: Ensemble) -> None:
    whole, spread = ensemble.predict(UNSEEN)
    for size in (1, 2):
        mean, sd = ensemble.predict(UNSEEN, batch_size=size)
        # Single precision: sums of other lengths round in the last bits.
        np.testing.assert_allclose(mean, whole, rtol=0, atol=1e-5)
        np.testing.assert_allclose(sd, spread, rtol=0, atol=1e-5)
