"""Several processes on one study, in a journal and in PostgreSQL, some of them killed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import hpo_toy
import optuna
import pytest
import sqlalchemy
from hpo_toy import ToyConfig, run
from molpool_common import InputError
from molpool_pipelines.studies import _storage
from molpool_pipelines.studies._queue import Queue, Retry, origin
from molpool_pipelines.studies._snapshot import Counts, StudySnapshot, read_study
from molpool_pipelines.studies._storage import JournalFile
from molpool_pipelines.studies._study import run_study
from molpool_pipelines.studies._trials import Problem
from optuna.trial import TrialState
from sqlalchemy.exc import OperationalError


def settings(folder: Path, **changes: Any) -> ToyConfig:
    study = {"n_trials": 12, "pruner": "none", "study_name": "shared", **changes.pop("study", {})}
    own = {"save_dir": str(folder), "marks": str(folder.parent / "marks"), **changes}
    return ToyConfig.model_validate({"study": study, **own})


def check_each_once(stored: StudySnapshot, marks: Path, n: int, retried: int) -> None:
    """Each trial was trained once on each fold: seeds tell trials and folds apart."""
    counts = Counts.of(stored.trials)
    assert (counts.complete, counts.retried) == (n, retried)
    assert len({origin(t) for t in stored.trials}) == n
    seeds = Counter(line.split()[3] for line in marks.read_text().splitlines())
    assert len(seeds) == 3 * n
    assert set(seeds.values()) == {1}


@pytest.mark.slow
class TestProcesses:
    @pytest.fixture(autouse=True)
    def no_report(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            "molpool_pipelines.studies._study.write_page",
            lambda run, _study: run.write_text("report.html", "<p>"),
        )

    def test_two_on_a_journal_one_of_which_is_killed(self, tmp_path: Path) -> None:
        flag, marks = tmp_path / "killed", tmp_path / "marks"
        config = settings(
            tmp_path / "study", fails=f"killed:{flag}", seconds=0.2, study={"workers": 2}
        )
        assert run(config) == 0
        assert flag.exists()
        stored = read_study(tmp_path / "study")
        check_each_once(stored, marks, n=12, retried=1)
        assert len({t.user_attrs["owner"]["pid"] for t in stored.trials}) >= 2

    def test_two_commands_on_postgresql_one_of_which_is_killed(
        self, tmp_path: Path, postgres: str
    ) -> None:
        flag, marks = tmp_path / "killed", tmp_path / "marks"
        commands = []
        for name in ("one", "two"):
            config = settings(
                tmp_path / name,
                fails=f"killed:{flag}",
                seconds=0.2,
                study={"storage": postgres, "workers": 1},
            )
            text = config.model_dump_json()
            commands.append(subprocess.Popen([sys.executable, hpo_toy.__file__, text]))
        codes = sorted(command.wait(timeout=300) for command in commands)
        assert codes == [-9, 0]
        stored = read_study(tmp_path / "one", postgres)
        check_each_once(stored, marks, n=12, retried=1)
        for path in (*tmp_path.glob("*/*.json*"), *tmp_path.glob("*/*.yaml")):
            assert "sesame" not in path.read_text(), path

    def test_what_a_worker_cannot_do_ends_the_study(self, tmp_path: Path) -> None:
        def problem(config: ToyConfig) -> Problem:
            return replace(hpo_toy.toy_problem(config), build=hpo_toy.bad_build)

        config = settings(tmp_path / "study", study={"workers": 2})
        with pytest.raises(InputError, match="expected a good one; found a bad one"):
            run_study(config, problem, name="toy")


class TestQueue:
    def test_threads_take_no_trial_twice_and_no_more_than_asked_for(self, tmp_path: Path) -> None:
        path, n = tmp_path / "journal.log", 25
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        optuna.create_study(study_name="s", storage=storage(path))
        taken: list[int] = []
        start = threading.Barrier(4)

        def work() -> None:
            own = queue(path, n)
            start.wait()
            while (trial := own.take()) is not None:
                taken.append(trial.number)
                own.study.tell(trial.number, 0.0)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(taken) == len(set(taken)) == n
        trials = optuna.load_study(study_name="s", storage=storage(path)).trials
        done = [t.number for t in trials if t.state == TrialState.COMPLETE]
        assert sorted(taken) == done
        # What was added at the same moment by others waits, and is counted with more trials.
        assert {t.state for t in trials} <= {TrialState.COMPLETE, TrialState.WAITING}

    def test_lost_trial_keeps_its_parameters_and_comes_first(self, tmp_path: Path) -> None:
        path = tmp_path / "journal.log"
        optuna.create_study(study_name="s", storage=storage(path))
        own = queue(path, 3)
        first = own.take()
        assert first is not None
        x = optuna.trial.Trial(own.study, first._trial_id).suggest_float("x", 0, 1)
        own.attribute(first, "values", {"x": x})
        own.attribute(first, "owner", {**first_owner(own), "started": 1})
        other = queue(path, 3)
        assert other.requeue_lost() == 1
        again = other.take()
        assert again is not None
        assert origin(again) == first.number
        assert optuna.trial.Trial(other.study, again._trial_id).suggest_float("x", 0, 1) == x
        assert other.requeue_lost() == 0  # we live

    def test_process_elsewhere_is_lost_without_signs_of_life(self, tmp_path: Path) -> None:
        path = tmp_path / "journal.log"
        optuna.create_study(study_name="s", storage=storage(path))
        own = queue(path, 3)
        trial = own.take()
        assert trial is not None
        with own.heartbeats(trial):
            pass
        own.attribute(trial, "owner", {**first_owner(own), "machine": "elsewhere"})
        assert queue(path, 3).requeue_lost() == 0
        own.attribute(trial, "heartbeat", 0.0)
        assert queue(path, 3).requeue_lost() == 1


def first_owner(queue: Queue) -> dict[str, Any]:
    owner: dict[str, Any] = queue.study.trials[0].user_attrs["owner"]
    return owner


def storage(path: Path) -> optuna.storages.JournalStorage:
    return optuna.storages.JournalStorage(JournalFile(path))


def queue(path: Path, n: int) -> Queue:
    study = optuna.load_study(study_name="s", storage=storage(path))
    return Queue(study, n, max_retry=2, grace=100, heartbeat=50)


class TestJournal:
    def test_record_that_a_killed_process_left_half_written_is_dropped(
        self, tmp_path: Path
    ) -> None:
        path = tmp_path / "journal.log"
        study = optuna.create_study(study_name="s", storage=storage(path))
        study.enqueue_trial({"x": 1})
        with path.open("ab") as file:
            file.write(b'{"op_code":4,"worker')
        study = optuna.load_study(study_name="s", storage=storage(path))
        study.enqueue_trial({"x": 2})
        assert len(optuna.load_study(study_name="s", storage=storage(path)).trials) == 2
        assert len(study.trials) == 2

    def test_what_is_forced_to_the_disk(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A study made, its attributes and the end of a trial; not what a running one reports."""
        path, forced = tmp_path / "journal.log", []

        def of_journal(descriptor: int) -> None:
            # Beside it, its digest is forced too.
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                forced.append(descriptor)

        monkeypatch.setattr(os, "fsync", of_journal)
        study = optuna.create_study(study_name="s", storage=storage(path))
        assert len(forced) == 1
        study.set_user_attr("molpool", {})
        assert len(forced) == 2
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        trial.report(1.0, 0)
        trial.set_user_attr("folds", [])
        assert len(forced) == 2
        study.tell(trial, 1.0)
        assert len(forced) == 3

    def test_plain_optuna_reads_it(self, tmp_path: Path) -> None:
        path = tmp_path / "journal.log"
        optuna.create_study(study_name="s", storage=storage(path)).enqueue_trial({})
        backend = optuna.storages.journal.JournalFileBackend(str(path))
        theirs = optuna.storages.JournalStorage(backend)
        assert len(optuna.load_study(study_name="s", storage=theirs).trials) == 1


class TestStorage:
    @pytest.mark.parametrize(
        ("address", "text"),
        [
            ("postgresql://me:sesame@127.0.0.1:1/db", "a database that can be reached"),
            ("postgresq://me:sesame@127.0.0.1/db", "a database that can be reached"),
            ("/nowhere/journal.log", "a journal file in an existing folder"),
        ],
    )
    def test_unreachable(self, tmp_path: Path, address: str, text: str) -> None:
        with pytest.raises(InputError, match=text) as error:
            run(settings(tmp_path / "study", study={"storage": address}))
        assert "sesame" not in str(error.value)
        assert not (tmp_path / "study").exists()

    @pytest.mark.parametrize("times", [2, 99])
    def test_a_database_whose_connection_breaks_is_asked_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
    ) -> None:
        monkeypatch.setattr(_storage, "_PAUSES", (0.0, 0.0))
        monkeypatch.setattr("random.random", float)  # Optuna waits up to two seconds itself
        opened = _storage.open_storage(
            f"sqlite:///{tmp_path}/s.db", heartbeat_interval=60, grace_period=120, stale=Retry(0)
        )
        study = optuna.create_study(storage=opened)
        waiting = optuna.create_trial(state=TrialState.WAITING)
        left = iter(range(times))

        def drop(*_: Any) -> None:
            if next(left, None) is not None:
                raise OperationalError("", {}, Exception("it shuts down"))

        engine = opened._backend.engine  # pyrefly: ignore[missing-attribute]
        sqlalchemy.event.listen(engine, "before_cursor_execute", drop)
        if times > 2:
            with pytest.raises(InputError, match="goes on answering; found sqlite"):
                study.add_trial(waiting)
            assert list(left)  # it gave up, and goes on once the database is back
        study.add_trial(waiting)
        assert [trial.number for trial in study.trials] == [0]

    def test_file_that_is_no_journal(self, tmp_path: Path) -> None:
        file = tmp_path / "table.csv"
        file.write_text("SMILES,y\nC,1\nCC,2\n")
        with pytest.raises(InputError, match="a journal of Optuna"):
            run(settings(tmp_path / "study", study={"storage": str(file)}))
        assert file.read_text().startswith("SMILES")

    def test_study_of_another_program(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("molpool_pipelines.studies._snapshot._PATIENCE", 0.1)
        file = tmp_path / "theirs.log"
        optuna.create_study(study_name="shared", storage=storage(file)).enqueue_trial({"q": 1})
        with pytest.raises(InputError, match="made by something else"):
            run(settings(tmp_path / "study", study={"storage": str(file)}))
