"""Console script of molpool."""

from __future__ import annotations

from typing import NoReturn

from molpool_common import run_script


def main() -> NoReturn:
    """Run the command line of this process."""
    run_script("molpool.cli")
