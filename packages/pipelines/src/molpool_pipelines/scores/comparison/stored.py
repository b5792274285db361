"""Comparisons read back from the JSON that `compare` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from molpool_common import InputError
from pydantic import TypeAdapter, ValidationError

from molpool_pipelines.scores.comparison.result import KIND, Comparison


def load_comparison(path: str | Path) -> Comparison:
    """Read a comparison from its JSON, from the table beside it, or from the folder it is in.

    Raises
    ------
    InputError
        If there is none, or several.
    """
    file = _located(Path(path))
    try:
        stored = _stored(file)
    except OSError as error:
        raise InputError("comparison", expected="a file", found=str(error)) from None
    if stored is None:
        raise InputError(
            "comparison", expected="the JSON of molpool-evaluate compare", found=repr(str(file))
        )
    try:
        return TypeAdapter(Comparison).validate_python(stored)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(
            "comparison",
            expected="the JSON of molpool-evaluate compare, whole",
            found=f"{'.'.join(map(str, first['loc']))}: {first['msg']}",
            where=str(file),
        ) from None


def _located(path: Path) -> Path:
    if not path.is_dir():
        return path.with_suffix(".json") if path.suffix == ".csv" else path
    found = [f for f in sorted(path.glob("*.json")) if _stored(f) is not None]
    if len(found) == 1:
        return found[0]
    raise InputError(
        "comparison",
        expected="one comparison in the folder, or the name of its JSON",
        found=", ".join(f.name for f in found) or "none",
        where=str(path),
    )


def _stored(file: Path) -> dict[str, Any] | None:
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return None
    if not isinstance(stored, dict) or stored.pop("kind", None) != KIND:
        return None
    return stored
