"""The page of a study from its folder, as it is written now and as it was written earlier."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from molpool_common import InputError
from molpool_pipelines.reports._study_figures import MOST_AXES, MOST_SLICES
from molpool_pipelines.reports._study_page import study_page

STATES = ["complete", "complete", "pruned", "failed", "retried", "complete", "complete"]
EARLIER = {"retried": "tried again"}


def write_study(folder: Path, *, earlier: bool = False, **facts: Any) -> Path:
    """Write a study of seven trials with one parameter of each kind."""
    folder.mkdir()
    known: dict[str, Any] = {"name": "toy", "n_trials": 7, "direction": "minimize"}
    if not earlier:
        space = {
            "training.lr": {"low": 1e-6, "high": 1e-1, "log": True, "type": "float"},
            "size": {"choices": [8, 16]},
            "layers": {"choices": [[1], [2, 3]]},
        }
        known |= {"kind": "toy", "metric": "toy error", "n_folds": 2, "space": space}
        shares = {"training.lr": 0.9, "size": 0.1}
        (folder / "importances.json").write_text(json.dumps(shares))
    (folder / "study.json").write_text(json.dumps(known | facts))
    begun = datetime(2026, 1, 1)
    pl.DataFrame(
        {
            "number": range(7),
            "state": [EARLIER.get(s, s) if earlier else s for s in STATES],
            "value": [1.0, 0.6, None, None, None, 0.9, 0.75],
            "last_told" if earlier else "last_value": [1.0, 0.6, 1.5, None, None, 0.9, 0.75],
            "last_step": [3] * 7,
            "tries_again" if earlier else "retry_of": [None] * 5 + [4, None],
            "started": [begun + timedelta(seconds=i) for i in range(7)],
            "seconds": [1.0] * 7,
            "host": ["here"] * 7,
            "pid": [1, 2] * 3 + [1],
            "source": ["defaults", *["sampler"] * 6],
            "error": [None] * 3 + ["ValueError: <b>bad</b>", "its process was lost", None, None],
            "fold_0": [1.1, 0.5, 2.0, None, None, 0.9, 0.7],
            "fold_1": [0.9, 0.7, None, None, None, 0.9, 0.8],
            "param: training.lr": [1e-3, 5e-6, 1e-2, 1e-1, 2e-3, 2e-3, 3e-3],
            "param: size": [8, 16, 8, 8, 8, 8, 16],
            "param: layers": ["[1]", "[2, 3]", "[1]", "[1]", "[1]", "[1]", "[2, 3]"],
            "param: deep": [None, True, None, None, None, False, True],
            "param: same": [1] * 7,
        }
    ).write_parquet(folder / "trials.parquet")
    return folder


def text_of(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def sections(page: str) -> list[str]:
    return re.findall(r"<h2[^>]*>(.*?)</h2>", page)


def test_all_figures_of_a_study(tmp_path: Path) -> None:
    page = study_page(write_study(tmp_path / "study"), "toy")
    figures = [
        "History", "Importances", "Slices", "Parallel coordinates", "Timeline"
    ]  # fmt: skip
    assert sections(page) == ["Summary", *figures, "Trials", "Configuration"]
    assert page.count("<summary>Numbers</summary>") == len(figures)
    text = text_of(page)
    for said in ("Best toy error 0.6000", "toy error of the defaults 1.0000", "Trials retried 1"):
        assert said in text
    assert "By inner fold: 0.5000, 0.7000." in text
    assert "ValueError: <b>bad</b>" in unescape(page)
    # Another trial repeats it: how it ended is no news.
    assert "its process was lost" not in text
    alts = [unescape(a) for a in re.findall(r'aria-label="([^"]+)"', page)]
    assert any("2 processes: 4 complete, " in alt for alt in alts)
    # Drawn are parameters that differ between complete trials, the most important first; lines have
    # those that all of them have.
    assert any("of 4 complete trials over training.lr, size, layers." in alt for alt in alts)


def test_an_earlier_study_has_all_but_importances(tmp_path: Path) -> None:
    page = study_page(write_study(tmp_path / "study", earlier=True), "toy")
    figures = ["History", "Slices", "Parallel coordinates", "Timeline"]
    assert sections(page) == ["Summary", *figures, "Trials", "Configuration"]
    text = text_of(page)
    assert "Best inner score 0.6000" in text
    assert "Trials retried 1" in text
    assert "Crosses: what a pruned trial had" in text
    assert "its process was lost" not in text


def test_of_many_parameters_some_are_drawn_and_all_are_listed(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study")
    file = folder / "trials.parquet"
    more = [pl.col("value").fill_null(0).alias(f"param: p{i}") for i in range(20)]
    pl.read_parquet(file).with_columns(more).write_parquet(file)
    page = study_page(folder, "toy")
    assert f"The first {MOST_SLICES} of 24" in text_of(page)
    (lines,) = re.findall(r'aria-label="Parallel coordinates[^"]* over ([^"]*)\."', page)
    assert len(lines.split(", ")) == MOST_AXES
    assert page.count("p19") > 1


def test_no_trial_is_best_where_no_direction_is_known(tmp_path: Path) -> None:
    page = study_page(write_study(tmp_path / "study", direction=None), "toy")
    assert "no trial is called the best" in text_of(page)
    assert sections(page) == ["Summary", "Timeline", "Trials", "Configuration"]


@pytest.mark.parametrize("name", ["study.json", "trials.parquet", "importances.json"])
def test_a_damaged_file_is_named_or_shown_as_what_it_is(tmp_path: Path, name: str) -> None:
    folder = write_study(tmp_path / "study")
    (folder / name).write_text("[1")
    with pytest.raises(InputError, match=r"expected (JSON|files of a study)"):
        study_page(folder, "toy")
