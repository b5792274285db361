"""A study by one worker: scores by hand, order of trials, resume, what is refused."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import hpo_toy
import optuna
import polars as pl
import pytest
import yaml
from hpo_toy import ToyConfig, run, score
from molpool_common import InputError
from molpool_pipelines.runs import NullTracker, Tracker
from molpool_pipelines.studies._config import HPOError
from molpool_pipelines.studies._queue import Queue, WorkerProcess
from molpool_pipelines.studies._snapshot import Counts, StudySnapshot, read_study
from molpool_pipelines.studies._trials import folds_of, params_of
from optuna.trial import FrozenTrial, TrialState

Study = Callable[..., StudySnapshot]


@pytest.fixture(autouse=True)
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing the report takes longer than a study here; test_snapshot.py looks at it."""
    monkeypatch.setattr(
        "molpool_pipelines.studies._study.write_page",
        lambda run, _study: run.write_text("report.html", "<p>"),
    )


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Run a toy study of the given settings in one folder, and read it back."""

    def run_it(study: dict[str, Any] | None = None, **settings: Any) -> StudySnapshot:
        settings = {"save_dir": str(tmp_path / "study"), **settings}
        config = ToyConfig.model_validate({"study": {"n_trials": 8, **(study or {})}, **settings})
        assert run(config) == 0
        return read_study(settings["save_dir"])

    return run_it


def drawn(stored: StudySnapshot) -> list[dict[str, Any]]:
    return [params_of(t) for t in stored.trials]


def states(stored: StudySnapshot) -> list[str]:
    return [t.state.name for t in stored.trials]


class TestByHand:
    def test_value_is_the_mean_over_folds_and_steps_are_running_means(self, study: Study) -> None:
        stored = study({"n_trials": 3, "pruner": "none"})
        for trial in stored.trials:
            params = params_of(trial)
            final = [score(params, fold, 2) for fold in range(3)]
            assert trial.value == pytest.approx(sum(final) / 3, rel=1e-12)
            assert [f["value"] for f in folds_of(trial)] == pytest.approx(final, rel=1e-12)
            # Four steps a fold: three epochs, and the fold's own value, but after the last fold.
            expected = {}
            for fold in range(3):
                for epoch in range(3):
                    told = [*final[:fold], score(params, fold, epoch)]
                    expected[4 * fold + epoch] = sum(told) / len(told)
                if fold < 2:
                    expected[4 * fold + 3] = sum(final[: fold + 1]) / (fold + 1)
            assert trial.intermediate_values == pytest.approx(expected, rel=1e-12)

    def test_best_and_its_configuration(self, study: Study, tmp_path: Path) -> None:
        stored = study({"pruner": "none"})
        values = [t.value for t in stored.trials if t.value is not None]
        best = stored.best()[0]
        assert best.value == min(values)
        written = yaml.safe_load((tmp_path / "study" / "best.yaml").read_text())
        assert {k: written[k] for k in params_of(best)} == params_of(best)
        assert written["z"] == 0.0

    def test_first_trials_are_the_defaults_and_the_file(self, study: Study, tmp_path: Path) -> None:
        file = tmp_path / "first.yaml"
        file.write_text("- {x: 0.5, kind: b, y: 2e0}\n- {x: -1}\n")
        first, second, third = drawn(study({"n_trials": 3, "enqueue": str(file)}))
        # The default y is outside of the space and inactive with kind a.
        assert first == {"x": 1.0, "n": 2, "kind": "a"}
        assert (second["x"], second["kind"], second["y"]) == (0.5, "b", 2.0)
        assert third["x"] == -1

    def test_condition_holds_in_every_trial(self, study: Study) -> None:
        for params in drawn(study({"n_trials": 20})):
            assert ("y" in params) == (params["kind"] == "b")

    def test_space_fixed_narrowed_and_from_nothing(self, study: Study, tmp_path: Path) -> None:
        space = {"x": {"low": -0.1, "high": 0.1}, "kind": "b", "z": {"choices": [1, 2]}}
        for params in drawn(study(space=space)):
            assert abs(params["x"]) <= 0.1
            assert params["kind"] == "b"
            assert params["z"] in (1, 2)
            assert 0.1 <= params["y"] <= 10
        alone = study(
            {"default_space": False},
            space={"x": {"low": 0, "high": 1}},
            save_dir=str(tmp_path / "alone"),
            n=5,
        )
        # n is the configuration's own then, which the objective reads from the parameters.
        assert alone.identity["space"] == {"x": {"low": 0.0, "high": 1.0, "type": "float"}}


class TestSeeds:
    def test_same_seed_same_trials_other_seed_others(self, study: Study, tmp_path: Path) -> None:
        one, two, three = (
            study({"n_trials": 14}, save_dir=str(tmp_path / name), seed=seed)
            for name, seed in (("one", 0), ("two", 0), ("three", 1))
        )
        assert drawn(one) == drawn(two)
        assert states(one) == states(two)
        assert drawn(one)[1:] != drawn(three)[1:]

    @pytest.mark.parametrize("sampler", ["TPESampler", "RandomSampler", "QMCSampler"])
    def test_resumed_study_draws_what_an_uninterrupted_one_does(
        self, study: Study, tmp_path: Path, sampler: str
    ) -> None:
        settings = {"sampler": sampler, "pruner": "median"}
        space = {"kind": "a"}  # samplers of one sequence have no conditional parameters
        whole = study({**settings, "n_trials": 14}, save_dir=str(tmp_path / "whole"), space=space)
        for n in (1, 6, 14):
            parts = study({**settings, "n_trials": n}, space=space)
        assert drawn(parts) == drawn(whole)
        assert states(parts) == states(whole)

    def test_seed_of_a_fold_differs_by_trial_and_fold(self, study: Study) -> None:
        stored = study({"n_trials": 4, "pruner": "none"})
        seeds = [f["numbers"]["seed"] for t in stored.trials for f in folds_of(t)]
        assert len(set(seeds)) == len(seeds) == 12


class TestResume:
    def test_repeating_a_finished_study_runs_nothing(self, study: Study, tmp_path: Path) -> None:
        marks = tmp_path / "marks"
        study(marks=str(marks))
        before = marks.read_text()
        again = study(marks=str(marks))
        assert marks.read_text() == before
        assert len(again.trials) == 8

    def test_more_trials_are_added_and_fewer_change_nothing(self, study: Study) -> None:
        assert len(study({"n_trials": 4}).trials) == 4
        assert len(study({"n_trials": 6}).trials) == 6
        assert Counts.of(study({"n_trials": 2}).trials).done == 2
        assert len(study({"n_trials": 6}).trials) == 6

    def test_defaults_are_tried_once_in_a_study(self, study: Study) -> None:
        study({"n_trials": 2})
        again = study({"n_trials": 5})
        assert [t.user_attrs.get("source") for t in again.trials].count("defaults") == 1

    @pytest.mark.parametrize(
        ("changes", "text"),
        [
            ({"space": {"x": {"low": -3, "high": 2}}}, "space.x was {'low': -2.0, .*'low': -3.0"),
            ({"space": {"z": {"low": 0, "high": 1}}}, "space.z was not there, is now"),
            ({"study": {"n_folds": 4}}, "n_folds was 3, is now 4"),
            ({"z": 1.0}, r"data.z was 0.0, is now 1.0"),
            ({"seed": 5}, "seed was 0, is now 5"),
        ],
    )
    def test_another_study_under_the_name_is_refused(
        self, study: Study, tmp_path: Path, changes: dict[str, Any], text: str
    ) -> None:
        study({"n_trials": 1})
        with pytest.raises(InputError, match=text) as error:
            study(**changes)
        assert "study 'study' as it was started" in str(error.value)
        written = yaml.safe_load((tmp_path / "study" / "config.resolved.yaml").read_text())
        assert ToyConfig.model_validate(written).study.n_folds == 3
        assert written["space"] == {}

    def test_another_direction_is_refused(self, study: Study) -> None:
        stored = study({"n_trials": 1})
        stored.study.set_user_attr("molpool", {**stored.identity, "direction": "maximize"})
        with pytest.raises(InputError, match="direction was 'maximize', is now 'minimize'"):
            study({"n_trials": 2})

    def test_folder_of_another_run_is_refused(self, study: Study, tmp_path: Path) -> None:
        (tmp_path / "study").mkdir()
        (tmp_path / "study" / "environment.json").write_text("{}")
        with pytest.raises(InputError, match="which holds a run"):
            study()

    def test_overwrite_starts_anew(self, study: Study) -> None:
        study({"n_trials": 3})
        assert len(study({"n_trials": 1}, overwrite=True, seed=3).trials) == 1


def interrupted(trial: FrozenTrial) -> bool:
    return bool(trial.user_attrs.get("interrupted"))


class TestInterrupt:
    @pytest.mark.slow
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_trial_is_put_back_and_run_again(self, tmp_path: Path, number: signal.Signals) -> None:
        folder, marks = tmp_path / "study", tmp_path / "marks"
        config = ToyConfig.model_validate(
            {"save_dir": str(folder), "marks": str(marks), "study": {"n_trials": 3}}
        )
        text = config.model_copy(update={"seconds": 1.0}).model_dump_json()
        process = subprocess.Popen(
            [sys.executable, hpo_toy.__file__, text],
            stderr=subprocess.PIPE,
            text=True,
            # A shell that runs these tests in its background has Ctrl-C ignored, and hands that on.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        until = time.monotonic() + 60
        while not (marks.exists() and marks.read_text()) and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(0.2)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "repeat the command" in said
        assert "Traceback" not in said
        stored = read_study(folder)
        assert [t.state for t in stored.trials] == [TrialState.FAIL, TrialState.WAITING]
        assert run(config) == 0
        stored = read_study(folder)
        assert Counts.of(stored.trials).done == 3
        first, again = stored.trials[:2]
        assert interrupted(first)
        assert params_of(again) == params_of(first)
        # The second attempt is the same training: seeds go by the original's number.
        lines = [line.split()[1:] for line in marks.read_text().splitlines()]
        assert lines[0] == lines[1]

    def leave(self, stored: StudySnapshot) -> int:
        """Take a trial as a process does that is killed then."""
        taken = stored.study.ask()
        # Process 1 was not started when the machine was, one tick after.
        taken.set_user_attr("owner", {**WorkerProcess.here().as_dict(), "pid": 1, "started": 1})
        return taken._trial_id

    def test_trial_of_a_process_that_died_is_tried_again(self, study: Study) -> None:
        self.leave(study({"n_trials": 2}))
        stored = study({"n_trials": 3})
        assert Counts.of(stored.trials).done == 3
        assert Counts.of(stored.trials).retried == 1

    def test_trial_lost_while_it_drew_draws_the_same(self, study: Study) -> None:
        expected = drawn(study({"n_trials": 4}))[2:]
        stored = study({"n_trials": 2}, overwrite=True)
        trial = optuna.trial.Trial(stored.study, self.leave(stored))
        trial.suggest_float("x", -2, 2)  # the first of several
        assert drawn(study({"n_trials": 4}))[3:] == expected

    def test_study_whose_making_was_cut_is_made(
        self, study: Study, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def die(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(optuna.Study, "set_user_attr", die)
            with pytest.raises(KeyboardInterrupt):
                study({"n_trials": 2})
        monkeypatch.setattr("molpool_pipelines.studies._snapshot._PATIENCE", 0)
        assert [t.user_attrs.get("source") for t in study({"n_trials": 2}).trials] == [
            "defaults",
            None,
        ]

    def test_trial_that_kills_its_process_is_given_up(self, study: Study) -> None:
        stored = study({"n_trials": 2})
        for _ in range(3):
            # Optuna gives out waiting trials first.
            self.leave(stored)
            queue = Queue(stored.study, 3, max_retry=2, grace=9, heartbeat=9)
            assert queue.requeue_lost() == 1
        stored = study({"n_trials": 3})
        counts = Counts.of(stored.trials)
        assert (counts.done, counts.failed, counts.retried) == (3, 1, 2)


class TestFailures:
    def test_failure_is_recorded_and_not_fatal(self, study: Study, tmp_path: Path) -> None:
        file = tmp_path / "first.yaml"
        file.write_text("[{n: x}]")
        space = {"n": {"choices": [1, 2, "x"]}}
        stored = study({"n_trials": 4, "enqueue": str(file)}, space=space)
        failed = [t for t in stored.trials if t.state == TrialState.FAIL]
        assert failed
        assert all("TypeError" in t.user_attrs["error"] for t in failed)
        assert Counts.of(stored.trials).done == 4

    def test_all_failing_at_the_start_stops_with_the_message(
        self, study: Study, tmp_path: Path
    ) -> None:
        with pytest.raises(HPOError, match="first 3 failed, the last with: RuntimeError: cannot"):
            study(fails="always")
        frame = pl.read_parquet(tmp_path / "study" / "trials.parquet")
        assert frame["state"].to_list() == ["failed"] * 3
        assert (tmp_path / "study" / "report.html").is_file()

    def test_none_complete_is_said(self, study: Study) -> None:
        with pytest.raises(HPOError, match=r"found none. The last error: .*cannot train fold 1"):
            study({"n_trials": 2}, fails="later")

    def test_undefined_score_fails_the_trial(
        self, study: Study, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hpo_toy, "score", lambda *_: float("nan"))
        with pytest.raises(
            HPOError, match=r"fold 0 \(of 3\): expected a finite toy error; found nan"
        ):
            study({"n_trials": 2, "pruner": "none"})


class TestPruning:
    # A bad x is far worse at every step, so that each pruner has to see it.
    BAD = "".join(
        f"- {{x: {x}, n: 1, kind: a}}\n" for x in (0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 2.0)
    )

    @pytest.mark.parametrize(
        ("pruner", "options"),
        [
            ("median", {"n_startup_trials": 3}),
            ("percentile", {"n_startup_trials": 3, "percentile": 80}),
            ("hyperband", {"min_resource": 1, "max_resource": 2, "reduction_factor": 2}),
            ("none", {}),
        ],
    )
    def test_each_pruner(
        self, study: Study, tmp_path: Path, pruner: str, options: dict[str, Any]
    ) -> None:
        file = tmp_path / "bad.yaml"
        file.write_text(self.BAD)
        settings = {"enqueue": str(file), "try_defaults": False, "n_trials": 7}
        stored = study({**settings, "pruner": pruner, "pruner_options": options})
        bad = stored.trials[-1]
        assert params_of(bad)["x"] == 2.0
        if pruner == "none":
            assert set(states(stored)) == {"COMPLETE"}
        else:
            assert bad.state == TrialState.PRUNED
            assert len(folds_of(bad)) == 0  # within the first fold
        assert stored.best()[0].number == 0

    def test_between_folds(self, study: Study, tmp_path: Path) -> None:
        """With one epoch a fold and a warm-up of two steps, the first check is after a fold."""
        file = tmp_path / "bad.yaml"
        file.write_text(self.BAD)
        options = {"n_startup_trials": 3, "n_warmup_steps": 1}
        stored = study(
            {
                "enqueue": str(file),
                "try_defaults": False,
                "n_trials": 7,
                "pruner_options": options,
            },
            epochs=1,
        )
        assert stored.trials[-1].state == TrialState.PRUNED
        assert stored.trials[-1].last_step == 1
        assert len(folds_of(stored.trials[-1])) == 1


class TestOptions:
    @pytest.mark.parametrize(
        ("settings", "text"),
        [
            ({"sampler": "TPESampeler"}, "Did you mean 'TPESampler'"),
            ({"sampler_options": {"n_startup": 3}}, "Did you mean 'n_startup_trials'"),
            ({"sampler": "GridSampler"}, "space.x: expected choices, whole numbers or a step"),
            ({"pruner_options": {"percentil": 3}}, "an argument of MedianPruner"),
            ({"pruner": "percentile", "pruner_options": {"percentile": 300}}, "between 0 and 100"),
            ({"enqueue": "nowhere.yaml"}, "study.enqueue: expected an existing file"),
        ],
    )
    def test_refused(self, study: Study, settings: dict[str, Any], text: str) -> None:
        with pytest.raises(InputError, match=text):
            study(settings)

    SMALL: ClassVar[dict[str, Any]] = {
        "x": {"low": -1, "high": 1, "step": 1},
        "n": 2,
        "kind": {"choices": ["a", "b"]},
        "y": 1.0,
    }

    @pytest.mark.parametrize("sampler", ["NSGAIISampler", "BruteForceSampler", "GridSampler"])
    def test_other_samplers(self, study: Study, sampler: str) -> None:
        stored = study({"sampler": sampler, "n_trials": 5, "pruner": "none"}, space=self.SMALL)
        assert states(stored) == ["COMPLETE"] * 5

    @pytest.mark.parametrize("sampler", ["BruteForceSampler", "GridSampler"])
    def test_study_ends_where_the_space_does(self, study: Study, sampler: str) -> None:
        stored = study({"sampler": sampler, "n_trials": 30, "pruner": "none"}, space=self.SMALL)
        points = [(p["x"], p["kind"]) for p in drawn(stored)]
        assert sorted(points) == [(x, kind) for x in (-1, 0, 1) for kind in "ab"]

    def test_enqueued_values_outside_are_refused(self, study: Study, tmp_path: Path) -> None:
        file = tmp_path / "first.json"
        file.write_text('[{"x": 0}, {"x": 3}]')
        with pytest.raises(InputError, match=r"trial 2 of first.json: x: expected .* found 3"):
            study({"enqueue": str(file)})
        file.write_text('[{"x": 0}, {"x": 2}]')  # mended, the same command goes through
        assert len(study({"enqueue": str(file), "n_trials": 3}).trials) == 3

    def test_time_limit_starts_no_further_trial(self, study: Study) -> None:
        stored = study({"n_trials": 50, "timeout": 1.0, "pruner": "none"}, seconds=0.1)
        assert 1 <= Counts.of(stored.trials).done <= 4
        assert all(t.state.is_finished() for t in stored.trials)


class TestFolder:
    def test_files(self, study: Study, tmp_path: Path) -> None:
        stored = study({"n_trials": 6})
        folder = tmp_path / "study"
        frame = pl.read_parquet(folder / "trials.parquet")
        assert frame["number"].to_list() == list(range(6))
        assert frame["source"].to_list() == ["defaults"] + ["sampler"] * 5
        assert frame["param: x"].to_list() == [p["x"] for p in drawn(stored)]
        assert frame["param: y"].dtype == pl.Float64
        events = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        assert [e["event"] for e in events] == ["started", *["trial"] * 6, "ended"]
        config = ToyConfig.model_validate(
            yaml.safe_load((folder / "config.resolved.yaml").read_text())
        )
        assert config.study.n_trials == 6

    def test_study_name_names_the_folder(
        self, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        for _ in range(2):
            config = ToyConfig.model_validate({"study": {"n_trials": 2, "study_name": "mine"}})
            assert run(config) == 0
        assert len(read_study(tmp_path / "runs" / "mine").trials) == 2


class Recorder(NullTracker):
    """Remembers what is logged, by the run it is logged to."""

    def __init__(self, name: str = "study", runs: dict[str, Any] | None = None) -> None:
        self.name = name
        self.runs: dict[str, Any] = {} if runs is None else runs
        self.runs[name] = {}

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        self.runs[self.name] |= {(name, step): value for name, value in values.items()}

    @contextmanager
    def nested(
        self, name: str, parameters: Mapping[str, Any], *, failed: bool = False
    ) -> Iterator[Tracker]:
        yield Recorder(f"{self.name}/{name}", self.runs)


def test_each_trial_is_tracked_below_the_study(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()

    @contextmanager
    def tracked(*_: Any) -> Iterator[Tracker]:
        yield recorder

    monkeypatch.setattr("molpool_pipelines.studies._study.tracking", tracked)
    study({"n_trials": 1})
    stored = study({"n_trials": 3, "pruner": "none"})
    best = stored.best()[0].value
    assert recorder.runs.pop("study") == {("toy error", None): best}
    # The first trial was tracked when it ran.
    assert list(recorder.runs) == [f"study/trial-{n:04d}" for n in range(3)]
    for trial, logged in zip(stored.trials, recorder.runs.values(), strict=True):
        assert logged["toy error", None] == trial.value
        assert [logged["fold_value", k] for k in range(3)] == [f["value"] for f in folds_of(trial)]
        told = {step: v for (name, step), v in logged.items() if name == "running_mean"}
        assert told == trial.intermediate_values
