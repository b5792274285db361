"""The study of task groups: its arithmetic, and that it runs."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pytest
from molpool_common import InputError
from molpool_pipelines.datasets import locate
from molpool_pipelines.fitting import TrainChempropConfig

STUDIES = Path(__file__).parents[1] / "studies"


@pytest.fixture
def docs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(STUDIES))


@pytest.fixture
def tables(docs: None) -> ModuleType:
    return importlib.import_module("grouping_tables")


def test_paired_difference_is_students_interval(tables: ModuleType) -> None:
    # Differences 1, 2, 3: mean 2, standard error 1/√3, t(0.975, 2) = 4.302653 (any t table).
    mean, half = tables.paired(np.array([2.0, 4.0, 6.0]), np.array([1.0, 2.0, 3.0]))
    assert mean == pytest.approx(2)
    assert half == pytest.approx(4.302653 / np.sqrt(3), rel=1e-6)


def test_tables_tell_errors_differences_and_ranks(tables: ModuleType) -> None:
    rows = [
        {"what": "train", "name": name, "seed": seed, "mae": {"A": mae}, "ma_rae": {"A": 2 * mae}}
        for name, seed, mae in [
            ("one model", 0, 1.0),
            ("one model", 1, 3.0),
            ("other", 0, 2.0),
            ("other", 1, 4.0),
        ]
    ]
    values = {"cosine": [1.0, 2.0, 3.0], "probe": [3.0, 2.0, 1.0]}
    rows += [
        {"what": "affinity", "name": name, "seed": 0, "values": found}
        for name, found in values.items()
    ]
    lines = tables.tables(rows).splitlines()
    assert lines[0] == "| setting | seeds | MA-RAE | minus one model | MAE A |"
    assert lines[2] == "| one model | 2 | 4.000 ± 2.828 | – | 2.000 |"
    assert lines[3] == "| other | 2 | 6.000 ± 2.828 | +2.000 ± 0.000 | 3.000 |"
    assert "| cosine, probe | -1.00 |" in lines


@pytest.mark.realdata
@pytest.mark.slow
def test_study_trains_groups_and_goes_on_where_it_stopped(
    docs: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        path = locate("expansionrx")
    except InputError as error:
        pytest.skip(str(error))
    study = importlib.import_module("grouping_study")
    # An eighth of the molecules, spread over the whole programme.
    pl.read_csv(path)[::8].write_csv(tmp_path / "eighth.csv")
    whole = study.configuration

    def eighth(*given: object, **sections: object) -> TrainChempropConfig:
        config = whole(*given, **sections)
        (source,) = config.data.sources
        cut = {"dataset": None, "path": str(tmp_path / "eighth.csv")}
        data = config.data.model_copy(update={"sources": [source.model_copy(update=cut)]})
        return config.model_copy(update={"data": data})

    monkeypatch.setattr(study, "configuration", eighth)
    monkeypatch.setitem(study.SAMPLING, "num_samples", 64)
    out = tmp_path / "results.jsonl"
    words = ["study", "train", str(out), "--epochs", "1", "--seeds", "0", "--only", "one model"]
    monkeypatch.setattr("sys.argv", words)
    assert study.main() == 0
    (row,) = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(row["mae"]) == 9
    assert all(np.isfinite(error) for error in row["ma_rae"].values())
    assert study.main() == 0
    assert len(out.read_text().splitlines()) == 1
