"""Plain values as a person writes them in YAML or on the command line."""

from __future__ import annotations

import re
from typing import Any

import yaml

# YAML 1.1 reads 1e-4 as text, since it wants a point in a float.
_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")


def plain(value: Any) -> Any:
    """Return a value with texts that are numbers, truth values or YAML lists read as such."""
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {key: plain(v) for key, v in value.items()}
    if not isinstance(value, str):
        return value
    if _EXPONENT.fullmatch(value):
        return float(value)
    try:
        read = yaml.safe_load(value)
    except yaml.YAMLError:
        return value
    if isinstance(read, str) and _EXPONENT.fullmatch(read):
        return float(read)
    return plain(read) if isinstance(read, list | dict) else read
