"""What the console does with tables that are wider than the terminal."""

from __future__ import annotations

from io import StringIO

import pytest
from molpool_common import console
from rich.table import Table

NAME = "LOG PLASMA PROTEIN BINDING (HUMAN) (% unbound)"


def printed(table: Table, width: int) -> list[str]:
    out, shown = console(), StringIO()
    out.file, out.width = shown, width
    out.print(table)
    return shown.getvalue().splitlines()


def wide_table(n: int, **options: object) -> tuple[Table, list[str]]:
    numbers = [f"{1.2345 + i:.4f}" for i in range(n)]
    table = Table(**options)  # type: ignore[arg-type]  # those of rich
    table.add_column("task", no_wrap=False)
    for i in range(n):
        table.add_column(f"column {i}", justify="right")
    table.add_row(NAME, *numbers)
    return table, numbers


@pytest.mark.parametrize("options", [{}, {"box": None, "pad_edge": False}])
def test_names_are_broken_over_lines_before_numbers(options: dict[str, object]) -> None:
    table, numbers = wide_table(5, **options)
    lines = printed(table, 80)
    row = next(line for line in lines if numbers[0] in line)
    assert all(number in row for number in numbers)
    assert "…" not in "".join(lines)
    assert max(map(len, lines)) <= 80


def test_of_numbers_that_do_not_fit_no_digit_is_lost() -> None:
    table, numbers = wide_table(12, box=None, padding=(0, 1, 0, 0))
    lines = printed(table, 60)
    assert "…" not in "".join(lines)
    assert sum(c.isdigit() for line in lines for c in line) >= sum(
        c.isdigit() for number in numbers for c in number
    )
