"""Cases of the bank become parameters of the tests that ask for one."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test that takes a `case` on each of the bank."""
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", _bank().CASES, ids=lambda case: case.name)


# Test files are imported on their own and see no neighbour, so the bank is handed out from here.
def _bank():
    name = "molpool_table_bank"
    if name not in sys.modules:
        path = Path(__file__).with_name("bank.py")
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture(scope="session")
def bank():
    """The module of the bank."""
    return _bank()
