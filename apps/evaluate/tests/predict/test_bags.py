"""Models over bags whose features stand in tables, and ensembles of models over bags."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from mil_attn import BagData, MILConfig, MILDataConfig, MILModelConfig, MILModule
from mil_attn import predict as mil_predict
from molpool_common import dump_config
from molpool_pipelines.runs import read_run_predictions
from numpy.testing import assert_allclose
from pydantic import BaseModel

Disk = SimpleNamespace
NAMES = ["c", "a", "b", "d"]
SIZES = [3, 1, 4, 2]


class _Run(BaseModel):
    data: MILDataConfig


def bag_table(seed: int = 0) -> pl.DataFrame:
    """Return instances of four bags, a label that is no feature, and rows in no order."""
    rng = np.random.default_rng(seed)
    bags = np.repeat(NAMES, SIZES)
    frame = pl.DataFrame({"bag": bags, "label": (bags == "a").astype(int)})
    features = rng.normal(size=(len(bags), 3))
    return frame.with_columns(pl.Series(n, features[:, k]) for k, n in enumerate("xyz"))


def save_run(folder: Path, module: MILModule, **data: Any) -> Path:
    folder.mkdir(parents=True)
    module.save(folder / "model.pt")
    section = MILDataConfig.model_validate(data)
    (folder / "config.resolved.yaml").write_text(dump_config(_Run(data=section)))
    return folder


def bag_module(seed: int) -> MILModule:
    bags = BagData.from_bag_table(bag_table(), id_column="bag", feature_columns=["x", "y", "z"])
    torch.manual_seed(seed)
    module = MILModule.from_data(
        MILConfig(tasks=["label"], model=MILModelConfig(use_2d=False)), bags
    )
    module.thresholds = np.array([0.4 + 0.1 * seed])
    return module


@pytest.fixture
def of_bags(tmp_path: Path) -> Path:
    """Return the run folder of a model over a table of bags."""
    return save_run(tmp_path / "run", bag_module(0), kind="bags", id_column="bag")


def predict(disk: Disk, model: Path, data: Path, *more: object) -> pl.DataFrame:
    output = data.with_name("out.parquet")
    ended = disk.run(
        "predict", "--model-dir", model, "--data-path", data, "--output", output, *more
    )
    assert ended.code == 0, ended.err
    return read_run_predictions(output.parent, output.name)


def test_bags_of_a_table(disk: Disk, of_bags: Path, tmp_path: Path) -> None:
    data = tmp_path / "bags.csv"
    table = bag_table(1).with_row_index("n").filter(pl.col("n") != 0).drop("n")
    table.sort("x").write_csv(data)
    frame = predict(disk, of_bags, data, "--batch-size", 2)
    expected = BagData.from_bag_table(
        table.sort("x"), id_column="bag", label_columns=[], feature_columns=["x", "y", "z"]
    )
    found = mil_predict(MILModule.load(of_bags / "model.pt"), expected)
    assert frame["id"].to_list() == list(expected.ids)
    assert dict(frame.select("id", "instances").iter_rows()) == {"c": 2, "a": 1, "b": 4, "d": 2}
    assert_allclose(frame["label predicted"].to_numpy(), found[:, 0], atol=1e-6)
    assert frame["label decision"].to_list() == (found[:, 0] >= 0.4).tolist()
    assert frame.columns == [
        "row", "id", "label", "label predicted", "label decision", "instances", "error"
    ]  # fmt: skip
    assert frame["label"].to_list() == [int(name == "a") for name in frame["id"]]


def test_every_bag_has_a_row_and_those_that_failed_a_reason(
    disk: Disk, of_bags: Path, tmp_path: Path
) -> None:
    full, data = bag_table(1), tmp_path / "bags.csv"
    hole = full.with_columns(full["y"].set(full["bag"] == "b", None))
    hole.write_csv(data)
    frame = predict(disk, of_bags, data)
    assert frame["row"].to_list() == [1, 2, 3, 4]
    assert frame["id"].to_list() == full["bag"].unique(maintain_order=True).to_list()
    lost = frame["id"] == "b"
    assert frame["error"].is_not_null().to_list() == lost.to_list()
    assert frame.filter(lost)["error"][0].startswith("no value of 'y' in row")
    assert frame.filter(lost)["label predicted"].is_null().all()
    (tmp_path / "whole").mkdir()
    full.write_csv(tmp_path / "whole" / "bags.csv")
    whole = predict(disk, of_bags, tmp_path / "whole" / "bags.csv")
    assert frame.filter(~lost)["label predicted"].equals(whole.filter(~lost)["label predicted"])


def test_molecules_that_a_table_of_features_lacks_have_a_row(disk: Disk, tmp_path: Path) -> None:
    instances = bag_table().drop("label").rename({"bag": "id"})
    instances.write_csv(tmp_path / "features.csv")
    molecules = pl.DataFrame({"id": NAMES, "t": [1.0, 2, 3, 4]})
    bags = BagData.from_features(molecules, label_columns=["t"], task_kind="regression",
                                 features_3d=tmp_path / "features.csv")  # fmt: skip
    config = MILConfig(tasks=["t"], task_kind="regression", model=MILModelConfig(use_2d=False))
    run = save_run(
        tmp_path / "run",
        MILModule.from_data(config, bags),
        kind="features",
        features_3d=str(tmp_path / "features.csv"),
    )
    asked = pl.DataFrame({"id": ["d", "new", "a"], "t": [0.0, 0.0, 0.0]})
    asked.write_csv(tmp_path / "t.csv")
    # A target that stands beside the features is none of them.
    instances.with_columns(t=0.0, fold=1).write_csv(tmp_path / "features.csv")
    frame = predict(disk, run, tmp_path / "t.csv")
    assert frame["id"].to_list() == ["d", "new", "a"]
    assert frame["error"].to_list() == [None, "no row in features_3d (features.csv)", None]
    assert frame["t predicted"].is_null().to_list() == [False, True, False]
    assert frame["instances"].to_list() == [2, None, 1]


def test_features_of_tables_of_their_own(disk: Disk, tmp_path: Path) -> None:
    instances = bag_table().drop("label").rename({"bag": "id"})
    per_bag = pl.DataFrame({"id": NAMES, "w": [1.0, 2, 3, 4]})
    molecules = pl.DataFrame({"id": NAMES, "SMILES": ["C", "CC", "CCC", "CO"]})
    for name, frame in (("old3d", instances), ("old2d", per_bag)):
        frame.write_csv(tmp_path / f"{name}.csv")
    tables = {"features_3d": tmp_path / "old3d.csv", "features_2d": tmp_path / "old2d.csv"}
    bags = BagData.from_features(molecules.with_columns(t=pl.lit(1.0)), label_columns=["t"],
                                 task_kind="regression", **tables)  # fmt: skip
    module = MILModule.from_data(MILConfig(tasks=["t"], task_kind="regression"), bags)
    run = save_run(
        tmp_path / "run", module, kind="features", **{k: str(v) for k, v in tables.items()}
    )
    new = instances.with_columns(pl.col("x") + 1)
    new.write_parquet(tmp_path / "new3d.parquet")
    molecules.write_csv(tmp_path / "t.csv")
    found = predict(disk, run, tmp_path / "t.csv", "--features-3d", tmp_path / "new3d.parquet")
    expected = BagData.from_features(molecules, features_3d=new, features_2d=per_bag)
    model = MILModule.load(run / "model.pt")
    assert_allclose(found["t predicted"], mil_predict(model, expected)[:, 0], atol=1e-5)
    assert found["SMILES"].to_list() == molecules["SMILES"].to_list()
    assert "t decision" not in found.columns


@pytest.mark.parametrize("given", [".", "models"])
def test_an_ensemble_of_models_over_bags(disk: Disk, tmp_path: Path, given: str) -> None:
    """As molpool-hpo retrain leaves it."""
    folder = tmp_path / "top"
    (folder / "models").mkdir(parents=True)
    (folder / "config.resolved.yaml").write_text("k: 3\n")
    modules = [bag_module(seed) for seed in range(3)]
    for i, module in enumerate(modules):
        save_run(folder / f"member-{i:03d}", module, kind="bags", id_column="bag")
        module.save(folder / "models" / f"member-{i:03d}.pt")
    data = tmp_path / "bags.csv"
    bag_table(1).write_csv(data)
    frame = predict(disk, folder / given, data)
    bags = BagData.from_bag_table(data, id_column="bag", feature_columns=["x", "y", "z"])
    each = np.stack([mil_predict(module, bags)[:, 0] for module in modules])
    assert np.ptp(each, axis=0).min() > 1e-4
    assert_allclose(frame["label predicted"], each.mean(axis=0), atol=1e-6)
    assert_allclose(frame["label_sd"], each.std(axis=0, ddof=1), atol=1e-6)
    assert frame["label decision"].to_list() == (each.mean(axis=0) >= 0.5).tolist()


def test_what_does_not_fit_is_said_and_nothing_is_written(
    disk: Disk, of_bags: Path, tmp_path: Path
) -> None:
    data, output = tmp_path / "bags.csv", tmp_path / "out.csv"
    common = ("predict", "--model-dir", of_bags, "--data-path", data, "--output", output)
    bag_table().drop("y").write_csv(data)
    ended = disk.run(*common)
    assert (ended.code, "'y'" in ended.err) == (2, True)
    bag_table().write_csv(data)
    ended = disk.run(*common, "--features-3d", data)
    assert ended.code == 2
    assert "--features-3d: expected none: the model has no features_3d" in ended.err
    ended = disk.run(*common, "--id-column", "name")
    assert (ended.code, "'name'" in ended.err) == (2, True)
    assert not output.exists()
