"""The command from a table to a study, as a user calls it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from molpool_common import dump_config, load_config
from molpool_hpo.cli import main
from molpool_pipelines.fitting import TrainChempropConfig
from molpool_pipelines.studies import HPOChempropConfig, chemprop_problem

CONFIG = Path(__file__).parents[4] / "configs" / "hpo_expansionrx.yaml"
NEAR = (p / "shared" / "data" for p in Path(__file__).resolve().parents)
FOLDER = Path(os.environ.get("MOLPOOL_DATA") or next(filter(Path.is_dir, NEAR), ""))
TABLE = Path("admet") / "expansionrx" / "expansion_data_train.csv"


@pytest.mark.slow
def test_a_study_of_the_table(make_config: Any, tmp_path: Path, capsys: Any) -> None:
    path, folder = tmp_path / "study.yaml", tmp_path / "study"
    space = {
        "model.ffn.hidden_size": {"choices": [8, 12]},
        "model.message_passing.hidden_size": 8,
        "model.message_passing.depth": {"low": 2, "high": 3},
    }
    path.write_text(dump_config(make_config(space=space)))
    flags = ["--config", str(path), "--save-dir", str(folder), "--n-trials"]
    assert main(["chemprop", *flags, "2"]) == 0
    said = capsys.readouterr().out
    assert "14 rows of the outer test split are left out of everything here." in " ".join(
        said.split()
    )
    assert main(["chemprop", *flags, "4"]) == 0, "the same command goes on"
    trials = pl.read_parquet(folder / "trials.parquet")
    assert len(trials) == 4
    best = load_config(TrainChempropConfig, folder / "best.yaml")
    assert best.model.ffn.hidden_size in (8, 12)
    assert best.data_path == make_config().data_path
    assert set(yaml.safe_load((folder / "best.yaml").read_text())) == set(
        TrainChempropConfig.model_fields
    )


@pytest.mark.slow
def test_what_is_wrong_is_said_in_one_line(make_config: Any, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(dump_config(make_config(space={"model.ffn.widht": 8})))
    folder = tmp_path / "study"
    assert main(["chemprop", "--config", str(path), "--save-dir", str(folder)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("molpool-hpo: space.model.ffn.widht")
    assert error.count("\n") == 1
    assert not folder.exists()


def test_keys_from_before_joint_sampling_are_read(table: Path, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "old.yaml"
    path.write_text(
        f"data_path: {table}\ndata: {{target_columns: [a]}}\n"
        "optimization: {task_sampling_alpha: 0.4}\nspace: {model.widht: 8}\n"
    )
    assert main(["chemprop", "--config", str(path)]) == 2
    error = capsys.readouterr().err
    assert "old.yaml: optimization.task_sampling_alpha: now joint_sampling" in error
    assert "space.model.widht" in error


@pytest.mark.realdata
@pytest.mark.skipif(not CONFIG.is_file(), reason="the configuration is no part of the wheel")
def test_the_study_of_expansionrx_looks_ahead() -> None:
    if not (FOLDER / TABLE).is_file():
        pytest.skip(f"no {TABLE}: set MOLPOOL_DATA to the folder of the public tables")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOLPOOL_DATA", str(FOLDER))
        problem = chemprop_problem(load_config(HPOChempropConfig, CONFIG))
    assert (problem.n_folds, problem.metric) == (3, "macro MA-RAE")
    assert any("neither trains nor scores MGMB" in note for note in problem.notes)
    assert "joint_sampling.curriculum.phase_weights.polish.low" in problem.space.parameters
    assert problem.space.parameters["model.message_passing.hidden_size"].high == 300  # type: ignore[union-attr]
