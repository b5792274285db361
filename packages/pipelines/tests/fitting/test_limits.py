"""Floors and ceilings of assays: a flag of every command, learnt and reported alike."""

import numpy as np
import polars as pl
import pytest
from chemprop_multitask import ChempropModel
from molpool_common import InputError, flag_names
from molpool_pipelines.demo import build_demo
from molpool_pipelines.fitting import (
    LimitsConfig,
    TrainAutoCommand,
    TrainBlendCommand,
    TrainChempropCommand,
    TrainChempropConfig,
    TrainMILCommand,
    TrainTabularCommand,
    train_chemprop,
)
from molpool_pipelines.models import PredictConfig, load_model, predict_table
from molpool_pipelines.runs import read_run_predictions
from molpool_pipelines.scores import read_predictions, score_limits
from molpool_pipelines.studies import HPOChempropConfig, HPOMILConfig, HPOTabularConfig
from molpool_pipelines.tables import DataConfig, as_bounds, assay_limits, load_molecules

KINDS = ("regression", "regression", "classification")


@pytest.mark.parametrize(
    "command",
    [
        TrainAutoCommand,
        TrainBlendCommand,
        TrainChempropCommand,
        TrainTabularCommand,
        TrainMILCommand,
        HPOChempropConfig,
        HPOMILConfig,
        HPOTabularConfig,
    ],
)
def test_every_command_that_trains_takes_limits(command):
    assert issubclass(command, LimitsConfig)
    assert "--limits" in flag_names(command)
    # As configurations until now say it.
    assert command(limits="none").limits == ["none"]
    assert command().limits == ["auto"]


@pytest.mark.parametrize("asked", ["auto none", "x=:1 x=2:", ":3", "KSOL"])
def test_limits_are_a_word_and_those_of_each_task_once(asked):
    with pytest.raises(ValueError, match="TASK=FLOOR:CEILING once a task"):
        LimitsConfig(limits=asked.split())


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Solubilities, a fifth of which read as 250, learnt as log10; logP; classes."""
    path = tmp_path_factory.mktemp("limits") / "table.csv"
    demo = build_demo(n=100)
    truth = np.random.default_rng(0).lognormal(5, 1, 100)
    pl.DataFrame(
        {
            "SMILES": demo["SMILES"],
            "KSOL": np.minimum(truth, 250.0),
            "a=b": truth,
            "active": (truth > 100).astype(int),
        }
    ).write_csv(path)
    data = DataConfig(target_columns=["KSOL", "a=b", "active"], transform={"KSOL": "log10"})
    return load_molecules(data, str(path), on_bad_smiles="drop", min_labels=1), path


def test_limits_are_given_in_units_of_the_table_and_learnt_on_the_scale(table):
    rows, _ = table
    limits = assay_limits(["none", "KSOL=20:250", "a=b=10:"], rows, KINDS)
    np.testing.assert_allclose(10 ** limits.bounds[0], [20, 250])
    np.testing.assert_array_equal(limits.bounds[1:], [[10, np.inf], [-np.inf, np.inf]])
    found = assay_limits(["a=b=:300"], rows, KINDS)  # those of KSOL are found
    np.testing.assert_allclose(10 ** found.bounds[0], [0, 250])
    assert found.bounds[1].tolist() == [-np.inf, 300]
    assert not np.isfinite(assay_limits(["none"], rows, KINDS).bounds).any()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("KSO=:250", "one of the tasks KSOL"),
        ("active=:1", "tasks with values"),
        ("KSOL=:many", "KSOL=FLOOR:CEILING"),
        ("KSOL=250:20", "a floor below the ceiling"),
        ("KSOL=0:250", "limits that have a log10"),
    ],
)
def test_limits_that_cannot_be_are_refused(table, asked, words):
    with pytest.raises(InputError, match=words):
        assay_limits([asked], table[0], KINDS)


def test_labels_at_a_limit_are_bounds(table):
    rows, _ = table
    bounded = as_bounds(rows, KINDS, assay_limits(["none", "KSOL=:250"], rows, KINDS))
    at = 10 ** rows.targets[:, 0] > 249.99
    assert bounded.censoring is not None
    np.testing.assert_array_equal(bounded.censoring[:, 0], at)
    assert not bounded.censoring[:, 1:].any()
    assert as_bounds(rows, KINDS, assay_limits(["none"], rows, KINDS)) is rows


@pytest.mark.slow
def test_chemprop_learns_them_and_reports_as_the_assay_would(table, tmp_path):
    _, path = table
    run = train_chemprop(
        TrainChempropConfig(
            data_path=str(path),
            save_dir=str(tmp_path / "run"),
            limits=["none", "KSOL=:110"],
            baselines="none",
            page=False,
            data={
                "target_columns": ["KSOL"],
                "split_ratios": [0.4, 0.4, 0.2],
                "transform": {"KSOL": "log10"},
            },
            model={"message_passing": {"hidden_size": 16, "depth": 2}},
            training={"epochs": 1},
        )
    )
    found = {}
    for latent in (False, True):
        output = str(tmp_path / f"{latent}.parquet")
        predict_table(
            PredictConfig(model_dir=str(run), data_path=str(path), output=output, latent=latent)
        )
        found[latent] = pl.read_parquet(output)
    model = ChempropModel.load(run)
    assert model.limits["KSOL"][1] == pytest.approx(np.log10(110))
    learnt = read_run_predictions(run).filter(pl.col("split") != "test")["KSOL"].to_numpy()
    reported = np.median(learnt[learnt >= 110])
    assert 10 ** model.limits["KSOL"][3] == pytest.approx(reported)
    assert found[False]["KSOL_upper"].max() == pytest.approx(250)
    assert found[False]["KSOL_at_ceiling"].is_between(0, 1).all()
    assert "KSOL_at_ceiling" not in found[True].columns
    (scored,) = score_limits(read_predictions(run).of_split("test"))
    assert scored.limit == pytest.approx(110)
    assert 0 < scored.classes.positives < scored.classes.n
    ours = read_run_predictions(run).filter(split="test")
    same = found[False][ours["row"].cast(pl.Int64).to_numpy() - 1]
    for column in ("KSOL", "KSOL_at_ceiling"):
        name = column if "_at" in column else "KSOL predicted"
        np.testing.assert_allclose(ours[name], same[column], rtol=1e-5)
    # Had half of the molecules been predicted beyond the limit:
    latent = np.log10(found[True]["KSOL"].to_numpy())
    middle = float(np.median(latent))
    model.limits = {"KSOL": (-np.inf, middle, -np.inf, 9.0)}
    model.save(tmp_path / "model.pt")
    said = load_model(tmp_path / "model.pt").predict(found[True]["SMILES"].to_list(), 64).mean
    beyond = np.abs(latent - middle) > 1e-6
    expected = np.where(latent > middle, 9.0, latent)
    np.testing.assert_allclose(said[beyond, 0], expected[beyond], rtol=1e-5)
