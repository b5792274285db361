"""Cases of the bank become parameters of the tests that ask for one."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test that takes a `case` (an `rt_case`) on each of the bank."""
    banks = {"case": ("bank", "CASES"), "rt_case": ("rt_bank", "CASES")}
    banks["rt_used_case"] = ("rt_bank", "USED")
    for argument, (bank, cases) in banks.items():
        if argument in metafunc.fixturenames:
            every = getattr(_module(bank), cases)
            metafunc.parametrize(argument, every, ids=lambda case: case.name)


# Test files are imported on their own and see no neighbour, so the bank is handed out from here.
def _module(file: str):
    name = f"molpool_table_{file}"
    if name not in sys.modules:
        path = Path(__file__).with_name(f"{file}.py")
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture(scope="session")
def bank():
    """The module of the bank of molecules."""
    return _module("bank")


@pytest.fixture(scope="session")
def rt_bank():
    """The module of the bank of retention times."""
    return _module("rt_bank")
