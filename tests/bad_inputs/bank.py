"""A bank of bad inputs: a command line, the files it names, and a part of the message that it gets.

`CASES` is what the tests run, `WHOLE` every command with every bad file, for the soak. A word of a
command line that is a key of `FILES` is a file, which is made before the command is run; all else
it names is a good file or folder of the archive of earlier runs, in which commands are run.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl


class Case(NamedTuple):
    """A command line and a part of what it must say."""

    line: str
    says: str = "expected"

    @property
    def name(self) -> str:
        return self.line


Maker = bytes | Callable[[Path], object]

# --- tables of molecules ---

HEAD = "SMILES,LogP,LogS"
GOOD = [f"{'C' * (1 + i % 9)}{'ONSF'[i % 4]},{i / 7:.2f},{i % 5}" for i in range(24)]


def csv(*lines: str, head: str = HEAD, encoding: str = "utf-8") -> bytes:
    return ("\n".join([head, *lines]) + "\n").encode(encoding)


def parquet(**columns: Any) -> bytes:
    sink = io.BytesIO()
    n = len(GOOD)
    smiles = {"SMILES": ["C" * (1 + i) for i in range(n)]}
    pl.DataFrame({**smiles, "LogP": np.arange(float(n)), "LogS": 1.0, **columns}).write_parquet(
        sink
    )
    return sink.getvalue()


def cut(content: bytes, share: float = 0.5) -> bytes:
    return content[: int(len(content) * share)]


def flipped(content: bytes, share: float = 0.5) -> bytes:
    at = int(len(content) * share)
    return content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :]


def fifo(path: Path) -> None:
    os.mkfifo(path)


def loop(path: Path) -> None:
    path.symlink_to(path)


def link(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


def gzip_of(blocks: int, block: bytes = b" " * (1 << 20)) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with gzip.open(path, "wb", 1) as handle:
            handle.write((HEAD + "\nCCO,1,2\n").encode())
            for _ in range(blocks):
                handle.write(block)

    return write


def workbook(path: Path, rows: int = 24) -> None:
    pl.read_csv(csv(*GOOD)).head(rows).write_excel(path)


def excel() -> bytes:
    sink = io.BytesIO()
    pl.read_csv(csv(*GOOD)).write_excel(sink)
    return sink.getvalue()


def excel_bomb(path: Path) -> None:
    content = io.BytesIO(excel())
    with zipfile.ZipFile(content) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            if entry.filename != "xl/worksheets/sheet1.xml":
                new.writestr(entry.filename, old.read(entry.filename))
        with new.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as sheet:
            sheet.write(b"<worksheet><sheetData>")
            for _ in range(400):
                sheet.write(b"<row></row>" * 100_000)


def parquet_bomb(path: Path) -> None:
    """Write 100 MB of the same text, dictionary-encoded, a hundred million numbers, in kilobytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(2000, np.int32)), ["C" * 1_000_000])
    table = pa.table({"SMILES": text, "LogP": np.zeros(2000), "LogS": np.zeros(2000)})
    pq.write_table(
        table.cast(pa.schema({"SMILES": pa.string(), "LogP": pa.float64(), "LogS": pa.float64()}))
        if False
        else table,
        path,
        compression="zstd",
    )


def long_parquet(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    n = 2_000_000
    columns = {"SMILES": pa.array(["C"] * n), "LogP": np.zeros(n), "LogS": np.zeros(n)}
    more = {f"x{i}": np.zeros(n) for i in range(6)}
    pq.write_table(pa.table({**columns, **more}), path, compression="zstd")


SDF = "\n  x\n\n  1  0  0  0  0  0  0  0  0  0999 V2000\n    0.0000    0.0000    0.0000 C   0  0\nM  END\n"


def sdf(properties: int, records: int = 3) -> bytes:
    found = []
    for r in range(records):
        own = "".join(f">  <p{r}_{i}>\n1\n\n" for i in range(properties))
        found.append(f"m{r}{SDF}>  <LogP>\n{r}\n\n{own}$$$$\n")
    return "".join(found).encode()


TABLES: dict[str, tuple[Maker | None, str]] = {
    # name: what makes it, part of the message
    "missing.csv": (None, "no file"),
    "dmeo.csv": (None, "Did you mean 'demo.csv'?"),
    "folder.csv": (Path.mkdir, "the folder"),
    "pipe.csv": (fifo, "the pipe"),
    "loop.csv": (loop, "symbolic links"),
    "dangling.csv": (link("nothing.csv"), "no file"),
    "zeros.csv": (link("/dev/zero"), "the device"),
    "memory.csv": (link("/proc/self/mem"), "found"),
    "noise.csv": (link("/dev/urandom"), "the device"),
    "empty.csv": (b"", "an empty file"),
    "blank.csv": (b"\n\n  \n", "an empty file"),
    "header.csv": (csv(), "without rows"),
    "nul.csv": (b"\0" * 5000, "bytes of no text"),
    "png.csv": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8, "bytes of no text"),
    "json.csv": (b'[{"SMILES": "C", "LogP": 1}]', "JSON"),
    "repeated.csv": (csv("C,1,2,3", head="SMILES,LogP,LogP,LogS"), "twice 'LogP'"),
    "nameless.csv": (csv(",,", head=",,"), "a header line"),
    "ragged.csv": (csv(*GOOD[:9], "C,1,2,3,4", *GOOD[9:]), "in line 11"),
    "quote.csv": (csv(*GOOD[:3], '"CCO,1,2', *GOOD[3:]), "double quotes"),
    "cut.parquet": (cut(parquet()), "Parquet"),
    "empty.parquet": (b"", "Parquet"),
    "text.parquet": (csv(*GOOD), "Parquet"),
    "magic.parquet": (b"PAR1" + b"\0" * 99 + b"PAR1", "Parquet"),
    "footer.parquet": (parquet()[:-8] + struct.pack("<I", 1 << 30) + b"PAR1", "Parquet"),
    "cut.xlsx": (cut(excel()), "Excel"),
    "zip.xlsx": (b"PK\x05\x06" + b"\0" * 18, "found"),
    "old.xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 512, "Excel"),
    "cut.csv.gz": (cut(gzip.compress(csv(*GOOD)), 0.7), "found"),
    "bit.csv.gz": (flipped(gzip.compress(csv(*GOOD * 9))), "found"),
    "zstd.csv.zst": (b"\x28\xb5\x2f\xfd" + b"\xff" * 40, "found"),
    "bomb.csv.gz": (gzip_of(300), "--read.expansion"),
    "bomb.xlsx": (excel_bomb, "--read.expansion"),
    "bomb.parquet": (parquet_bomb, "--read.expansion"),
    "long.parquet": (long_parquet, "--read.expansion"),
    "bomb.sdf": (sdf(40, 800), "--read.expansion"),
    "empty.sdf": (b"", "found"),
    "binary.sdf": (bytes(range(256)) * 9, "found"),
}
"""Files that are no table of any kind."""

MOLECULES: dict[str, tuple[Maker, str]] = {
    "columns.csv": (csv(*GOOD, head="a,b,c"), "column"),
    "text.csv": (csv(*GOOD[:5], "CCO,high,low", *GOOD[5:]), "'high' in row 6"),
    "infinite.csv": (csv(*GOOD[:5], "CCO,inf,1", *GOOD[5:]), "finite"),
    "unlabelled.csv": (csv(*(f"{'C' * i},," for i in range(1, 20))), "expected"),
    "nonsense.csv": (csv(*(f"x{i},{i},{i}" for i in range(1, 20))), "expected"),
    "list.parquet": (parquet(LogP=[[1.0]] * len(GOOD)), "LogP"),
    "struct.parquet": (parquet(LogP=[{"a": 1.0}] * len(GOOD)), "LogP"),
    "binary.parquet": (parquet(LogP=[b"1"] * len(GOOD)), "LogP"),
    "date.parquet": (
        parquet(LogP=pl.date_range(pl.date(2026, 1, 1), pl.date(2026, 1, 24), eager=True)),
        "LogP",
    ),
    "list_smiles.parquet": (parquet(SMILES=[["C"]] * len(GOOD)), "SMILES"),
    "struct_smiles.parquet": (parquet(SMILES=[{"a": "C"}] * len(GOOD)), "SMILES"),
    "binary_smiles.parquet": (parquet(SMILES=[b"C"] * len(GOOD)), "SMILES"),
    "number_smiles.parquet": (parquet(SMILES=list(range(len(GOOD)))), "SMILES"),
    "null_smiles.parquet": (parquet(SMILES=[None] * len(GOOD)), "SMILES"),
}
"""Tables whose columns are not those of molecules with two numbers."""

MOL = "--target-columns LogP LogS --data.cache-dir none"
READERS = {
    "train chemprop": f"--data-path T {MOL} --save-dir out",
    "train tabular": f"--data-path T {MOL} --save-dir out",
    "train blend": f"--data-path T {MOL} --save-dir out",
    "train auto": "--data-path T --data.cache-dir none --save-dir out",
    "train mil": f"--data-path T {MOL} --task-kind regression --save-dir out",
    "hpo chemprop": f"--data-path T {MOL} --save-dir out",
    "hpo tabular": f"--data-path T {MOL} --save-dir out",
    "hpo mil": f"--data-path T {MOL} --task-kind regression --save-dir out",
    "affinity": f"--data-path T {MOL} --n-groups 2 --save-path out.npz",
    "evaluate predict": "--model-dir runs/single --data-path T --output out.csv",
    "evaluate score": "--model-dir runs/single --data-path T --save-dir out",
    "evaluate compare": "--model-dirs runs/single runs/ensemble --test-data T --output out.csv",
    "data describe": "T --output out.html --target-columns LogP LogS",
}
"""Commands that read a table of molecules, T."""

BAGS = {
    "train mil": "--data-path T --data.kind bags --target-columns easy rare --data.cache-dir none --save-dir out",
    "hpo mil": "--data-path T --data.kind bags --target-columns easy rare --data.cache-dir none --save-dir out",
    "evaluate predict": "--model-dir runs/bags --data-path T --output out.csv",
    "evaluate score": "--model-dir runs/bags --data-path T --save-dir out",
}

RT = {
    "rt prepare": "--data T --save-dir out",
    "rt fit": "--data T --save-dir out",
    "rt predict": "--artefact rt/ridge --data T --output out.csv",
    "rt evaluate": "--artefacts rt/ridge --data T --save-dir out",
    "rt run": "--train T --test rt/lab/test.parquet --save-dir out",
}

# --- configurations ---


def bomb(levels: int = 7) -> bytes:
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]" for i in range(1, levels)]
    return "\n".join(lines).encode()


CONFIGS: dict[str, tuple[Maker | None, str]] = {
    "missing.yaml": (None, "no file"),
    "folder.yaml": (Path.mkdir, "the folder"),
    "pipe.yaml": (fifo, "the pipe"),
    "zeros.yaml": (link("/dev/zero"), "the device"),
    "loop.yaml": (loop, "symbolic links"),
    "memory.yaml": (link("/proc/self/mem"), "found"),
    "kernel.yaml": (link("/proc/kallsyms"), "found"),
    "list.yaml": (b"- a\n- b\n", "mapping"),
    "text.yaml": (b"data_path\n", "mapping"),
    "latin.yaml": ("säve_dir: x\n".encode("latin-1"), "UTF-8"),
    "utf16.yaml": ("save_dir: x\n".encode("utf-16"), "UTF-8"),
    "nul.yaml": (b"save_dir: \0\n", "YAML"),
    "escape.yaml": (b"save_dir: \x1b[31m\n", "YAML"),
    "tabs.yaml": (b"training:\n\tepochs: 3\n", "YAML"),
    "open.yaml": (b"save_dir: [a, b\n", "YAML"),
    "cycle.yaml": (b"save_dir: &a [*a]\n", "alias"),
    "bomb.yaml": (bomb(), "values"),
    "merge.yaml": (b"a: &a {<<: *a}\n", "alias"),
    "deep.yaml": (b"save_dir: " + b"[" * 3000, "levels"),
    "deep_lines.yaml": (b"[\n" * 3000, "levels"),
    "tag.yaml": (b"save_dir: !!python/object/apply:os.system [ls]\n", "tag"),
    "digits.yaml": (b"seed: " + b"1" * 5000, "int"),
    "many_digits.yaml": (b"seed: " + b"1" * 4000, "seed"),
    "date.yaml": (b"save_dir: 2026-13-45\n", "timestamp"),
    "twice.yaml": (b"save_dir: a\nsave_dir: b\n", "each key once"),
    "two.yaml": (b"save_dir: a\n---\nsave_dir: b\n", "document"),
    "unknown.yaml": (b"sav_dir: a\n", "Did you mean 'save_dir'?"),
    "number_key.yaml": (b"1: a\n", "1"),
    "null_key.yaml": (b"null: a\n", "key"),
    "date_key.yaml": (b"2026-01-01: a\n", "key"),
    "list_key.yaml": (b"? [a]\n: b\n", "key"),
    "type.yaml": (b"save_dir: {a: 1}\n", "save_dir"),
    "bytes.yaml": (b"save_dir: !!binary aGVsbG8=\n", "save_dir"),
    "set.yaml": (b"save_dir: !!set {a, b}\n", "save_dir"),
}

CONFIGURED = {
    "train chemprop": "--config T",
    "train tabular": "--config T",
    "train blend": "--config T",
    "train auto": "--config T",
    "train mil": "--config T",
    "hpo chemprop": "--config T",
    "hpo tabular": "--config T",
    "hpo mil": "--config T",
    "hpo retrain": "--config T",
    "affinity": "--config T",
    "evaluate predict": "--config T",
    "evaluate score": "--config T",
    "evaluate compare": "--config T",
    "evaluate report": "--config T",
    "data describe": "--config T --output out.html",
    "rt prepare": "--config T",
    "rt fit": "--config T",
    "rt predict": "--config T",
    "rt evaluate": "--config T",
    "rt coefficients": "--config T",
    "rt windows": "--config T",
    "rt plot": "--config T",
    "rt report": "--config T",
    "rt simulate": "--config T",
    "rt shift": "--config T",
    "rt run": "--config T",
}

# --- folders of earlier runs, one file of them damaged ---


def broken(name: str, content: bytes) -> list[tuple[str, bytes | None]]:
    """Return ways in which one file of a folder is wrong."""
    ways: list[tuple[str, bytes | None]] = [
        ("gone", None),
        ("empty", b""),
        ("cut", cut(content)),
        ("noise", bytes(range(256)) * 4),
    ]
    if name.endswith((".json", ".yaml", ".jsonl")):
        ways += [("a list", b"[]"), ("a number", b"1"), ("deep", b"[" * 5000), ("a text", b'"x"')]
        ways += [("other keys", b'{"a": 1}'), ("digits", b'{"version": ' + b"1" * 5000 + b"}")]
    if name.endswith(".npz"):
        sink = io.BytesIO()
        np.savez(sink, a=np.zeros(3))
        ways.append(("other arrays", sink.getvalue()))
        sink = io.BytesIO()
        np.savez(sink, **{"a": np.array([{}], dtype=object)})
        ways.append(("objects", sink.getvalue()))
    if name.endswith(".parquet"):
        ways.append(("other columns", parquet()))
        ways.append(("text", csv(*GOOD)))
    if name.endswith(".csv"):
        ways.append(("other columns", csv(*GOOD)))
    return ways


FOLDERS = {
    # folder: commands that read it, as F
    "runs/single": [
        "evaluate predict --model-dir F --data-path demo.csv --output out.csv",
        "evaluate score --predictions F --save-dir out --n-bootstrap 0",
        "evaluate report --run F --output out.html --n-bootstrap 20",
        "evaluate compare --predictions F runs/ensemble --output out.csv --n-bootstrap 100",
        "train chemprop --save-dir F --resume",
    ],
    "runs/ensemble": [
        "evaluate predict --model-dir F --data-path demo.csv --output out.csv",
        "evaluate report --run F --output out.html --n-bootstrap 20",
    ],
    "runs/bags": [
        "evaluate predict --model-dir F --data-path bags.csv --output out.csv",
        "evaluate score --predictions F --save-dir out --n-bootstrap 0",
        "evaluate report --run F --output out.html --n-bootstrap 20",
    ],
    "runs/halted": ["train chemprop --save-dir F --resume"],
    "studies/chemprop": [
        "hpo show --study-dir F",
        "hpo retrain --study-dir F",
        "evaluate report --study F --output out.html",
    ],
    "rt/prepared": [
        "rt coefficients --artefact rt/ridge --prepared F --output out.csv",
        "rt prepare --data rt/lab/test.parquet --like F --save-dir out",
    ],
    "rt/ridge": [
        "rt predict --artefact F --data rt/test/rows.parquet --output out.csv",
        "rt evaluate --artefacts F --data rt/test/rows.parquet --save-dir out",
        "rt coefficients --artefact F --output out.csv",
        "rt windows --artefact F --output out.csv",
        "rt plot --runs F --save-dir out",
        "rt report --runs F --output out.html",
    ],
    "expected/compare/runs": ["evaluate report --comparison F --output out.html"],
    "expected/rt/evaluation": ["rt report --runs rt/ridge --evaluation F --output out.html"],
}

# --- flags ---

DEMO = f"--data-path demo.csv {MOL}"

LINES: list[tuple[str, str]] = [
    ("train", "usage"),
    ("train chemprom", "Did you mean 'chemprop'?"),
    ("train chemprop", "data_path"),
    (f"train chemprop {DEMO} --save-dirr out", "Did you mean '--save-dir'?"),
    (f"train chemprop {DEMO} --save-dir out stray", "stray"),
    (f"train chemprop {DEMO} --save-dir demo.csv", "the file"),
    (f"train chemprop {DEMO} --save-dir runs", "other files"),
    (f"train chemprop {DEMO} --save-dir runs/single", "--overwrite"),
    (f"train chemprop {DEMO} --save-dir demo.csv/out", "expected"),
    (f"train chemprop {DEMO} --save-dir {'x' * 300}", "name"),
    (f"train chemprop {DEMO} --save-dir {'x/' * 3000}out", "name"),
    (f"train chemprop {DEMO} --save-dir pipe.csv", "expected"),
    (f"train chemprop {DEMO} --save-dir loop.csv", "expected"),
    (f"train chemprop {DEMO} --save-dir loop.csv/out", "expected"),
    (f"train chemprop {DEMO} --save-dir out --resume", "--resume"),
    (f"train chemprop {DEMO} --save-dir rt/ridge --resume", "expected"),
    (f"train chemprop {DEMO} --save-dir out --seed x", "seed"),
    (f"train chemprop {DEMO} --save-dir out --seed -1", "seed"),
    (f"train chemprop {DEMO} --save-dir out --seed {'9' * 5000}", "seed"),
    (f"train chemprop {DEMO} --save-dir out --seed {'9' * 30}", "seed"),
    (f"train chemprop {DEMO} --save-dir out --training.epochs 0", "training.epochs"),
    (f"train chemprop {DEMO} --save-dir out --training.epochs 2.5", "training.epochs"),
    (f"train chemprop {DEMO} --save-dir out --training.epochs", "epochs"),
    (f"train chemprop {DEMO} --save-dir out --training.batch-size -5", "training.batch_size"),
    (f"train chemprop {DEMO} --save-dir out --training.accelerator abacus", "accelerator"),
    (f"train chemprop {DEMO} --save-dir out --data.split-ratios 0.5 0.5", "split_ratios"),
    (f"train chemprop {DEMO} --save-dir out --data.split-ratios nan 0.1 0.1", "split_ratios"),
    (f"train chemprop {DEMO} --save-dir out --data.split-ratios 2 0.1 0.1", "split_ratios"),
    (f"train chemprop {DEMO} --save-dir out --data.split-ratios -1 1 1", "split_ratios"),
    (f"train chemprop {DEMO} --save-dir out --split-type magic", "split_type"),
    (f"train chemprop {DEMO} --save-dir out --split-type column", "split"),
    (f"train chemprop {DEMO} --save-dir out --split-type column --split-column QED", "train, val"),
    (f"train chemprop {DEMO} --save-dir out --split-type time", "expected"),
    (f"train chemprop {DEMO} --save-dir out --split-file nothing.json", "split"),
    (f"train chemprop {DEMO} --save-dir out --split-file demo.csv", "JSON"),
    (f"train chemprop {DEMO} --save-dir out --split-file zeros.csv", "expected"),
    (f"train chemprop {DEMO} --save-dir out --split-file pipe.csv", "expected"),
    (f"train chemprop {DEMO} --save-dir out --split-file deep.yaml", "expected"),
    (f"train chemprop {DEMO} --save-dir out --split-file far.json", "expected"),
    (f"train chemprop {DEMO} --save-dir out --split-file types.json", "expected"),
    (f"train chemprop {DEMO} --save-dir out --split-file digits.json", "expected"),
    (f"train chemprop {DEMO} --save-dir out --id-column Nome", "Nome"),
    (f"train chemprop {DEMO} --save-dir out --smiles-column smile", "Did you mean 'SMILES'?"),
    (f"train chemprop {DEMO} --save-dir out --group-column G", "G"),
    (f"train chemprop {DEMO} --save-dir out --test-path nothing.csv", "nothing.csv"),
    (f"train chemprop {DEMO} --save-dir out --predict-path nothing.csv", "nothing.csv"),
    (f"train chemprop {DEMO} --save-dir out --predict-path bomb.csv.gz", "--read.expansion"),
    (f"train chemprop {DEMO} --save-dir out --test-path zeros.csv", "device"),
    ("train chemprop --data-path demo.csv --target-columns LogQ --save-dir out", "LogQ"),
    ("train chemprop --data-path demo.csv --target-columns LogP LogP --save-dir out", "LogP"),
    ("train chemprop --data-path demo.csv --target-columns SMILES --save-dir out", "SMILES"),
    ("train chemprop --data-path demo.csv --target-columns '' --save-dir out", "empty"),
    ("train chemprop --data-path demo.csv --target-columns --save-dir out", "target"),
    ("train chemprop --data-path '' --target-columns LogP --save-dir out", "data_path"),
    ("train chemprop --data-path - --target-columns LogP --save-dir out", "empty"),
    ("train chemprop --data-path '*.nothing' --target-columns LogP --save-dir out", "pattern"),
    (f"train chemprop --data-path {'x' * 300}.csv --target-columns LogP --save-dir out", "name"),
    (
        f"train chemprop --data-path {'[x' * 150}.csv --target-columns LogP --save-dir out",
        "expected",
    ),
    ("train chemprop --data-path 'demo.csv/x' --target-columns LogP --save-dir out", "no file"),
    ("train chemprop --data-path ~nobody/x --target-columns LogP --save-dir out", "no file"),
    (f"train chemprop {DEMO} --save-dir out --read.encoding klingon", "encoding"),
    (f"train chemprop {DEMO} --save-dir out --read.encoding utf-16", "expected"),
    (f"train chemprop {DEMO} --save-dir out --read.encoding rot13", "encoding"),
    (f"train chemprop {DEMO} --save-dir out --read.encoding hex", "encoding"),
    (f"train chemprop {DEMO} --save-dir out --read.encoding idna", "expected"),
    (f"train chemprop {DEMO} --save-dir out --read.separator ab", "separator"),
    (f"train chemprop {DEMO} --save-dir out --read.separator tab", "expected"),
    (f"train chemprop {DEMO} --save-dir out --read.expansion 0", "expansion"),
    (f"train chemprop {DEMO} --save-dir out --read.sheet x --bogus", "--bogus"),
    (f"train chemprop {DEMO} --save-dir out --resume maybe", "resume"),
    (f"train chemprop {DEMO} --save-dir out --model.from-foundation nothing.pt", "nothing.pt"),
    (f"train chemprop {DEMO} --save-dir out --model.from-foundation demo.csv", "from_foundation"),
    (
        f"train chemprop {DEMO} --save-dir out --model.from-foundation runs/bags/model.pt",
        "from_foundation",
    ),
    (f"train chemprop {DEMO} --save-dir out --model.from-foundation zeros.csv", "from_foundation"),
    (f"train chemprop {DEMO} --save-dir out --model.from-foundation pipe.csv", "from_foundation"),
    (f"train chemprop {DEMO} --save-dir out --model.message-passing.hidden-size 0", "hidden_size"),
    (
        f"train chemprop {DEMO} --save-dir out --model.message-passing.hidden-size 9999999999",
        "hidden_size",
    ),
    (f"train chemprop {DEMO} --save-dir out --model.ffn.dropout 1.5", "dropout"),
    (f"train chemprop {DEMO} --save-dir out --model.ffn.dropout nan", "dropout"),
    (f"train chemprop {DEMO} --save-dir out --training.max-lr inf", "max_lr"),
    (f"train chemprop {DEMO} --save-dir out --ensemble.n-seeds 0", "n_seeds"),
    (f"train chemprop {DEMO} --save-dir out --ensemble.n-folds 1000", "folds"),
    (f"train chemprop {DEMO} --save-dir out --cv.folds 1", "folds"),
    (f"train chemprop {DEMO} --save-dir out --cv.folds 100000", "folds"),
    (f"train chemprop {DEMO} --save-dir out --cv.repeats -1", "repeats"),
    (f"train chemprop {DEMO} --save-dir out --level 1.5", "level"),
    (f"train chemprop {DEMO} --save-dir out --level 0", "level"),
    (f"train chemprop {DEMO} --save-dir out --strata-column Nothing", "Nothing"),
    (f"train chemprop {DEMO} --save-dir out --data.transform LogP=log10", "log10"),
    (f"train chemprop {DEMO} --save-dir out --data.transform LogQ=log10", "LogQ"),
    (f"train chemprop {DEMO} --save-dir out --data.transform LogP=cube", "expected"),
    (f"train chemprop {DEMO} --save-dir out --data.transform LogP", "expected"),
    (f"train chemprop {DEMO} --save-dir out --data.cache-dir demo.csv", "cache"),
    (
        f"train chemprop {DEMO} --save-dir out --task-affinity.enabled --task-affinity.n-groups 0",
        "n_groups",
    ),
    (
        f"train chemprop {DEMO} --save-dir out --task-affinity.enabled --task-affinity.n-groups 5",
        "n_groups",
    ),
    (f"train chemprop {DEMO} --save-dir out --tracking.enabled --tracking.uri ftp://x", "expected"),
    (f"train chemprop {DEMO} --save-dir out --related-table nothing.csv", "expected"),
    (f"train chemprop {DEMO} --save-dir out --descriptors-path nothing.npz", "expected"),
    (f"train tabular {DEMO} --save-dir out --features magic", "magic"),
    (f"train tabular {DEMO} --save-dir out --features chemprop:demo.csv", "expected"),
    (f"train tabular {DEMO} --save-dir out --features chemprop:nothing.pt", "expected"),
    (f"train tabular {DEMO} --save-dir out --features chemprop:zeros.csv", "expected"),
    (f"train tabular {DEMO} --save-dir out --model oracle", "oracle"),
    (f"train tabular {DEMO} --save-dir out --mlp.epochs -1", "epochs"),
    (f"train tabular {DEMO} --save-dir out --resume", "expected"),
    (f"train blend {DEMO} --save-dir out --models lightgbm oracle", "oracle"),
    (f"train auto --data-path demo.csv --save-dir out --budget -1", "budget"),
    (f"train auto --data-path demo.csv --save-dir out --budget forever", "budget"),
    ("train auto --data-path demo.csv --save-dir out --target-columns Nothing", "Nothing"),
    (
        "train mil --data-path bags.csv --data.kind bags --target-columns easy --save-dir out --data.id-column nothing",
        "nothing",
    ),
    (
        "train mil --data-path bags.csv --data.kind bags --target-columns f1 --task-kind binary --save-dir out",
        "expected",
    ),
    (
        "train mil --data-path bags.csv --data.kind sacks --target-columns easy --save-dir out",
        "kind",
    ),
    (
        "train mil --data-path bags.csv --data.kind bags --target-columns easy --save-dir out --model.attn-heads 0",
        "attn_heads",
    ),
    (
        "train mil --data-path bags.csv --data.kind bags --target-columns easy --save-dir out --model.attn-heads 7",
        "attn_heads",
    ),
    ("train mil --data-path bags.csv --target-columns easy --save-dir out", "SMILES"),
    ("train migrate-config", "PATH"),
    ("train migrate-config nothing.yaml", "nothing.yaml"),
    ("train migrate-config bomb.yaml", "values"),
    ("train migrate-config pipe.yaml", "pipe"),
    ("train migrate-config zeros.yaml", "device"),
    ("train migrate-config deep.yaml", "levels"),
    ("train migrate-config date.yaml", "timestamp"),
    ("train migrate-config latin.yaml", "UTF-8"),
    ("train migrate-config legacy.yaml --output configs/chemprop.yaml", "exists"),
    ("hpo", "usage"),
    (
        "hpo chemprop --data-path demo.csv --target-columns LogP --save-dir out --n-trials -1",
        "n_trials",
    ),
    (
        "hpo chemprop --data-path demo.csv --target-columns LogP --save-dir out --n-trials x",
        "n_trials",
    ),
    (
        "hpo chemprop --data-path demo.csv --target-columns LogP --save-dir out --study.n-folds 1",
        "n_folds",
    ),
    (
        "hpo chemprop --data-path demo.csv --target-columns LogP --save-dir out --n-workers 0",
        "n_workers",
    ),
    (
        "hpo chemprop --data-path demo.csv --target-columns LogP --save-dir out --storage nothing://x",
        "storage",
    ),
    (
        "hpo chemprop --data-path demo.csv --target-columns LogP --save-dir out --storage demo.csv",
        "storage",
    ),
    (
        "hpo chemprop --data-path demo.csv --target-columns LogP --save-dir out --study.enqueue nothing.yaml",
        "enqueue",
    ),
    (
        "hpo chemprop --data-path demo.csv --target-columns LogP --save-dir out --study.enqueue bomb.yaml",
        "enqueue",
    ),
    (
        "hpo chemprop --data-path demo.csv --target-columns LogP --save-dir out --study.enqueue deep.yaml",
        "enqueue",
    ),
    (
        "hpo chemprop --data-path demo.csv --target-columns LogP --save-dir out --study.enqueue zeros.yaml",
        "enqueue",
    ),
    (
        "hpo chemprop --data-path demo.csv --target-columns LogP --save-dir out --study.enqueue date.yaml",
        "enqueue",
    ),
    (
        "hpo chemprop --data-path demo.csv --target-columns LogP --save-dir out --study.enqueue list.yaml",
        "enqueue",
    ),
    (
        "hpo chemprop --data-path demo.csv --target-columns LogP --save-dir out --study.timeout -5",
        "timeout",
    ),
    ("hpo retrain", "study_dir"),
    ("hpo retrain --study-dir nothing", "nothing"),
    ("hpo retrain --study-dir runs/single", "study"),
    ("hpo retrain --study-dir demo.csv", "study"),
    ("hpo retrain --study-dir studies/chemprop --k 0", "k"),
    ("hpo retrain --study-dir studies/chemprop --trial 999", "999"),
    ("hpo retrain --study-dir loop.csv", "study"),
    ("hpo retrain --study-dir studies/chemprop --storage nothing.db", "storage"),
    ("hpo show", "study-dir"),
    ("hpo show --study-dir nothing", "nothing"),
    ("hpo show --study-dir demo.csv", "study"),
    ("hpo show --study-dir pipe.csv", "study"),
    (f"hpo show --study-dir {'x' * 300}", "expected"),
    ("hpo show --study-dir studies/chemprop --best -1", "--best"),
    ("hpo show --study-dir studies/chemprop --best many", "best"),
    ("hpo show --study-dir studies/chemprop --storage demo.csv", "expected"),
    ("hpo show --study-dir studies/chemprop --storage zeros.csv", "expected"),
    (
        "hpo show --study-dir studies/chemprop --storage postgresql://nobody@localhost:1/x",
        "expected",
    ),
    ("affinity", "data_path"),
    (f"affinity {DEMO} --n-groups 0", "n_groups"),
    (f"affinity {DEMO} --n-groups 3", "n_groups"),
    (f"affinity {DEMO} --save-path out.txt", "save_path"),
    (f"affinity {DEMO} --save-path nothing/out.npz", "save_path"),
    (f"affinity {DEMO} --plot-heatmap out.docx", "plot_heatmap"),
    (f"affinity {DEMO} --save-groups runs", "save_groups"),
    (f"affinity {DEMO} --report demo.csv", "report"),
    (f"affinity {DEMO} --device abacus", "device"),
    (f"affinity {DEMO} --affinity-lr nan", "affinity_lr"),
    (f"affinity {DEMO} --n-bootstrap -1", "n_bootstrap"),
    (f"affinity {DEMO} --encoder-param-patterns '['", "encoder_param_patterns"),
    (f"affinity {DEMO} --rows somewhere", "rows"),
    ("affinity --data-path demo.csv --target-columns LogP", "expected"),
    ("evaluate predict", "model_dir"),
    ("evaluate predict --model-dir nothing --data-path demo.csv --output out.csv", "nothing"),
    ("evaluate predict --model-dir demo.csv --data-path demo.csv --output out.csv", "expected"),
    ("evaluate predict --model-dir rt/ridge --data-path demo.csv --output out.csv", "expected"),
    ("evaluate predict --model-dir zeros.csv --data-path demo.csv --output out.csv", "expected"),
    ("evaluate predict --model-dir pipe.csv --data-path demo.csv --output out.csv", "expected"),
    ("evaluate predict --model-dir loop.csv --data-path demo.csv --output out.csv", "expected"),
    (f"evaluate predict --model-dir {'x' * 300} --data-path demo.csv --output out.csv", "expected"),
    (
        "evaluate predict --model-dir payload.pt --data-path demo.csv --output out.csv",
        "--trust-checkpoint",
    ),
    ("evaluate predict --model-dir cut.pt --data-path demo.csv --output out.csv", "expected"),
    ("evaluate predict --model-dir tensor.pt --data-path demo.csv --output out.csv", "expected"),
    ("evaluate predict --model-dir list.pt --data-path demo.csv --output out.csv", "expected"),
    ("evaluate predict --model-dir runs/single --data-path demo.csv", "output"),
    (
        "evaluate predict --model-dir runs/single --data-path demo.csv --output demo.csv",
        "another file",
    ),
    (
        "evaluate predict --model-dir runs/single --data-path demo.csv --output unseen.csv",
        "--overwrite",
    ),
    ("evaluate predict --model-dir runs/single --data-path demo.csv --output out.docx", "ends in"),
    (
        "evaluate predict --model-dir runs/single --data-path demo.csv --output nothing/out.csv",
        "folder",
    ),
    (
        f"evaluate predict --model-dir runs/single --data-path demo.csv --output {'x' * 300}.csv",
        "name",
    ),
    ("evaluate predict --model-dir runs/single --data-path demo.csv --output runs", "expected"),
    ("evaluate predict --model-dir runs/single --data-path demo.csv --output loop.csv", "expected"),
    (
        "evaluate predict --model-dir runs/single --data-path demo.csv --output out.csv --batch-size 0",
        "batch_size",
    ),
    (
        "evaluate predict --model-dir runs/single --data-path demo.csv --output out.csv --chunk-rows -1",
        "chunk_rows",
    ),
    (
        "evaluate predict --model-dir runs/single --data-path demo.csv --output out.csv --threads -1",
        "threads",
    ),
    (
        "evaluate predict --model-dir runs/single --data-path demo.csv --output out.csv --level 2",
        "level",
    ),
    (
        "evaluate predict --model-dir runs/single --data-path demo.csv --output out.csv --smiles-column x",
        "x",
    ),
    (
        "evaluate predict --model-dir runs/single --data-path demo.csv --output out.csv --id-column x",
        "x",
    ),
    (
        "evaluate predict --model-dir runs/single --data-path demo.csv --output out.csv --descriptors-path nothing.npy",
        "expected",
    ),
    (
        "evaluate predict --model-dir runs/single --data-path demo.csv --output out.csv --recalibrate nothing.csv",
        "expected",
    ),
    (
        "evaluate predict --models runs/single runs/bags --combine mean --data-path demo.csv --output out.csv",
        "expected",
    ),
    (
        "evaluate predict --models runs/single --model-dir runs/single --data-path demo.csv --output out.csv",
        "expected",
    ),
    ("evaluate predict --model-dir runs/bags --data-path demo.csv --output out.csv", "expected"),
    ("evaluate score", "expected"),
    ("evaluate score --predictions nothing", "nothing"),
    ("evaluate score --predictions demo.csv --save-dir out", "expected"),
    ("evaluate score --predictions runs/single --split middle --save-dir out", "split"),
    ("evaluate score --predictions runs/single --save-dir runs/single", "expected"),
    ("evaluate score --predictions runs/single --save-dir out --n-bootstrap -1", "n_bootstrap"),
    ("evaluate score --predictions runs/single --save-dir out --level 95", "level"),
    (
        "evaluate score --predictions runs/single --save-dir out --train-path nothing.csv",
        "nothing.csv",
    ),
    (
        "evaluate score --predictions runs/single --save-dir out --similarity-bins 3 2",
        "similarity_bins",
    ),
    (
        "evaluate score --predictions runs/single --save-dir out --similarity-bins nan",
        "similarity_bins",
    ),
    (
        "evaluate score --predictions runs/single --save-dir out --task-types LogP=tree",
        "task_types",
    ),
    ("evaluate score --predictions runs/single --save-dir out --output out.docx", "output"),
    ("evaluate score --predictions pipe.csv --save-dir out", "expected"),
    ("evaluate score --predictions zeros.csv --save-dir out", "expected"),
    ("evaluate compare", "expected"),
    ("evaluate compare --predictions runs/single --output out.csv", "expected"),
    ("evaluate compare --predictions runs/single nothing --output out.csv", "nothing"),
    ("evaluate compare --predictions runs/single runs/bags --output out.csv", "expected"),
    (
        "evaluate compare --predictions runs/single runs/ensemble --names a --output out.csv",
        "names",
    ),
    (
        "evaluate compare --predictions runs/single runs/ensemble --names a a --output out.csv",
        "names",
    ),
    (
        "evaluate compare --predictions runs/single runs/ensemble --metrics magic --output out.csv",
        "magic",
    ),
    ("evaluate compare --predictions runs/single runs/ensemble --output out.txt", "output"),
    (
        "evaluate compare --predictions runs/single runs/ensemble --level 1 --output out.csv",
        "level",
    ),
    ("evaluate compare --result-files demo.csv unseen.csv --output out.csv", "expected"),
    ("evaluate compare --result-files zeros.csv unseen.csv --output out.csv", "expected"),
    ("evaluate compare --model-dirs runs/single runs/ensemble --output out.csv", "test_data"),
    ("evaluate report", "expected"),
    ("evaluate report --run nothing --output out.html", "nothing"),
    ("evaluate report --run demo.csv --output out.html", "expected"),
    ("evaluate report --run rt/ridge --output out.html", "expected"),
    ("evaluate report --run runs/single --study studies/chemprop --output out.html", "expected"),
    ("evaluate report --study runs/single --output out.html", "expected"),
    ("evaluate report --comparison runs/single --output out.html", "expected"),
    ("evaluate report --run runs/single --output nothing/out.html", "expected"),
    ("evaluate report --run runs/single --output demo.csv", "expected"),
    ("evaluate report --run runs/single --output runs", "expected"),
    ("data", "usage"),
    ("data lst", "Did you mean 'list'?"),
    ("data list --bogus", "bogus"),
    ("data fetch", "NAME"),
    ("data fetch nothing", "nothing"),
    ("data fetch ../../etc/passwd", "expected"),
    ("data fetch demo --into demo.csv", "expected"),
    ("data describe", "TABLE"),
    ("data describe demo.csv --config configs/chemprop.yaml", "both"),
    ("data describe demo.csv --output nothing/out.html", "--output"),
    ("data describe demo.csv --output unseen.csv", "--overwrite"),
    ("data describe demo.csv --output runs", "--output"),
    ("data describe demo.csv --output out.html --target-columns LogQ", "LogQ"),
    ("data describe demo.csv --output out.html --smiles-column x", "x"),
    ("data describe demo.csv --output out.html --file x", "file"),
    ("data describe demo.csv --output out.html --on-bad-smiles sing", "sing"),
    ("data describe demo.csv --output out.html --read.separator ab", "separator"),
    ("data describe demo.csv --output out.html --read.encoding klingon", "encoding"),
    ("data demo --n 5", "n"),
    ("data demo --n -5", "n"),
    ("data demo --n many", "n"),
    ("data demo --n 99999999999999", "n"),
    ("data demo --output out.txt", "--output"),
    ("data demo --output demo.csv", "--overwrite"),
    ("data demo --output nothing/demo.csv", "--output"),
    (f"data demo --output {'x' * 300}.csv", "--output"),
    ("data demo --seed -1 --output out.csv", "seed"),
    ("rt", "usage"),
    ("rt fitt", "Did you mean 'fit'?"),
    ("rt prepare", "data"),
    ("rt prepare --data nothing.csv --save-dir out", "nothing.csv"),
    ("rt prepare --data demo.csv --save-dir out", "expected"),
    ("rt prepare --data rt/lab/train.parquet --save-dir out --target-col x", "expected"),
    ("rt prepare --data rt/lab/train.parquet --save-dir out --cap -1", "cap"),
    ("rt prepare --data rt/lab/train.parquet --save-dir out --like nothing", "like"),
    ("rt prepare --data rt/lab/train.parquet --save-dir out --like demo.csv", "like"),
    ("rt prepare --data rt/lab/train.parquet --save-dir out --like runs/single", "like"),
    ("rt prepare --data rt/lab/train.parquet --save-dir rt/ridge", "--overwrite"),
    ("rt prepare --data rt/lab/train.parquet --save-dir demo.csv", "file"),
    ("rt fit", "data"),
    ("rt fit --data nothing.parquet --save-dir out", "nothing.parquet"),
    ("rt fit --data rt/test/rows.parquet --save-dir out --model magic", "model"),
    ("rt fit --data rt/test/rows.parquet --save-dir out --alpha -1", "alpha"),
    ("rt fit --data rt/test/rows.parquet --save-dir out --lambda-slopes nan", "lambda_slopes"),
    ("rt fit --data rt/test/rows.parquet --save-dir out --max-train-rows 0", "max_train_rows"),
    ("rt fit --data rt/test/rows.parquet --save-dir out --descriptors nothing.csv", "nothing.csv"),
    ("rt fit --data rt/test/rows.parquet --save-dir out --classes demo.csv", "expected"),
    ("rt fit --data rt/test/rows.parquet --save-dir out --covariates nothing", "nothing"),
    ("rt fit --data demo.csv --save-dir out", "expected"),
    ("rt fit --data zeros.csv --save-dir out", "device"),
    ("rt predict --artefact rt/ridge --data demo.csv --output out.csv", "expected"),
    ("rt predict --artefact nothing --data rt/test/rows.parquet --output out.csv", "nothing"),
    ("rt predict --artefact runs/single --data rt/test/rows.parquet --output out.csv", "artefact"),
    ("rt predict --artefact zeros.csv --data rt/test/rows.parquet --output out.csv", "expected"),
    ("rt predict --artefact demo.csv --data rt/test/rows.parquet --output out.csv", "expected"),
    (
        "rt predict --artefact rt/ridge --data rt/test/rows.parquet --output rt/test/rows.parquet",
        "expected",
    ),
    ("rt predict --artefact rt/ridge --data rt/test/rows.parquet --output out.txt", "ends in"),
    (
        "rt predict --artefact rt/ridge --data rt/test/rows.parquet --output out.csv --level 1",
        "level",
    ),
    (
        "rt predict --artefact rt/ridge --data rt/test/rows.parquet --output out.csv --keep-cols x",
        "x",
    ),
    ("rt evaluate --artefacts nothing --data rt/test/rows.parquet --save-dir out", "nothing"),
    ("rt evaluate --artefacts rt/ridge --split-type magic --save-dir out", "split_type"),
    (
        "rt evaluate --artefacts rt/ridge --data rt/test/rows.parquet --save-dir out --support-edges 5 1",
        "support_edges",
    ),
    ("rt coefficients --artefact nothing --output out.csv", "nothing"),
    ("rt coefficients --artefact rt/ridge --output out.docx", "ends in"),
    ("rt coefficients --artefact rt/ridge --prepared nothing --output out.csv", "nothing"),
    ("rt windows --artefact rt/ridge --output out.csv --level 3", "level"),
    ("rt windows --artefact rt/ridge --output out.csv --least-width -3", "least_width"),
    ("rt windows --artefact rt/ridge --output out.csv --species nothing", "nothing"),
    ("rt windows --artefact rt/ridge --output out.csv --readings nothing=3", "nothing"),
    ("rt plot --runs nothing --save-dir out", "nothing"),
    ("rt plot --runs rt/ridge --save-dir out --formats docx", "formats"),
    ("rt plot --runs rt/ridge --evaluation nothing --save-dir out", "nothing"),
    ("rt report --runs nothing --output out.html", "nothing"),
    ("rt report --runs rt/ridge --output nothing/out.html", "expected"),
    ("rt report --runs rt/ridge --output out.html --pdf nothing/out.pdf", "expected"),
    ("rt simulate --save-dir out --n-clusters 0", "n_clusters"),
    ("rt simulate --save-dir out --n-species 1000000000", "expected"),
    ("rt simulate --save-dir out --noise-sd nan", "noise_sd"),
    ("rt simulate --save-dir out --noise-sd -1", "noise_sd"),
    ("rt simulate --save-dir demo.csv", "file"),
    ("rt simulate --save-dir out --format docx", "format"),
    ("rt shift --save-dir out --replicates 0", "replicates"),
    ("rt shift --save-dir out --alpha inf", "alpha"),
    ("rt run --train nothing.csv --test nothing.csv --save-dir out", "nothing.csv"),
    ("rt run --train rt/lab/train.parquet --save-dir out", "expected"),
]
"""Command lines whose flags are wrong, alone or together."""


def payload(path: Path) -> None:
    import torch

    class Payload:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(path.parent / "ran"),)

    torch.save({"state_dict": {}, "hyper_parameters": {}, "extra": Payload()}, path)


def saved(value: Callable[[], object]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        import torch

        torch.save(value(), path)

    return write


def tensor() -> object:
    import torch

    return torch.zeros(3)


OTHERS: dict[str, Maker] = {
    "payload.pt": payload,
    "tensor.pt": saved(tensor),
    "list.pt": saved(lambda: [1, 2]),
    "cut.pt": b"PK\x03\x04" + b"\0" * 60,
    "far.json": b'[{"train": [0, 1], "val": [2], "test": [99999999]}]',
    "types.json": b'[{"train": {"a": 1}, "val": "x", "test": null}]',
    "digits.json": b'[{"train": [' + b"1" * 5000 + b'], "val": [2], "test": [3]}]',
    "legacy.yaml": b"curriculum: {enabled: true}\n",
}
FILES: dict[str, Maker] = {
    **{n: m for n, (m, _) in {**TABLES, **MOLECULES, **CONFIGS}.items() if m is not None},
    **OTHERS,
}
