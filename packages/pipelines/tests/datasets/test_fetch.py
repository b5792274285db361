from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from molpool_common import InputError
from molpool_pipelines.datasets import DataFile, Dataset, Outcome, cache_folder, fetch

Put = Callable[..., Path]
CONTENT = b"SMILES,y\nCCO,1\n"


class Recorder:
    """A progress that keeps what it hears."""

    def __init__(self) -> None:
        self.bytes: dict[str, int] = {}
        self.outcomes: dict[str, Outcome] = {}

    def advanced(self, file: DataFile, count: int) -> None:
        self.bytes[file.name] = self.bytes.get(file.name, 0) + count

    def finished(self, file: DataFile, path: Path, outcome: Outcome) -> None:
        assert path.is_file()
        self.outcomes[file.name] = outcome


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/gone":
            self.send_error(404)
            return
        body = {
            "/right": CONTENT,
            "/changed": CONTENT.replace(b"1", b"2"),
            "/long": CONTENT * 2,
            "/broken": CONTENT[:7],
        }
        self.send_response(200)
        # A broken download ends before the promised length.
        promised = CONTENT if self.path == "/broken" else body[self.path]
        self.send_header("Content-Length", str(len(promised)))
        self.end_headers()
        self.wfile.write(body[self.path])

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.fixture
def verbatim(toy: Dataset, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """The toy data set with its verbatim file alone."""
    entry = toy.model_copy(update={"files": toy.files[:1]})
    monkeypatch.setattr("molpool_pipelines.datasets._registry.registry", lambda: {"toy": entry})
    return entry


def answer(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setattr(Dataset, "address", lambda self, file: address)


def written(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if p.is_file())


def test_a_file_is_downloaded_to_the_cache_and_then_left_alone(
    verbatim: Dataset, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, f"{server}/right")
    first, again = Recorder(), Recorder()
    paths = fetch("toy", progress=first)
    assert paths == [cache_folder() / "admet/toy/first.csv"]
    assert paths[0].read_bytes() == CONTENT
    assert first.bytes == {"first.csv": len(CONTENT)}
    assert first.outcomes == {"first.csv": Outcome.DOWNLOADED}
    answer(monkeypatch, f"{server}/gone")  # not asked
    assert fetch("toy", progress=again) == paths
    assert again.outcomes == {"first.csv": Outcome.PRESENT}


def test_a_data_folder_is_copied_and_the_network_left_alone(
    toy: Dataset, put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first.csv", "second.csv"):
        put(tmp_path / "named", name)
    monkeypatch.setenv("MOLPOOL_DATA", str(tmp_path / "named"))
    answer(monkeypatch, "http://127.0.0.1:9/closed")
    recorder = Recorder()
    paths = fetch("toy", into=tmp_path / "into", progress=recorder)
    assert paths == [tmp_path / "into/admet/toy" / name for name in ("first.csv", "second.csv")]
    assert paths[0].read_bytes() == CONTENT
    assert set(recorder.outcomes.values()) == {Outcome.COPIED}


def test_a_damaged_file_in_place_is_replaced(
    verbatim: Dataset, put: Put, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, f"{server}/right")
    put(cache_folder(), "first.csv", b"damaged")
    assert fetch("toy")[0].read_bytes() == CONTENT


def test_a_damaged_file_in_a_data_folder_is_not_copied(
    verbatim: Dataset, put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "named", "first.csv", b"damaged")
    monkeypatch.setenv("MOLPOOL_DATA", str(tmp_path / "named"))
    with pytest.raises(InputError, match="expected 15 bytes; found 7 bytes"):
        fetch("toy", into=tmp_path / "into")
    assert written(tmp_path / "into") == []


@pytest.mark.parametrize(
    ("page", "found"),
    [
        ("gone", "HTTP status 404"),
        ("changed", "15 bytes with "),
        ("long", "more than 15 bytes"),
        ("broken", "found 7 bytes"),
    ],
)
def test_a_wrong_answer_leaves_nothing_behind(
    verbatim: Dataset, server: str, page: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, f"{server}/{page}")
    with pytest.raises(InputError, match=found) as caught:
        fetch("toy")
    assert f"{server}/{page}" in str(caught.value)
    assert caught.value.exit_code == 2
    assert written(cache_folder()) == []


def test_a_silent_network_names_address_and_reason(
    verbatim: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, "http://127.0.0.1:9/closed")
    with pytest.raises(InputError, match="Connection refused") as caught:
        fetch("toy")
    assert "http://127.0.0.1:9/closed" in str(caught.value)
    assert "MOLPOOL_DATA" in str(caught.value)
    assert written(cache_folder()) == []


def test_a_derived_file_is_refused_after_the_others_are_fetched(
    toy: Dataset, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, f"{server}/right")
    with pytest.raises(InputError, match=r"no public address.*second\.csv is: rows sorted"):
        fetch("toy")
    assert written(cache_folder()) == ["first.csv"]


def test_a_folder_that_cannot_be_made_is_the_users_to_mend(
    verbatim: Dataset, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, f"{server}/right")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"data folder .*Not a directory"):
        fetch("toy", into=tmp_path / "file")
