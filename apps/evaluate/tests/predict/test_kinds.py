"""Models over conformers, models of task groups, and truth in the run's own units."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from chemprop_multitask import ChempropConfig, ChempropModel, Ensemble, SeparateModels
from mil_attn import BagData, MILConfig, MILDataConfig, MILModule
from mil_attn import predict as mil_predict
from molpool_common import dump_config
from molpool_pipelines.runs import read_run_predictions
from numpy.testing import assert_allclose
from pydantic import BaseModel

Disk = SimpleNamespace
SMILES = ["CCO", "CCN", "CCCl", "CC(C)O", "OCCO", "c1ccccc1"]


class _Run(BaseModel):
    data: MILDataConfig


@pytest.fixture(scope="module")
def mil(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run folder of an untrained model over conformers, its data and itself."""
    folder = tmp_path_factory.mktemp("mil")
    data = MILDataConfig.model_validate(
        {"features": {"conformers": {"count": 2}}, "cache_dir": "none", "id_column": "Name"}
    )
    labels = np.array([[0.0, 1], [1, 0], [0, 1], [1, 0], [0, 1], [1, 1]])
    bags = BagData.from_smiles(
        SMILES, labels=labels, task_names=["T340", "F480"], features=data.features
    )
    module = MILModule.from_data(MILConfig(tasks=["T340", "F480"]), bags)
    module.thresholds = np.array([0.45, 0.55])
    module.save(folder / "model.pt")
    (folder / "config.resolved.yaml").write_text(dump_config(_Run(data=data)))
    pl.DataFrame(
        {"id": ["a", "b"], "SMILES": SMILES[:2], "side": ["train", "train"]}
    ).write_parquet(folder / "predictions.parquet")
    return folder


def predict(disk: Disk, model: Path, data: Path, *more: object) -> pl.DataFrame:
    output = data.with_name("out.parquet")
    ended = disk.run(
        "predict", "--model-dir", model, "--data-path", data, "--output", output,
        "--overwrite", "true", *more,
    )  # fmt: skip
    assert ended.code == 0, ended.err
    return read_run_predictions(output.parent, output.name)


def test_a_model_over_conformers(disk: Disk, mil: Path, tmp_path: Path) -> None:
    smiles = [*SMILES, "C1CC", "CCOC"]
    names = [f"m{i}" for i in range(8)]
    data = tmp_path / "t.csv"
    pl.DataFrame({"Name": names, "SMILES": smiles}).write_csv(data)
    frame = predict(disk, mil, data, "--batch-size", 3, "--chunk-rows", 5)
    alone = predict(disk, mil, data, "--chunk-rows", 1, "--applicability.enabled", "false")
    both = ["T340 decision", "F480 decision", "id"]
    assert alone.select(both).equals(frame.select(both))
    assert alone["error"].is_not_null().arg_true().to_list() == [6]
    module = MILModule.load(mil / "model.pt")
    config = _Run.model_validate({"data": {"features": {"conformers": {"count": 2}}}})
    good = [i for i in range(8) if i != 6]
    bags = BagData.from_smiles([smiles[i] for i in good], features=config.data.features)
    expected = mil_predict(module, bags)
    found = disk.predicted(frame, ["T340", "F480"])
    assert_allclose(found[good], expected, atol=1e-6)  # single precision, probabilities
    assert np.isnan(found[6]).all()
    assert frame["error"].is_not_null().arg_true().to_list() == [6]
    calls = frame.select("T340 decision", "F480 decision").to_numpy()
    assert (calls[good] == (expected >= [0.45, 0.55])).all()
    assert calls[6].tolist() == [None, None]
    assert frame["nearest"][:2].to_list() == ["a", "b"]


def test_a_model_over_conformers_needs_its_run_folder(
    disk: Disk, mil: Path, tmp_path: Path
) -> None:
    data = tmp_path / "t.csv"
    pl.DataFrame({"SMILES": SMILES}).write_csv(data)
    ended = disk.run("predict", "--model-dir", mil / "model.pt", "--data-path", data)
    assert ended.code == 2
    assert "expected the run folder of a model over bags" in ended.err
    ended = disk.run("predict", "--model-dir", mil, "--data-path", data, "--features-3d", data)
    assert ended.code == 2
    assert "--features-3d: expected none: the model reads SMILES" in ended.err


def test_models_of_task_groups_predict_together(disk: Disk, tmp_path: Path) -> None:
    config = ChempropConfig.model_validate({"model": {"message_passing": {"hidden_size": 16}}})
    first = ChempropModel.from_config(config, task_names=["b"], serves={"b": 1}, seed=1)
    second = ChempropModel.from_config(
        config, task_names=["a", "c"], serves={"a": 0, "c": 2}, seed=2
    )
    whole = Ensemble([SeparateModels([first, second])])
    whole.save(tmp_path / "models")
    data = tmp_path / "t.csv"
    pl.DataFrame({"SMILES": SMILES}).write_csv(data)
    frame = predict(disk, tmp_path / "models", data)
    assert [c for c in frame.columns if c.endswith("predicted")] == [
        "a predicted", "b predicted", "c predicted"
    ]  # fmt: skip
    assert not [c for c in frame.columns if c.endswith("_sd")]
    expected, _ = whole.predict(SMILES)
    assert_allclose(disk.predicted(frame, ["a", "b", "c"]), expected, rtol=1e-6, atol=1e-6)


def test_score_predicts_first_where_it_is_given_a_model(
    disk: Disk, ensemble: Path, tmp_path: Path
) -> None:
    n = len(disk.smiles)
    truth = {t: np.linspace(k, 40 + k, n) for k, t in enumerate(disk.tasks)}
    data = disk.table(tmp_path / "t.csv", disk.smiles, **truth)
    ended = disk.run(
        "score", "--model-dir", ensemble, "--data-path", data, "--save-dir", tmp_path / "out",
        "--n-bootstrap", 20,
    )  # fmt: skip
    assert ended.code == 0, ended.err
    found = pl.read_csv(tmp_path / "out" / "metrics.csv", infer_schema_length=None)
    mean, _ = Ensemble.load(ensemble).predict(disk.smiles)
    own = found.filter(pl.col("stratum_of").is_null(), pl.col("metric") == "mae")
    expected = [np.abs(mean[:, t] - truth[task]).mean() for t, task in enumerate(disk.tasks)]
    assert_allclose(own["value"].to_numpy(), expected, rtol=1e-5)
    assert found.filter(pl.col("stratum_of") == "similarity").height > 0
