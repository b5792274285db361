"""The command `molpool-data`: public data sets by name, profiles of tables, a synthetic demo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import tyro
from molpool_common import Command, InputError, ReadConfig, console, dispatch, expanded, gathered

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
    overwrite
        Replace the file if it exists.
    """

    output: Path = Path("demo.csv")
    n: int = 1500
    seed: int = 0
    overwrite: bool = False


@dataclass(frozen=True)
class DescribeOptions:
    """Write a profile of a table: labels, values, overlap, scaffolds, duplicates, sampling.

    It also says all that training would refuse, and a command line that works. Rows are one
    molecule where the first block of their InChIKey is equal, so stereoisomers count as one.

    Attributes
    ----------
    table
        A file: text, Parquet, Excel, SDF or SMILES; or a data set by name
        (`molpool-data list`), or demo.
    file
        Which file of the data set, where it has several.
    config
        Training configuration whose data section is described instead of TABLE.
    smiles_column
        Column of SMILES; by default SMILES in any case.
    target_columns
        Columns of the tasks; by default all columns of numbers.
    quality_column
        Column of quality labels; by default Quality where it is there.
    id_column
        Column of molecule names, to tell rows by.
    on_bad_smiles
        Rows whose SMILES do not parse: error refuses the table; drop and keep leave them out, and
        list them beside the page in a file that ends in _rejected.csv.
    standardize
        Structure by which rows are one molecule: as given; the parent, without counterions and
        charges; or its canonical tautomer (slow). By default that of the configuration, or parent.
    output
        Page to write.
    overwrite
        Replace the page if it exists.
    read
        How the file is read.
    """

    table: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="TABLE")] = None
    file: str | None = None
    config: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    smiles_column: str | None = None
    target_columns: tuple[str, ...] = ()
    quality_column: str | None = None
    id_column: str | None = None
    on_bad_smiles: Literal["error", "drop", "keep"] = "drop"
    standardize: Literal["none", "parent", "tautomer"] | None = None
    output: Path = Path("profile.html")
    overwrite: bool = False
    read: ReadConfig = field(default_factory=ReadConfig)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0 done, 2 wrong input, 1 a fault of ours."""
    return dispatch(
        PROG,
        "Public data sets by name with checksum and licence, profiles of tables, and a demo.",
        {
            "list": Command("the data sets, their licence and where they lie", _list),
            "fetch": Command("copy or download one, verified", _fetch),
            "describe": Command("write an HTML profile of a table", _describe),
            "demo": Command("write the synthetic demo table", _demo),
        },
        argv,
    )


def _parse(options: Callable[..., _Options], command: str, argv: Sequence[str]) -> _Options:
    settings: tuple[Any, ...] = (tyro.conf.FlagCreatePairsOff,)
    given = gathered(_todays(expanded(list(argv))), _SEVERAL)
    return tyro.cli(options, prog=f"{PROG} {command}", args=given, config=settings)


_SEVERAL = {"--target-columns": "--target-columns", "--read.missing": "--read.missing"}
"""Flags of several values, which may be given more than once."""

_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def _todays(argv: Sequence[str]) -> list[str]:
    """Return arguments with ``--overwrite`` as other commands take it, alone or with a word.

    It was called ``--force`` here in 2026.
    """
    words: list[str] = []
    arguments = list(argv)
    while arguments:
        word = arguments.pop(0)
        flag, _, value = word.partition("=")
        if flag not in ("--force", "--overwrite"):
            words.append(word)
            continue
        if not value and arguments and arguments[0].casefold() in _WORDS:
            value = arguments.pop(0)
        words += ["--overwrite"] if _WORDS.get(value.casefold(), True) else []
    return words


def _list(argv: Sequence[str]) -> None:
    options = _parse(ListOptions, "list", argv)
    from molpool_data._data_sets import print_json, print_table

    if options.json:
        print_json()
    else:
        print_table()


def _fetch(argv: Sequence[str]) -> None:
    options = _parse(FetchOptions, "fetch", argv)
    from molpool_data._data_sets import fetch_and_report

    fetch_and_report(options.name, options.into)


def _describe(argv: Sequence[str]) -> None:
    options = _parse(DescribeOptions, "describe", argv)
    if (options.table is None) == (options.config is None):
        raise InputError(
            "TABLE",
            expected="a table or --config",
            found="neither" if options.table is None else "both",
        )
    from molpool_pipelines.tables import Columns, describe_and_report, read_configured, read_named

    _check_output(options.output, overwrite=options.overwrite)
    if options.config is not None:
        described = read_configured(
            options.config, options.quality_column, options.on_bad_smiles, options.standardize
        )
    else:
        columns = Columns(
            options.smiles_column, options.id_column, options.quality_column, options.target_columns
        )
        described = read_named(
            options.table or "",
            options.file,
            columns,
            options.on_bad_smiles,
            options.read,
            options.standardize or "parent",
        )
    describe_and_report(described, options.output)


def _demo(argv: Sequence[str]) -> None:
    options = _parse(DemoOptions, "demo", argv)
    output = options.output
    if output.suffix.lower() not in (".csv", ".parquet"):
        raise InputError(
            "--output", expected="a name that ends in .csv or .parquet", found=repr(str(output))
        )
    _check_output(output, overwrite=options.overwrite)
    # Past the checks, because RDKit and Polars take a second to import.
    from molpool_pipelines.demo import DEMO_NOTICE, DEMO_TASKS, write_demo

    table = write_demo(output, n=options.n, seed=options.seed)
    out = console()
    note = f"wrote {output}: {options.n:,} molecules, seed {options.seed}"
    out.print(note, soft_wrap=True, markup=False)
    labels = ", ".join(f"{task} {table[task].count():,}" for task in DEMO_TASKS)
    out.print(f"labels: {labels}", markup=False)
    out.print(DEMO_NOTICE, style="bold", markup=False)


def _check_output(output: Path, *, overwrite: bool) -> None:
    """Refuse, before anything is computed, a file that could not be written."""
    if not output.parent.is_dir():
        raise InputError("--output", expected="a folder that exists", found=str(output.parent))
    if output.is_dir() or (output.exists() and not overwrite):
        raise InputError(
            "--output",
            expected="a new file",
            found=f"{str(output)!r}, which exists",
            hint=None if output.is_dir() else "Give --overwrite to replace it.",
        )
