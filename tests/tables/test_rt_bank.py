"""The bank of retention times, by every command: the same rows or the same refusal, none lost."""

from __future__ import annotations

import json

import polars as pl
import pytest
from molpool_common import InputError, TableError
from molpool_pipelines.retention import (
    EvaluateConfig,
    FitConfig,
    PredictConfig,
    PrepareConfig,
    evaluate,
    fit,
    predict,
    prepare,
)
from rt_ridge import RTRidgeError

FIT = {"model": "ridge", "calibrate": {"enabled": False}, "flag_threshold": None}
"""Quick: what is held here is what becomes of rows."""


def prepared(rt_case, tmp_path):
    config = PrepareConfig(data=[rt_case.make(tmp_path)], **rt_case.prepare)
    return config, prepare(config)


def test_there_are_many_cases(rt_bank):
    assert len(rt_bank.CASES) >= 50
    assert len({case.name for case in rt_bank.CASES}) == len(rt_bank.CASES)


def test_preparing(rt_case, rt_bank, tmp_path):
    if rt_case.says:
        with pytest.raises((InputError, RTRidgeError, TableError)) as refused:
            prepared(rt_case, tmp_path)
        for words in rt_case.says:
            assert words in str(refused.value)
        return
    config, found = prepared(rt_case, tmp_path)
    counts = found.counts
    assert counts["kept"] == found.rows.height == rt_case.kept
    assert found.rejected.height == rt_case.rejected
    assert counts.get("anchors", 0) == rt_case.anchors
    empty = counts.get("empty_cells", 0)
    assert counts["read"] == rt_case.kept + rt_case.rejected + rt_case.anchors + empty
    assert len(found.record["covariates"]) + _indicators(found) == rt_case.covariates
    for words in rt_case.notes:
        assert any(words in note for note in found.notes), found.notes
    if rt_case.kept == rt_bank.N:
        expected = [rt_case.cells.get(i, row["rt"]) for i, row in enumerate(rt_bank.base())]
        assert sorted(found.rows[config.target_col].to_list()) == sorted(expected)


def _indicators(found):
    return 0 if found.imputer is None else len(found.imputer.indicated)


def test_all_commands_after_it(rt_used_case, tmp_path):
    kept = rt_used_case.kept
    config, found = prepared(rt_used_case, tmp_path)
    found.write(config.open_folder(tmp_path / "p"))
    rows = [str(tmp_path / "p" / "rows.parquet")]
    config = FitConfig(data=rows, **FIT)
    fitted = fit(config)
    fitted.write(config.open_folder(tmp_path / "f"))
    counts = json.loads((tmp_path / "f" / "metrics.json").read_text())
    assert counts["rows_read"] == counts["rows"] + counts["rows_not_drawn"] == kept
    output = tmp_path / "o.parquet"
    said = predict(PredictConfig(artefact=str(tmp_path / "f"), data=rows, output=str(output)))
    assert sum(said.levels.values()) == pl.read_parquet(output).height == kept
    scores = EvaluateConfig(artefacts=[str(tmp_path / "f")], data=rows)
    assert evaluate(scores).rows == {"read": kept, "used": kept, "rejected": 0}
    again = EvaluateConfig(artefacts=[str(tmp_path / "f")], split_type="compound", cv={"folds": 2})
    rows_of = evaluate(again).rows
    assert rows_of["read"] == rows_of["used"] + rows_of["rejected"] == kept
