"""A bank of small tables as people have them: each format with each fault, and what is right.

`CASES` is all of it; a family of cases is one function. A case is the base table of molecules
written in one way, with what must be read of it or said. Others add families for other tables.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
from molpool_common import MISSING

SMILES = [
    *("CCO", "CCCN", "c1ccccc1O", "CC(=O)OC", "CCCCS", "c1ccncc1C", "CC#N", "C1CCCCC1O", "CCOCC"),
    *("Cc1ccccc1Cl", "CCBr", "OCC(O)CO", "NCC(=O)O", "c1ccsc1", "CC(C)C=O", "FC(F)F", "CN(C)C=O"),
    *("C1CCNCC1", "O=C1CCCC1", "c1ccc2ccccc2c1", "CCC(=O)N", "CSC", "C=CC=C", "OC1CCCC1", "CCCl"),
]
N = len(SMILES)
NAMES = [f"{i:03d}" for i in range(N)]
LOGD = [round(0.25 * i - 2, 2) for i in range(N)]
KSOL = [round(1.5 + 12.3 * i, 1) for i in range(N)]
TASKS = ("LogD", "KSOL")
MOL = "SMILES"

Cell = tuple[float | None, int]
"""A value and its sign: -1 for an upper bound, +1 for a lower one."""


@dataclass(frozen=True)
class Case:
    """One file.

    Parameters
    ----------
    name : str
        What the test is called.
    file : str
        Its name.
    write : bytes or callable
        Its content, or what writes it to a path.
    read : mapping
        Keys of the section ``read``.
    given : str or None
        What the user gives instead of the file's name.
    tasks : tuple of str
        Columns of its targets, LogD and KSOL.
    cells : mapping of (row, task) to (value, sign)
        What differs from the base table, rows from 0.
    rejected : int
        Rows whose SMILES do not parse.
    rows : int
        Rows of the table.
    says : tuple of str
        What the refusal says; none where the table is read.
    of_target : bool
        Whether only a target's column is refused, so that it can still be predicted.
    notes : tuple of str
        What is said of the reading.
    """

    name: str
    file: str
    write: bytes | Callable[[Path], object]
    read: Mapping[str, object] = field(default_factory=dict)
    given: str | None = None
    tasks: tuple[str, str] = ("LogD", "KSOL")
    cells: Mapping[tuple[int, int], Cell] = field(default_factory=dict)
    rejected: int = 0
    rows: int = N
    says: tuple[str, ...] = ()
    of_target: bool = False
    notes: tuple[str, ...] = ()

    def make(self, folder: Path) -> str:
        """Write the file, and return what the user gives for it."""
        path = folder / self.file
        if isinstance(self.write, bytes):
            path.write_bytes(self.write)
        else:
            self.write(path)
        return str(folder / (self.given or self.file))

    def expected(self, row: int, task: int) -> Cell:
        """Return what stands in a row's cell of a task."""
        value = (LOGD, KSOL)[task][row]
        return self.cells.get((row, task), (value, 0))


def lines(
    *,
    separator: str = ",",
    decimal: str = ".",
    header: str = "SMILES,Name,LogD,KSOL",
    ksol: Mapping[int, str] | None = None,
    smiles: Mapping[int, str] | None = None,
) -> list[str]:
    """Return the lines of the base table, some cells replaced as they are to be written."""
    rows = [header.replace(",", separator)]
    for i in range(N):
        numbers = [str(LOGD[i]), (ksol or {}).get(i, str(KSOL[i]))]
        cells = [number if '"' in number else number.replace(".", decimal) for number in numbers]
        quoted = [f'"{c}"' if separator in c and '"' not in c else c for c in cells]
        rows.append(separator.join([(smiles or {}).get(i, SMILES[i]), NAMES[i], *quoted]))
    return rows


def text(found: list[str], ends: str = "\n", encoding: str = "utf-8") -> bytes:
    return (ends.join(found) + ends).encode(encoding)


def frame() -> pl.DataFrame:
    return pl.DataFrame({"SMILES": SMILES, "Name": NAMES, "LogD": LOGD, "KSOL": KSOL})


# --- formats ---


def texts() -> Iterator[Case]:
    named = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
    for separator, word in named.items():
        for decimal in ".,":
            for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252"):
                header = "SMILES,Name,LogD,KSOL (µM)"
                found = lines(separator=separator, decimal=decimal, header=header)
                plain = (separator, decimal, encoding[:5]) == (",", ".", "utf-8")
                shown = encoding.removesuffix("-sig")
                yield Case(
                    f"{word}, {decimal} decimal, {encoding}",
                    "t.csv",
                    text(found, "\r\n", encoding),
                    tasks=("LogD", "KSOL (µM)"),
                    notes=() if plain else (f"encoding {shown}", f"separator {word}"),
                )
    for name, ends in (("unix", "\n"), ("windows", "\r\n"), ("old mac", "\r")):
        yield Case(f"ends of lines of {name}", "t.csv", text(lines(), ends))
    yield Case("no end after the last line", "t.csv", text(lines())[:-1])
    yield Case("gzip", "t.csv.gz", gzip.compress(text(lines())))
    yield Case("gzip without its ending", "t.csv", gzip.compress(text(lines())))
    yield Case("zstd", "t.csv.zst", zstd(text(lines())))
    yield Case("tabs in .csv", "t.csv", text(lines(separator="\t")))
    yield Case("commas in .tsv", "t.tsv", text(lines()))
    yield Case("no ending", "table", text(lines()))
    yield Case("Parquet without its ending", "table", parquet(frame()))
    yield Case(
        "separator that is named",
        "t.csv",
        text(lines(separator="^")),
        read={"separator": "^"},
    )
    yield Case("brackets", "batch[1].csv", text(lines()))
    yield Case("star", "batch*.csv", text(lines()))
    yield Case("pattern", "batch1.csv", text(lines()), given="batch?.csv")
    yield Case("space and umlaut", "meine Tabelle (ä).csv", text(lines()))


def zstd(content: bytes) -> bytes:
    import pyarrow as pa

    return pa.Codec("zstd").compress(content, asbytes=True)


def parquet(table: pl.DataFrame) -> bytes:
    sink = io.BytesIO()
    table.write_parquet(sink)
    return sink.getvalue()


def shards(path: Path) -> None:
    path.mkdir()
    for i, part in enumerate(frame().iter_slices(7)):
        part.write_parquet(path / f"part-{i}.parquet")


def excel(path: Path, *sheets: str, typed: bool = True, note: bool = False) -> None:
    import xlsxwriter

    with xlsxwriter.Workbook(path) as book:
        for name in sheets or ("Sheet1",):
            table = frame() if typed else frame().cast(pl.String)
            table.write_excel(book, name)
        if note:
            book.add_worksheet("Remarks").write(0, 0, "measured by us")


def sdf(rows: list[int]) -> bytes:
    from rdkit import Chem

    records = []
    for i in rows:
        block = Chem.MolToMolBlock(Chem.MolFromSmiles(SMILES[i]))
        values = {"Name": NAMES[i], "LogD": LOGD[i], "KSOL": KSOL[i]}
        records.append(block + "".join(f">  <{k}>\n{v}\n\n" for k, v in values.items()) + "$$$$\n")
    return "".join(records).encode()


def others() -> Iterator[Case]:
    yield Case("Parquet", "t.parquet", parquet(frame()))
    yield Case("Parquet, .pq", "t.pq", parquet(frame()))
    yield Case("folder of shards", "table", shards)
    yield Case("Excel", "t.xlsx", excel)
    yield Case("Excel, numbers as text", "t.xlsx", lambda p: excel(p, typed=False))
    yield Case("Excel with remarks", "t.xlsx", lambda p: excel(p, "Data", note=True))
    yield Case("Excel, sheet named", "t.xlsx", lambda p: excel(p, "a", "b"), read={"sheet": "b"})
    yield Case(
        "Excel, several sheets",
        "t.xlsx",
        lambda p: excel(p, "a", "b"),
        says=("'a', 'b'", "--read.sheet"),
    )
    yield Case(
        "Excel, sheet that is not there",
        "t.xlsx",
        lambda p: excel(p, "Data"),
        read={"sheet": "data"},
        says=("read.sheet", "Did you mean 'Data'?"),
    )
    yield Case("text that is called Excel", "t.xls", text(lines(separator="\t")))
    yield Case("cut Excel", "t.xlsx", b"PK\x03\x04" + b"0" * 99, says=("expected an Excel file",))
    yield Case("SDF", "t.sdf", sdf(list(range(N))))
    yield Case("SDF, gzip", "t.sdf.gz", gzip.compress(sdf(list(range(N)))))
    broken = sdf([0]).replace(b"V2000", b"V9999").replace(b"000\n", b"bad\n")
    yield Case(
        "SDF with a record that is no molecule",
        "t.sdf",
        sdf(list(range(N))) + broken,
        rejected=1,
        rows=N + 1,
        notes=("1 structure that RDKit does not read: rows 26",),
    )


# --- cells ---


def missing() -> Iterator[Case]:
    for word in (word for word in MISSING if word):
        yield Case(
            f"missing as {word}",
            "t.csv",
            text(lines(ksol={3: word, 7: word})),
            cells={(3, 1): (None, 0), (7, 1): (None, 0)},
        )
    yield Case(
        "missing in words of one's own",
        "t.csv",
        text(lines(ksol={3: "lost"})),
        read={"missing": ["lost"]},
        cells={(3, 1): (None, 0)},
    )
    yield Case(
        "padded word",
        "t.csv",
        text(lines(ksol={3: " NA "})),
        cells={(3, 1): (None, 0)},
    )


def numbers() -> Iterator[Case]:
    bounds: dict[str, Cell] = {
        "<3.2": (3.2, -1),
        "< 3.2": (3.2, -1),
        "<=3": (3.0, -1),
        "≤ 1e-3": (1e-3, -1),
        ">200": (200.0, 1),
        "> 200": (200.0, 1),
        ">=200": (200.0, 1),
        "≥1e-4": (1e-4, 1),
        ">200 µM": (200.0, 1),
        ">200 uM": (200.0, 1),
    }
    for word, cell in bounds.items():
        kind = "upper" if cell[1] < 0 else "lower"
        yield Case(
            f"bound {word}",
            "t.csv",
            text(lines(ksol={3: word, 7: word})),
            cells={(3, 1): cell, (7, 1): cell},
            notes=(f"KSOL: 2 cells such as {word!r} read as {kind} bounds",),
        )
    plain = {
        "~5": 5.0,
        "≈ 5": 5.0,
        "ca. 5": 5.0,
        "=5": 5.0,
        " 5 ": 5.0,
        "+5": 5.0,
        "−5": -5.0,
        "–5": -5.0,
        "1 234.5": 1234.5,
        "1\N{NO-BREAK SPACE}234.5": 1234.5,
        "1\N{THIN SPACE}234.5": 1234.5,
        "1\N{NARROW NO-BREAK SPACE}234": 1234.0,
        "1'234.5": 1234.5,
        '"1,234.5"': 1234.5,
        '"1,234,567"': 1234567.0,
        "1.2e-3": 1.2e-3,
        "1.2×10^-3": 1.2e-3,
        "1e-9": 1e-9,
        "5 µM": 5.0,
    }
    for word, value in plain.items():
        yield Case(
            f"number {word}", "t.csv", text(lines(ksol={3: word})), cells={(3, 1): (value, 0)}
        )
    for yes, no in (("True", "False"), ("yes", "no"), ("active", "inactive"), ("pos", "neg")):
        words = {i: (yes, no)[i % 2] for i in range(N)}
        classes: dict[tuple[int, int], Cell] = {(i, 1): (1.0 - i % 2, 0) for i in range(N)}
        yield Case(f"classes {yes}", "t.csv", text(lines(ksol=words)), cells=classes)


def refused_cells() -> Iterator[Case]:
    wrong = {
        "five": "'five' in row 4",
        "5-6": "'5-6' in row 4",
        "5 ± 1": "'5 ± 1' in row 4",
        "5 to 6": "'5 to 6' in row 4",
        "12a": "'12a' in row 4",
        "inf": "expected a finite number",
        "1.2.3": "'1.2.3' in row 4",
        "> < 5": "in row 4",
    }
    for word, said in wrong.items():
        found = text(lines(ksol={3: word}))
        yield Case(f"no number: {word}", "t.csv", found, says=(said,), of_target=True)
    yield Case(
        "two units",
        "t.csv",
        text(lines(ksol={3: "5 µM", 4: "6 µM", 7: "5000 nM"})),
        says=("'5000 nM' in row 8",),
        of_target=True,
    )
    yield Case(
        "a unit that is not the header's",
        "t.csv",
        text(lines(header="SMILES,Name,LogD,KSOL (nM)", ksol={3: "5 µM"})),
        tasks=("LogD", "KSOL (nM)"),
        says=("'5 µM' in row 4",),
        of_target=True,
    )
    yield Case(
        "commas that may be either",
        "t.csv",
        text(
            [
                "SMILES;Name;LogD;KSOL",
                *(
                    f"{s};{n};{i};{1 + i},234"
                    for i, (s, n) in enumerate(zip(SMILES, NAMES, strict=True))
                ),
            ]
        ),
        says=("'1,234' in row 1", "--read.decimal"),
        of_target=True,
    )
    yield Case(
        "points and commas in one column",
        "t.csv",
        text(lines(separator=";", ksol={3: "1,5"})),
        says=("'1,5' in row 4", "--read.decimal"),
        of_target=True,
    )


# --- files that are wrong ---


def faults() -> Iterator[Case]:
    def of(found: list[str], *says: str, name: str, **more: object) -> Case:
        return Case(name, "t.csv", text(found), says=says, **more)  # type: ignore[arg-type]

    quote = "double quotes that open and close"
    yield of(lines(smiles={3: '"CCO'}), quote, "in line 5", name="a quote before a cell")
    yield of(
        lines(smiles={3: '"CCO', 9: '"CCN'}),
        quote,
        "in line 5",
        "Lines: 5, 11",
        name="two quotes before cells",
    )
    yield of(lines(smiles={N - 1: '"CCO'}), quote, f"in line {N + 1}", name="a quote at the end")
    yield of(
        lines(smiles={3: '"CCO'}, separator=";"), quote, "in line 5", name="a quote, semicolons"
    )
    yield Case(
        "a quote that means nothing",
        "t.csv",
        text(lines(smiles={3: '"CCO'})),
        read={"quote": "none"},
        rejected=1,
    )
    yield Case("a quote in a cell", "t.csv", text(lines(smiles={3: 'CC"O'})), rejected=1)
    ragged = lines()
    ragged[4] += ",9"
    yield of(ragged, "found 5 in line 5, 4 in the header", name="a longer line")
    ragged = lines()
    ragged[4] = "CCO,1"
    yield of(ragged, "found 2 in line 5, 4 in the header", name="a shorter line")
    ragged = [*ragged[:8], ragged[8] + ",1,2", *ragged[9:]]
    yield of(ragged, "Lines: 5, 9", name="a shorter and a longer line that make up for each other")
    yield Case(
        "blank lines",
        "t.csv",
        text([*lines()[:5], "", "  ", *lines()[5:], "", ""]),
        notes=("Blank lines passed over: 4",),
    )
    yield Case(
        "empty columns behind the last",
        "t.csv",
        text([line + ",," for line in lines()]),
        notes=("without a name: columns 5, 6",),
    )
    yield Case(
        "empty fields behind some lines",
        "t.csv",
        text([line + ",," * (i % 3 == 1) for i, line in enumerate(lines())]),
        notes=("Empty fields beyond the header",),
    )
    yield Case(
        "an index without a name",
        "t.csv",
        text([("," if i == 0 else f"{i},") + line for i, line in enumerate(lines())]),
        notes=("without a name: column 1",),
    )
    yield Case(
        "padded header",
        "t.csv",
        text(lines(header=" SMILES , Name,LogD , KSOL ")),
        notes=("' SMILES '",),
    )
    yield of(lines(header="SMILES,Name,KSOL,KSOL"), "found twice 'KSOL'", name="a name twice")
    yield of(lines(header="SMILES,Name,KSOL, KSOL"), "found twice 'KSOL'", name="twice, padded")
    yield of([lines()[0]], "expected at least one row", name="a header alone")
    yield Case("nothing", "t.csv", b"", says=("an empty file",))
    yield Case("spaces", "t.csv", b" \n \n", says=("an empty file",))
    yield Case("JSON", "t.csv", b'[{"SMILES": "CCO"}]', says=("found JSON",))
    yield Case("bytes", "t.csv", bytes(range(256)) * 40, says=("expected",))
    yield Case("Parquet that is text", "t.parquet", text(lines()), says=("a Parquet file",))
    yield Case("cut gzip", "t.csv.gz", gzip.compress(text(lines()))[:-30], says=("t.csv.gz",))
    yield Case("cut Parquet", "t.parquet", parquet(frame())[:-30], says=("a Parquet file",))
    yield Case("another file", "t.csv", text(lines()), given="s.csv", says=("no file", "'t.csv'"))
    yield Case("a pattern of nothing", "t.csv", text(lines()), given="s*.csv", says=("nothing at",))
    bad = {3: "C(", 4: "", 7: "no molecule"}
    yield Case("SMILES that are none", "t.csv", text(lines(smiles=bad)), rejected=3)
    yield Case(
        "cells over lines",
        "t.csv",
        text([lines()[0] + ",remark", *(f'{line},"a, b\nc"' for line in lines()[1:])]),
    )


# --- types ---


def types() -> Iterator[Case]:
    def of(name: str, *says: str, of_target: bool = False, **columns: pl.Expr) -> Case:
        def write(path: Path) -> None:
            frame().with_columns(**columns).write_parquet(path)

        return Case(f"Parquet, {name}", "t.parquet", write, says=says, of_target=of_target)

    smiles, ksol = pl.col("SMILES"), pl.col("KSOL")
    yield of("SMILES as Categorical", SMILES=smiles.cast(pl.Categorical))
    yield of("SMILES as Enum", SMILES=smiles.cast(pl.Enum(SMILES)))
    yield of("targets as Decimal", KSOL=ksol.cast(pl.Decimal(10, 1)))
    yield of("targets as text", KSOL=ksol.cast(pl.String))
    yield of("targets as Categorical", KSOL=ksol.cast(pl.String).cast(pl.Categorical))
    yield of("SMILES as List", "column 'SMILES'", "List", SMILES=pl.concat_list(smiles))
    yield of("SMILES as Struct", "column 'SMILES'", "Struct", SMILES=pl.struct(smiles))
    yield of("SMILES as Binary", "column 'SMILES'", "Binary", SMILES=smiles.cast(pl.Binary))
    day = pl.lit("2024-01-02").str.to_date()
    yield of("SMILES as Date", "column 'SMILES'", "Date", SMILES=day)
    for name, column in (
        ("List", pl.concat_list(ksol)),
        ("Struct", pl.struct(ksol)),
        ("Date", day),
        ("Datetime", day.cast(pl.Datetime)),
        ("Binary", ksol.cast(pl.String).cast(pl.Binary)),
    ):
        yield of(f"target as {name}", "column 'KSOL'", name, of_target=True, KSOL=column)

    def dictionary(path: Path) -> None:
        import pyarrow.parquet as pq

        table = frame().to_arrow()
        pq.write_table(table.set_column(0, "SMILES", table["SMILES"].dictionary_encode()), path)

    yield Case("Parquet, SMILES as dictionary", "t.parquet", dictionary)


CASES = [
    case
    for family in (texts, others, missing, numbers, refused_cells, faults, types)
    for case in family()
]
