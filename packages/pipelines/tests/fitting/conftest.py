"""A table small enough to train on in a second."""

from __future__ import annotations

from pathlib import Path

import pytest
from molpool_pipelines.demo import build_demo


@pytest.fixture(autouse=True)
def _private(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the user's is read, and nothing written but below `tmp_path`."""
    monkeypatch.setenv("MOLPOOL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def demo_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded demo, 150 molecules of it, as a CSV file."""
    path = tmp_path_factory.mktemp("demo") / "demo.csv"
    build_demo(150, seed=1).write_csv(path)
    return path
