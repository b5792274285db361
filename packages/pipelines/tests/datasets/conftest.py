from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from molpool_pipelines.datasets import _registry as catalogue
from molpool_pipelines.datasets import _store as store
from molpool_pipelines.datasets._registry import Dataset

CONTENT = {"first.csv": b"SMILES,y\nCCO,1\n", "second.csv": b"SMILES,y\nCCN,2\nCCC,3\n"}


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """A registry that holds one data set of two files: one verbatim, one derived."""
    entry = Dataset.model_validate(
        {
            "name": "toy",
            "title": "Toy",
            "folder": "admet/toy",
            "licence": {"id": "MIT"},
            "citation": "none",
            "source": {"repository": "owner/repo", "commit": "0123abc"},
            "files": [
                {
                    "name": name,
                    "source": f"data/{name}",
                    "derived": "" if name == "first.csv" else "rows sorted",
                    "bytes": len(content),
                    "sha256": hashlib.sha256(content).hexdigest(),
                }
                for name, content in CONTENT.items()
            ],
        }
    )
    monkeypatch.setattr(catalogue, "registry", lambda: {"toy": entry})
    return entry


@pytest.fixture(autouse=True)
def _private_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the user's data folders nor the user's cache, nor verdicts of another test."""
    monkeypatch.delenv(store.DATA_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(store, "_verdicts", {})


def put(folder: Path, name: str, content: bytes | None = None) -> Path:
    """Write a file of the toy data set below a data folder."""
    path = folder / "admet" / "toy" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(CONTENT[name] if content is None else content)
    return path


@pytest.fixture(name="put")
def _put() -> Callable[..., Path]:
    # As a fixture, because test modules cannot import each other under importlib import mode.
    return put
