"""By time, each origin predicts as far ahead as new molecules will be."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from molpool_common import InputError
from molpool_pipelines.demo import build_demo
from molpool_pipelines.fitting import TrainChempropConfig, read_inputs, train_chemprop
from molpool_pipelines.fitting._origins import of_earlier_origins
from molpool_pipelines.fitting._tabular_rows import farther_rows
from molpool_pipelines.models import Calibration, PredictConfig, predict_table


def test_origins_predict_blocks_up_to_the_horizon():
    blocks = np.split(np.arange(100), 10)
    folds = [(np.arange(10 * k), blocks[k]) for k in range(5, 10)]
    found = farther_rows(folds, 25)
    # Own block and those whose middle lies within 25 rows: 30 ahead, while there are as many.
    assert [len(rows) for rows in found] == [20, 20, 20, 10, 0]
    assert found[0].tolist() == list(range(60, 80))
    assert all((rows >= train.size).all() for rows, (train, _) in zip(found, folds, strict=True))
    assert [len(rows) for rows in farther_rows(folds, 10)] == [0] * 5


def configured(folder: Path, **values: object) -> TrainChempropConfig:
    if not (folder / "t.csv").exists():
        table = build_demo(100, seed=0).select("SMILES", "LogP").drop_nulls("LogP")
        table.with_row_index("day").write_csv(folder / "t.csv")
    return TrainChempropConfig.model_validate(
        {
            "data_path": str(folder / "t.csv"),
            "data": {
                "target_columns": ["LogP"],
                "split_type": "time",
                "time_column": "day",
                "split_ratios": (0.7, 0.1, 0.2),
                "cache_dir": "none",
            },
            "model": {
                "message_passing": {"hidden_size": 8, "depth": 2},
                "ffn": {"hidden_size": 8, "num_layers": 1},
            },
            "training": {"epochs": 1, "accelerator": "cpu"},
            "baselines": "none",
            "save_dir": str(folder / "run"),
            **values,
        }
    )


def test_models_of_earlier_rows_predict_the_later_half(tmp_path: Path) -> None:
    config = configured(tmp_path)
    inputs = read_inputs(config)
    found, notes = of_earlier_origins(config, inputs)
    assert notes == []
    day = pl.read_csv(tmp_path / "t.csv")["day"].to_numpy()
    spans = [day[part.table.origin["row"].to_numpy() - 1] for part in found]
    n = len(day) - len(inputs.tables.test)
    # Four blocks of what is not tested: the third and the fourth, one after the other.
    assert sorted(np.concatenate(spans)) == list(range(round(n / 2), n))
    assert spans[0].max() < spans[1].min()
    assert all(np.isfinite(part.mean).all() for part in found)
    for other in ({"origins": 0}, {"shift": "structure"}):
        assert of_earlier_origins(configured(tmp_path, **other), inputs) == ([], [])


def test_a_run_says_on_what_its_intervals_rest(tmp_path: Path) -> None:
    run = train_chemprop(configured(tmp_path, origins=1))
    calibration = Calibration.load(run / "calibration.npz")
    assert "each predicted by models of earlier ones" in calibration.notes(["LogP"], 0.8)[0]
    # Validation rows that an origin predicts too count once.
    assert calibration.intervals.n_points[0] > 20
    with pytest.raises(InputError, match="Train with the same --shift"):
        predict_table(
            PredictConfig(
                model_dir=str(run),
                data_path=str(tmp_path / "t.csv"),
                output=str(tmp_path / "o.csv"),
                shift="similarity",
            )
        )
