"""Columns of a table, whatever they are for."""

from __future__ import annotations

from rt_ridge import Columns


class Wanted(Columns):
    """Columns whose roles overlap, such as a compound that stands in for the target."""

    def __post_init__(self) -> None:
        """Leave the check of roles to those who give the columns one."""
