"""The configurations that ship are read whole, and name data that exist."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from chemprop_multitask import Ensemble, SeparateModels
from molpool_common import dump_config, load_config, read_yaml, validate_config
from molpool_data.cli import main as describe
from molpool_evaluate.cli import main as evaluate
from molpool_pipelines.datasets import registry
from molpool_pipelines.demo import build_demo
from molpool_pipelines.fitting import (
    TrainChempropConfig,
    TrainMILConfig,
    read_inputs,
    with_groups,
)
from molpool_pipelines.retention import RunConfig
from molpool_pipelines.runs import read_run_predictions
from molpool_pipelines.studies import HPOChempropConfig, HPOMILConfig
from molpool_train.cli import main as train

ROOT = Path(__file__).resolve().parents[1]
EVERY = sorted((ROOT / "configs").glob("*.yaml"))
MODELS = {
    "rt_": RunConfig,
    "mil_": TrainMILConfig,
    "hpo_musk": HPOMILConfig,
    "hpo_euos25": HPOMILConfig,
    "hpo_": HPOChempropConfig,
}
"""What a file configures, by the first of these that it begins with; a Chemprop run otherwise."""
CONFIGS = [path for path in EVERY if not path.name.startswith(tuple(MODELS))]
BESIDE = ROOT.parent / "shared" / "data"


def model_of(path):
    found = (model for start, model in MODELS.items() if path.name.startswith(start))
    return next(found, TrainChempropConfig)


@pytest.mark.parametrize("path", EVERY, ids=lambda p: p.stem)
def test_config_is_valid_and_survives_a_round_trip(path, tmp_path):
    model = model_of(path)
    config = load_config(model, path)
    copy = tmp_path / "copy.yaml"
    copy.write_text(dump_config(config))
    assert load_config(model, copy) == config


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_config_names_data_sets_of_the_registry(path):
    config = validate_config(TrainChempropConfig, read_yaml(path))
    named = {s.dataset for s in config.data.sources} | {config.data.dataset}
    assert named - {None, "demo"} <= set(registry())


def test_a_study_takes_what_a_run_takes():
    run, study = TrainChempropConfig.model_fields, HPOChempropConfig.model_fields
    assert set(study) - set(run) == {"study", "space"}
    assert {n: study[n].annotation for n in run} == {n: f.annotation for n, f in run.items()}
    said = {n for n in run if study[n].description != run[n].description}
    assert said == {"save_dir", "resume", "baselines"}, "these are said for a study"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_a_study_reads_the_file_of_a_run(path):
    document = read_yaml(path)
    run, study = (validate_config(m, document) for m in (TrainChempropConfig, HPOChempropConfig))
    assert study.model_dump(exclude={"study", "space"}) == run.model_dump()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_groups_of_a_config_are_of_its_tasks(path):
    config = load_config(TrainChempropConfig, path)
    assert with_groups(config).groups == config.groups


@pytest.mark.slow
def test_the_data_of_a_training_configuration_can_be_described(tmp_path, capsys):
    page = tmp_path / "profile.html"
    quickstart = ROOT / "configs" / "quickstart.yaml"
    code = describe(["describe", "--config", str(quickstart), "--output", str(page)])
    assert code == 0
    assert re.search(r"Molecules +1,500", capsys.readouterr().out)
    assert page.read_text().startswith("<!doctype html>")


TINY = [
    *("--model.message-passing.depth", "2", "--model.message-passing.hidden-size", "8"),
    *("--model.ffn.num-layers", "1", "--model.ffn.hidden-size", "8"),
    *("--training.epochs", "1", "--training.accelerator", "cpu"),
    *("--task-affinity.n-bootstrap", "2", "--baselines", "none", "--page", "false"),
]


@pytest.fixture(scope="module")
def panel(tmp_path_factory):
    """A table of 150 molecules with made-up values of every endpoint, a third of them missing."""
    names = {
        t for path in CONFIGS for t in load_config(TrainChempropConfig, path).data.target_columns
    }
    rng = np.random.default_rng(0)
    smiles = build_demo(150, seed=1)["SMILES"]
    columns = {name: rng.normal(size=150) for name in sorted(names)}
    for values in columns.values():
        values[rng.random(150) < 1 / 3] = np.nan
    path = tmp_path_factory.mktemp("panel") / "assays.csv"
    pl.DataFrame({"SMILES": smiles, **columns}, nan_to_null=True).write_csv(path)
    return path


# The seed's common configurations, and those of its command lines that are not like another.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "flags", "n_groups"),
    [
        ("admet_small_affinity", [], 2),
        ("admet_standard_affinity", [], 3),
        ("admet_extended_affinity", [], 5),
        ("chemprop_single_task", [], 5),
        ("chemprop_task_affinity_advanced", ["--task-affinity.device", "cpu"], 4),
        (
            "chemprop",
            [
                *("--task-affinity.enabled", "true", "--task-affinity.n-groups", "3"),
                *("--task-affinity.affinity-epochs", "2"),
                *("--task-affinity.clustering-method", "spectral", "--seed", "42"),
            ],
            3,
        ),
    ],
)
def test_grouped_configurations_train(name, flags, n_groups, panel, tmp_path, capsys):
    config, folder = ROOT / "configs" / f"{name}.yaml", tmp_path / "run"
    where = ["--data-path", str(panel), "--save-dir", str(folder)]
    assert train(["chemprop", "--config", str(config), *TINY, *flags, *where]) == 0
    tasks = load_config(TrainChempropConfig, config).data.target_columns
    ensemble = Ensemble.load(folder)
    assert list(ensemble.task_names) == tasks
    (model,) = ensemble.members
    if isinstance(model, SeparateModels):
        assert [part.task_names for part in model.parts] == [(task,) for task in tasks]
    else:
        predictor: Any = model.module.predictor
        assert len(predictor.groups) == n_groups
        assert len(json.loads((folder / "groups.json").read_text())["groups"]) == n_groups
    assert_predicted_as_trained(folder, panel, tasks)


def assert_predicted_as_trained(run, panel, tasks):
    """Predict the table that a run was trained on: its rows, in their order and their units."""
    output = run / "again.parquet"
    flags = ["--data-path", str(panel), "--output", str(output)]
    assert evaluate(["predict", "--model-dir", str(run), *flags]) == 0
    again, table = read_run_predictions(run, output.name), pl.read_csv(panel)
    assert again["SMILES"].to_list() == table["SMILES"].to_list()
    # As written in the table.
    assert again.select(pl.col(tasks).cast(pl.Float64)).equals(table.select(tasks))
    columns = [f"{task} predicted" for task in tasks]
    trained = read_run_predictions(run).sort("row")
    found = again[trained["row"] - 1].select(columns).to_numpy()
    # Float32, in batches of other sizes; labels have a standard deviation of 1.
    np.testing.assert_allclose(found, trained.select(columns).to_numpy(), atol=1e-4)


@pytest.mark.slow
def test_the_configuration_of_bags_trains(tmp_path):
    tasks = read_yaml(ROOT / "configs" / "mil_euos25.yaml").data["tasks"]
    table = tmp_path / "euos25.csv"
    smiles = build_demo(100, seed=2)["SMILES"][:30]
    columns = {task: (np.arange(30) + k) % 2 for k, task in enumerate(tasks)}
    pl.DataFrame({"ID": [f"EOS{i}" for i in range(30)], "SMILES": smiles, **columns}).write_csv(
        table
    )
    small = [
        *("--data.features.conformers.count", "2", "--data.features.descriptors-3d", "usrcat"),
        *("--data.features.descriptors-2d.featurizers", "maccs", "--data.workers", "1"),
        *("--model.mol-hidden", "8", "--model.inst-hidden", "8", "--model.attn-heads", "2"),
        *("--training.epochs", "1", "--split.n-folds", "3", "--split.val-ratio", "0.4"),
        *("--data.cache-dir", str(tmp_path / "cache"), "--training.accelerator", "cpu"),
    ]
    config, run = str(ROOT / "configs" / "mil_euos25.yaml"), tmp_path / "run"
    where = ["--data-path", str(table), "--save-dir", str(run)]
    assert train(["mil", "--config", config, *small, *where]) == 0
    output = run / "again.parquet"
    flags = ["--model-dir", str(run), "--data-path", str(table), "--output", str(output)]
    assert evaluate(["predict", *flags]) == 0
    again, trained = read_run_predictions(run, output.name), read_run_predictions(run)
    assert again["SMILES"].to_list() == smiles.to_list()
    columns = ["id", *(f"{task} predicted" for task in tasks)]
    found = trained.select(columns).join(again.select(columns), on="id", suffix=" again")
    assert found.height == 30
    for task in columns[1:]:
        np.testing.assert_allclose(found[f"{task} again"], found[task], atol=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device")
def test_a_device_that_is_not_there_is_said(panel, tmp_path, capsys):
    config = ROOT / "configs" / "chemprop_task_affinity_advanced.yaml"
    where = ["--data-path", str(panel), "--save-dir", str(tmp_path / "run")]
    assert train(["chemprop", "--config", str(config), *TINY, *where]) == 2
    said = capsys.readouterr().err
    assert "task_affinity.device: expected a device of this machine; found 'cuda'" in said
    assert "--task-affinity.device auto" in said
    assert not (tmp_path / "run").exists()


def real_inputs(name):
    where = os.environ.get("MOLPOOL_DATA") or (str(BESIDE) if BESIDE.is_dir() else None)
    if where is None:
        pytest.skip("no MOLPOOL_DATA, no shared/data beside the checkout")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOLPOOL_DATA", where)
        return read_inputs(load_config(TrainChempropConfig, ROOT / "configs" / name))


@pytest.fixture(scope="module")
def expansionrx():
    return real_inputs("expansionrx.yaml")


@pytest.mark.realdata
@pytest.mark.slow
def test_bounds_of_expansionrx_are_those_of_its_description():
    inputs = real_inputs("expansionrx_ensemble.yaml")
    # SOURCES.md of the set, where the nine columns were counted on their own.
    counts = (
        "LogD 16 >; KSOL 107 <, 4 >; HLM CLint 52 <; MLM CLint 10 <, 8 >; "
        "Caco-2 Permeability Papp A>B 11 <; Caco-2 Permeability Efflux 4 >; MPPB 13 <; MBPB 4 <; "
        "MGMB 1 <"
    )
    assert any(f"bounds: {counts}." in note for note in inputs.notes), inputs.notes
    assert set(inputs.task_types) == {"regression"}


@pytest.mark.realdata
@pytest.mark.slow
class TestExpansionRx:
    def test_labels_are_those_of_the_tables(self, expansionrx):
        table = expansionrx.table
        own = table.origin["source"].to_numpy() == "expansion_data_train.csv"
        counts = np.isfinite(table.targets[own]).sum(axis=0)
        # SOURCES.md of the set: 5 326 rows; missing shares give these counts.
        assert dict(zip(table.task_names, counts, strict=True))["MGMB"] == 222
        assert dict(zip(table.task_names, counts, strict=True))["KSOL"] == 5128

    def test_the_latest_fifth_is_held_out(self, expansionrx):
        tables = expansionrx.tables
        sources = tables.train.origin["source"] == "expansion_data_train.csv"
        numbers = {
            "train": _numbers(tables.train.origin.filter(sources)["id"]),
            "val": _numbers(tables.val.origin["id"]),
            "test": _numbers(tables.test.origin["id"]),
        }
        total = sum(map(len, numbers.values()))
        assert total == 5326
        # Repeats of one molecule stay together, which moves a handful of rows.
        assert len(numbers["test"]) == pytest.approx(0.2 * total, abs=10)
        # A later repeat of an earlier molecule follows that molecule, so medians are ordered.
        assert np.median(numbers["train"]) < np.median(numbers["val"]) < min(numbers["test"])

    def test_no_molecule_is_on_two_sides(self, expansionrx):
        tables = expansionrx.tables
        train, val, test = (set(t.groups) for t in (tables.train, tables.val, tables.test))
        assert not train & val
        assert not (train | val) & test

    def test_held_out_rows_are_of_the_highest_tier(self, expansionrx):
        assert set(expansionrx.tables.test.quality) == {"high"}
        assert set(expansionrx.tables.train.quality) == {"high", "medium", "low"}

    def test_tiers_agree_once_converted(self, expansionrx):
        # The conversions bring the tiers' medians within half a log unit of each other; a wrong
        # unit would be off by a factor of 1 000, a wrong direction by more.
        table = expansionrx.table
        quality = np.array(table.quality)
        for task in ("LogD", "HLM CLint", "MLM CLint"):
            t = table.task_names.index(task)
            medians = [np.nanmedian(table.targets[quality == q, t]) for q in ("high", "low")]
            assert abs(medians[0] - medians[1]) < 0.5


def _numbers(names):
    return np.array([int(name.rsplit("-", 1)[1]) for name in names])
