"""How far a command is and how long it will take: a bar on a terminal, plain lines elsewhere.

Work tells its stages; a command shows them. Without a command, as in a notebook, nobody listens.
Stages that are through within a second or two are never shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from threading import Timer
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

from molpool_common._process import heed_ctrl_c

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

ItemT = TypeVar("ItemT")

_DELAY = 1.5
"""Seconds after which a bar appears."""

_FIRST, _EVERY = 2.0, 10.0
"""Seconds after which the first plain line comes, and between those, which a log file keeps."""

_shown: ContextVar[_Stages | None] = ContextVar("stages", default=None)


def tell(stage: str, done: int, total: int, unit: str = "") -> None:
    """Say how far a stage is.

    Parameters
    ----------
    stage : str
        What is done, as a reader sees it.
    done, total : int
        How much of how much; a stage ends when they are equal.
    unit : str
        What is counted, in the plural.
    """
    # All long work comes by here, RDKit's too, which leaves handlers of its own behind.
    heed_ctrl_c()
    stages = _shown.get()
    if stages is not None:
        stages.tell(stage, done, total, unit)


def told(items: Iterable[ItemT], stage: str, total: int, unit: str = "") -> Iterator[ItemT]:
    """Yield items, and say how far they are; see `tell`."""
    tell(stage, 0, total, unit)
    try:
        for done, item in enumerate(items, start=1):
            yield item
            tell(stage, done, total, unit)
    finally:
        # Also where the reader has had enough.
        tell(stage, total, total)


@contextmanager
def doing(words: str) -> Iterator[Callable[[str], None]]:
    """Say what is done in the block, step by step, where nobody knows how far it is.

    Parameters
    ----------
    words : str
        The first step.

    Yields
    ------
    callable
        Takes the words of each step that follows.
    """
    stages = _shown.get()
    if stages is None:
        yield lambda _words: None
        return
    with stages.steps(words) as step:
        yield step


@contextmanager
def showing(console: Console) -> Iterator[None]:
    """Show what is told while the block runs.

    Parameters
    ----------
    console : Console
        A bar where it is a terminal, else a line every ten seconds.
    """
    stages = _Stages(console)
    token = _shown.set(stages)
    try:
        yield
    finally:
        _shown.reset(token)
        stages.close()


@dataclass
class _Stage:
    began: float
    first: int
    said: float
    bar: TaskID | None = None

    def left(self, done: int, total: int, now: float) -> str:
        """Return how long it will take, in words; what was done before it began tells nothing."""
        new = done - self.first
        return f", {_duration((now - self.began) * (total - done) / new)} left" if new > 0 else ""


class _Stages:
    """The stages that are under way."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._stages: dict[str, _Stage] = {}
        self._progress: Progress | None = None

    def tell(self, name: str, done: int, total: int, unit: str) -> None:
        now = monotonic()
        stage = self._stages.setdefault(name, _Stage(now, done, now - _EVERY + _FIRST))
        if done >= total:
            self._end(name)
        elif self._console.is_terminal:
            self._move(stage, name, done, total, unit, now)
        elif now - stage.said >= _EVERY:
            stage.said = now
            what = f" {unit}" if unit else ""
            left = stage.left(done, total, now)
            self._console.print(f"{name}: {done:,} of {total:,}{what}{left}", soft_wrap=True)

    @contextmanager
    def steps(self, words: str) -> Iterator[Callable[[str], None]]:
        """Show steps: a spinner on a terminal, elsewhere a line for each that takes a while."""
        if self._console.is_terminal:
            with self._console.status(words) as status:
                yield status.update
            return
        waiting: list[Timer] = []

        def step(words: str) -> None:
            while waiting:
                waiting.pop().cancel()
            waiting.append(Timer(_FIRST, self._console.print, [words], {"soft_wrap": True}))
            waiting[0].daemon = True  # an interrupted command does not wait for it
            waiting[0].start()

        step(words)
        try:
            yield step
        finally:
            waiting.pop().cancel()

    def close(self) -> None:
        """Take all bars away."""
        for name in list(self._stages):
            self._end(name)

    def _move(self, stage: _Stage, name: str, done: int, total: int, unit: str, now: float) -> None:
        if stage.bar is None:
            if now - stage.began < _DELAY:
                return
            if self._progress is None:
                self._progress = _bars(self._console)
                self._progress.start()
            stage.bar = self._progress.add_task(name, total=total, completed=done, unit=unit)
        assert self._progress is not None
        self._progress.update(stage.bar, completed=done, total=total)

    def _end(self, name: str) -> None:
        stage = self._stages.pop(name)
        if stage.bar is not None and self._progress is not None:
            self._progress.remove_task(stage.bar)
        # A bar that stays open would draw over what is printed next.
        if self._progress is not None and not any(s.bar is not None for s in self._stages.values()):
            self._progress.stop()
            self._progress = None


def _bars(console: Console) -> Progress:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}", markup=False),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
