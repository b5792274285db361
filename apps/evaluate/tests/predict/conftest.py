"""Small saved models, and the command as a user calls it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from chemprop_multitask import ChempropConfig, ChempropModel, Ensemble
from molpool_common import dump_config
from molpool_evaluate.cli import main
from molpool_pipelines.tables import TableConfig
from numpy.typing import NDArray

TASKS = ("LogD", "KSOL", "HLM")
SMILES = [
    "CCO", "CCN", "CCC", "c1ccccc1", "CC(=O)O", "CCCl", "CCBr", "c1ccncc1", "CCOC", "CC#N", "CCCC",
    "OCCO", "CCS", "CCF", "CC=O", "CCCO", "CCCN", "OCC(O)CO", "C1CCCCC1", "c1ccoc1", "CC(C)O",
    "CC(C)N", "CNC", "COC", "CC(=O)Oc1ccccc1C(=O)O", "CN1C=NC2=C1C(=O)N(C(=O)N2C)C", "C[N+](C)(C)C",
    "[Na+].[Cl-]", "O=S(=O)(N)c1ccc(Cl)cc1", "C[C@H](N)C(=O)O",
]  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str


def run(*arguments: object) -> Outcome:
    """Run molpool-evaluate in this process."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([str(a) for a in arguments])
    return Outcome(code, out.getvalue(), err.getvalue())


def untrained(seed: int = 0, tasks: Sequence[str] = TASKS) -> ChempropModel:
    """Return a small network of random weights, in units far from 0 and 1."""
    config = ChempropConfig.model_validate(
        {
            "model": {"message_passing": {"hidden_size": 16}, "ffn": {"hidden_size": 16}},
            "training": {"accelerator": "cpu"},
        }
    )
    model = ChempropModel.from_config(config, task_names=list(tasks), seed=seed)
    unscale = model.module.predictor.output_transform
    unscale.mean += 3
    unscale.scale *= 20
    return model


def run_folder(path: Path, model: ChempropModel | Ensemble, *, trained_on: Sequence[str]) -> Path:
    """Write what molpool-train leaves: model, configuration and predictions."""
    path.mkdir(parents=True)
    if isinstance(model, Ensemble):
        model.save(path / "models")
    else:
        model.save(path / "model.pt")
    data = {"smiles_column": "Structure", "id_column": "Name", "target_columns": list(TASKS)}
    (path / "config.resolved.yaml").write_text(
        dump_config(TableConfig.model_validate({"data": data}))
    )
    n = len(trained_on)
    pl.DataFrame(
        {
            "id": [f"train-{i}" for i in range(n)],
            "source": ["table.csv"] * n,
            "row": list(range(1, n + 1)),
            "SMILES": list(trained_on),
            "side": ["train"] * n,
            **{t: [float(i) for i in range(n)] for t in TASKS},
            **{f"{t} predicted": [0.0] * n for t in TASKS},
        }
    ).write_parquet(path / "predictions.parquet")
    return path


def table(path: Path, smiles: Sequence[str | None], **columns: Sequence[object]) -> Path:
    """Write a table of molecules with names, as the runs above call the columns."""
    names = [f"m{i}" for i in range(len(smiles))]
    frame = pl.DataFrame({"Name": names, "Structure": list(smiles), **columns})
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    else:
        frame.write_csv(path, separator="\t" if path.suffix == ".tsv" else ",")
    return path


def predicted(frame: pl.DataFrame, tasks: Sequence[str] = TASKS) -> NDArray[np.float64]:
    """Return the predictions [N, T] of a table."""
    return frame.select(pl.col(f"{t} predicted").fill_null(np.nan) for t in tasks).to_numpy()


@pytest.fixture(scope="session")
def disk() -> SimpleNamespace:
    """Give the helpers of this file to tests."""
    return SimpleNamespace(
        tasks=TASKS,
        smiles=SMILES,
        run=run,
        untrained=untrained,
        run_folder=run_folder,
        table=table,
        predicted=predicted,
    )


@pytest.fixture(scope="session")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run folder of one model."""
    folder = tmp_path_factory.mktemp("models") / "single"
    return run_folder(folder, untrained(), trained_on=SMILES[:12])


@pytest.fixture(scope="session")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run folder of an ensemble of three."""
    folder = tmp_path_factory.mktemp("models") / "ensemble"
    return run_folder(folder, Ensemble([untrained(s) for s in range(3)]), trained_on=SMILES[:12])
