"""Arrays of numbers and text in one npz file, without pickle."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import molpool_common
import numpy as np
import numpy.typing as npt
from molpool_common import DamagedFileError, atomic_path

from rt_ridge._errors import RTRidgeError

Arrays = dict[str, npt.NDArray[Any]]


def write_npz(arrays: Mapping[str, npt.NDArray[Any]], path: Path) -> None:
    """Write arrays atomically; equal arrays give equal bytes.

    `numpy.load` reads the file. An array of objects is refused rather than pickled.
    """
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as file:
        for name, array in arrays.items():
            # A bare ZipInfo bears the same date always.
            with file.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asarray(array), allow_pickle=False)


def read_npz(path: Path, parameter: str) -> Arrays:
    """Read all arrays of a file.

    Raises
    ------
    RTRidgeError
        If there is no file, or it is truncated, of another kind, or pickled; the message starts
        with `parameter`.
    """
    if not path.is_file():
        advice = molpool_common.folders_inside(path.parent, path.name)
        more = f". {advice}" if advice else ""
        raise RTRidgeError(
            f"{parameter}: expected an existing file; found none at {str(path)!r}{more}"
        )
    try:
        return molpool_common.read_npz(path)
    except DamagedFileError as error:
        raise RTRidgeError(
            f"{parameter} ({path.name}): expected {error.expected}; found {error.found}"
        ) from None
