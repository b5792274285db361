"""Readers fed with damaged files: each is read, or refused in one message.

    python tests/soak/fuzz.py SECONDS [READER ...]

Files are made by Hypothesis from a good one: bytes flipped, cut, repeated, replaced by extremes.
What ends in anything but a result or a message of ours, takes more than five seconds, or ends the
process (each reader has one of its own) is kept in ``corpus/READER``, which `test_fuzz.py` reads
again.

Last figures (30 November 2026): 1,800 s a reader, eight at a time on a core and a half: yaml
13,023 files, csv 6,697, excel 9,952, smiles 20,650, sdf 1,364, npz 6,200, parquet 3,200, journal
7,146; one kind of fault, a zip archive of an unknown version, mended. 55 s of CPU each, which
SECONDS are now: gzip 18,450, smi 8,587, split 24,750, model 18,000; no fault.
"""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import resource
import sys
import tarfile
import tempfile
import time
import traceback
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import count
from pathlib import Path

import numpy as np
import polars as pl
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

CORPUS = Path(__file__).parent / "corpus"
SLOW = 5.0
"""Seconds that a small file may take."""
MEMORY = 12 << 30
"""Bytes of address space, most of which the libraries only reserve."""

_EXTREME = [
    *(b"0", b"-1", b"NaN", b"inf", b"1e999", b"4294967295", b"-9223372036854775808", b"9" * 400),
    *(b"", b'"', b"\n", b"\r", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b",", b";", b"\t", b"$$$$\n"),
    *(b"\x00\x00\x00\x00", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"M  END\n", b"> <", b"[[[["),
    *(b"&a [*a]", b"<<: *a", b"!!python/name:os.system", b"2026-13-45", b"\x1b[31m", b"%", b"("),
]


@dataclass(frozen=True)
class Reader:
    """A good file and what reads it."""

    name: str
    ending: str
    make: Callable[[], bytes]
    read: Callable[[Path], object]


# --- readers ---


def _table(path: Path) -> None:
    from molpool_common import measured_column, open_table, table_chunks, table_header, text_column

    frame, _ = open_table(path)
    names = table_header(path)
    for part in table_chunks(path, names, rows=7):
        assert part.columns == names
    for name in names[:3]:
        text_column(frame, name, where=path.name)
        measured_column(frame, name, where=path.name)


def _yaml(path: Path) -> None:
    from molpool_common import dump_config, load_config
    from molpool_pipelines.fitting import TrainChempropConfig

    dump_config(load_config(TrainChempropConfig, path))


def _smiles(path: Path) -> None:
    from molpool_common import changed_smiles, murcko_scaffolds, parse_smiles, standardize

    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[:20]
    parsed = parse_smiles([line[:200] for line in lines])
    mols = [mol for mol in parsed.mols if mol is not None]
    murcko_scaffolds(mols)
    changed_smiles(mols, standardize(mols, "parent"))


def _split(path: Path) -> None:
    from molpool_common import read_split_file

    read_split_file(path)


def _coefficients(path: Path) -> None:
    from rt_ridge import Stage1CoeffSummaries

    Stage1CoeffSummaries.load(path)


def _weights(path: Path) -> None:
    from chemprop_multitask import ChempropModel

    ChempropModel.load(path)


def _journal(path: Path) -> None:
    from molpool_pipelines.studies import read_study

    folder = Path(tempfile.mkdtemp(dir=path.parent))
    for name, content in _archived("studies/chemprop").items():
        (folder / name).write_bytes(content)
    path.replace(folder / "journal.log")
    read_study(folder, None)


@cache
def _archived(folder: str) -> dict[str, bytes]:
    """Return the files right in a folder of the archive of earlier runs."""
    found = {}
    with tarfile.open(Path(__file__).parents[1] / "fixtures" / "runs_2026_11.tar.xz") as tar:
        for entry in tar.getmembers():
            handle = tar.extractfile(entry) if Path(entry.name).parent == Path(folder) else None
            if handle is not None:
                found[Path(entry.name).name] = handle.read()
    return found


def _frame() -> pl.DataFrame:
    n = 12
    smiles = ["C" * (1 + i) + "ON"[i % 2] for i in range(n)]
    return pl.DataFrame({"SMILES": smiles, "LogP": np.arange(n) / 7, "LogS": np.arange(n) % 5})


def _csv() -> bytes:
    return _frame().write_csv().encode()


def _of(write: Callable[[io.BytesIO], object]) -> bytes:
    sink = io.BytesIO()
    write(sink)
    return sink.getvalue()


def _sdf() -> bytes:
    from rdkit import Chem

    record = Chem.MolToMolBlock(Chem.MolFromSmiles("CC(=O)Nc1ccccc1"))
    return "".join(f"m{i}{record}>  <LogP>\n{i}\n\n$$$$\n" for i in range(3)).encode()


def _folds() -> bytes:
    return b'[{"train": [0, 1, "3-7"], "val": [8], "test": [9]}]'


def _config() -> bytes:
    return (Path(__file__).parents[2] / "configs" / "quickstart.yaml").read_bytes()


READERS = [
    Reader("csv", ".csv", _csv, _table),
    Reader("gzip", ".csv.gz", lambda: zlib.compress(_csv(), wbits=31), _table),
    Reader("parquet", ".parquet", lambda: _of(_frame().write_parquet), _table),
    Reader("excel", ".xlsx", lambda: _of(_frame().write_excel), _table),
    Reader("sdf", ".sdf", _sdf, _table),
    Reader("smi", ".smi", lambda: b"CCO ethanol\nc1ccccc1 |$;;;;;$| benzene\n", _table),
    Reader("smiles", ".txt", lambda: b"C[C@H](N)C(=O)O\n[Na+].[Cl-]\nc1ccc2ccccc2c1\n", _smiles),
    Reader("yaml", ".yaml", _config, _yaml),
    Reader("split", ".json", _folds, _split),
    Reader("npz", ".npz", lambda: _archived("rt/ridge")["coefficients.npz"], _coefficients),
    Reader("model", ".pt", lambda: _archived("runs/single")["model.pt"], _weights),
    Reader("journal", ".log", lambda: _archived("studies/chemprop")["journal.log"], _journal),
]


# --- damage ---


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Return a file with one to six things wrong."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.sampled_from([1, 2, 4, 8, 16, 64, 256]))
        how = draw(st.sampled_from(["flip", "drop", "end", "insert", "put", "copy", "noise"]))
        extreme = draw(st.sampled_from(_EXTREME))
        if how == "flip" and at < len(data):
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "drop":
            del data[at : at + length]
        elif how == "end":
            del data[at:]
        elif how == "insert":
            data[at:at] = extreme
        elif how == "put":
            data[at : at + len(extreme)] = extreme
        elif how == "copy":
            data[at:at] = data[: at + length][-length:] * draw(st.sampled_from([1, 2, 50]))
        else:
            data[at:at] = draw(st.binary(max_size=16))
    return bytes(data)


# --- what becomes of it ---


def fault_of(reader: Reader, content: bytes, folder: Path) -> str | None:
    """Return what is wrong with how a file is taken; None where it is read, or refused in words."""
    path = folder / f"last{reader.ending}"
    path.write_bytes(content)
    before = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader.read(path)
    except Exception as error:
        if getattr(error, "exit_code", None) != 2:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            return f"{type(error).__name__} in {Path(frame.filename).name}, {frame.name}: {error}"
    seconds = time.process_time() - before
    return f"{seconds:.0f} s" if seconds > SLOW else None


def warm(reader: Reader, folder: Path) -> None:
    """Import what a reader needs, which may take longer than a file may: it reads a good one."""
    good = fault_of(reader, reader.make(), folder)
    assert good is None or good.endswith(" s"), good


def some(content: bytes, number: int) -> list[bytes]:
    """Return fifty damaged files, the same for the same number."""
    found: list[bytes] = []

    @seed(number)
    @settings(
        max_examples=50,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(damaged(content))
    def collect(example: bytes) -> None:
        found.append(example)

    collect()
    return found


def examples(reader: Reader, seconds: float, start: int = 0) -> Iterator[bytes]:
    """Yield damaged files until so many seconds of this process are spent."""
    content = reader.make()
    end = time.process_time() + seconds
    for number in count(start):
        for example in some(content, number):
            if time.process_time() > end:
                return
            yield example


def fuzz(reader: Reader, seconds: float, folder: Path, start: int = 0) -> dict[str, bytes]:
    """Return a small file for each kind of fault that was found; print how many were tried."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    kinds: dict[str, bytes] = {}
    tried = 0
    warm(reader, folder)
    for example in examples(reader, seconds, start):
        tried += 1
        fault = fault_of(reader, example, folder)
        kind = None if fault is None else fault.partition(":")[0]
        if kind is not None and (kind not in kinds or len(example) < len(kinds[kind])):
            if kind not in kinds:
                sys.stdout.write(f"{reader.name}: {fault}\n"[:500])
            kinds[kind] = example
            keep(reader, example)
    sys.stdout.write(f"{reader.name}: {tried:,} files, {len(kinds)} kinds of fault\n")
    return kinds


def keep(reader: Reader, content: bytes) -> None:
    """Write a file of the corpus."""
    folder = CORPUS / reader.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha256(content).hexdigest()[:12]).write_bytes(content)


def main(arguments: list[str]) -> int:
    """Run each reader in a process of its own; return 1 where a file was kept."""
    seconds, names = float(arguments[0]), arguments[1:]
    start, before = int(time.time()), set(CORPUS.rglob("*"))
    for reader in (r for r in READERS if not names or r.name in names):
        with tempfile.TemporaryDirectory() as folder:
            target = partial(fuzz, reader, seconds, Path(folder), start)
            process = multiprocessing.get_context("fork").Process(target=target)
            process.start()
            process.join()
            if process.exitcode:
                sys.stdout.write(f"{reader.name}: the process ended with {process.exitcode}\n")
                keep(reader, (Path(folder) / f"last{reader.ending}").read_bytes())
        sys.stdout.flush()
    return int(set(CORPUS.rglob("*")) > before)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
