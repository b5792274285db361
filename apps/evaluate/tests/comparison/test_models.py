"""Saved models on one test table: units as trained, ids, and molecules that were trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from chemprop_multitask import ChempropConfig, ChempropModel
from molpool_common import METRICS, dump_config
from molpool_evaluate.cli import main
from molpool_pipelines.scores import load_comparison
from molpool_pipelines.tables import TableConfig

TASKS = ("LogD", "KSOL")
CHAINS = [a + "C" * n for a in ("C", "O", "N", "S", "Cl", "F") for n in range(2, 10)]


def make_run(folder: Path, seed: int, trained: list[str], **data: object) -> Path:
    """Write an untrained model as a run leaves it."""
    folder.mkdir()
    config = ChempropConfig.model_validate(
        {"model": {"message_passing": {"hidden_size": 16}, "ffn": {"hidden_size": 16}}}
    )
    ChempropModel.from_config(config, task_names=list(TASKS), seed=seed).save(folder / "model.pt")
    section = {"target_columns": list(TASKS), "id_column": "Name", "cache_dir": "none", **data}
    whole = TableConfig.model_validate({"data": section})
    (folder / "config.resolved.yaml").write_text(dump_config(whole))
    rows = {"id": [f"T{i}" for i in range(len(trained))], "SMILES": trained}
    pl.DataFrame(rows | {"side": ["train"] * len(trained)}).write_parquet(
        folder / "predictions.parquet"
    )
    return folder


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path / "test.csv"
    values = {t: rng.uniform(1.0, 9.0, len(CHAINS)).round(3) for t in TASKS}
    names = [f"M{i}" for i in range(len(CHAINS))]
    pl.DataFrame({"Name": names, "SMILES": CHAINS, **values}).write_csv(path)
    return path


@pytest.mark.slow
def test_truth_is_in_the_units_that_models_were_trained_in(tmp_path: Path, table: Path) -> None:
    runs = [
        make_run(tmp_path / name, seed, ["c1ccncc1"], transforms={"KSOL": ["log10"]})
        for seed, name in enumerate(("one", "two"))
    ]
    predicted = tmp_path / "one.parquet"
    flags = ["--data-path", str(table), "--output", str(predicted)]
    assert main(["predict", "--model-dir", str(runs[0]), *flags]) == 0
    output = tmp_path / "c.csv"
    arguments = ["--model-dirs", *map(str, runs), "--test-data", str(table)]
    code = main(["compare", *arguments, "--output", str(output), "--n-bootstrap", "200"])
    assert code == 0
    found = load_comparison(output)
    assert found.models == ("one", "two")
    y = np.log10(pl.read_csv(table)["KSOL"].to_numpy())
    p = pl.read_parquet(predicted)["KSOL"].to_numpy()
    value = next(v.value for v in found.values_of("KSOL", "mae") if v.model == "one")
    # Float32 models, batched otherwise.
    assert value == pytest.approx(METRICS["mae"](y, p), rel=1e-5)
    assert not any("trained on" in note for note in found.notes)


@pytest.mark.slow
def test_molecules_that_were_trained_on_are_counted(tmp_path: Path, table: Path) -> None:
    # The same molecules, written otherwise.
    known = ["OCC", "C(C)CC", CHAINS[5]]
    runs = [make_run(tmp_path / "seen", 0, known), make_run(tmp_path / "new", 1, ["c1ccccc1"])]
    output = tmp_path / "c.csv"
    arguments = ["--model-dirs", *map(str, runs), "--test-data", str(table)]
    assert main(["compare", *arguments, "--output", str(output), "--n-bootstrap", "200"]) == 0
    notes = [n for n in load_comparison(output).notes if "trained on" in n]
    assert notes == ["seen was trained on 3 of the 48 test molecules: it looks better than it is."]


def test_a_table_with_some_of_the_tasks_compares_these(
    tmp_path: Path, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [make_run(tmp_path / name, 0, ["CCO"]) for name in ("one", "two")]
    whole = pl.read_csv(table)
    whole.drop("KSOL").write_csv(table)
    output = tmp_path / "c.csv"
    arguments = ["--model-dirs", *map(str, runs), "--test-data", str(table)]
    assert main(["compare", *arguments, "--output", str(output)]) == 0
    found = load_comparison(output)
    assert found.tasks == ("LogD",)
    assert "Not scored, as test.csv has no column of it: KSOL." in found.notes
    whole.drop("KSOL", "LogD").write_csv(table)
    other = tmp_path / "other.csv"
    assert main(["compare", *arguments, "--output", str(other)]) == 2
    assert "data.target_columns" in capsys.readouterr().err
    assert not other.exists()
