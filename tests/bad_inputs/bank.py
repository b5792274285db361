"""A bank of bad inputs: a command line, the files it names, and a part of the message that it gets.

`CASES` is what the tests run, `WHOLE` every command with every bad file, for the soak. A word of a
command line that is a key of `FILES` is a file, which is made before the command is run; all else
it names is a good file or folder of the archive of earlier runs, in which commands are run.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import shlex
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import yaml


class Case(NamedTuple):
    """A command line and a part of what it must say."""

    line: str
    says: str = "expected"

    @property
    def name(self) -> str:
        """Return what the test is called."""
        return self.line if len(self.line) < 150 else f"{self.line[:150]}..."


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
            for _ in range(14):
                sheet.write(b"<row></row>" * 1_000_000)


def parquet_bomb(path: Path) -> None:
    """Write two thousand times the same 100 kB, stored once."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    n = 2000
    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), ["C" * 100_000])
    table = pa.table({"SMILES": text, "LogP": np.zeros(n), "LogS": np.zeros(n)})
    pq.write_table(table, path, compression="zstd")


def long_parquet(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    n = 2_000_000
    columns = {"SMILES": pa.array(["C"] * n), "LogP": np.zeros(n), "LogS": np.zeros(n)}
    more = {f"x{i}": np.zeros(n) for i in range(6)}
    pq.write_table(pa.table({**columns, **more}), path, compression="zstd")


SDF = """
  x

  1  0  0  0  0  0  0  0  0  0999 V2000
    0.0000    0.0000    0.0000 C   0  0
M  END
"""


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
    "bomb.csv.gz": (gzip_of(140), "--read.expansion"),
    "bomb.xlsx": (excel_bomb, "--read.expansion"),
    "bomb.parquet": (parquet_bomb, "--read.expansion"),
    "long.parquet": (long_parquet, "--read.expansion"),
    "bomb.sdf": (sdf(40, 800), "--read.expansion"),
    "empty.sdf": (b"", "found"),
}
"""Files that are no table of any kind."""

STRUCTURES: dict[str, tuple[Maker, str]] = {
    "columns.csv": (csv(*GOOD, head="a,b,c"), "column"),
    "list_smiles.parquet": (parquet(SMILES=[["C"]] * len(GOOD)), "SMILES"),
    "struct_smiles.parquet": (parquet(SMILES=[{"a": "C"}] * len(GOOD)), "SMILES"),
    "binary_smiles.parquet": (parquet(SMILES=[b"C"] * len(GOOD)), "SMILES"),
    "number_smiles.parquet": (parquet(SMILES=list(range(len(GOOD)))), "SMILES"),
    "null_smiles.parquet": (parquet(SMILES=[None] * len(GOOD)), "SMILES"),
}
"""Tables whose columns are not those of molecules."""

LABELS: dict[str, tuple[Maker, str]] = {
    "text.csv": (csv(*GOOD[:5], "CCO,high,low", *GOOD[5:]), "'high' in row 6"),
    "infinite.csv": (csv(*GOOD[:5], "CCO,inf,1", *GOOD[5:]), "finite"),
    "unlabelled.csv": (csv(*(f"{'C' * i},," for i in range(1, 20))), "expected"),
    "list.parquet": (parquet(LogP=[[1.0]] * len(GOOD)), "LogP"),
    "struct.parquet": (parquet(LogP=[{"a": 1.0}] * len(GOOD)), "LogP"),
    "binary.parquet": (parquet(LogP=[b"1"] * len(GOOD)), "LogP"),
    "date.parquet": (
        parquet(LogP=pl.date_range(pl.date(2026, 1, 1), pl.date(2026, 1, 24), eager=True)),
        "LogP",
    ),
}
"""Tables whose targets are no numbers."""


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

_GUESSING = ("train auto", "evaluate predict")
"""Of these, columns that are no numbers are none of theirs."""
LEARNERS = {command: flags for command, flags in READERS.items() if command not in _GUESSING}

_OF_BAGS = "--data-path T --data.kind bags --target-columns easy rare --save-dir out"
BAGS = {
    "train mil": _OF_BAGS,
    "hpo mil": _OF_BAGS,
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
    "unknown.yaml": (b"sav_dir: a\n", "expected"),
    "number_key.yaml": (b"1: a\n", "1"),
    "null_key.yaml": (b"null: a\n", "key"),
    "date_key.yaml": (b"2026-01-01: a\n", "key"),
    "list_key.yaml": (b"? [a]\n: b\n", "key"),
    "type.yaml": (b"save_dir: {a: 1}\n", "save_dir"),
    "set.yaml": (b"save_dir: !!set {a, b}\n", "save_dir"),
}

_RT = "prepare fit predict evaluate coefficients windows plot report simulate shift run"
_BY_APP = {
    "train": "chemprop tabular blend auto mil",
    "hpo": "chemprop tabular mil retrain",
    "evaluate": "predict score compare report",
    "rt": _RT,
}
CONFIGURED = {
    **{f"{app} {c}": "--config T" for app, commands in _BY_APP.items() for c in commands.split()},
    "affinity": "--config T",
    "data describe": "--config T --output out.html",
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
        np.savez(sink, a=np.array([{}], dtype=object))
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

LINES: list[tuple[str, str]] = [
    (re.sub(r"<(\d+) ([^>]+)>", lambda m: m[2] * int(m[1]), f"{start} {rest}"), says)
    for start, lines in yaml.safe_load(Path(__file__).with_name("lines.yaml").read_text()).items()
    for rest, says in lines.items()
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


def crossed(commands: dict[str, str], files: dict[str, Any], every: int = 1) -> Iterator[Case]:
    """Yield each command with each file, or one in so many of these, all files and commands."""
    for i, (command, flags) in enumerate(commands.items()):
        for j, (name, (_, says)) in enumerate(files.items()):
            if (i + j) % every == 0:
                line = f"{command} {flags} ".replace(" T ", f" {name} ").strip()
                yield Case(line, says)


def cases(every: tuple[int, int, int, int]) -> list[Case]:
    """Return the cases, of each family one in so many."""
    of_molecules, of_bags, of_times, of_settings = every
    return [
        *(Case(*line) for line in LINES),
        *crossed(READERS, TABLES | STRUCTURES, of_molecules),
        *crossed(LEARNERS, LABELS, of_molecules),
        *crossed(BAGS, TABLES, of_bags),
        *crossed(RT, {name: (make, "expected") for name, (make, _) in TABLES.items()}, of_times),
        *crossed(CONFIGURED, CONFIGS, of_settings),
    ]


CASES, WHOLE = cases((9, 9, 9, 11)), cases((1, 1, 1, 1))

FILES: dict[str, Maker] = {
    **{
        n: m for n, (m, _) in {**TABLES, **STRUCTURES, **LABELS, **CONFIGS}.items() if m is not None
    },
    **OTHERS,
}


_SLOW = re.compile(r"bomb\.(?!yaml|sdf)|long\.")
"""Files that take a second to make, which is done once."""


def make(case: Case, folder: Path, store: Path) -> list[Path]:
    """Write the bad files that a command line names; return them."""
    made = []
    for word in shlex.split(case.line):
        name = word.rpartition(":")[2].partition("/")[0]
        path = folder / name
        if name not in FILES or os.path.lexists(path):
            continue
        write = FILES[name]
        kept = store / name if _SLOW.match(name) else path
        if not os.path.lexists(kept):
            if isinstance(write, bytes):
                kept.write_bytes(write)
            else:
                write(kept)
        if kept != path:
            os.link(kept, path)
        made.append(path)
    return made


def remove(path: Path) -> None:
    """Remove what `make` wrote."""
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink()
