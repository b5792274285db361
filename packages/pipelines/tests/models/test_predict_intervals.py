"""Intervals of `predict_table`: strata, weights and levels, with a model that takes no training."""

import json

import numpy as np
import polars as pl
import pytest
from molpool_common import InputError
from molpool_pipelines.models import Calibration, PredictConfig, predict_table
from molpool_pipelines.models import _predict_table as module
from molpool_pipelines.models._protocol import Predicted
from molpool_pipelines.runs import CALIBRATION, PREDICTIONS

KINDS = ("regression",)


class Carbons:
    """Predicts the number of carbons."""

    kind = "chemprop"
    task_names = ("n",)
    task_types = KINDS
    n_members = 1
    chunk_rows = 1000

    def predict(self, smiles, batch_size):
        mean = np.array([[float(s.count("C"))] for s in smiles])
        return Predicted(mean, None, None, [None] * len(smiles))


def molecules(n):
    return ["C" * (1 + i % 25) + ("O" if i % 2 else "N") for i in range(n)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return what makes a run folder with a calibration whose errors are 1 in a and 10 in b."""
    monkeypatch.setattr(module, "load_model", lambda path: Carbons())

    def make(**configured):
        strata = ["a", "b"] * 60
        y = np.where(np.array(strata) == "a", 1.0, 10.0)[:, None]
        named = strata if "strata_column" in configured else None
        calibration = Calibration.fit(y, 0 * y, KINDS, strata=named, basis="validation")
        path = tmp_path / "run"
        path.mkdir()
        calibration.save(path / CALIBRATION)
        (path / "model.pt").write_bytes(b"")
        (path / "config.resolved.yaml").write_text(json.dumps(configured))
        frame = {"id": [str(i) for i in range(240)], "SMILES": molecules(240)}
        pl.DataFrame({**frame, "split": ["train", "val"] * 120}).write_parquet(path / PREDICTIONS)
        return path

    return make


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "new.csv"
    pl.DataFrame({"SMILES": molecules(60), "series": ["a", "b", None] * 20}).write_csv(path)
    return path


def predicted(folder, table, **more):
    output = table.with_name("out.parquet")
    config = PredictConfig(
        model_dir=str(folder), data_path=str(table), output=str(output), overwrite=True, **more
    )
    done = predict_table(config)
    return pl.read_parquet(output), done


def test_each_stratum_has_its_own_width_whatever_the_chunks(folder, table):
    path = folder(strata_column="series")
    found, _ = predicted(path, table, level=[0.9])
    half = ((found["n_upper"] - found["n_lower"]) / 2).to_list()
    assert half[:2] == [1, 10]
    assert half[2] == np.inf
    assert "series" not in found.columns or found["series"].to_list()[:2] == ["a", "b"]
    small, _ = predicted(path, table, level=[0.9], chunk_rows=7)
    assert small.equals(found)


def test_strata_are_asked_for_by_name_and_refused_where_there_are_none(folder, table):
    path = folder(strata_column="project")
    with pytest.raises(InputError, match="project"):
        predicted(path, table)
    found, _ = predicted(path, table, strata_column="series")
    assert np.isfinite(found["n_upper"][0])


def test_a_run_without_strata_takes_none(folder, table):
    path = folder()
    with pytest.raises(InputError, match="strata-column"):
        predicted(path, table, strata_column="series")


@pytest.mark.parametrize("kind", ["similarity", "structure"])
def test_weights_are_off_unless_asked_for_and_said(kind, folder, table):
    path = folder()
    plain, done = predicted(path, table)
    assert "weighted" not in (done.note or "")
    found, done = predicted(path, table, shift=kind)
    assert f"by {kind}: 120 calibration rows count as" in (done.note or "")
    small, _ = predicted(path, table, shift=kind, chunk_rows=7)
    assert small.equals(found)
    assert found["n"].equals(plain["n"])


def test_the_run_decides_where_nothing_is_said(folder, table):
    path = folder(shift="similarity")
    assert "weighted" in (predicted(path, table)[1].note or "")
    assert "weighted" not in (predicted(path, table, shift="none")[1].note or "")


def test_weights_need_the_molecules_that_calibrate(folder, table):
    path = folder()
    (path / PREDICTIONS).unlink()
    with pytest.raises(InputError, match="shift"):
        predicted(path, table, shift="similarity")
