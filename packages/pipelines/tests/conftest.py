"""What tests of several rooms share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def one_thread() -> None:
    """Models this small gain nothing from threads, which wait for one another on a busy machine."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def demo_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded demo, 150 molecules of it, as a CSV file."""
    from molpool_pipelines.demo import build_demo

    path = tmp_path_factory.mktemp("demo") / "demo.csv"
    build_demo(150, seed=1).write_csv(path)
    return path
