"""Arrays of an npz file, read so that a damaged one is told as such and none runs code."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molpool_common._digests import DamagedFileError, checked
from molpool_common._errors import InputError
from molpool_common._input_files import check_unpacked

_OF_DAMAGE = (
    *(OSError, ValueError, EOFError, KeyError, AttributeError, TypeError, SyntaxError),
    *(OverflowError, MemoryError, NotImplementedError, RuntimeError),
    *(struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)
"""What zipfile and NumPy raise where some bit of an archive is not as it was."""


def read_npz(path: str | Path) -> dict[str, NDArray[Any]]:
    """Return all arrays of a file, by name.

    Parameters
    ----------
    path : str or Path
        What `numpy.savez` wrote, or a command of ours.

    Raises
    ------
    FileNotFoundError
        If there is none.
    DamagedFileError
        If it is not what a run wrote there, is damaged, holds Python objects, or is no npz file.
    """
    try:
        # Opened here: of a damaged archive, NumPy would leave the file open.
        check_unpacked(checked(path), str(path))
        with Path(path).open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (FileNotFoundError, InputError):
        raise
    except _OF_DAMAGE as error:
        raise DamagedFileError(
            Path(path).name,
            expected="an npz file of numbers and text",
            found=f"{type(error).__name__}: {error}",
            where=str(Path(path).parent),
        ) from None
