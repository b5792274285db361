"""The command `molpool-data`: public data sets by name, and the synthetic demo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro
from molpool_common.cli import Command, dispatch

PROG = "molpool-data"
_Options = TypeVar("_Options")


@dataclass(frozen=True)
class ListOptions:
    """List every data set of the registry, with its licence and where it lies.

    Attributes
    ----------
    json
        Print JSON with files, addresses, checksums, columns and caveats instead of a table.
    """

    json: bool = False


@dataclass(frozen=True)
class FetchOptions:
    """Copy or download a data set, verify every file, and print its terms.

    The folders of the environment variable MOLPOOL_DATA come before the network.

    Attributes
    ----------
    name
        Name of the data set, as `molpool-data list` gives it.
    into
        Data folder to put it in; by default the cache, where molpool finds it.
    """

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    into: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None


@dataclass(frozen=True)
class DemoOptions:
    """Write the synthetic demo table; nothing in it was measured.

    Six computed properties with noise, labels 40:1, qualities high, medium and low.

    Attributes
    ----------
    output
        File to write, .csv or .parquet.
    n
        Number of molecules, at least 100.
    seed
        Seed of the molecules, labels, qualities and noise.
    force
        Replace the file if it exists.
    """

    output: Path = Path("demo.csv")
    n: int = 1500
    seed: int = 0
    force: bool = False


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0 done, 2 wrong input, 1 a fault of ours."""
    return dispatch(
        PROG,
        "Public data sets by name with checksum and licence, and a synthetic demo.",
        {
            "list": Command("the data sets, their licence and where they lie", _list),
            "fetch": Command("copy or download one, verified", _fetch),
            "demo": Command("write the synthetic demo table", _demo),
        },
        argv,
    )


def _parse(options: Callable[..., _Options], command: str, argv: Sequence[str]) -> _Options:
    settings: tuple[Any, ...] = (tyro.conf.FlagCreatePairsOff,)
    return tyro.cli(options, prog=f"{PROG} {command}", args=list(argv), config=settings)


def _list(argv: Sequence[str]) -> None:
    options = _parse(ListOptions, "list", argv)
    from molpool_data.listing import print_json, print_table

    if options.json:
        print_json()
    else:
        print_table()


def _fetch(argv: Sequence[str]) -> None:
    options = _parse(FetchOptions, "fetch", argv)
    from molpool_data.fetching import fetch_and_report

    fetch_and_report(options.name, options.into)


def _demo(argv: Sequence[str]) -> None:
    options = _parse(DemoOptions, "demo", argv)
    from molpool_data.demo import write_demo

    write_demo(options.output, n=options.n, seed=options.seed, force=options.force)
