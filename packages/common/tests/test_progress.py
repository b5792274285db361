"""Progress: a bar on a terminal, lines elsewhere, nothing of what is quick or unheard."""

from __future__ import annotations

import io
import signal
from time import monotonic, sleep

import pytest
from molpool_common import _progress, doing, showing, tell, told
from rich.console import Console


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(_progress, "monotonic", found)
    return found


def console(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=80, markup=False)


def written(shown: Console) -> str:
    file = shown.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_lines_where_it_is_piped_say_what_is_left(clock: Clock) -> None:
    shown = console(terminal=False)
    with showing(shown):
        for done in range(100):
            tell("Featurising", done, 100, "molecules")
            clock.now += 1
        tell("Featurising", 100, 100)
    lines = written(shown).splitlines()
    assert lines[0] == "Featurising: 2 of 100 molecules, 2 min left"
    assert lines[1] == "Featurising: 12 of 100 molecules, 88 s left"
    assert len(lines) == 10, "one in ten seconds"


def test_steps_that_take_a_while_have_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_progress, "_FIRST", 0.05)
    shown = console(terminal=False)
    with showing(shown), doing("Reading") as step:
        step("Fitting")
        deadline = monotonic() + 30
        while not written(shown) and monotonic() < deadline:
            sleep(0.01)
        step("Drawing")
    assert written(shown) == "Fitting\n"


def test_a_bar_appears_after_a_while_and_goes(clock: Clock) -> None:
    shown = console(terminal=True)
    with showing(shown):
        tell("Fitting", 0, 4)
        assert written(shown) == ""
        clock.now += 2
        tell("Fitting", 1, 4)
        assert "Fitting" in written(shown)
        tell("Fitting", 4, 4)
        after = len(written(shown))
    assert len(written(shown)) == after, "it was gone already"


@pytest.mark.parametrize("terminal", [False, True])
def test_what_is_quick_is_not_shown(clock: Clock, terminal: bool) -> None:
    shown = console(terminal=terminal)
    with showing(shown):
        assert list(told("abc", "Reading", 3)) == ["a", "b", "c"]
    assert written(shown) == ""


def test_nobody_need_listen() -> None:
    tell("Reading", 1, 2)
    assert list(told([1], "Reading", 1)) == [1]


def test_names_are_printed_as_they_are(clock: Clock) -> None:
    shown = console(terminal=False)
    with showing(shown):
        tell("[red]x", 0, 2)
        clock.now += 11
        tell("[red]x", 1, 2)
    assert written(shown) == "[red]x: 1 of 2, 11 s left\n"


@pytest.mark.parametrize(("seconds", "words"), [(0.2, "1 s"), (600, "10 min"), (9000, "2.5 h")])
def test_durations(seconds: float, words: str) -> None:
    assert _progress._duration(seconds) == words


def test_work_that_says_how_far_it_is_heeds_ctrl_c() -> None:
    Chem = pytest.importorskip("rdkit.Chem")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        # RDKit leaves a handler behind that swallows it.
        Chem.MolFromSmiles("CCO").HasSubstructMatch(Chem.MolFromSmarts("CO"))
        tell("Matching", 1, 2)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
