"""A model behind an address: what it answers, to whom, and when it refuses."""

from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from molpool_common import InputError
from molpool_pipelines.estimators import AutoRegressor
from molpool_pipelines.serving import (
    PredictionService,
    ServeConfig,
    TooBusyError,
    build_app,
    serve,
)
from starlette.testclient import TestClient

SMILES = ["CCO", "c1ccccc1O", "no molecule", None]


@pytest.fixture(scope="module")
def run(demo_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    table = pl.read_csv(demo_csv)
    model = AutoRegressor(
        model=["neighbours", "lightgbm"],
        features="maccs",
        options={"folds": 2, "baselines": "none"},
        save_dir=tmp_path_factory.mktemp("serve") / "<i>run",
    )
    return model.fit(table[["SMILES"]], table["LogP"]).run_


@pytest.fixture(scope="module")
def service(run: Path) -> PredictionService:
    return PredictionService(run, max_molecules=300)


@pytest.fixture(scope="module")
def client(service: PredictionService) -> TestClient:
    app = build_app(service, hosts=("127.0.0.1", "localhost"), max_bytes=1 << 20)
    return TestClient(app, base_url="http://localhost:8000")


class TestPredictions:
    def test_a_row_per_molecule_with_its_interval(self, client: TestClient) -> None:
        found = client.post("/predict", json={"smiles": SMILES, "level": 0.8}).json()
        columns = found["tasks"]["LogP"]["columns"]
        assert [row["SMILES"] for row in found["rows"]] == SMILES
        first = found["rows"][0]
        assert first[columns["lower"]] < first[columns["predicted"]] < first[columns["upper"]]
        assert [row["error"] is None for row in found["rows"]] == [True, True, False, False]

    def test_a_single_molecule_that_does_not_parse(self, client: TestClient) -> None:
        answer = client.post("/predict", json={"smiles": ["no molecule"]})
        assert answer.status_code == 200
        (row,) = answer.json()["rows"]
        assert row["LogP"] is None
        assert row["error"]

    @pytest.mark.parametrize(
        ("asked", "said"),
        [
            ({"smiles": "CCO"}, "smiles: Input should be a valid list; found 'CCO'"),
            ({"smiles": ["C"], "level": 90}, "level: Input should be less than 1; found 90"),
            ({"smiles": ["C"], "levl": 0.5}, "levl: Extra inputs are not permitted; found 0.5"),
            ({"smils": ["C"]}, "smiles: Field required; found {'smils': ['C']}"),
        ],
    )
    def test_what_is_not_understood_is_a_sentence(
        self, client: TestClient, asked: dict[str, Any], said: str
    ) -> None:
        answer = client.post("/predict", json=asked)
        assert (answer.status_code, answer.json()["detail"]) == (422, said)

    def test_a_fault_of_ours_is_told_as_one(
        self, service: PredictionService, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object, **__: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(service, "predict", fail)
        # The page takes what is no JSON for a server that was stopped.
        asking = TestClient(build_app(service), raise_server_exceptions=False)
        answer = asking.post("/predict", json={"smiles": ["C"]})
        assert answer.status_code == 500
        assert "a fault of ours, ZeroDivisionError" in answer.json()["detail"]

    def test_intervals_widen_with_the_level(self, client: TestClient) -> None:
        def width(level: float) -> float:
            asked = {"smiles": ["CCO"], "level": level}
            (row,) = client.post("/predict", json=asked).json()["rows"]
            return float(row["LogP_upper"] - row["LogP_lower"])

        assert width(0.5) < width(0.9)

    def test_structures_are_drawn_when_asked_for(self, client: TestClient) -> None:
        asked = {"smiles": SMILES, "structures": True}
        rows = client.post("/predict", json=asked).json()["rows"]
        assert [str(row["structure"])[:4] for row in rows] == ["<svg", "<svg", "None", "None"]

    def test_nothing_is_asked_and_nothing_answered(self, client: TestClient) -> None:
        assert client.post("/predict", json={"smiles": []}).json()["rows"] == []

    def test_a_table_comes_back_with_more_columns(self, client: TestClient) -> None:
        body = "name,SMILES,LogP\nx,CCO,1.5\ny,CCN,\n"
        answer = client.post("/table?name=some.csv", content=body)
        assert answer.status_code == 200, answer.text
        found = pl.read_csv(io.StringIO(answer.text))
        assert found["name"].to_list() == ["x", "y"]
        assert found["LogP"].to_list() == [1.5, None]
        # What was there keeps its name.
        assert found["LogP predicted"].null_count() == 0

    def test_fifty_at_once(self, client: TestClient) -> None:
        with ThreadPoolExecutor(50) as pool:
            answers = list(
                pool.map(
                    lambda i: client.post("/predict", json={"smiles": ["C" * (i % 7 + 1)]}),
                    range(50),
                )
            )
        assert {answer.status_code for answer in answers} == {200}
        for i, answer in enumerate(answers):
            assert answer.json()["rows"][0]["SMILES"] == "C" * (i % 7 + 1)


class TestRefusals:
    @pytest.mark.parametrize(
        ("asked", "status", "said"),
        [
            ({"smiles": ["C"] * 301}, 422, "at most 300"),
            ({"smiles": ["C"], "level": 2}, 422, "less than 1"),
            ({"smiles": "C"}, 422, "valid list"),
            ({}, 422, "required"),
        ],
    )
    def test_questions(
        self, asked: dict[str, object], status: int, said: str, client: TestClient
    ) -> None:
        answer = client.post("/predict", json=asked)
        assert answer.status_code == status
        assert said in answer.text

    @pytest.mark.parametrize(
        ("body", "name", "said"),
        [
            (b"a,b\nx,y\n", "t.csv", "one column of smiles"),
            (b"PK\x03\x04 cut", "t.xlsx", "xlsx"),
            (b"", "t.csv", "empty"),
        ],
    )
    def test_tables(self, body: bytes, name: str, said: str, client: TestClient) -> None:
        answer = client.post("/table", params={"name": name}, content=body)
        assert answer.status_code == 422
        assert said in answer.text.casefold()

    def test_a_name_is_no_path(self, client: TestClient) -> None:
        params = {"name": "../../../../etc/passwd.csv"}
        assert "CCO" in client.post("/table", params=params, content=b"SMILES\nCCO\n").text

    def test_too_large_to_be_read(self, client: TestClient) -> None:
        assert client.post("/table", content=b"x" * ((1 << 20) + 1)).status_code == 413

    def test_of_another_host(self, client: TestClient) -> None:
        assert client.get("/health", headers={"Host": "evil.example"}).status_code == 400

    def test_without_the_token(self, service: PredictionService) -> None:
        locked = TestClient(build_app(service, token="word"))
        asked = {"smiles": ["CCO"]}
        assert locked.post("/predict", json=asked).status_code == 401
        wrong: Any = {"Authorization": "Bearer wörd".encode()}
        assert locked.post("/predict", json=asked, headers=wrong).status_code == 401
        known = {"Authorization": "Bearer word"}
        assert locked.post("/predict", json=asked, headers=known).status_code == 200

    def test_when_others_wait_already(self, run: Path) -> None:
        service = PredictionService(run, waiting=0, timeout=5)
        busy, done = threading.Event(), threading.Event()
        answer = service.model.described

        def slow(*given: object) -> object:
            busy.set()
            done.wait(10)
            return answer(*given)  # type: ignore[arg-type]

        service.model.described = slow  # type: ignore[method-assign, assignment]
        first = threading.Thread(target=service.predict, args=(["C"], 0.9))
        first.start()
        busy.wait(10)
        again = TestClient(build_app(service)).post("/predict", json={"smiles": ["C"]})
        done.set()
        first.join()
        assert (again.status_code, again.headers["Retry-After"]) == (503, "5")

    def test_what_takes_too_long(self, run: Path) -> None:
        with pytest.raises(TooBusyError, match="no answer within"):
            PredictionService(run, timeout=1e-9).predict(["C"], 0.9)


class TestPage:
    def test_nothing_but_its_own_script_runs(self, client: TestClient) -> None:
        answer = client.get("/")
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'; script-src 'sha256-" in policy
        assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]
        # The name of a run is text.
        assert "&lt;i&gt;run" in answer.text
        assert "<i>run" not in answer.text


class TestCommand:
    def test_ctrl_c_is_the_way_to_stop_it(
        self, run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(*_: object, **__: object) -> None:
            raise KeyboardInterrupt  # as uvicorn does, once it has answered

        monkeypatch.setattr("uvicorn.Server.run", interrupted)
        serve(ServeConfig(model_dir=str(run), port=0))
        assert capsys.readouterr().out.endswith("Stopped.\n")

    def test_no_model(self) -> None:
        with pytest.raises(InputError, match="--model-dir"):
            serve(ServeConfig())

    def test_a_port_that_is_taken(self, run: Path) -> None:
        import socket

        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            config = ServeConfig(model_dir=str(run), port=other.getsockname()[1])
            with pytest.raises(InputError, match="--port 0 takes a free port"):
                serve(config)
