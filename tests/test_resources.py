"""What the system refuses: a full disk, a folder that goes, a molecule that takes for ever."""

from __future__ import annotations

import io
import os
import resource
import shutil
import signal
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from importlib import import_module
from pathlib import Path
from threading import Timer

import polars as pl
import pytest
from molpool_common import MARKER, InputError, RunFolder, parse_smiles

ARCHIVE = Path(__file__).parent / "fixtures" / "runs_2026_11.tar.xz"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("earlier")
    with tarfile.open(ARCHIVE) as tar:
        tar.extractall(folder, filter="data")
    return folder


@pytest.fixture(autouse=True)
def work(archive: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(archive)
    yield
    shutil.rmtree("o", ignore_errors=True)


def call(command: str) -> tuple[int, str]:
    """Run ``molpool-COMMAND``; return its exit code and what it said on stderr."""
    app, *words = command.split()
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = import_module(f"molpool_{app}.cli").main(words)
    return code, err.getvalue()


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Refuse to let files grow beyond a size, as a full disk and a quota do."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


CHEMPROP = "train chemprop --config configs/chemprop.yaml --training.epochs 1 --save-dir o"
FIT = "rt fit --data rt/prepared/lib0.parquet --save-dir o"


@pytest.mark.parametrize(
    ("command", "again"), [(CHEMPROP, " --resume"), (FIT, "")], ids=["chemprop", "rt"]
)
@pytest.mark.parametrize("size", [2500, 20_000])
def test_a_full_disk_is_one_message_and_the_command_ends_when_there_is_space(
    command: str, again: str, size: int
) -> None:
    with largest_file(size):
        code, said = call(command)
    assert code == 1, said
    assert said.count("\n") == 1
    assert "ulimit -f" in said
    assert not list(Path("o").rglob(".*.tmp"))
    code, said = call(command + again * Path("o", MARKER).is_file())
    assert code == 0, said


def test_a_folder_that_goes_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    log = RunFolder.log

    def vanish(self: RunFolder, event: str, **fields: object) -> None:
        if event == "epoch":
            shutil.rmtree(self.path)
        log(self, event, **fields)

    monkeypatch.setattr(RunFolder, "log", vanish)
    code, said = call(CHEMPROP)
    assert code == 1
    assert said.count("\n") == 1
    assert "removed or moved meanwhile" in said


PEPTIDE = "N" + "CC(=O)N" * 2000 + "C"
"""14 000 characters: its scaffold takes more than ten minutes."""
CHAIN = "C" * 2000


@pytest.fixture
def large(tmp_path: Path) -> Path:
    demo = pl.read_csv("demo.csv").head(40).select("SMILES", "LogP")
    rows = pl.DataFrame({"SMILES": [PEPTIDE, CHAIN], "LogP": [1.0, 2.0]})
    pl.concat([demo.drop_nulls(), rows]).write_csv(tmp_path / "large.csv")
    return tmp_path / "large.csv"


DROP = "--on-bad-smiles drop --data-path {table}"
COMMANDS = {
    "describe": "data describe {table} --target-columns LogP --output o/page.html",
    "chemprop": f"evaluate predict --model-dir runs/single --output o/p.csv {DROP}",
    "conformers": f"evaluate predict --model-dir runs/conformers --output o/p.csv {DROP}",
    "train": f"train chemprop {DROP} --target-columns LogP --training.epochs 1 --save-dir o "
    "--model.message-passing.hidden-size 8 --model.ffn.hidden-size 8 --baselines none",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_molecule_that_would_take_for_ever_is_rejected(name: str, large: Path) -> None:
    Path("o").mkdir()
    code, said = call(COMMANDS[name].format(table=large))
    assert code == 0, said
    if name != "describe":
        (file,) = [f for f in Path("o").iterdir() if f.name.endswith("rejected.csv")]
        reasons = pl.read_csv(file)["reason"].to_list()
        assert [reason.rpartition("too large: ")[2][:4] for reason in reasons] == ["8002", "2000"]


def test_sigterm_is_heard_between_long_calls_of_rdkit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scaffolds of the largest molecules that are read take most of a second, in C++, each."""
    peptides = ["N" + "CC(=O)N" * (240 + n) + "c1ccccc1" for n in range(8)]
    pl.DataFrame({"SMILES": peptides, "y": [n / 7 for n in range(8)]}).write_csv(
        tmp_path / "peptides.csv"
    )
    statistics = import_module("molpool_pipelines.tables.profile._statistics")
    scaffolds, stop = statistics.murcko_scaffolds, partial(os.kill, os.getpid(), signal.SIGTERM)

    def stopped(mols: list[object]) -> list[str]:
        Timer(0.2, stop).start()
        return scaffolds(mols)

    monkeypatch.setattr(statistics, "murcko_scaffolds", stopped)
    code, said = call(f"data describe {tmp_path}/peptides.csv --output {tmp_path}/page.html")
    again = "The same command starts again from the beginning."
    assert (code, said) == (130, f"\nmolpool-data: Interrupted. {again}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["peptides.csv"]


def test_such_molecules_are_rejected_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    reasons = [bad.reason for bad in parse_smiles([PEPTIDE, "CCO", CHAIN, "C" * 300_000]).bad]
    assert reasons == [
        "too large: 8002 heavy atoms, of at most 1000 (MOLPOOL_MAX_ATOMS raises it)",
        "too large: 2000 heavy atoms, of at most 1000 (MOLPOOL_MAX_ATOMS raises it)",
        "too large: 300000 characters, of at most 1000 (MOLPOOL_MAX_ATOMS raises it)",
    ]
    monkeypatch.setenv("MOLPOOL_MAX_ATOMS", "3000")
    assert [bad.row for bad in parse_smiles([PEPTIDE, "CCO", CHAIN]).bad] == [0]
    monkeypatch.setenv("MOLPOOL_MAX_ATOMS", "many")
    with pytest.raises(InputError, match="MOLPOOL_MAX_ATOMS: expected a number of heavy atoms"):
        parse_smiles(["CCO"])
