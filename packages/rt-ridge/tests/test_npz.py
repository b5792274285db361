from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rt_ridge._npz import read_npz, write_npz


def test_numpy_reads_what_is_written(tmp_path: Path) -> None:
    arrays = {
        "a": np.arange(6.0).reshape(2, 3).T,
        "b": np.array(["ö", "long name"]),
        "c": np.array(3),
        "d": np.zeros((0, 4), dtype=np.int64),
    }
    write_npz(arrays, tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        assert sorted(file.files) == sorted(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(file[name], array)
            assert file[name].dtype == array.dtype
    assert read_npz(tmp_path / "a.npz", "file").keys() == arrays.keys()


def test_objects_are_refused_and_leave_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        write_npz({"a": np.array([{}], dtype=object)}, tmp_path / "a.npz")
    assert list(tmp_path.iterdir()) == []
