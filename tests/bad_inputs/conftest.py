"""Cases of the bank become parameters of the test that asks for one."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test that takes a `bad` input on each of the bank."""
    if "bad" in metafunc.fixturenames:
        # Some hundreds of each kind with each; `MOLPOOL_BANK=whole`: each with each.
        cases = "WHOLE" if os.environ.get("MOLPOOL_BANK") == "whole" else "CASES"
        metafunc.parametrize("bad", getattr(_bank(), cases), ids=lambda case: case.name)


# Test files are imported on their own and see no neighbour, so the bank is handed out from here.
def _bank():
    name = "molpool_bad_inputs"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("bank.py"))
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture(scope="session")
def bank():
    """The module of the bank."""
    return _bank()
