from __future__ import annotations

import csv
import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest
from molpool_common import InputError
from molpool_pipelines.datasets import DataFile, Dataset, dataset, locate, registry

HERE = Path(__file__).resolve()
FILES = [(entry.name, file.name) for entry in registry().values() for file in entry.files]


def data_folder() -> Path | None:
    """Folder of the real data: of the environment, else `shared/data` beside the checkout."""
    named = os.environ.get("MOLPOOL_DATA")
    beside = (p / "shared" / "data" for p in HERE.parents)
    return Path(named) if named else next(filter(Path.is_dir, beside), None)


# Read at import: the conftest's fixture clears the variable for every test.
REAL = data_folder()
needs_data = pytest.mark.skipif(REAL is None, reason="no MOLPOOL_DATA, no shared/data beside")


def test_the_registry_holds_the_promised_sets() -> None:
    assert set(registry()) >= {
        "biogen",
        "biogen-splits",
        "expansionrx",
        "expansionrx-raw",
        "tox21",
        "toxcast",
        "aqsoldb",
        "aqsoldb-sources",
        "pharmabench",
        "musk1",
        "moleculeace30",
        "repo-rt",
        "radon",
        "classic",
    }
    assert all(name == entry.name for name, entry in registry().items())


@pytest.mark.parametrize("entry", registry().values(), ids=lambda e: e.name)
def test_an_entry_says_terms_source_and_citation(entry: Dataset) -> None:
    assert entry.title
    assert entry.citation
    assert entry.licence.id
    names = [file.name for file in entry.files]
    assert len(set(names)) == len(names)
    assert any(entry.columns or file.columns or file.about for file in entry.files)


def test_locations_are_distinct() -> None:
    places = [entry.location(file) for entry in registry().values() for file in entry.files]
    assert len(set(places)) == len(places)


def test_a_verbatim_file_has_a_raw_address_at_a_full_commit() -> None:
    for entry in registry().values():
        for file in entry.files:
            if not file.derived:
                assert entry.address(file).startswith("https://raw.githubusercontent.com/")
                assert len(entry.source.commit) == 40, entry.name


def test_addresses_are_built_from_repository_commit_and_path() -> None:
    tox21, musk = dataset("tox21"), dataset("musk1")
    assert tox21.address(tox21.file()) == (
        "https://raw.githubusercontent.com/deepchem/deepchem/"
        "fbe3b911a94a6eb8c84c1a9e7ac67a472c49ea80/datasets/tox21.csv.gz"
    )
    assert musk.address(musk.file()) == (
        "https://github.com/garydoranjr/misvm/tree/"
        "b2118fe04d98c00436bdf8a0e4bbfb6082c5751c/example/musk1.data"
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.csv", "csv"),
        ("a.csv.gz", "csv.gz"),
        ("splits/a.json.zip", "json.zip"),
        ("LICENSE_CC-BY-SA-4.0.txt", "txt"),
    ],
)
def test_the_format_is_read_from_the_name(name: str, expected: str) -> None:
    file = DataFile(name=name, source=name, bytes=1, sha256="0" * 64)
    assert file.format == expected


def test_a_column_means_what_its_file_or_its_set_says() -> None:
    file = DataFile(
        name="a.csv", source="a.csv", bytes=1, sha256="0" * 64, columns={"y": "min", "y*": "s"}
    )
    entry = dataset("toxcast").model_copy(
        update={"columns": {"y": "h", "y [nM]": "nM", "* modifier": "sign"}, "files": (file,)}
    )
    assert entry.meaning("y", file) == "min"
    assert entry.meaning("y2", file) == "s"
    assert entry.meaning("y [nM]", file) == "nM"
    assert entry.meaning("LogD modifier", file) == "sign"
    assert entry.meaning("LogD modified", file) is None


@pytest.mark.parametrize(("wrong", "right"), [("biogem", "biogen"), ("ExpansionRx", "expansionrx")])
def test_an_unknown_name_gets_the_nearest(wrong: str, right: str) -> None:
    with pytest.raises(InputError, match=f"Did you mean '{right}'"):
        dataset(wrong)


def test_the_registry_loads_without_heavy_imports() -> None:
    code = (
        "import sys; from molpool_pipelines.datasets import registry; registry();"
        "print([m for m in ('numpy', 'polars', 'rdkit', 'torch') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


@pytest.mark.realdata
@needs_data
@pytest.mark.parametrize(("name", "file"), FILES)
def test_a_local_file_is_what_the_registry_says(
    name: str, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOLPOOL_DATA", str(REAL))
    path = locate(name, file)
    entry = dataset(name)
    wanted = entry.file(file)
    assert path == Path(str(REAL)) / entry.location(wanted)
    if wanted.rows is None:
        return
    header, rows = read(path)
    assert rows == wanted.rows
    assert [c for c in header if entry.meaning(c, wanted) is None] == []
    # A column that the file itself describes must be there; the set's may lack in one file.
    assert [c for c in wanted.columns if "*" not in c and c not in header] == []


def read(path: Path) -> tuple[list[str], int]:
    """Return the header of a delimited file and its number of data rows."""
    opener = gzip.open if path.suffix == ".gz" else open
    delimiter = "\t" if ".tsv" in path.name else ","
    with opener(path, "rt", encoding="utf-8", errors="replace", newline="") as stream:
        reader = csv.reader(stream, delimiter=delimiter)
        return next(reader), sum(1 for _ in reader)
