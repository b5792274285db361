from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from molpool_data.cli import main
from molpool_pipelines.datasets import registry

pytestmark = pytest.mark.core


Run = Callable[..., tuple[int, str, str]]
CONTENT = b"SMILES,y\nCCO,1\n"


@pytest.fixture(autouse=True)
def _private(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No data folder and no cache of the user's, and a terminal of 80 columns."""
    monkeypatch.delenv("MOLPOOL_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def runner(*argv: str) -> tuple[int, str, str]:
        code = main(argv)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return runner


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A registry of one set, and a data folder that holds it; returns the folder."""
    biogen = registry()["biogen"]
    file = biogen.files[0].model_copy(
        update={"bytes": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest(), "rows": 1}
    )
    entry = biogen.model_copy(update={"files": (file,)})
    monkeypatch.setattr("molpool_pipelines.datasets._registry.registry", lambda: {"biogen": entry})
    path = tmp_path / "named" / entry.location(file)
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    return tmp_path / "named"


@pytest.mark.parametrize("width", ["80", "120"])
def test_list_shows_every_name_and_licence_whole(
    run: Run, monkeypatch: pytest.MonkeyPatch, width: str
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    code, out, err = run("list")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert max(map(len, lines)) <= int(width)
    for entry in registry().values():
        line = next(line for line in lines if line.startswith(f"{entry.name} "))
        assert f"  {entry.licence.id}  " in line
        assert line.endswith("not here")
        assert f"  {entry.title}" in lines


def test_list_says_where_a_set_lies(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    entry = registry()["biogen"]
    for folder, place in [("cache/molpool/data", "cache"), ("named", "MOLPOOL_DATA")]:
        path = tmp_path / folder / entry.location(entry.files[0])
        path.parent.mkdir(parents=True)
        path.touch()
        monkeypatch.setenv("MOLPOOL_DATA", str(tmp_path / "named"))
        _, out, _ = run("list")
        line = next(line for line in out.splitlines() if line.startswith("biogen "))
        assert line.endswith(place)


def test_list_says_partly_where_files_lack(run: Run, tmp_path: Path) -> None:
    entry = registry()["classic"]
    path = tmp_path / "cache/molpool/data" / entry.location(entry.files[0])
    path.parent.mkdir(parents=True)
    path.touch()
    _, out, _ = run("list")
    assert next(line for line in out.splitlines() if line.startswith("classic ")).endswith("partly")


def test_list_json_holds_addresses_and_checksums(run: Run) -> None:
    code, out, _ = run("list", "--json")
    assert code == 0
    entries = {entry["name"]: entry for entry in json.loads(out)["data_sets"]}
    assert list(entries) == list(registry())
    file = entries["tox21"]["files"][0]
    assert file["address"].startswith("https://raw.githubusercontent.com/deepchem/deepchem/")
    assert len(file["sha256"]) == 64
    assert file["path"] is None
    assert entries["tox21"]["found"] == "not here"


def test_fetch_copies_and_prints_the_terms(
    run: Run, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOLPOOL_DATA", str(toy))
    code, out, err = run("fetch", "biogen", "--into", str(tmp_path / "into"))
    target = tmp_path / "into/admet/biogen/ADME_public_set_3521.csv"
    assert (code, err) == (0, "")
    assert target.read_bytes() == CONTENT
    assert out.startswith(f"copied: {target}\n")
    assert "Licence\n  MIT. LICENSE of the repository" in out
    assert "doi:10.1021/acs.jcim.3c00160" in out
    assert "assay floor 0.675687" in out
    again = run("fetch", "biogen", "--into", str(tmp_path / "into"))
    assert again[0] == 0
    assert again[1].startswith(f"already there: {target}\n")


def test_fetch_of_a_derived_set_ends_with_2_and_one_message(run: Run) -> None:
    code, out, err = run("fetch", "musk1")
    assert (code, out) == (2, "")
    assert err.startswith("molpool-data: data set 'musk1': expected mil/musk1.csv.gz")
    assert err.count("\n") == 1


def test_fetch_of_an_unknown_name_gives_the_nearest(run: Run) -> None:
    code, _, err = run("fetch", "expansion-rx")
    assert code == 2
    assert "Did you mean 'expansionrx'" in err


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_demo_writes_the_table_and_says_synthetic(run: Run, suffix: str) -> None:
    code, out, _ = run("demo", "--output", f"out.{suffix}", "--n", "120", "--seed", "2")
    assert code == 0
    text = " ".join(out.split())
    assert f"wrote out.{suffix}: 120 molecules, seed 2" in text
    assert "Synthetic" in text
    assert "Nothing was measured" in text
    path = Path(f"out.{suffix}")
    table = pl.read_csv(path) if suffix == "csv" else pl.read_parquet(path)
    assert table.height == 120
    assert table.columns[:2] == ["Molecule Name", "SMILES"]
    assert table["LogP"].count() == 80
    assert [p.name for p in path.parent.iterdir() if p.name.startswith(".")] == []
    if suffix == "parquet":
        metadata = pl.read_parquet_metadata(path)
        assert "Nothing was measured" in metadata["notice"]
        assert metadata["seed"] == "2"


@pytest.mark.parametrize("flag", [["--overwrite"], ["--overwrite", "true"], ["--force"]])
def test_demo_replaces_a_file_only_where_it_may(flag: list[str], run: Run) -> None:
    Path("demo.csv").write_text("mine")
    code, _, err = run("demo", "--n", "100")
    assert code == 2
    assert "'demo.csv', which exists. Give --overwrite to replace it." in err
    assert Path("demo.csv").read_text() == "mine"
    assert run("demo", "--n", "100", "--overwrite", "false")[0] == 2
    assert run("demo", *flag, "--n", "100")[0] == 0
    assert Path("demo.csv").read_text().startswith("Molecule Name,SMILES,")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["demo", "--output", "demo.xlsx"], "expected a name that ends in .csv or .parquet"),
        (["demo", "--output", "no/demo.csv"], "expected a folder that exists; found no"),
        (["demo", "--n", "3"], "n: expected at least 100 molecules; found 3"),
        (["demo", "--seed", "-1"], "seed: expected a whole number from 0 up; found -1"),
        (["fech"], "Did you mean 'fetch'"),
    ],
)
def test_wrong_input_ends_with_2(run: Run, argv: list[str], message: str) -> None:
    code, _, err = run(*argv)
    assert code == 2
    assert message in err
    assert not Path("demo.csv").exists()


def test_wrong_flags_end_with_2(run: Run) -> None:
    code, _, err = run("demo", "--rows", "3")
    assert code == 2
    assert "--rows" in err


def test_a_fault_of_ours_keeps_its_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("ours")

    monkeypatch.setattr("molpool_pipelines.demo.write_demo", broken)
    with pytest.raises(RuntimeError, match="ours"):
        run("demo")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom molpool_data.cli import PROGRAM, main\n"
        "for name in PROGRAM.commands:\n    assert main([name, '--help']) == 0\n"
        "heavy = {'numpy', 'polars', 'rdkit', 'torch', 'scipy'} & set(sys.modules)\n"
        "sys.stderr.write(' '.join(heavy))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "molpool-data" in done.stdout
    assert done.stderr == ""


def test_the_console_script_runs_in_its_own_process() -> None:
    script = Path(sys.executable).with_name("molpool-data")
    done = subprocess.run([script, "list", "--json"], capture_output=True, text=True, check=True)
    assert {entry["name"] for entry in json.loads(done.stdout)["data_sets"]} == set(registry())
