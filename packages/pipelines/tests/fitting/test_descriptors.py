"""Descriptors beside the learned fingerprint, by name and from a file, to prediction."""

import numpy as np
import polars as pl
import pytest
from molpool_common import InputError, flag_names
from molpool_pipelines.fitting import TrainChempropConfig, train_chemprop
from molpool_pipelines.models import Descriptors, PredictConfig, predict_table, read_descriptors
from molpool_pipelines.studies import HPOChempropConfig
from pydantic import ValidationError

SMALL = {
    "baselines": "none",
    "model": {"message_passing": {"hidden_size": 8}, "ffn": {"hidden_size": 8}},
    "training": {"epochs": 1, "accelerator": "cpu"},
    "data": {
        "target_columns": ["LogP", "QED"],
        "cache_dir": "none",
        "split_ratios": [0.4, 0.4, 0.2],
    },
}


def trained(demo_csv, folder, **changes):
    values = {**SMALL, "data_path": str(demo_csv), "save_dir": str(folder), **changes}
    return train_chemprop(TrainChempropConfig.model_validate(values))


def assert_predicted_again(run, table, output, **options):
    predict_table(
        PredictConfig(model_dir=str(run), data_path=str(table), output=str(output), **options)
    )
    again = pl.read_parquet(output)
    found = pl.read_parquet(run / "predictions.parquet")
    same = again[found["row"].cast(pl.Int64) - 1]
    np.testing.assert_allclose(same["LogP"], found["LogP"], rtol=1e-5)


@pytest.mark.slow
def test_descriptors_by_name_are_computed_again(demo_csv, tmp_path):
    run = trained(demo_csv, tmp_path / "run", features="maccs")
    assert_predicted_again(run, demo_csv, tmp_path / "out.parquet")


@pytest.mark.slow
def test_descriptors_of_a_file_are_asked_for_again(demo_csv, tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, np.random.default_rng(0).normal(size=(150, 3)))
    run = trained(
        demo_csv,
        tmp_path / "run",
        descriptors_path=str(path),
        groups=[["LogP"], ["QED"]],
        sharing="separate",
    )
    output = tmp_path / "out.parquet"
    assert_predicted_again(run, demo_csv, output, descriptors_path=str(path))
    without = PredictConfig(
        model_dir=str(run), data_path=str(demo_csv), output=str(output), overwrite=True
    )
    with pytest.raises(InputError, match=r"expected 3 descriptors.* found none"):
        predict_table(without)
    np.savez(path, np.zeros((2, 3)))
    with pytest.raises(InputError, match="a row for each row of the table"):
        predict_table(without.model_copy(update={"descriptors_path": str(path)}))


def test_every_command_that_trains_chemprop_takes_them():
    for config in (TrainChempropConfig, HPOChempropConfig):
        flags = {"--features", "--molecule-featurizers", "--descriptors-path"}
        assert flags <= set(flag_names(config))


def test_what_does_not_fit_is_named(tmp_path):
    with pytest.raises(ValidationError, match="expected none beside features"):
        TrainChempropConfig(features="maccs", descriptors_path="x.npz")
    with pytest.raises(InputError, match="descriptors_path"):
        read_descriptors(str(tmp_path / "none.npz"))
    np.save(tmp_path / "flat.npy", np.zeros(3))
    with pytest.raises(InputError, match=r"shape \(3,\)"):
        read_descriptors(str(tmp_path / "flat.npy"))
    assert Descriptors(file=np.zeros((1, 2), dtype=np.float32)).signature is None
