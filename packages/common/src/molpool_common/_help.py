"""What ``--help`` prints: the options that matter first; with ``--help-all`` all, by section."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel

from molpool_common._errors import InputError, did_you_mean
from molpool_common._flags import Flag, flags_of

_ALWAYS = {
    "--config FILE": "any of these options as keys in YAML; flags override it",
    "--quiet": "print warnings and errors only",
    "--json": "print one JSON object on standard output, and all else on standard error",
    "--engine {local,dask}": "where work on molecules and files is spread; dask: over the cluster "
    "of --scheduler-address tcp://HOST:8786, or this machine's cores",
    "--version": "print the version",
    "-h, --help": "show this",
}
"""Options of every command."""

_LEFT = 30
"""Columns that flags take, where they fit."""

_WIDEST = 70
"""Longest list of choices that stands behind a flag; longer ones stand in its text."""


def help_asked(argv: Sequence[str]) -> list[str] | None:
    """Return the sections of which help is asked, None where it is not; ``first`` and ``all``."""
    for place, word in enumerate(argv):
        if word in ("-h", "--help"):
            return ["first"]
        if word == "--help-all":
            sections = [w for w in argv[place + 1 :] if not w.startswith("-")]
            return sections or ["all"]
    return None


def help_page(
    prog: str,
    about: str,
    model: type[BaseModel],
    *,
    asked: Sequence[str] = ("all",),
    first: Sequence[str] = (),
    example: str = "",
    subject: str = "",
    takes_file: bool = True,
) -> str:
    """Return the help of a command as plain text.

    Parameters
    ----------
    prog, about : str
        Name of the command, and what it does.
    model : type of BaseModel
        Its options.
    asked : sequence of str
        ``first``, ``all``, or names of sections.
    first : sequence of str
        The options that matter first.
    example : str
        Arguments of an example.
    subject : str
        What may stand without its flag.
    takes_file : bool
        Whether ``--config`` gives the options.

    Raises
    ------
    InputError
        If there is no such section.
    """
    flags = list(flags_of(model))
    short = list(asked) == ["first"] and bool(first)
    named = f" {subject.strip('-').upper()}" if subject else ""
    parts = [f"usage: {prog}{named} [OPTIONS]", *textwrap.wrap(about, _width())]
    parts.insert(1, "")
    if example:
        parts += ["", "example:", *_wrapped(f"{prog} {example}")]
    if short:
        by_name = {name: flag for flag in flags for name in flag.names}
        parts += ["", "options that matter first:"]
        parts += [line for name in first for line in _lines(by_name[name], name)]
    else:
        parts += _sections(flags, asked)
    always = {k: text for k, text in _ALWAYS.items() if takes_file or "--config" not in k}
    if short:
        always = {"--help-all [SECTION ...]": _more(flags), **always}
    parts += ["", "options of every command:"]
    parts += [line for head, text in always.items() for line in _entry(head, text)]
    return "\n".join(parts) + "\n"


def print_help(page: str) -> None:
    """Print help, also where the screen has only the letters of ASCII."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    sys.stdout.write(page.encode(encoding, "replace").decode(encoding))


def _width() -> int:
    return min(max(shutil.get_terminal_size().columns, 40), 100)


def _more(flags: Sequence[Flag]) -> str:
    counts: dict[str, int] = {}
    for flag in flags:
        counts[_top(flag)] = counts.get(_top(flag), 0) + 1
    listed = ", ".join(f"{name} {n}" for name, n in counts.items() if name != "options")
    sections = f", or those of sections: {listed}" if listed else ""
    return f"show all {len(flags)} options{sections}"


def _top(flag: Flag) -> str:
    return flag.section.partition(".")[0] or "options"


def _sections(flags: Sequence[Flag], asked: Sequence[str]) -> Iterator[str]:
    """Yield the lines of sections with their headings."""
    tops = list(dict.fromkeys(map(_top, flags)))
    if list(asked) not in (["all"], ["first"]):
        for name in asked:
            if name not in tops:
                raise InputError(
                    "--help-all",
                    expected=f"sections among {', '.join(tops)}",
                    found=repr(name),
                    hint=did_you_mean(name, tops),
                )
        flags = [flag for flag in flags if _top(flag) in asked]
    section = None
    for flag in flags:
        if flag.section != section:
            section = flag.section
            yield ""
            yield f"{section or 'options'}:"
            if section and flag.about:
                yield from textwrap.wrap(flag.about, _width(), **_indented(2))
        yield from _lines(flag, ", ".join(flag.names))


def _wrapped(line: str) -> list[str]:
    """Return a command line over several, as a shell reads it."""
    lines = [""]
    # Before flags only, so that their values stay beside them.
    for part in re.split(" (?=--)", line):
        if lines[-1] and len(lines[-1]) + len(part) + 5 > _width():
            lines[-1] += " \\"
            lines.append(f"    {part}")
        else:
            lines[-1] += f" {part}" if lines[-1] else part
    return [f"  {line}" for line in lines]


def _lines(flag: Flag, head: str) -> list[str]:
    text, metavar = flag.text, flag.metavar
    if len(metavar) > _WIDEST:
        text += f"; among {', '.join(flag.choices)}"
        metavar = "[NAME ...]" if flag.n_values is None else "NAME"
    return _entry(
        f"{head} {metavar}", f"{text} (default: {flag.default})" if flag.default else text
    )


def _entry(head: str, text: str) -> list[str]:
    """Return an option and what it means, beside each other where there is room."""
    body = textwrap.wrap(text, _width(), **_indented(_LEFT)) or [""]
    if len(head) + 4 > _LEFT:
        return [*textwrap.wrap(head, _width(), **_indented(2, hanging=6)), *body]
    return [f"  {head:<{_LEFT - 2}}{body[0].lstrip()}".rstrip(), *body[1:]]


def _indented(n: int, *, hanging: int | None = None) -> dict[str, Any]:
    return {
        "initial_indent": " " * n,
        "subsequent_indent": " " * (hanging or n),
        "break_long_words": False,
        "break_on_hyphens": False,
    }
