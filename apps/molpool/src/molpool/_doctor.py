"""`molpool doctor`: what is installed on what machine, for oneself and for a report of a fault."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from molpool_common import InputError, Installation, console, describe_installation, size
from rich.table import Table

USAGE = """usage: molpool doctor [--json]

What is installed, on what machine, and what does not fit together; the exit code is 1 if something
does not.

options:
  --json      print one JSON object instead of tables
  -h, --help  show this text

example:
  molpool doctor --json > doctor.json
"""


def doctor(argv: Sequence[str]) -> int:
    """Print the installation; return 1 if something does not fit together.

    Raises
    ------
    InputError
        For an argument that it does not have.
    """
    if {"-h", "--help"} & set(argv):
        sys.stdout.write(USAGE)
        return 0
    unknown = [word for word in argv if word != "--json"]
    if unknown:
        raise InputError("molpool doctor", expected="--json or nothing", found=repr(unknown[0]))
    found = describe_installation()
    if argv:
        sys.stdout.write(json.dumps(asdict(found), indent=2) + "\n")
    else:
        _print(found)
    return 1 if found.problems else 0


def _print(found: Installation) -> None:
    screen = console()
    memory = "not known" if found.memory is None else size(int(found.memory))
    machine = {
        "Python": found.python,
        "Platform": found.platform,
        "Cores": str(found.cores),
        "Memory": memory,
        "Accelerator": found.accelerator,
    }
    extras = {
        extra.name: "can be used" if not extra.missing else f"needs {', '.join(extra.missing)}"
        for extra in found.extras
    }
    screen.print(_table("Machine", machine))
    screen.print(_table("molpool", found.ours))
    screen.print(_table("Libraries", found.libraries))
    screen.print(_table("Optional parts", extras))
    screen.print(_table("Caches", {f: size(n) if n else "empty" for f, n in found.caches.items()}))
    for problem in found.problems:
        screen.print(f"Problem: {problem}", highlight=False, markup=False, soft_wrap=True)
    if not found.problems:
        screen.print("All that is installed fits together.", highlight=False)


def _table(title: str, rows: Mapping[str, str]) -> Table:
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for row in rows.items():
        table.add_row(*row)
    return table
