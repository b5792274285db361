"""One model trained by several processes: that of one, whoever of them is killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from molpool_common import InputError, load_torch_file
from molpool_pipelines.fitting import TrainChempropCommand, launched, train_chemprop

pytestmark = pytest.mark.slow

WEIGHTS = 1e-6
"""Of the largest difference of weights, in double: sums over ranks round otherwise."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("ranks")
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("ranks.py")), str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ended: dict[str, Any] = json.loads((folder / "ended.json").read_text())
    for name, how in ended.items():
        if name != "killed":
            assert set(how["codes"]) == {0}, (name, how, done.stdout, done.stderr)
    ended["stderr"] = done.stderr
    return folder, ended


def weights(run: Path, name: str = "last.ckpt") -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = load_torch_file(run / "checkpoints" / name)["state_dict"]
    return state


def epochs(run: Path) -> list[dict[str, float]]:
    lines = map(json.loads, (run / "log.jsonl").read_text().splitlines())
    timeless = ("time", "event", "seconds")
    return [
        {key: value for key, value in line.items() if key not in timeless}
        for line in lines
        if line["event"] == "epoch"
    ]


def check_alike(run: Path, reference: Path) -> None:
    for name in ("last.ckpt", "best.ckpt"):
        ours, theirs = weights(run, name), weights(reference, name)
        assert ours.keys() == theirs.keys()
        for key, value in theirs.items():
            torch.testing.assert_close(ours[key], value, rtol=0, atol=WEIGHTS)
    for ours, theirs in zip(epochs(run), epochs(reference), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-9)


def test_ranks_train_chemprop_as_one_process_does(runs: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = runs
    check_alike(folder / "chemprop-2", folder / "chemprop-1")
    ours, theirs = (
        pl.read_parquet(folder / run / "sampling.parquet") for run in ("chemprop-2", "chemprop-1")
    )
    assert ours.equals(theirs)
    # The curriculum went on in step: each epoch has its own phase.
    assert ours["phase"].n_unique() == 3


def test_ranks_train_bags_as_one_process_does(runs: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = runs
    check_alike(folder / "mil-3", folder / "mil-1")
    assert (folder / "mil-3" / "sampling.parquet").is_file()  # by rare positives


def test_a_killed_rank_stops_the_others_and_any_number_goes_on(
    runs: tuple[Path, dict[str, Any]],
) -> None:
    folder, ended = runs
    assert ended["killed"]["codes"] == [1, -9]
    assert ended["killed"]["seconds"] < 30
    assert "ranks: rank 0 of 2 stops: another rank has ended" in ended["stderr"]
    run = folder / "chemprop-killed"
    log = [json.loads(line)["event"] for line in (run / "log.jsonl").read_text().splitlines()]
    assert "resumed" in log
    check_alike(run, folder / "chemprop-1")
    assert (run / "report.html").is_file()  # the first rank went on alone


def test_folds_are_of_one_process() -> None:
    config = TrainChempropCommand.model_validate({"trainer": {"devices": 2}, "cv": {"folds": 3}})
    with pytest.raises(InputError, match=r"cv\.folds: expected none with several processes"):
        launched(config, "molpool_train.script", [])


def test_from_python_processes_are_started_by_torchrun() -> None:
    config = TrainChempropCommand.model_validate({"trainer": {"devices": 2}})
    with pytest.raises(InputError, match=r"trainer\.devices: expected 1.*found 2.*torchrun"):
        train_chemprop(config)


def test_machines_have_to_know_where_they_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)
    config = TrainChempropCommand.model_validate({"trainer": {"num_nodes": 2}})
    with pytest.raises(InputError, match=r"num_nodes: expected MASTER_ADDR.*found no MASTER_ADDR"):
        launched(config, "molpool_train.script", [])


def test_the_ranks_of_a_launch_do_not_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": 2, "RANK": 1, "LOCAL_WORLD_SIZE": 2, "LOCAL_RANK": 1}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    config = TrainChempropCommand.model_validate({"trainer": {"devices": 2}})
    assert launched(config, "molpool_train.script", []) is None
    assert os.environ["RANK"] == "1"
