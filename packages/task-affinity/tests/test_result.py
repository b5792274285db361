from __future__ import annotations

import numpy as np
import pytest
from task_affinity.computer import TaskAffinityComputer
from task_affinity.config import TaskAffinityConfig
from task_affinity.errors import TaskAffinityError
from task_affinity.result import AffinityResult


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
        with pytest.raises(TaskAffinityError, match="found one without"):
            AffinityResult.load(tmp_path / name)
