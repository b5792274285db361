"""`molpool doctor`: what is installed on what machine, for oneself and for a report of a fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from molpool_common import (
    ConfigModel,
    Installation,
    answer,
    console,
    describe_installation,
    size,
)
from rich.table import Table


class DoctorOptions(ConfigModel):
    """What is installed, on what machine, and what does not fit together."""


def doctor(options: DoctorOptions, argv: Sequence[str]) -> int:
    """Print the installation; return 1 if something does not fit together."""
    found = describe_installation()
    answer(**asdict(found))
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
    table.add_column()
    for row in rows.items():
        table.add_row(*row)
    return table
