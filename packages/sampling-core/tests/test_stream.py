from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sampling_core import (
    CurriculumState,
    DynamicCurriculumSampler,
    JointSampler,
    RarePositiveSampler,
    SamplingError,
    TaskAwareSampler,
)
from sampling_core import _stream as stream_module
from sampling_core._stream import EpochStream
from torch.utils.data import DataLoader, TensorDataset

NAN = np.nan
Y = np.array([[1, NAN], [0, 1], [NAN, 1], [1, NAN], [1, 0], [0, NAN], [1, NAN]])
QUALITY = ["high", "low", "medium", "high", "medium", "medium", "low"]

BUILD: dict[str, Callable[..., EpochStream]] = {
    "task": lambda **k: TaskAwareSampler(Y, 0.5, **k),
    "curriculum": lambda **k: DynamicCurriculumSampler(QUALITY, CurriculumState(), **k),
    "joint": lambda **k: JointSampler(Y, QUALITY, CurriculumState(), 0.5, **k),
    "rare": lambda **k: RarePositiveSampler(Y, 0.7, 2.0, 4.0, **k),
}
NAMES = sorted(BUILD)


@pytest.fixture(autouse=True, scope="module")
def _small_blocks() -> Iterator[None]:
    # Epochs of a few dozen draws then span several blocks.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream_module, "BLOCK", 8)
        yield


@pytest.mark.parametrize("name", NAMES)
def test_iteration_is_the_announced_draws(name: str) -> None:
    sampler = BUILD[name](num_samples=37, seed=5)
    first, second = sampler.draws(0), sampler.draws(1)
    assert first.dtype == np.int64
    assert len(sampler) == 37
    assert list(sampler) == first.tolist()
    assert (sampler.epoch, sampler.position) == (1, 0)
    assert list(sampler) == second.tolist()
    assert first.tolist() != second.tolist()


@given(
    name=st.sampled_from(NAMES),
    n=st.integers(1, 40),
    world_size=st.integers(1, 4),
    seed=st.integers(0, 2**63),
)
def test_ranks_together_are_the_single_stream(
    name: str, n: int, world_size: int, seed: int
) -> None:
    whole = BUILD[name](num_samples=n, seed=seed).draws(3)
    merged = np.full(n, -1)
    for rank in range(world_size):
        part = BUILD[name](num_samples=n, seed=seed, rank=rank, world_size=world_size)
        part.set_epoch(3)
        drawn = list(part)
        assert len(drawn) == len(part)
        merged[rank::world_size] = drawn
    assert merged.tolist() == whole.tolist()


@given(
    name=st.sampled_from(NAMES),
    n=st.integers(1, 40),
    world_size=st.integers(1, 3),
    data=st.data(),
)
def test_resuming_anywhere_completes_the_epoch(
    name: str, n: int, world_size: int, data: st.DataObject
) -> None:
    def build(seed: int) -> EpochStream:
        return BUILD[name](num_samples=n, seed=seed, rank=world_size - 1, world_size=world_size)

    sampler = build(9)
    sampler.set_epoch(2)
    consumed = data.draw(st.integers(0, len(sampler)))
    head = list(islice(sampler, consumed))
    state = pickle.loads(pickle.dumps(sampler.state_dict()))
    assert state["position"] == consumed
    resumed = build(1234)
    resumed.load_state_dict(state)
    assert resumed.position == consumed
    assert head + list(resumed) == sampler.draws(2).tolist()
    assert resumed.state_dict()["epoch"] == 3
    assert list(resumed) == sampler.draws(3).tolist()


def test_position_is_exact_at_every_draw() -> None:
    sampler = BUILD["joint"](num_samples=20, seed=0)
    for taken, _ in enumerate(sampler, start=1):
        assert (sampler.epoch, sampler.position) == (0, taken)
    assert (sampler.epoch, sampler.position) == (1, 0)


def test_breaking_off_moves_to_the_next_epoch() -> None:
    sampler = BUILD["task"](num_samples=20, seed=0)
    assert list(islice(sampler, 3)) == sampler.draws(0)[:3].tolist()
    assert list(sampler) == sampler.draws(1).tolist()
    # Taking exactly all of them without asking for one more is no different.
    assert list(islice(sampler, 20)) == sampler.draws(2).tolist()
    assert list(sampler) == sampler.draws(3).tolist()


def test_unused_iterators_move_nothing() -> None:
    sampler = BUILD["task"](num_samples=20, seed=0)
    iter(sampler)
    assert list(sampler) == sampler.draws(0).tolist()
    sampler.load_state_dict({**sampler.state_dict(), "epoch": 4, "position": 7})
    iter(sampler)
    assert list(sampler) == sampler.draws(4)[7:].tolist()


def test_old_iterators_do_not_move_the_stream() -> None:
    sampler = BUILD["task"](num_samples=20, seed=0)
    old = iter(sampler)
    next(old)
    sampler.set_epoch(6)
    assert list(old) == sampler.draws(0)[1:].tolist()
    assert (sampler.epoch, sampler.position) == (6, 0)


def test_set_epoch_starts_it_afresh() -> None:
    sampler = BUILD["rare"](num_samples=20, seed=0)
    list(islice(sampler, 5))
    sampler.set_epoch(0)
    assert list(sampler) == sampler.draws(0).tolist()


def test_frozen_epochs_repeat() -> None:
    sampler = BUILD["joint"](num_samples=30, seed=0, increment_seed_per_epoch=False)
    first = list(sampler)
    assert sampler.epoch == 1
    assert list(sampler) == first


def test_fresh_seed_is_kept_by_the_state() -> None:
    one, two = BUILD["task"](num_samples=30), BUILD["task"](num_samples=30)
    # Equal by chance with a probability of 2^-63.
    assert one.seed != two.seed
    two.load_state_dict(one.state_dict())
    assert list(two) == one.draws(0).tolist()


def test_shorter_epochs_are_prefixes() -> None:
    long = BUILD["task"](num_samples=40, seed=3).draws()
    assert BUILD["task"](num_samples=21, seed=3).draws().tolist() == long[:21].tolist()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
def test_copies_go_on_where_the_original_stood(duplicate: Callable[[Any], Any]) -> None:
    sampler = BUILD["task"](num_samples=20, seed=0)
    list(islice(sampler, 5))
    assert duplicate(sampler).state_dict() == sampler.state_dict()


@settings(max_examples=20)
@given(name=st.sampled_from(NAMES), batches=st.integers(0, 4))
def test_loader_resumes(name: str, batches: int) -> None:
    rows = TensorDataset(torch.arange(len(Y)))

    def load(sampler: EpochStream, limit: int | None = None) -> list[int]:
        loader = DataLoader(rows, batch_size=5, sampler=sampler, num_workers=0)
        return [int(i) for (batch,) in islice(loader, limit) for i in batch]

    sampler = BUILD[name](num_samples=23, seed=1)
    head = load(sampler, batches)
    resumed = BUILD[name](num_samples=23, seed=2)
    resumed.load_state_dict(sampler.state_dict())
    assert head + load(resumed) == sampler.draws(0).tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_samples": 0}, "num_samples: expected a whole number >= 1, found 0"),
        ({"num_samples": 2.5}, "found 2.5"),
        ({"num_samples": True}, "found True"),
        ({"seed": -1}, "seed: expected a whole number >= 0"),
        ({"seed": 0, "world_size": 0}, "world_size"),
        ({"seed": 0, "world_size": 2, "rank": 2}, "rank: expected 0 to 1, found 2"),
        ({"seed": 0, "rank": -1}, "rank"),
        ({"world_size": 2}, "seed: expected a number with world_size > 1"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SamplingError, match=message):
        BUILD["task"](**arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_samples": 21}, "num_samples is 21, this sampler's is 20"),
        ({"world_size": 2}, "world_size is 2, this sampler's is 1"),
        ({"position": 21}, "position is 21, rank 0 draws 20"),
        ({"epoch": -1}, "epoch: expected"),
        ({"seed": "a"}, "seed: expected"),
    ],
)
def test_states_of_another_stream_are_refused(change: dict[str, Any], message: str) -> None:
    sampler = BUILD["task"](num_samples=20, seed=0)
    before = sampler.state_dict()
    with pytest.raises(SamplingError, match=message):
        sampler.load_state_dict(before | change)
    assert sampler.state_dict() == before


def test_incomplete_state_is_refused() -> None:
    with pytest.raises(SamplingError, match="no 'position', 'num_samples', 'world_size'"):
        BUILD["task"](seed=0).load_state_dict({"seed": 0, "epoch": 1})
