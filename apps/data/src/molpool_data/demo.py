"""The command `molpool-data demo`: the synthetic table as a file."""

from __future__ import annotations

from pathlib import Path

from molpool_common import InputError, atomic_path

from molpool_data.output import check_output

SUFFIXES = (".csv", ".parquet")


def write_demo(output: Path, *, n: int, seed: int, force: bool) -> None:
    """Build the demo table and write it whole or not at all.

    Parameters
    ----------
    output : Path
        A .csv or .parquet file. Parquet carries the notice and the seed in its metadata; a comment
        line in a CSV file would break its readers, so there the ids (DEMO-00001) must do.
    n : int
        Number of molecules.
    seed : int
        Seed of the table.
    force : bool
        Replace an existing file.

    Raises
    ------
    InputError
        If the suffix is another, the folder is missing, the file exists, or `n` or `seed` is out
        of range.
    """
    suffix = _check(output, force=force)
    # Past the checks, because RDKit and Polars take a second to import.
    from molpool_pipelines.demo import DEMO_NOTICE, DEMO_TASKS, build_demo

    table = build_demo(n=n, seed=seed)
    with atomic_path(output) as temporary:
        if suffix == ".csv":
            table.write_csv(temporary)
        else:
            table.write_parquet(temporary, metadata={"notice": DEMO_NOTICE, "seed": str(seed)})

    from molpool_common import _cli as console

    out = console()
    out.print(f"wrote {output}: {n:,} molecules, seed {seed}", soft_wrap=True, markup=False)
    labels = ", ".join(f"{task} {table[task].count():,}" for task in DEMO_TASKS)
    out.print(f"labels: {labels}", markup=False)
    out.print(DEMO_NOTICE, style="bold", markup=False)


def _check(output: Path, *, force: bool) -> str:
    suffix = output.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(
            "--output", expected="a name that ends in .csv or .parquet", found=repr(str(output))
        )
    check_output(output, force=force)
    return suffix
