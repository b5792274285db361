"""Imports that wait until what they bring is used."""

from __future__ import annotations

import fractions
import sys
from pathlib import Path
from types import ModuleType

import pytest
from molpool_common import put_off


@pytest.fixture
def late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that nobody has loaded, with a class and a function."""
    box = "class Box:\n  sides = 6\n  def __init__(self, n): self.n = n\n"
    code = f"LIMIT = 7\n{box}def double(n): return 2 * n\n"
    (tmp_path / "molpool_late.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "molpool_late", raising=False)
    return "molpool_late"


def test_names_are_loaded_when_they_are_called(late: str) -> None:
    with put_off(late):
        from molpool_late import Box, double  # pyrefly: ignore[missing-import]
    assert late not in sys.modules
    assert not isinstance(3, Box)
    assert late not in sys.modules
    assert double(4) == 8
    box = Box(5)
    assert late in sys.modules
    assert type(box) is sys.modules[late].Box
    assert isinstance(box, Box)
    assert Box | None is not None


def test_who_imports_afterwards_has_the_module_itself(late: str) -> None:
    with put_off(late):
        import molpool_late as waiting  # pyrefly: ignore[missing-import]

        with pytest.raises(AttributeError):
            waiting.__path__  # noqa: B018
    assert late not in sys.modules
    assert waiting.LIMIT == 7
    import molpool_late as loaded  # pyrefly: ignore[missing-import]

    assert loaded.double(1) == 2
    assert waiting.Box is loaded.Box


def test_attributes_of_a_class_are_those_of_the_loaded_one(late: str) -> None:
    with put_off(late):
        from molpool_late import Box  # pyrefly: ignore[missing-import]
    assert Box.sides == 6
    assert late in sys.modules


def test_what_is_loaded_stays_as_it_is() -> None:
    with put_off("fractions"):
        from fractions import Fraction
    assert Fraction is fractions.Fraction


def test_a_block_that_fails_leaves_nothing_behind(late: str) -> None:
    with pytest.raises(RuntimeError), put_off(late):
        raise RuntimeError
    assert late not in sys.modules


def test_the_compiler_passes_over_what_asked_for_it_before_it_was_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    monkeypatch.delitem(sys.modules, "torch._dynamo", raising=False)
    monkeypatch.delitem(vars(torch), "_dynamo", raising=False)
    with put_off("torch._dynamo"):
        double = torch.compiler.disable(lambda x: 2 * x)
    assert "torch._dynamo" not in sys.modules
    assert double(3) == 6
    loaded = ModuleType("torch._dynamo")
    loaded.disable = lambda function, *_, **__: lambda x: -function(x)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch._dynamo", loaded)
    assert double(3) == -6
