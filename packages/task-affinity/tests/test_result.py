from __future__ import annotations

import numpy as np
import pytest
from task_affinity._config import TaskAffinityConfig
from task_affinity._errors import TaskAffinityError
from task_affinity._result import AffinityResult, BatchBlocks, PairAccumulator, cosines
from task_affinity._run import TaskAffinityComputer

RNG = np.random.default_rng(0)


def test_divides_by_the_batches_that_had_the_pair():
    pairs = PairAccumulator(3)
    pairs.add(np.array([0, 1]), np.array([[1.0, 0.2], [0.4, 1.0]]))
    pairs.add(np.array([1, 0]), np.array([[1.0, 0.8], [0.6, 1.0]]))
    pairs.add(np.array([0]), np.array([[1.0]]))
    assert pairs.counts.tolist() == [[3, 2, 0], [2, 2, 0], [0, 0, 0]]
    np.testing.assert_allclose(
        pairs.matrix, [[1, 0.4, np.nan], [0.6, 1, np.nan], [np.nan] * 3], rtol=1e-12
    )


def test_standard_errors_are_those_of_a_mean():
    values = RNG.normal(size=(20, 2, 2))
    pairs = PairAccumulator(2)
    for x in values:
        pairs.add(np.arange(2), x)
    expected = values.std(axis=0, ddof=1) / np.sqrt(20)
    np.testing.assert_allclose(pairs.standard_errors, expected, rtol=1e-10)


def test_one_batch_has_no_standard_error():
    pairs = PairAccumulator(1)
    pairs.add(np.array([0]), np.ones((1, 1)))
    assert np.isnan(pairs.standard_errors).all()


def test_leaves_out_what_is_not_finite():
    pairs = PairAccumulator(2)
    pairs.add(np.arange(2), np.array([[1.0, np.inf], [np.nan, 1.0]]))
    pairs.add(np.arange(2), np.array([[1.0, 0.5], [0.25, 1.0]]))
    assert pairs.counts.tolist() == [[2, 1], [1, 2]]
    assert pairs.matrix.tolist() == [[1, 0.5], [0.25, 1]]


def gramians(n: int, rng: np.random.Generator) -> list[np.ndarray]:
    return [g @ g.T for g in rng.normal([1, 0, 0, 0.5, 0], size=(n, 3, 5))]


def test_products_end_with_ones_on_the_diagonal():
    pairs = PairAccumulator(3, normalize=True)
    products = gramians(7, RNG)
    for x in products:
        pairs.add(np.arange(3), x)
    total = np.sum(products, axis=0)
    scale = 1 / np.sqrt(np.diag(total))
    np.testing.assert_allclose(pairs.matrix, total * scale * scale[:, None], rtol=1e-12)
    assert np.diag(pairs.matrix).tolist() == [1, 1, 1]
    assert np.diag(pairs.standard_errors).tolist() == [0, 0, 0]


def test_errors_of_normalised_products_are_their_spread_over_repeats():
    rng = np.random.default_rng(2)
    matrices, errors = [], []
    for _ in range(150):
        pairs = PairAccumulator(3, normalize=True)
        for x in gramians(60, rng):
            pairs.add(np.arange(3), x)
        matrices.append(pairs.matrix)
        errors.append(pairs.standard_errors)
    spread = np.std(matrices, axis=0)
    # The spread of 150 repeats is known to 6 %, the first order is good to a few at 60 batches.
    np.testing.assert_allclose(np.mean(errors, axis=0), spread, rtol=0.25, atol=1e-12)


def test_a_task_whose_gradients_vanish_has_no_affinity():
    pairs = PairAccumulator(2, normalize=True)
    pairs.add(np.arange(2), np.array([[4.0, 0.0], [0.0, 0.0]]))
    assert pairs.matrix.tolist() == [[1, 0], [0, 0]]


@pytest.mark.parametrize("n_batches", [1, 15, 16, 17, 64, 101])
def test_blocks_keep_all_batches_in_little_room(n_batches, monkeypatch):
    monkeypatch.setattr("task_affinity._result._BLOCK_NUMBERS", 1)
    blocks = BatchBlocks(2)
    at = np.ix_([0, 1], [0, 1])
    for batch in range(n_batches):
        blocks.add(at, np.full((2, 2), float(batch)), np.ones((2, 2), bool))
    assert len(blocks.sums) == len(blocks.counts) <= 16
    assert blocks.sums.sum(axis=0)[0, 1] == sum(range(n_batches))
    assert blocks.counts.sum(axis=0)[0, 1] == n_batches
    widths = blocks.counts[:-1, 0, 0]
    assert len(set(widths.tolist())) <= 1


@pytest.fixture
def result(make_toy) -> AffinityResult:
    config = TaskAffinityConfig(device="cpu", every_n_steps=2)
    return TaskAffinityComputer(config).compute(*make_toy(), task_names=["LogD", "µ", "a b"])


def test_comes_back_from_its_file(result, tmp_path):
    result.save(tmp_path / "affinity.npz")
    again = AffinityResult.load(tmp_path / "affinity.npz")
    for name, value in vars(result).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(again, name), value)
            assert getattr(again, name).dtype == value.dtype
        else:
            assert getattr(again, name) == value


def test_the_file_needs_no_pickle(result, tmp_path):
    result.save(tmp_path / "affinity.npz")
    with np.load(tmp_path / "affinity.npz", allow_pickle=False) as file:
        np.testing.assert_array_equal(file["matrix"], result.matrix)
        assert file["task_names"].tolist() == ["LogD", "µ", "a b"]


def test_samples_are_unknown_where_a_block_had_no_pair(result):
    result.block_counts[0, 0, 1] = 0
    assert np.isnan(result.samples[0, 0, 1])


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut off"])
def test_names_a_file_that_is_something_else(tmp_path, content):
    path = tmp_path / "affinity.npz"
    path.write_bytes(content)
    with pytest.raises(TaskAffinityError, match=r"affinity\.npz: expected an npz file"):
        AffinityResult.load(path)


def test_names_a_file_that_is_missing_or_of_other_arrays(tmp_path):
    with pytest.raises(TaskAffinityError, match="No such file"):
        AffinityResult.load(tmp_path / "none.npz")
    np.savez(tmp_path / "other.npz", matrix=np.eye(2))
    np.save(tmp_path / "one.npy", np.eye(2))
    for name in ("other.npz", "one.npy"):
        with pytest.raises(TaskAffinityError, match=r"found one without|npz file of numbers"):
            AffinityResult.load(tmp_path / name)


def test_cosine_of_zero_is_zero():
    products = np.array([[4.0, -2.0, 0.0], [-2.0, 4.0, 0.0], [0.0, 0.0, 0.0]])
    assert cosines(products).tolist() == [[1, -0.5, 0], [-0.5, 1, 0], [0, 0, 0]]
