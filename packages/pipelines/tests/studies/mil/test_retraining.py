"""From a study of bags to models, their score on the outer test, and the optimism of the inner."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from mil_attn import MILModule, predict, read_bags, split_bags
from molpool_common import InputError
from molpool_pipelines.runs import read_run_predictions
from molpool_pipelines.studies import _baselines, _member, _retraining
from molpool_pipelines.studies._config import RetrainConfig
from molpool_pipelines.studies._outer_test import read_test_predictions
from molpool_pipelines.studies._retraining import retrain
from molpool_pipelines.studies._scoring import MacroScore
from molpool_pipelines.studies._show import show
from molpool_pipelines.studies._snapshot import read_study
from molpool_pipelines.studies._study import run_study
from molpool_pipelines.studies._trials import folds_of
from molpool_pipelines.studies.mil._config import HPOMILConfig
from molpool_pipelines.studies.mil._problem import final_values, mil_problem

RETRAIN = """
import sys
from molpool_common import guarded
from molpool_pipelines.studies import RetrainConfig, retrain
config = RetrainConfig(study_dir=sys.argv[1], trial=int(sys.argv[2]))
sys.exit(guarded("retrain", lambda: 0 if retrain(config) else 1))
"""
TASKS = ("easy", "rare")
MakeConfig = Callable[..., HPOMILConfig]


def retrained(study: Path, **settings: Any) -> str:
    """Retrain from a study; returns what is printed."""
    out = io.StringIO()
    with redirect_stdout(out):
        retrain(RetrainConfig(study_dir=str(study), **settings))
    return out.getvalue()


@pytest.fixture(scope="module")
def made(config: MakeConfig, table: Path) -> HPOMILConfig:
    return config(
        study={"n_folds": 2, "n_trials": 3, "default_space": False},
        space={"lr": {"low": 1e-3, "high": 3e-2, "log": True}},
        data={"predict_path": str(table)},
    )


@pytest.fixture(scope="module")
def study(made: HPOMILConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("studies") / "study"
    config = made.model_copy(update={"save_dir": str(folder)})
    assert run_study(config, mil_problem, name="study") == 0
    return folder


@pytest.fixture(scope="module")
def two(study: Path) -> dict[str, Any]:
    def here(command: list[str], _path: Path) -> None:
        # A process each is tried below; it takes seconds to start.
        assert _member.main(command[3:]) == 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_retraining, "_run_process", here)
        for name in (_baselines.LIGHTGBM, _baselines.FOREST):
            few = {**_baselines.DEFAULTS[name], "n_estimators": 20}
            patch.setattr(_baselines, "DEFAULTS", {**_baselines.DEFAULTS, name: few})
        assert "gain" in retrained(study, k=2, defaults=True, baselines=True)
    result: dict[str, Any] = json.loads((study / "retrained/best-2/metrics.json").read_text())
    return result


@pytest.mark.slow
class TestTwoBest:
    def test_trains_on_all_but_the_outer_test(
        self, study: Path, two: dict[str, Any], made: HPOMILConfig
    ) -> None:
        assert made.data_path is not None
        bags = read_bags(made.data_path, made.data, made)
        tested = {bags.ids[i] for i in split_bags(bags, made).test}
        for member in ("member-000", "member-001", "defaults"):
            run = study / "retrained/best-2" / member
            assert set(read_test_predictions(run, TASKS).frame["id"]) == tested
            assert len(read_run_predictions(run)) == 80
        assert two["outer_test_rows"] == len(tested)

    def test_epochs_and_thresholds_are_medians_of_the_inner_folds(
        self, study: Path, two: dict[str, Any]
    ) -> None:
        trial = read_study(study).best()[0]
        assert two["trials"][0] == trial.number
        numbers = [fold["numbers"] for fold in folds_of(trial)]
        log = (study / "retrained/best-2/member-000/log.jsonl").read_text().splitlines()
        epochs = [e for e in map(json.loads, log) if e["event"] == "epoch"]
        assert len(epochs) == round(np.median([n["best_epoch"] for n in numbers]))
        module = MILModule.load(study / "retrained/best-2/models/member-000.pt")
        expected = [np.median([n[f"threshold {t}"] for n in numbers]) for t in ("easy", "rare")]
        np.testing.assert_allclose(module.thresholds, expected)

    def test_scores_are_those_of_the_predictions(self, study: Path, two: dict[str, Any]) -> None:
        folder = study / "retrained/best-2"
        score = MacroScore(("average_precision",) * 2, 0.3)
        members = [
            read_test_predictions(folder / m, TASKS).frame
            for m in ("member-000", "member-001", "defaults")
        ]
        y = members[0].select("easy", "rare").to_numpy().astype(float)
        p = [m.select("easy predicted", "rare predicted").to_numpy() for m in members]
        mean = (p[0] + p[1]) / 2
        by_name = {m["name"]: m for m in two["models"]}
        best = two["models"][0]
        assert best["name"] == f"trial {two['trials'][0]}"
        assert best["outer"] == pytest.approx(score(y, p[0]))
        assert by_name["mean of the 2 best"]["outer"] == pytest.approx(score(y, mean))
        assert by_name["defaults"]["outer"] == pytest.approx(score(y, p[2]))
        stored = read_study(study)
        assert best["inner"] == pytest.approx(stored.best()[0].value)
        assert best["optimism"] == pytest.approx(best["inner"] - best["outer"])
        assert best["interval"][0] <= best["outer"] <= best["interval"][1]
        gain = by_name["defaults"]["gain"]
        assert gain == pytest.approx(best["outer"] - by_name["defaults"]["outer"])
        assert {"LightGBM", "random forest"} <= set(by_name)
        assert by_name["LightGBM"]["inner"] is not None
        both = read_run_predictions(folder)
        np.testing.assert_allclose(both["rare predicted"], mean[:, 1])
        np.testing.assert_allclose(
            both["rare_sd"], np.std([q[:, 1] for q in p[:2]], axis=0, ddof=1)
        )

    def test_leaderboard_predictions_are_means_of_the_models(
        self, study: Path, two: dict[str, Any], made: HPOMILConfig
    ) -> None:
        folder = study / "retrained/best-2"
        unseen = pl.read_csv(folder / "predictions_unseen.csv")
        assert made.data_path is not None
        bags = read_bags(made.data_path, made.data, made, labelled=False)
        each = [predict(MILModule.load(folder / f"models/member-00{i}.pt"), bags) for i in range(2)]
        assert unseen["id"].to_list() == list(bags.ids)
        np.testing.assert_allclose(unseen["easy"], np.mean(each, axis=0)[:, 0], rtol=1e-6)
        assert (folder / "member-000/attention_unseen.parquet").is_file()

    def test_page_and_terminal_show_it(
        self, study: Path, two: dict[str, Any], capsys: pytest.CaptureFixture[str]
    ) -> None:
        page = (study / "report.html").read_text()
        for text in ("Outer test: best-2", "Optimism is how much better", "random forest"):
            assert text in page
        show(read_study(study), folder=study)
        assert f"{two['models'][0]['outer']:.4f}" in capsys.readouterr().out

    def test_repeating_it_trains_nothing_again(self, study: Path, two: dict[str, Any]) -> None:
        model = study / "retrained/best-2/member-000/model.pt"
        before = model.stat().st_mtime_ns
        retrained(study, k=2)
        assert model.stat().st_mtime_ns == before

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"k": 9}, "expected at least 9 complete trials; found 3"),
            ({"trial": 9}, "--trial: expected a complete trial"),
            ({"k": 1, "name": "best-2"}, "retrained from trials"),
        ],
    )
    def test_refuses(
        self, study: Path, two: dict[str, Any], settings: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(InputError, match=message):
            retrained(study, **settings)


def test_final_configuration_by_hand() -> None:
    folds = [{"best_epoch": e, "threshold a": x} for e, x in ((3, 0.2), (9, 0.4), (4, 0.5))]
    values = {"split": {"fold": 1}, "training": {"epochs": 50, "patience": 5}, "thresholds": {}}
    final = final_values(values, folds)
    assert final["split"] == {"fold": 1, "val_ratio": 0}
    assert final["training"] == {"epochs": 4, "patience": None}
    assert final["thresholds"] == {"a": 0.4}
    assert final_values({**values, "thresholds": {"a": 0.9}}, folds)["thresholds"] == {"a": 0.9}
    assert final_values(values, [])["training"]["epochs"] == 50


@pytest.mark.slow
def test_interrupted_it_goes_on_and_counts_as_another_look(
    study: Path, two: dict[str, Any]
) -> None:
    second = two["trials"][1]
    process = subprocess.Popen(
        [sys.executable, "-c", RETRAIN, str(study), str(second)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    folder = study / "retrained" / f"trial-{second}"
    until = time.monotonic() + 300
    while not (folder / "member-000.yaml").is_file() and time.monotonic() < until:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "Repeat the command to go on." in err
    assert "--resume" not in err
    assert "Traceback" not in err
    retrained(study, trial=second)
    # The same trial, configuration and seed: the same model, up to the rounding of two processes
    # that may have different numbers of threads.
    models = [
        MILModule.load(path).state_dict()
        for path in (
            folder / "models/member-000.pt",
            study / "retrained/best-2/models/member-001.pt",
        )
    ]
    for name, weights in models[0].items():
        torch.testing.assert_close(weights, models[1][name], rtol=1e-3, atol=1e-4)
    result = json.loads((folder / "metrics.json").read_text())
    assert result["outer_test_scored_before"] == 1
    assert "has been scored for 2 choices" in (study / "report.html").read_text()
