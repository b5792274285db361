"""The command `molpool-data`: public data sets by name, profiles of tables, a synthetic demo."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from molpool_common import (
    PATH,
    Command,
    ConfigModel,
    InputError,
    Program,
    ReadConfig,
    answer,
    console,
    free_name,
)
from pydantic import Field

PROG = "molpool-data"


class ListOptions(ConfigModel):
    """List every data set of the registry, with its licence and where it lies."""


class FetchOptions(ConfigModel):
    """Copy or download a data set, verify every file, and print its terms."""

    name: str | None = Field(
        None, description="name of the data set, as molpool-data list gives it"
    )
    into: Annotated[str | None, PATH] = Field(
        None, description="data folder to put it in; by default the cache, where molpool finds it"
    )


class DemoOptions(ConfigModel):
    """Write the synthetic demo table; nothing in it was measured."""

    earlier_keys: ClassVar[Mapping[str, str]] = {"force": "overwrite"}

    output: Annotated[str, PATH] = Field("demo.csv", description="file to write, .csv or .parquet")
    n: int = Field(1500, description="number of molecules, at least 100")
    seed: int = Field(0, description="seed of the molecules, labels, qualities and noise")
    overwrite: bool = Field(False, description="replace the file if it exists")


class DescribeOptions(ConfigModel):
    """Write a profile of a table: labels, values, overlap, scaffolds, duplicates, sampling."""

    earlier_keys: ClassVar[Mapping[str, str]] = {"force": "overwrite"}

    table: Annotated[str | None, PATH] = Field(
        None,
        description="a file: text, Parquet, Excel, SDF or SMILES; a pattern or a folder of them; "
        "or a data set by name (molpool-data list), or demo",
    )
    file: str | None = Field(None, description="which file of the data set, where it has several")
    config: Annotated[str | None, PATH] = Field(
        None, description="training configuration whose data section is described instead of TABLE"
    )
    smiles_column: str | None = Field(
        None, description="column of SMILES; by default SMILES in any case"
    )
    target_columns: list[str] = Field(
        default_factory=list,
        description="columns of the tasks; by default all columns of numbers",
    )
    quality_column: str | None = Field(
        None, description="column of quality labels; by default Quality where it is there"
    )
    id_column: str | None = Field(None, description="column of molecule names, to tell rows by")
    on_bad_smiles: Literal["error", "drop", "keep"] = Field(
        "drop",
        description="rows whose SMILES do not parse: error refuses the table; drop and keep leave "
        "them out, and list them beside the page in a file that ends in _rejected.csv",
    )
    standardize: Literal["none", "parent", "tautomer"] | None = Field(
        None,
        description="structure by which rows are one molecule: as given; the parent, without "
        "counterions and charges; or its canonical tautomer (slow). By default that of the "
        "configuration, or parent",
    )
    output: Annotated[str, PATH] = Field(
        "profile.html",
        description="page to write; where none is given and this one is there, profile-2.html "
        "and so on",
    )
    overwrite: bool = Field(False, description="replace the page if it exists")
    read: ReadConfig = Field(default_factory=ReadConfig)


def _list(options: ListOptions, argv: Sequence[str]) -> None:
    from molpool_data._data_sets import print_table, registry_values

    answer(data_sets=registry_values())
    print_table()


def _fetch(options: FetchOptions, argv: Sequence[str]) -> None:
    if options.name is None:
        hint = "molpool-data list names them."
        raise InputError("NAME", expected="the name of a data set", found="none", hint=hint)
    from molpool_data._data_sets import fetch_and_report

    fetch_and_report(options.name, None if options.into is None else Path(options.into))


def _describe(options: DescribeOptions, argv: Sequence[str]) -> None:
    if (options.table is None) == (options.config is None):
        raise InputError(
            "TABLE",
            expected="a table or --config",
            found="neither" if options.table is None else "both",
        )
    from molpool_pipelines.tables import Columns, describe_and_report, read_configured, read_named

    output = Path(options.output)
    if not (options.is_given("output") or options.overwrite):
        # As runs whose folder is not named: each has one of its own.
        output = free_name(output)
    _check_output(output, overwrite=options.overwrite)
    if options.config is not None:
        described = read_configured(
            Path(options.config), options.quality_column, options.on_bad_smiles, options.standardize
        )
    else:
        columns = Columns(
            options.smiles_column,
            options.id_column,
            options.quality_column,
            tuple(options.target_columns),
        )
        described = read_named(
            options.table or "",
            options.file,
            columns,
            options.on_bad_smiles,
            options.read,
            options.standardize or "parent",
        )
    describe_and_report(described, output)


def _demo(options: DemoOptions, argv: Sequence[str]) -> None:
    output = Path(options.output)
    if output.suffix.lower() not in (".csv", ".parquet"):
        raise InputError(
            "--output", expected="a name that ends in .csv or .parquet", found=repr(str(output))
        )
    _check_output(output, overwrite=options.overwrite)
    # Past the checks, because RDKit and Polars take a second to import.
    from molpool_pipelines.demo import DEMO_NOTICE, DEMO_TASKS, write_demo

    table = write_demo(output, n=options.n, seed=options.seed)
    counts = {task: table[task].count() for task in DEMO_TASKS}
    train = ("molpool-train", "auto", "--data-path", output, "--target-columns", "LogP")
    answer(files=[output], rows=options.n, labels=counts, steps=[train])
    out = console()
    note = f"wrote {output}: {options.n:,} molecules, seed {options.seed}"
    out.print(note, soft_wrap=True, markup=False)
    labels = ", ".join(f"{task} {count:,}" for task, count in counts.items())
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


PROGRAM = Program(
    PROG,
    "Public data sets by name with checksum and licence, profiles of tables, and a demo.",
    {
        "list": Command(
            "list the data sets, their licence and where they lie",
            "molpool_data.cli:ListOptions",
            _list,
            example="--json",
            takes_file=False,
        ),
        "fetch": Command(
            "copy or download a data set, verified; folders of MOLPOOL_DATA before the network",
            "molpool_data.cli:FetchOptions",
            _fetch,
            example="openadmet-expansionrx --into data",
            subject="--name",
            takes_file=False,
        ),
        "describe": Command(
            "write an HTML profile of a table, all that training would refuse in it, and a command "
            "line that works",
            "molpool_data.cli:DescribeOptions",
            _describe,
            example="molecules.csv --output profile.html",
            subject="--table",
            takes_file=False,
        ),
        "demo": Command(
            "write the synthetic demo table: six computed properties with noise",
            "molpool_data.cli:DemoOptions",
            _demo,
            example="--output demo.csv --n 500",
            takes_file=False,
        ),
    },
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0 done, 2 wrong input, 1 a fault of ours."""
    return PROGRAM(argv)


if __name__ == "__main__":
    sys.exit(main())
