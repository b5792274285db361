from __future__ import annotations

import numpy as np
import pytest
import torch
from chemprop.data.collate import collate_batch
from chemprop.data.samplers import SeededSampler
from chemprop_multitask import BatchLoader, MoleculeData
from chemprop_multitask._batches import ChempropShuffle, RowBatchMolGraph
from hypothesis import given
from hypothesis import strategies as st


def rows(loader: BatchLoader) -> list[tuple[int, ...]]:
    found = []
    for batch in loader:
        assert isinstance(batch.bmg, RowBatchMolGraph)
        found.append(tuple(int(row) for row in batch.bmg.rows))
    return found


def test_a_batch_is_chemprops_with_its_rows(data: MoleculeData) -> None:
    loader = BatchLoader(data, 5, ChempropShuffle(len(data), 3))
    for batch, order in zip(loader, rows(loader), strict=True):
        peer = collate_batch([data[row] for row in order])
        for name in ("V", "E", "edge_index", "rev_edge_index", "batch"):
            assert torch.equal(getattr(batch.bmg, name), getattr(peer.bmg, name))
        torch.testing.assert_close(batch.Y, peer.Y, rtol=0, atol=0, equal_nan=True)
        assert torch.equal(batch.w, peer.w)
        assert len(batch.bmg) == len(order)


def test_censoring_is_batched(smiles: list[str]) -> None:
    signs = np.array([[(row % 3) - 1] for row in range(32)], dtype=np.int8)
    data = MoleculeData(smiles, np.ones((32, 1)), task_names="a", censoring=signs)
    batch = next(iter(BatchLoader(data, 32)))
    assert batch.lt_mask is not None
    assert batch.gt_mask is not None
    assert batch.lt_mask[:, 0].tolist() == [row % 3 == 0 for row in range(32)]
    assert batch.gt_mask[:, 0].tolist() == [row % 3 == 2 for row in range(32)]


@pytest.mark.parametrize(("n", "drop", "sizes"), [(9, True, [4, 4]), (9, False, [4, 4, 1])])
def test_a_single_molecule_at_the_end(
    smiles: list[str], n: int, drop: bool, sizes: list[int]
) -> None:
    loader = BatchLoader(MoleculeData(smiles[:n]), 4, drop_single=drop)
    assert len(loader) == len(sizes)
    assert [len(batch.bmg) for batch in loader] == sizes


@given(st.integers(0, 50), st.integers(0, 2**32), st.integers(0, 100))
def test_every_row_once_and_a_function_of_seed_and_epoch(n: int, seed: int, epoch: int) -> None:
    sampler, twin = ChempropShuffle(n, seed), ChempropShuffle(n, seed)
    list(sampler)
    sampler.set_epoch(epoch)
    twin.set_epoch(epoch)
    assert list(sampler) == list(twin)
    assert sorted(sampler) == list(range(n))
    assert len(sampler) == n


def test_epochs_and_seeds_differ() -> None:
    sampler = ChempropShuffle(50, 1)
    first = list(sampler)
    sampler.set_epoch(1)
    assert list(sampler) != first
    assert list(ChempropShuffle(50, 2)) != first


def test_the_order_is_that_of_chemprops_own_sampler() -> None:
    sampler, peer = ChempropShuffle(50, 7), SeededSampler(50, 7)
    for epoch in range(3):
        sampler.set_epoch(epoch)
        assert list(sampler) == [int(row) for row in peer]


def test_an_earlier_epoch_can_be_asked_for_again() -> None:
    sampler = ChempropShuffle(20, 7)
    first = list(sampler)
    sampler.set_epoch(4)
    list(sampler)
    sampler.set_epoch(0)
    assert list(sampler) == first
