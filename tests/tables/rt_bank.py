"""A bank of small tables of retention times as people have them, and what is right of each.

`CASES` is all of it. A case is the base table (two species, four compounds, twelve runs with one
standard) written in one way, with what must be read of it or said.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

RUNS = [f"run {r:02d}" for r in range(12)]
SPECIES = {"serum": "human", "liver": "mouse"}
COMPOUNDS = ["001", "caffeine", "β-alanine", "C=O"]
HEADER = ("species_raw", "species_group_raw", "comp_id", "run", "IS_1", "rt")


def _drift(r: int) -> float:
    return round(0.2 * ((r * 7) % 12) / 11 - 0.1, 3)


def base() -> list[dict[str, object]]:
    """Return the rows of the base table."""
    found = []
    for r, run in enumerate(RUNS):
        for s, (species, group) in enumerate(SPECIES.items()):
            for c, compound in enumerate(COMPOUNDS):
                wobble = ((r * 5 + s * 3 + c) % 7 - 3) / 100
                rt = round(1 + 2.5 * c + 0.1 * s + _drift(r) + wobble, 3)
                names = (species, group, compound, run)
                cells = (*names, round(4 + _drift(r), 3), rt)
                found.append(dict(zip(HEADER, cells, strict=True)))
    return found


N = len(base())


@dataclass(frozen=True)
class Case:
    """One table.

    Parameters
    ----------
    name : str
        What the test is called.
    file : str
        Its name.
    write : bytes or callable
        Its content, or what writes it to a path.
    prepare : mapping
        Keys of `PrepareConfig` besides the table.
    kept, anchors : int
        Rows that are kept, and those of anchors.
    rejected : int
        Rows that are set aside.
    covariates : int
        Covariates that the rows have.
    cells : mapping of int to float
        Retention times that differ from the base table, by row from 0.
    says : tuple of str
        What the refusal says; none where the table is read.
    notes : tuple of str
        What is said of the reading.
    """

    name: str
    file: str
    write: bytes | Callable[[Path], object]
    prepare: Mapping[str, object] = field(default_factory=dict)
    kept: int = N
    anchors: int = 0
    rejected: int = 0
    covariates: int = 1
    cells: Mapping[int, float] = field(default_factory=dict)
    says: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def make(self, folder: Path) -> str:
        """Write the file and return its path."""
        path = folder / self.file
        if isinstance(self.write, bytes):
            path.write_bytes(self.write)
        else:
            self.write(path)
        return str(path)


def lines(
    separator: str = ",",
    decimal: str = ".",
    changed: Mapping[tuple[int, str], str] | None = None,
    header: tuple[str, ...] = HEADER,
) -> list[str]:
    """Return the lines of the base table, some cells written otherwise."""
    rows = [separator.join(header)]
    for i, row in enumerate(base()):
        cells = []
        for name in HEADER:
            text = str(row[name])
            text = text.replace(".", decimal) if isinstance(row[name], float) else text
            text = (changed or {}).get((i, name), text)
            cells.append(f'"{text}"' if separator in text else text)
        rows.append(separator.join(cells))
    return rows


def text(found: list[str], ends: str = "\n", encoding: str = "utf-8") -> bytes:
    return (ends.join(found) + ends).encode(encoding)


def frame() -> pl.DataFrame:
    return pl.DataFrame(base())


def formats() -> Iterator[Case]:
    named = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
    for separator, word in named.items():
        for decimal, encoding in ((".", "utf-8"), (",", "utf-8-sig"), (",", "utf-16")):
            plain = (separator, encoding) == (",", "utf-8")
            notes = () if plain else (f"separator {word}",)
            if separator == "," and encoding == "utf-8-sig":
                notes = ()
            yield Case(
                f"{word}, {decimal} decimal, {encoding}",
                "t.csv",
                text(lines(separator, decimal), "\r\n", encoding),
                notes=notes if decimal == "." or separator != "," else (),
            )
    latin = [line.replace("β", "µ") for line in lines(";", ",")]
    yield Case("cp1252", "t.csv", text(latin, encoding="cp1252"), notes=("encoding cp1252",))
    yield Case("gzip", "t.csv.gz", gzip.compress(text(lines())))
    yield Case("Parquet", "t.parquet", lambda path: frame().write_parquet(path))
    yield Case("Excel", "t.xlsx", lambda path: frame().write_excel(path))
    categories = frame().with_columns(pl.col("comp_id", "run").cast(pl.Categorical))
    yield Case("Categorical", "t.parquet", lambda path: categories.write_parquet(path))


def cells() -> Iterator[Case]:
    def one(name: str, cell: str, value: float | None = None, column: str = "rt") -> Case:
        changed = {(5, column): cell}
        given = {} if value is None else {5: value}
        return Case(name, "t.csv", text(lines(changed=changed)), cells=given)

    yield one("a number with blanks", " 6.25 ", 6.25)
    yield one("scientific", "6.25e0", 6.25)
    yield one("typographic minus", "\u22121.5", -1.5)
    for word in ("", "NA", "n.d.", "#N/A", "nan", "-"):
        gap = text(lines(changed={(5, "rt"): word, (9, "rt"): word}))
        yield Case(
            f"times {word!r} refused", "t.csv", gap, says=("missing (rows 6, 10)", "missing-target")
        )
        yield Case(
            f"times {word!r} dropped",
            "t.csv",
            gap,
            prepare={"missing_target": "drop"},
            kept=N - 2,
            rejected=2,
        )
    reading = text(lines(changed={(5, "IS_1"): ""}))
    yield Case("a reading that is missing", "t.csv", reading, says=("IS_1", "rows 6"))
    yield Case(
        "a reading by the run's median",
        "t.csv",
        reading,
        prepare={"missing_covariates": "run_median"},
        covariates=2,
    )
    yield Case(
        "a row without a reading dropped",
        "t.csv",
        reading,
        prepare={"missing_covariates": "drop"},
        kept=N - 1,
        rejected=1,
    )
    words = text(lines(changed={(5, "rt"): "late", (7, "rt"): "5:30"}))
    yield Case("words for times", "t.csv", words, says=("'late'", "rt"))
    for column in ("species_raw", "species_group_raw"):
        gap = text(lines(changed={(5, column): ""}))
        yield Case(f"without {column}", "t.csv", gap, kept=N - 1, rejected=1)


def columns() -> Iterator[Case]:
    for name in HEADER[:4]:
        header = tuple("other" if h == name else h for h in HEADER)
        table = text(lines(header=header))
        if name == "run":
            yield Case("without runs", "t.csv", table)
        else:
            yield Case(f"no column {name}", "t.csv", table, says=("none called", f"'{name}'"))
    header = tuple("rt" if h == "IS_1" else h for h in HEADER)
    yield Case(
        "a header that stands twice", "t.csv", text(lines(header=header)), says=("rt", "twice")
    )
    renamed = text(lines(header=(*HEADER[:5], "RT (min)")))
    yield Case("a time of another name", "t.csv", renamed, prepare={"target_col": "RT (min)"})
    moved = {(i, "species_group_raw"): "dog" for i in (4,)}
    yield Case(
        "a species in two groups", "t.csv", text(lines(changed=moved)), says=("liver", "dog")
    )
    ragged = lines()
    ragged[7] += ",more"
    yield Case("a line of one cell more", "t.csv", text(ragged), says=("7",))
    yield Case("a header alone", "t.csv", text(lines()[:1]), says=("row",))
    yield Case("nothing", "t.csv", b"", says=("t.csv",))
    for kind, column in (("List", pl.concat_list("rt")), ("Struct", pl.struct("rt"))):
        table = frame().with_columns(column.alias("rt"))
        yield Case(
            f"times as {kind}",
            "t.parquet",
            lambda path, t=table: t.write_parquet(path),
            says=(kind,),
        )


def layouts() -> Iterator[Case]:
    anchors = {"anchors": ["caffeine"]}
    yield Case(
        "an anchor",
        "t.csv",
        text(lines()),
        prepare=anchors,
        kept=N * 3 // 4,
        anchors=N // 4,
        covariates=2,
    )
    wide = frame().drop("IS_1")
    rows = ["species_raw", "species_group_raw", "comp_id"]
    by_run = wide.pivot(on="run", index=rows, values="rt")
    yield Case(
        "a column per run",
        "t.csv",
        lambda path: by_run.write_csv(path),
        prepare={"layout": "run_columns"},
        covariates=0,
        notes=("intercepts only",),
    )
    by_compound = frame().pivot(
        on="comp_id", index=["species_raw", "species_group_raw", "run", "IS_1"], values="rt"
    )
    yield Case(
        "a column per compound",
        "t.csv",
        lambda path: by_compound.write_csv(path),
        prepare={"layout": "compound_columns"},
    )
    one = frame().filter(species_raw="serum").drop("species_raw", "species_group_raw")
    yield Case(
        "one species",
        "t.csv",
        lambda path: one.write_csv(path),
        prepare={"species_raw": None, "cluster_raw": None},
        kept=N // 2,
    )
    bare = frame().drop("IS_1")
    yield Case(
        "no readings",
        "t.csv",
        lambda path: bare.write_csv(path),
        covariates=0,
        notes=("intercepts only",),
    )


CASES = [case for family in (formats, cells, columns, layouts) for case in family()]

USED = list(
    {
        (case.kept, case.covariates, *map(str, case.prepare.items())): case
        for case in CASES
        if not case.says
    }.values()
)
"""One of each kind of rows that are read."""
