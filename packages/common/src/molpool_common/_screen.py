"""The screen: what is printed is text, whatever names and files have in it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.segment import Segment
from rich.table import Table

from molpool_common._ranks import rank

if TYPE_CHECKING:
    from rich.console import ConsoleOptions, RenderableType

_CONTROLS = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f"  # among them the escape, by which a terminal takes orders
    "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"  # these turn what stands beside them round
    "\ud800-\udfff]"  # bytes of a file's name that are no text
)


def printable(text: str) -> str:
    r"""Return a text for the screen: control characters as ``\x1b``, the end of a line as it is."""
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)


class _TextConsole(Console):
    """A console on which text does nothing but be read."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        if isinstance(renderable, Table):
            _cut_nothing(renderable)
        for segment in super().render(renderable, options):
            # What rich says to the terminal itself is marked as such.
            if not segment.control and _CONTROLS.search(segment.text):
                yield Segment(printable(segment.text), segment.style)
            else:
                yield segment

    def render_str(self, text: str, **style: Any) -> Any:
        # Before its width is taken, so that columns stay straight.
        return super().render_str(printable(text), **style)


def _cut_nothing(table: Table) -> None:
    """Let cells of a table that is too wide go on in the next line, those of the widest first."""
    for column in table.columns:
        column.no_wrap, column.overflow = False, "fold"


def console(*, stderr: bool = False) -> Console:
    """Return a console that prints text as it is: a task may be called ``[/red]`` or ``:x:``.

    Of several processes that train together the first prints.
    """
    return _TextConsole(stderr=stderr, highlight=False, markup=False, emoji=False, quiet=rank() > 0)


def size(count: int) -> str:
    """Return a number of bytes in the largest unit that leaves at least one, powers of 1000."""
    if count < 1000:
        return f"{count} B"
    if count < 1_000_000:
        return f"{count / 1000:.0f} kB"
    if count < 1_000_000_000:
        return f"{count / 1_000_000:.1f} MB"
    return f"{count / 1_000_000_000:.1f} GB"
