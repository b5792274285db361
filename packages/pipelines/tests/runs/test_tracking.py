from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from molpool_pipelines.runs import RunConfig, _tracking, open_folder
from molpool_pipelines.runs._tracking import (
    MlflowNames,
    NullTracker,
    Tracker,
    TrackingConfig,
    mlflow_name,
    silence_of,
    tracking,
)

# MLflow warns of deprecations among its own dependencies.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

ON = TrackingConfig(enabled=True, experiment="ours")
AWKWARD = [
    *("row", "split", "[/red]", "$x$", r"$\frac{$", "a/b", "../../x", "a//b", "/", ".", "x" * 300),
    *("Log\u200bD", "\u041bogD", " ", "%s", "{0}"),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs: making the tables of a new store takes seconds, so the tests share one."""
    return tmp_path_factory.mktemp("runs")


def read(store: Path, name: str) -> tuple[Any, Any]:
    """Return client and run as another program finds them."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{store / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("ours")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    (run,) = (r for r in runs if r.info.run_name == name)
    return client, run


class TestOff:
    def test_writes_nothing(self, tmp_path: Path) -> None:
        with tracking(TrackingConfig(), tmp_path / "run", {"a": 1}) as tracker:
            assert isinstance(tracker, NullTracker)
            tracker.metrics({"loss": 1.0}, step=3)
            tracker.file(tmp_path / "nowhere")
            with tracker.nested("below", {"b": 2}) as below:
                below.metrics({"loss": 1.0})
        assert os.listdir(tmp_path) == []


@pytest.mark.slow
class TestOn:
    def test_what_is_logged_is_read_back(self, store: Path, tmp_path: Path) -> None:
        attached = tmp_path / "report.html"
        attached.write_text("<p>x")
        parameters = {"seed": 1, "data": {"columns": ["a", "b"], "split": {}}, "none": None}
        with tracking(ON, store / "first", parameters) as tracker:
            for step, loss in enumerate([0.5, 0.25]):
                tracker.metrics({"loss": loss}, step=step)
            tracker.metrics({"test/R²": 0.75})
            tracker.file(attached)
        client, run = read(store, "first")
        assert run.info.status == "FINISHED"
        assert run.data.params == {
            "seed": "1", "data.columns": "['a', 'b']", "data.split": "{}", "none": "None",
        }  # fmt: skip
        history = client.get_metric_history(run.info.run_id, "loss")
        assert [(m.step, m.value) for m in history] == [(0, 0.5), (1, 0.25)]
        assert run.data.metrics[mlflow_name("test/R²")] == 0.75
        assert [f.path for f in client.list_artifacts(run.info.run_id)] == ["report.html"]

    def test_files_lie_beside_the_runs(self, store: Path, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("x")
        with tracking(ON, store / "with file", {}) as tracker:
            tracker.file(tmp_path / "a.txt")
        assert list((store / "mlartifacts").rglob("a.txt"))

    @pytest.mark.parametrize(
        ("error", "status"), [(KeyboardInterrupt, "KILLED"), (RuntimeError, "FAILED")]
    )
    def test_how_a_run_ended(self, store: Path, error: type[BaseException], status: str) -> None:
        with pytest.raises(error), tracking(ON, store / status, {}):
            raise error
        assert read(store, status)[1].info.status == status

    def test_nested_runs_lie_below_theirs(self, store: Path) -> None:
        with tracking(ON, store / "study", {}) as tracker:
            for name, failed in (("trial-0", False), ("trial-1", True)):
                with tracker.nested(name, {"x": 1, "deep": {"y": 2}}, failed=failed) as trial:
                    trial.metrics({"loss": 0.5}, step=4)
        above = read(store, "study")[1].info.run_id
        client, good = read(store, "trial-0")
        _, bad = read(store, "trial-1")
        assert {r.data.tags["mlflow.parentRunId"] for r in (good, bad)} == {above}
        assert good.data.params == {"x": "1", "deep.y": "2"}
        assert (good.info.status, bad.info.status) == ("FINISHED", "FAILED")
        (point,) = client.get_metric_history(good.info.run_id, "loss")
        assert (point.step, point.value) == (4, 0.5)

    def test_other_address(self, store: Path, tmp_path: Path) -> None:
        address = f"sqlite:///{store / 'mlflow.db'}"
        config = TrackingConfig(enabled=True, uri=address, experiment="ours")
        with tracking(config, tmp_path / "elsewhere", {}):
            pass
        assert read(store, "elsewhere")[1].info.status == "FINISHED"
        assert os.listdir(tmp_path) == []


def test_missing_mlflow_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with (
        pytest.raises(ImportError, match=r"molpool-common\[tracking\]"),
        tracking(ON, tmp_path / "run", {}),
    ):
        pass


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("test/mae", "test/mae"),
        ("labels: Log D (pH 7.4)", "labels: Log D _pH 7.4_"),
        ("a%b+c", "a_b_c"),
        ("../../x", "_/_/x"),
        ("a//b/", "a/_/b/_"),
    ],
)
def test_names_mlflow_accepts(name: str, allowed: str) -> None:
    assert mlflow_name(name) == allowed


@pytest.fixture
def closed() -> str:
    """The address of a port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{one.getsockname()[1]}"


@pytest.fixture
def mute() -> Iterator[str]:
    """The address of a server that takes connections and never answers."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        yield f"http://127.0.0.1:{one.getsockname()[1]}"


@pytest.mark.slow
class TestNobodyAnswers:
    @pytest.mark.parametrize("which", ["closed", "mute"])
    def test_the_local_store_takes_over_within_ten_seconds(
        self,
        which: str,
        store: Path,
        request: pytest.FixtureRequest,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        # It is asked twice. Here it may take less.
        assert 2 * _tracking.ANSWER_SECONDS <= 10
        monkeypatch.setattr(_tracking, "ANSWER_SECONDS", 1.0)
        address = request.getfixturevalue(which)
        config = TrackingConfig(enabled=True, uri=address, experiment="ours")
        before = dict(os.environ)
        start = time.monotonic()
        assert silence_of(address) is not None
        assert time.monotonic() - start < 10
        with (
            pytest.warns(UserWarning, match=f"MLflow at {address}: .*Logged to sqlite") as said,
            tracking(config, store / f"to {which}", {"a": 1}) as tracker,
        ):
            tracker.metrics({"loss": 1.0})
        assert len(said) == 1
        assert read(store, f"to {which}")[1].data.metrics == {"loss": 1.0}
        assert dict(os.environ) == before

    def test_a_server_of_another_kind(self, store: Path) -> None:
        class Other(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_error(404)

            def do_POST(self) -> None:
                self.send_error(404)

            def log_message(self, format: str, *args: Any) -> None:
                """Print nothing."""

        with HTTPServer(("127.0.0.1", 0), Other) as server:
            Thread(target=server.serve_forever, daemon=True).start()
            config = TrackingConfig(enabled=True, uri=f"http://127.0.0.1:{server.server_port}")
            with (
                pytest.warns(UserWarning, match="Logged to sqlite"),
                tracking(config, store / "other server", {}),
            ):
                pass
            server.shutdown()

    def test_a_store_that_fails_during_the_run(
        self, store: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from mlflow import MlflowClient

        def broken(*_: object, **__: object) -> None:
            raise OSError("no space left on device")

        def log_two_metrics(tracker: Tracker) -> None:
            monkeypatch.setattr(MlflowClient, "log_batch", broken)
            monkeypatch.setattr(MlflowClient, "create_run", broken)
            tracker.metrics({"loss": 1.0}, 1)
            with tracker.nested("trial", {}) as below:
                below.metrics({"loss": 2.0})

        with (
            pytest.warns(UserWarning, match="no space left on device") as said,
            tracking(ON, store / "full disk", {}) as tracker,
        ):
            log_two_metrics(tracker)
        assert len(said) == 1
        assert read(store, "full disk")[1].info.status == "FINISHED"


@pytest.mark.slow
def test_awkward_names_are_all_logged(store: Path) -> None:
    names = [*AWKWARD, *(f"sampling/labels: {name}" for name in AWKWARD), "a+b", "a%b", "a_b"]
    with tracking(ON, store / "names", dict.fromkeys(AWKWARD, "value")) as tracker:
        tracker.metrics({name: float(i) for i, name in enumerate(names)})
    run = read(store, "names")[1]
    assert sorted(run.data.metrics.values()) == [float(i) for i in range(len(names))]
    assert len(run.data.params) == len(AWKWARD)


@given(st.lists(st.text(max_size=400), unique=True, max_size=8))
def test_names_are_legal_and_stay_different(given_names: list[str]) -> None:
    from mlflow.utils.validation import _validate_metric_name

    names = MlflowNames()
    legal = [names[name] for name in given_names]
    assert len(set(legal)) == len(legal)
    for name in legal:
        _validate_metric_name(name)
    assert [names[name] for name in given_names] == legal


def test_no_file_of_a_run_holds_a_password(tmp_path: Path) -> None:
    address = "https://me:hunter2@mlflow.example/x?token=hunter2"
    config = RunConfig(tracking=TrackingConfig(enabled=True, uri=address))
    run = open_folder(config, tmp_path / "run", ["--tracking.uri", address])
    run.log("said", where=address, all=[{"uri": address}])
    files = [file for file in run.path.rglob("*") if file.is_file()]
    texts = {file.name: file.read_text() for file in files}
    named = {"config.resolved.yaml", "environment.json", "log.jsonl"}
    assert named <= texts.keys()
    for name, text in texts.items():
        assert "hunter2" not in text, name
        assert name not in named or "mlflow.example/x" in text, name
