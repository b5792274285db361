"""What a command answers: tables and sentences, nothing, or one JSON object; and what comes next.

With ``--json`` standard output holds the object alone, and all else goes to standard error; with
``--quiet`` only warnings and errors are left.
"""

from __future__ import annotations

import io
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal, TextIO

from pydantic_core import to_json
from rich.console import Console

from molpool_common._cli import INTERRUPTED, fault
from molpool_common._flags import WORDS
from molpool_common._progress import showing
from molpool_common._ranks import rank, speaks
from molpool_common._screen import console

Form = Literal["text", "quiet", "json"]

_FLAGS: dict[str, Form] = {"--quiet": "quiet", "--json": "json"}


@dataclass
class Answer:
    """What a command has said so far.

    Parameters
    ----------
    command : str
        Program and subcommand.
    values : dict
        What ``--json`` prints.
    steps : list of str
        Command lines that come next.
    code : int
        Exit code.
    """

    command: str
    values: dict[str, Any] = field(default_factory=dict)
    steps: list[str] = field(default_factory=list)
    code: int = 0


_answer: ContextVar[Answer | None] = ContextVar("answer", default=None)


def answer(*, steps: Sequence[Sequence[object]] = (), **values: Any) -> None:
    """Add to what the command answers; without a command, as in a notebook, nobody asks.

    Parameters
    ----------
    steps : sequence of sequence
        Command lines that come next, in words; those in capitals are for the reader to replace.
    **values
        For ``--json``: numbers, text, paths, lists and mappings of them, arrays, models.
    """
    said = _answer.get()
    if said is not None:
        said.values.update(values)
        said.steps += [shlex.join(map(str, words)) for words in steps]


def take_form(argv: Sequence[str]) -> tuple[Form, list[str]]:
    """Return how a command shall answer, and the other arguments."""
    form: Form = "text"
    rest: list[str] = []
    arguments = list(argv)
    while arguments:
        argument = arguments.pop(0)
        flag, equals, value = argument.partition("=")
        if flag not in _FLAGS:
            rest.append(argument)
            continue
        if not equals and arguments and arguments[0].casefold() in WORDS:
            value = arguments.pop(0)
        if WORDS.get(value.casefold(), True):
            form = _FLAGS[flag]
    return form, rest


@contextmanager
def answering(command: str, form: Form) -> Iterator[Answer]:
    """Collect what `answer` is told within the block, and print it at the end.

    Parameters
    ----------
    command : str
        Program and subcommand.
    form : {"text", "quiet", "json"}
        How.
    """
    said = Answer(command)
    token = _answer.set(said)
    try:
        if form == "text":
            yield said
            _print_steps(said)
        elif form == "quiet":
            quiet = showing(Console(quiet=True))
            with open(os.devnull, "w") as nowhere, _stdout_into(nowhere), quiet:
                yield said
        else:
            yield from _in_json(said)
    finally:
        _answer.reset(token)


def _print_steps(said: Answer) -> None:
    if said.steps and said.code == 0:
        out = console()
        out.print("Next:")
        for line in said.steps:
            # To be copied: never broken over lines.
            out.print(f"  {line}", soft_wrap=True)


def _in_json(said: Answer) -> Iterator[Answer]:
    try:
        with _stdout_into(sys.stderr):
            yield said
    except BaseException as error:
        said.code, said.values["error"] = _ended(error)
        raise
    finally:
        if rank() == 0 and speaks():
            values = {"command": said.command, "exit_code": said.code, **said.values}
            if said.steps and said.code == 0:
                values["next"] = said.steps
            text = to_json(values, indent=2, inf_nan_mode="null", fallback=_plain).decode()
            sys.stdout.write(text + "\n")


def _ended(error: BaseException) -> tuple[int, str]:
    """Return exit code and words of what ended a command."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, str(error) or "Interrupted."
    if isinstance(error, SystemExit):
        return (error.code if isinstance(error.code, int) else 1), str(error)
    found = fault(error) if isinstance(error, Exception) else None
    return (1, repr(error)) if found is None else found


def _plain(value: Any) -> Any:
    """Return an array or a scalar of NumPy as Python has it, and all else as text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


@contextmanager
def _stdout_into(stream: TextIO) -> Iterator[None]:
    """Write what this process and those that it starts print into another stream."""
    try:
        here, there = sys.stdout.fileno(), stream.fileno()
    except (io.UnsupportedOperation, AttributeError, ValueError):
        # No file: a test or a notebook runs the command.
        with redirect_stdout(stream):
            yield
        return
    sys.stdout.flush()
    kept = os.dup(here)
    os.dup2(there, here)
    try:
        with redirect_stdout(stream):
            yield
    finally:
        stream.flush()
        os.dup2(kept, here)
        os.close(kept)
