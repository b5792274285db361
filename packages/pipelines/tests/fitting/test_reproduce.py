"""A run that is trained again from its folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from molpool_common import InputError
from molpool_pipelines.demo import build_demo
from molpool_pipelines.fitting import (
    ReproduceConfig,
    TrainTabularConfig,
    differences,
    reproduce,
    train_tabular,
)
from molpool_pipelines.runs import ENVIRONMENT, METRICS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on molecules with made-up labels."""
    folder = tmp_path_factory.mktemp("reproduced")
    smiles = build_demo(n=100)["SMILES"].to_list()
    labels = np.random.default_rng(0).normal(size=100)
    pl.DataFrame({"SMILES": smiles, "y": labels}).write_csv(folder / "table.csv")
    config = TrainTabularConfig.model_validate(
        {
            "data_path": str(folder / "table.csv"),
            "save_dir": str(folder / "run"),
            "features": "morgan_count",
            "baselines": "none",
            "page": False,
            "model": ["neighbours"],
            "folds": 2,
            "data": {"target_columns": ["y"], "cache_dir": "none"},
        }
    )
    return train_tabular(config)


def test_the_same_table_gives_the_same_bits_and_another_is_told(
    run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    again = tmp_path / "again"
    assert reproduce(ReproduceConfig(run=str(run), save_dir=str(again)))
    assert "Equal to the bit" in capsys.readouterr().out
    assert differences(run, again) == []

    table = run.parent / "table.csv"
    kept = tmp_path / "kept.csv"
    shutil.copyfile(table, kept)
    frame = pl.read_csv(table)
    frame.with_columns(y=pl.col("y") + (pl.int_range(pl.len()) == 3)).write_csv(table)
    try:
        assert not reproduce(ReproduceConfig(run=str(run), save_dir=str(tmp_path / "other")))
    finally:
        shutil.copyfile(kept, table)
    said = capsys.readouterr().out
    assert "The table is another one: " in said
    assert "y: 1 of 100 rows differ, by at most 1 (mean " in said


def test_what_is_no_finished_run_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"RUN: expected the folder of a training run, with"):
        reproduce(ReproduceConfig(run=str(tmp_path)))
    with pytest.raises(InputError, match=r"expected a new folder.*another --save-dir"):
        reproduce(ReproduceConfig(run=str(run), save_dir=str(run)))
    (tmp_path / ENVIRONMENT).write_text('{"arguments": ["molpool-rt", "fit"]}')
    (tmp_path / "config.resolved.yaml").write_text("data: [a.csv]\n")
    (tmp_path / METRICS).write_text('{"model": "partial_pooling", "target": "rt", "rows": 9}')
    with pytest.raises(InputError, match="found those of molpool-rt fit"):
        reproduce(ReproduceConfig(run=str(tmp_path)))


def test_an_interrupted_second_run_is_gone_on_with(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = tmp_path / "again"
    config = ReproduceConfig(run=str(run), save_dir=str(again))

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("molpool_pipelines.fitting._tabular_run.choose_models", stop)
        with pytest.raises(KeyboardInterrupt, match=f"reproduce {run} --save-dir {again}"):
            reproduce(config)
    assert (again / ENVIRONMENT).is_file()
    assert reproduce(config)
