"""Files on which a reader once failed, and a few new ones: see fuzz.py."""

from __future__ import annotations

import importlib.util
import sys
from itertools import islice
from pathlib import Path
from types import ModuleType

import pytest


def _fuzz() -> ModuleType:
    # Test files are imported on their own and see no neighbour.
    path = Path(__file__).with_name("fuzz.py")
    spec = importlib.util.spec_from_file_location("molpool_soak_fuzz", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["molpool_soak_fuzz"] = module
    spec.loader.exec_module(module)
    return module


FUZZ = _fuzz()
KEPT = [(r, f) for r in FUZZ.READERS for f in sorted((FUZZ.CORPUS / r.name).glob("*"))]
SLOW = {"journal", "model"}


@pytest.mark.parametrize(("reader", "file"), KEPT, ids=lambda x: getattr(x, "name", str(x)))
def test_what_once_failed(reader, file: Path, tmp_path: Path) -> None:
    FUZZ.warm(reader, tmp_path)
    assert FUZZ.fault_of(reader, file.read_bytes(), tmp_path) is None


@pytest.mark.parametrize("reader", FUZZ.READERS, ids=lambda r: r.name)
def test_damaged_files_are_read_or_refused(reader, tmp_path: Path) -> None:
    FUZZ.warm(reader, tmp_path)
    assert FUZZ.fault_of(reader, reader.make(), tmp_path) is None
    for content in islice(FUZZ.examples(reader, 60), 3 if reader.name in SLOW else 15):
        assert FUZZ.fault_of(reader, content, tmp_path) is None
