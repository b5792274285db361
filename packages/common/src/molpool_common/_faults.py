"""All that is wrong with a table, in one message: kinds of fault with counts, rows and cures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from molpool_common._errors import InputError, listed

_MOST = 20
"""Kinds of fault that a message lists."""

_FIRST = 5
"""Rows and values that stand for a kind."""


@dataclass(frozen=True)
class Fault:
    """One kind of fault, wherever in a table it is.

    Parameters
    ----------
    parameter : str
        What is wrong: ``column 'KSOL'``, a dotted key.
    expected : str
        What would be right.
    found : str
        What stood there first, as the message should show it; several values are listed by
        `Fault.of_rows`.
    rows : tuple of int
        Rows that have it, from 1 below the header; empty for what is no row's fault.
    cure : str or None
        What to type or mend, as a full sentence.
    """

    parameter: str
    expected: str
    found: str
    rows: tuple[int, ...] = ()
    cure: str | None = None

    @classmethod
    def of_rows(
        cls,
        parameter: str,
        expected: str,
        values: Sequence[object],
        rows: Sequence[int],
        cure: str | None = None,
    ) -> Fault:
        """Return the fault of some rows, of which the first different values are shown."""
        distinct = list(dict.fromkeys(repr(value) for value in values))
        return cls(parameter, expected, listed(distinct, _FIRST), tuple(rows), cure)

    def __str__(self) -> str:
        where = ""
        if self.rows:
            noun = "row" if len(self.rows) == 1 else f"{len(self.rows)} rows:"
            where = f" in {noun} {listed(self.rows, _FIRST)}"
        return f"{self.parameter}: expected {self.expected}; found {self.found}{where}." + (
            f" {self.cure}" if self.cure else ""
        )


class TableError(InputError):
    """A table with faults, all of which the message names.

    Parameters
    ----------
    faults : sequence of Fault
        At least one, in the order in which they are listed.
    where : str or None
        The table.
    """

    def __init__(self, faults: Sequence[Fault], where: str | None = None) -> None:
        self.faults = tuple(faults)
        first = self.faults[0]
        super().__init__(first.parameter, expected=first.expected, found=first.found, where=where)
        place = f"{where}: " if where else ""
        if len(self.faults) == 1:
            self.args = (f"{place}{first}",)
            return
        shown = [f"  {i}. {fault}" for i, fault in enumerate(self.faults[:_MOST], 1)]
        rest = len(self.faults) - _MOST
        more = [f"  and {rest} more kinds"] if rest > 0 else []
        lines = [f"{place}{len(self.faults)} kinds of fault", *shown, *more]
        self.args = ("\n".join(lines),)

    def __reduce__(self) -> tuple[object, ...]:
        return TableError, (self.faults, self.where)


class Faults:
    """Collects what is wrong with a table, to be said at once before anything is computed.

    Parameters
    ----------
    where : str or None
        The table, for the message.
    """

    def __init__(self, where: str | None = None) -> None:
        self._where = where
        self._found: list[Fault] = []
        self._raised: list[InputError] = []

    def add(self, fault: Fault | None) -> None:
        """Take a fault; None is none."""
        if fault is not None:
            self._found.append(fault)

    def take(self, error: InputError) -> None:
        """Take the faults of an error that was raised for this table."""
        self._raised.append(error)
        if isinstance(error, TableError):
            self._found += error.faults
            return
        elsewhere = error.where is not None and error.where != self._where
        parameter = f"{error.parameter} ({error.where})" if elsewhere else error.parameter
        self._found.append(Fault(parameter, error.expected, error.found, cure=error.hint))

    @contextmanager
    def catching(self) -> Iterator[None]:
        """Take the faults of what the block raises, which ends there."""
        try:
            yield
        except InputError as error:
            self.take(error)

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Fault]:
        return iter(self._found)

    def check(self) -> None:
        """Raise `TableError` with all that was found, if anything was."""
        if len(self._found) == 1 and self._raised:
            # Alone it keeps its own words, and its type.
            raise self._raised[0]
        if self._found:
            raise TableError(self._found, self._where)
