"""One schema of metrics.json: what is written is read, and earlier layouts too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from molpool_common import InputError, Interval, task_metrics
from molpool_pipelines.runs import (
    MACRO,
    SCHEMA_VERSION,
    Metrics,
    SplitMetrics,
    member_metrics,
    read_metrics,
    reported_split,
)

Y = [[1.0, 0.0], [2.0, 1.0], [4.0, 1.0], [3.0, 0.0]]
P = [[1.5, 0.2], [2.0, 0.9], [3.0, 0.4], [3.0, 0.5]]
TABLE = task_metrics(Y, P, ["a", "b"], ["regression", "classification"])


def written(folder: Path, data: object) -> Path:
    file = folder / "metrics.json"
    file.write_text(json.dumps(data))
    return file


@pytest.mark.core
def test_what_is_written_is_read(tmp_path: Path) -> None:
    interval = Interval(0.1, 0.7, 0.95, 10, 0)
    of = member_metrics(TABLE, {("a", "mae"): interval, (MACRO, "r2"): interval})
    found = Metrics(
        kind="chemprop",
        name="it",
        reported="test",
        splits={"test": SplitMetrics(**dict(of), n=4, members=[of]), "val": SplitMetrics()},
    )
    assert read_metrics(written(tmp_path, found.to_dict())) == found
    assert read_metrics(tmp_path) == found
    assert found.to_dict()["schema_version"] == SCHEMA_VERSION
    mae = found.of_reported.tasks["a"].metrics["mae"]
    assert (mae.value, mae.low, mae.high) == (pytest.approx(0.375), 0.1, 0.7)
    assert found.of_reported.macro["r2"].low == 0.1


@pytest.mark.core
def test_undefined_metrics_say_why() -> None:
    of = member_metrics(task_metrics([[1.0], [1.0]], [[0.4], [0.5]], ["c"], ["classification"]))
    auc = of.tasks["c"].metrics["roc_auc"]
    assert auc.value is None
    assert auc.note
    assert (of.macro["roc_auc"].n, of.macro["roc_auc"].n_left_out) == (0, 1)


def test_earlier_training_is_read(tmp_path: Path) -> None:
    test = {
        **TABLE.to_dict(),
        "intervals": {"a": {"mae": [0.1, 0.7]}},
        "members": [TABLE.to_dict()],
    }
    found = read_metrics(written(tmp_path, {"val": TABLE.to_dict(), "test": test}))
    ends = {("a", "mae"): Interval(0.1, 0.7, 0.95, 0, 0)}
    assert (found.kind, found.reported) == ("chemprop", "test")
    assert found.of_reported == SplitMetrics(
        **dict(member_metrics(TABLE, ends)), members=[member_metrics(TABLE)]
    )
    assert found.splits["val"] == SplitMetrics(**dict(member_metrics(TABLE)))


def test_earlier_mil_score_and_retraining_are_read(tmp_path: Path) -> None:
    mil = {"test": {**TABLE.to_dict(), "fold_score": None, "decisions": {"b": {"threshold": 0.5}}}}
    found = read_metrics(written(tmp_path, mil))
    assert (found.kind, found.of_reported.decisions) == ("mil", mil["test"]["decisions"])
    entry = {"mae": {"value": 0.5, "n": 4, "low": 0.1, "high": 0.7}}
    mean = {MACRO: {"r2": {"value": None, "n": 0, "note": "undefined for every task"}}}
    score = {
        "name": "it",
        "side": "val",
        "n": 6,
        "level": 0.9,
        "metrics": {"a": entry} | mean,
        "uncertainty": {"a": {"n": 4}},
        "classes": {},
        "notes": ["one"],
        "strata": [{"of": "quality", "name": "low", "n": 2, "metrics": {"a": entry}}],
    }
    found = read_metrics(written(tmp_path, score))
    of = found.of_reported
    assert (found.kind, found.reported, found.level, of.n) == ("score", "val", 0.9, 6)
    assert of.tasks["a"].n == 4
    assert of.tasks["a"].metrics["mae"].high == 0.7
    assert of.macro["r2"].note == "undefined for every task"
    assert of.strata[0].tasks == of.tasks
    assert of.strata[0].of == "quality"
    again = {"study": "s", "metric": "macro MAE", "models": [{"outer": 1.0}]}
    found = read_metrics(written(tmp_path, again))
    assert (found.kind, found.retraining) == ("retraining", again)


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}', '{"schema_version": 2}'])
def test_other_files_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(InputError, match=r"metrics\.json"):
        read_metrics(tmp_path)


def test_reported_split_is_test_where_there_is_one() -> None:
    assert reported_split({"train": 1, "val": 1, "test": 1}) == "test"
    assert reported_split({"train": 1, "val": 1}) == "val"
    assert reported_split({"all": 1}) == "all"
