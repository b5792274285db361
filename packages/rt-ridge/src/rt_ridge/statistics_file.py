"""Sufficient statistics as one npz file, without pickle."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rt_ridge.errors import RTRidgeError, listed
from rt_ridge.npz import Arrays, read_npz, write_npz

SCHEMA = "rt_ridge.sufficient_statistics"
SCHEMA_VERSION = 1

_SHAPES = {
    "keys": "G",
    "n": "G",
    "mean_x": "GP",
    "mean_y": "G",
    "sxx": "GPP",
    "sxy": "GP",
    "syy": "G",
    "mean_low": "GQ",
    "parents_group": "M",
    "parents_parent": "M",
}
_OPTIONAL = ("mean_low", "parents_group", "parents_parent")
_WHOLE = ("keys", "n", "parents_group", "parents_parent")
_TEXTS = ("schema", "target", "group_col")


def write_arrays(arrays: Arrays, path: Path) -> None:
    """Write arrays and names atomically, with the schema's name and version."""
    header = {"schema": np.array(SCHEMA), "schema_version": np.array(SCHEMA_VERSION)}
    write_npz({**header, **arrays}, path)


def read_arrays(path: Path) -> Arrays:
    """Read what `write_arrays` wrote; `RTRidgeError` says what is wrong with any other file."""
    arrays = read_npz(path, "path")
    check_arrays(arrays, path.name)
    return arrays


def check_arrays(arrays: Arrays, where: str) -> None:
    """Raise `RTRidgeError` unless every array is there, of its shape and type, and in range."""
    _check_header(arrays, where)
    sizes = {"G": len(arrays["keys"]), "P": len(arrays["covariates"])}
    sizes |= {"Q": sizes["P"] + 1, "M": np.size(arrays.get("parents_group", []))}
    for name, letters in _SHAPES.items():
        if name not in arrays:
            continue
        array = arrays[name]
        expected = tuple(sizes[letter] for letter in letters)
        dtype = np.int64 if name in _WHOLE else np.float64
        if array.shape != expected or array.dtype != dtype:
            raise RTRidgeError(
                f"{name} ({where}): expected {np.dtype(dtype)} {list(expected)}; found"
                f" {array.dtype} {list(array.shape)}"
            )
        if not np.isfinite(array).all():
            row = int(np.argwhere(~np.isfinite(array))[0][0])
            raise RTRidgeError(
                f"{name} ({where}): expected finite values; found others at key"
                f" {arrays['keys'][row]}"
            )
    _check_values(arrays, where)


def _check_header(arrays: Arrays, where: str) -> None:
    required = [name for name in _SHAPES if name not in _OPTIONAL]
    wanted = [*_TEXTS, "schema_version", "covariates", *required]
    absent = [name for name in wanted if name not in arrays]
    if absent:
        raise RTRidgeError(
            f"statistics ({where}): lacks {listed(absent)}; it has {listed(sorted(arrays), 20)}"
        )
    found = (str(arrays["schema"]), str(arrays["schema_version"]))
    if found != (SCHEMA, str(SCHEMA_VERSION)):
        raise RTRidgeError(
            f"schema ({where}): expected {SCHEMA} version {SCHEMA_VERSION};"
            f" found {found[0]} version {found[1]}"
        )
    for name in ("keys", "covariates"):
        if arrays[name].ndim != 1:
            raise RTRidgeError(
                f"{name} ({where}): expected one dimension; found {list(arrays[name].shape)}"
            )
    if ("parents_group" in arrays) != ("parents_parent" in arrays):
        raise RTRidgeError(f"parents ({where}): expected groups and their parents; found one")


def _check_values(arrays: Arrays, where: str) -> None:
    for name in ("keys", "parents_group"):
        ids = arrays.get(name, np.zeros(0, np.int64))
        if (np.diff(ids) <= 0).any() or (len(ids) and ids[0] < 0):
            raise RTRidgeError(
                f"{name} ({where}): expected non-negative and ascending;"
                f" found {listed(ids.tolist(), 5)}"
            )
    diagonal = np.einsum("gpp->gp", arrays["sxx"])
    for name, bad in (
        ("n", arrays["n"] < 1),
        ("syy", arrays["syy"] < 0),
        ("sxx", (diagonal < 0).any(axis=1)),
    ):
        if bad.any():
            key = arrays["keys"][np.flatnonzero(bad)[0]]
            low = "at least 1" if name == "n" else "sums of squares, not negative"
            raise RTRidgeError(f"{name} ({where}): expected {low}; found less at key {key}")
    if "parents_group" in arrays:
        lost = np.setdiff1d(arrays["keys"] >> 32, arrays["parents_group"])
        if len(lost):
            raise RTRidgeError(
                f"parents ({where}): expected one for each group;"
                f" found none for {listed(lost.tolist())}"
            )
