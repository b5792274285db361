"""The command as a user calls it, and a laboratory small enough to fit in a second."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from molpool_rt.cli import main

LAB = (
    *("--n-species", "6", "--n-clusters", "2", "--n-compounds", "8", "--n-classes", "2"),
    *("--n-covariates", "2", "--rare-pairs", "8", "--unseen-pairs", "5", "--anchors", "1"),
    *("--unseen-species", "1"),
)
"""A laboratory of 48 pairs."""

POOLED = (
    *("--intercept-prior", "comp_hier_supercat", "--slope-head-mode", "cluster_supercat"),
    *("--lambda-slopes", "estimate", "--compound-slopes"),
)


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


def call(*arguments: object) -> Outcome:
    """Run molpool-rt in this process."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([str(a) for a in arguments])
    return Outcome(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def rt() -> Run:
    """Run molpool-rt and return how it ended."""
    return call


def succeed(*arguments: object) -> Outcome:
    """Run molpool-rt, which must succeed."""
    ended = call(*arguments)
    assert ended.code == 0, ended.err
    return ended


@pytest.fixture(scope="session")
def good() -> Run:
    """Run molpool-rt, which must succeed, and return what it said."""
    return succeed


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a simulated laboratory."""
    folder = tmp_path_factory.mktemp("lab") / "tables"
    succeed("simulate", *LAB, "--save-dir", folder)
    return folder


@pytest.fixture(scope="session")
def pooled(lab: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run folder of a pooled fit."""
    folder = tmp_path_factory.mktemp("fits") / "pooled"
    succeed("fit", "--data", lab / "train.parquet", "--save-dir", folder, *POOLED)
    return folder


@pytest.fixture(scope="session")
def ridge(lab: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run folder of a fit of every pair on its own."""
    folder = tmp_path_factory.mktemp("fits") / "ridge"
    succeed(
        "fit",
        "--data",
        lab / "train.parquet",
        "--save-dir",
        folder,
        "--model",
        "ridge",
        "--alpha",
        "1",
    )
    return folder


@pytest.fixture(scope="session")
def evaluation(
    lab: Path, pooled: Path, ridge: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return the folder of the evaluation of both fits."""
    folder = tmp_path_factory.mktemp("evaluations") / "both"
    succeed(
        *("evaluate", "--artefacts", pooled, ridge, "--data", lab / "test.parquet"),
        *("--save-dir", folder),
    )
    return folder


@pytest.fixture
def train(lab: Path) -> pl.DataFrame:
    """Return the training table."""
    return pl.read_parquet(lab / "train.parquet")


@pytest.fixture
def refused(rt: Run, tmp_path: Path) -> Callable[..., str]:
    """Run a command that must be refused and return its message."""

    def run(*arguments: object, writes: Sequence[str] = ("out",)) -> str:
        before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
        ended = rt(*arguments)
        assert ended.code == 2, ended.out + ended.err
        assert ended.err.startswith("molpool-rt: ")
        assert ended.err.count("\n") == 1, ended.err
        assert "Traceback" not in ended.err
        assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before
        assert not any((tmp_path / name).exists() for name in writes)
        return ended.err

    return run


@pytest.fixture(scope="session")
def with_value() -> Callable[..., pl.DataFrame]:
    """Return a function that returns a table with one cell replaced."""

    def replace(frame: pl.DataFrame, column: str, value: object, row: int = 4) -> pl.DataFrame:
        at = pl.int_range(pl.len()) == row
        dtype = pl.String if isinstance(value, str) else frame.schema[column]
        cell = pl.lit(value, dtype=dtype)
        changed = pl.when(at).then(cell).otherwise(pl.col(column).cast(dtype))
        return frame.with_columns(changed.alias(column))

    return replace
