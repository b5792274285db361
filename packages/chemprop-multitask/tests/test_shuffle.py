from __future__ import annotations

from chemprop.data.samplers import SeededSampler
from chemprop_multitask.shuffle import EpochShuffle
from hypothesis import given
from hypothesis import strategies as st


@given(st.integers(0, 50), st.integers(0, 2**32), st.integers(0, 100))
def test_every_row_once_and_a_function_of_seed_and_epoch(n: int, seed: int, epoch: int) -> None:
    sampler, twin = EpochShuffle(n, seed), EpochShuffle(n, seed)
    list(sampler)
    sampler.set_epoch(epoch)
    twin.set_epoch(epoch)
    assert list(sampler) == list(twin)
    assert sorted(sampler) == list(range(n))
    assert len(sampler) == n


def test_epochs_and_seeds_differ() -> None:
    sampler = EpochShuffle(50, 1)
    first = list(sampler)
    sampler.set_epoch(1)
    assert list(sampler) != first
    assert list(EpochShuffle(50, 2)) != first


def test_the_order_is_that_of_chemprops_own_sampler() -> None:
    sampler, peer = EpochShuffle(50, 7), SeededSampler(50, 7)
    for epoch in range(3):
        sampler.set_epoch(epoch)
        assert list(sampler) == [int(row) for row in peer]


def test_an_earlier_epoch_can_be_asked_for_again() -> None:
    sampler = EpochShuffle(20, 7)
    first = list(sampler)
    sampler.set_epoch(4)
    list(sampler)
    sampler.set_epoch(0)
    assert list(sampler) == first
