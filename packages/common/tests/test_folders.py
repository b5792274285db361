from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from molpool_common import _folders as runfolder
from molpool_common._digests import SUMS
from molpool_common._errors import InputError
from molpool_common._folders import (
    MARKER,
    RunFolder,
    atomic_path,
    check_free,
    default_folder,
    free_name,
)


def shown(folder: Path) -> list[str]:
    """Return what a user sees in a folder."""
    return sorted(name for name in os.listdir(folder) if not name.startswith("."))


class TestAtomicPath:
    def test_what_a_killed_writer_left_goes(self, tmp_path: Path) -> None:
        path = tmp_path / "a[1].txt"
        # No process has the number 0; this one is at work.
        dead, alive = (tmp_path / f".a[1].txt.{process}.tmp" for process in (0, os.getppid()))
        other = tmp_path / ".b.txt.0.tmp"
        for file in (dead, alive, other):
            file.write_text("half")
        with atomic_path(path) as temporary:
            temporary.write_text("whole")
        assert not dead.exists()
        assert alive.exists()
        assert other.exists()

    def test_file_appears_when_the_block_ends(self, tmp_path: Path) -> None:
        path = tmp_path / "a.txt"
        with atomic_path(path) as temporary:
            temporary.write_text("new")
            assert not path.exists()
            assert temporary.parent == tmp_path
        assert path.read_text() == "new"
        assert os.listdir(tmp_path) == ["a.txt"]

    @pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
    def test_interrupted_write_leaves_the_old_file_alone(
        self, tmp_path: Path, error: type[BaseException]
    ) -> None:
        path = tmp_path / "a.txt"
        path.write_text("old")

        def write_half() -> None:
            with atomic_path(path) as temporary:
                temporary.write_text("half")
                raise error

        with pytest.raises(error):
            write_half()
        assert path.read_text() == "old"
        assert os.listdir(tmp_path) == ["a.txt"]

    def test_bytes_are_on_disk_before_the_rename(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        order: list[str] = []
        sync, rename = os.fsync, os.replace

        def fsync(handle: int) -> None:
            order.append("fsync")
            sync(handle)

        def replace(old: Path, new: Path) -> None:
            order.append("rename")
            rename(old, new)

        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(os, "replace", replace)
        runfolder.write_text(tmp_path / "a", "x")
        assert order == ["fsync", "rename"]


class TestCreate:
    def test_new_folder_with_parents(self, tmp_path: Path) -> None:
        run = RunFolder.create(tmp_path / "a" / "b", arguments=["p", "--x"])
        stored = json.loads((run.path / MARKER).read_text())
        assert stored["arguments"] == ["p", "--x"]
        assert {"time", "python", "platform", "cpus"} <= set(stored)
        assert "numpy" in stored["packages"]
        assert run.checkpoints.is_dir()

    def test_empty_folder(self, tmp_path: Path) -> None:
        assert RunFolder.create(tmp_path).path == tmp_path

    def test_folder_of_a_run_is_refused(self, tmp_path: Path) -> None:
        RunFolder.create(tmp_path / "run")
        with pytest.raises(InputError, match=r"which holds a run\. Give --resume true"):
            RunFolder.create(tmp_path / "run")

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_folder_of_other_files_is_refused(self, tmp_path: Path, overwrite: bool) -> None:
        (tmp_path / "thesis.txt").write_text("precious")
        with pytest.raises(InputError, match="which holds other files"):
            RunFolder.create(tmp_path, overwrite=overwrite)
        assert os.listdir(tmp_path) == ["thesis.txt"]

    @pytest.mark.parametrize("below", ["file", "file/run", "file/a/b"])
    def test_file_is_refused(self, tmp_path: Path, below: str) -> None:
        (tmp_path / "file").write_text("x")
        with pytest.raises(InputError, match="save_dir: expected a folder; found the file"):
            RunFolder.create(tmp_path / below)

    def test_read_only_place_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # The superuser may write anywhere, so the answer of the system is given here.
        monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
        with pytest.raises(InputError, match="expected a folder that may be written to"):
            RunFolder.create(tmp_path / "run")

    def test_check_changes_nothing(self, tmp_path: Path) -> None:
        check_free(tmp_path / "a" / "b")
        assert os.listdir(tmp_path) == []

    def test_overwrite_removes_the_run_and_keeps_what_is_not_of_it(self, tmp_path: Path) -> None:
        old = RunFolder.create(tmp_path / "run")
        old.write_json("metrics.json", {"a": 1})
        old.write_frame("predictions.parquet", pl.DataFrame({"a": [1]}))
        old.log("started")
        (old.checkpoints / "best.ckpt").touch()
        (old.path / "notes.txt").write_text("mine")
        (old.path / "photos").mkdir()
        old.close()
        RunFolder.create(tmp_path / "run", overwrite=True)
        assert shown(old.path) == [SUMS, "checkpoints", MARKER, "notes.txt", "photos"]
        assert os.listdir(old.checkpoints) == []
        assert (old.path / "notes.txt").read_text() == "mine"


class TestWriteFolder:
    def test_appears_whole_and_replaces_its_own_older_state(self, tmp_path: Path) -> None:
        run = RunFolder.create(tmp_path / "run")
        before = set(os.listdir(run.path))

        def save(folder: Path) -> None:
            assert folder.parent == run.path
            (folder / "a").touch()

        (run.path / "models").mkdir()
        (run.path / "models" / "old").touch()
        assert os.listdir(run.write_folder("models", save)) == ["a"]
        assert set(os.listdir(run.path)) == before | {"models"}

    def test_a_fault_leaves_the_old_state(self, tmp_path: Path) -> None:
        run = RunFolder.create(tmp_path / "run")
        run.write_folder("models", lambda folder: (folder / "a").touch())

        def fail(folder: Path) -> None:
            (folder / "half").touch()
            raise KeyboardInterrupt

        before = sorted(run.path.rglob("*"))
        with pytest.raises(KeyboardInterrupt):
            run.write_folder("models", fail)
        assert sorted(run.path.rglob("*")) == before

    def test_overwriting_removes_an_ensemble(self, tmp_path: Path) -> None:
        run = RunFolder.create(tmp_path / "run")
        run.write_folder("models", lambda folder: (folder / "member-000.pt").touch())
        (run.checkpoints / "member-000").mkdir()
        (run.checkpoints / "member-000" / "last.ckpt").touch()
        run.close()
        RunFolder.create(tmp_path / "run", overwrite=True)
        assert shown(run.path) == [SUMS, "checkpoints", MARKER]
        assert os.listdir(run.checkpoints) == []


class TestResume:
    def test_opens_and_keeps_everything(self, tmp_path: Path) -> None:
        RunFolder.create(tmp_path / "run").log("started")
        again = RunFolder.resume(tmp_path / "run")
        again.log("resumed")
        lines = (again.path / "log.jsonl").read_text().splitlines()
        assert [json.loads(line)["event"] for line in lines] == ["started", "resumed"]

    def test_missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="--resume: expected the folder of a run; found no su"):
            RunFolder.resume(tmp_path / "nowhere")

    def test_the_folder_of_runs_names_them(self, tmp_path: Path) -> None:
        RunFolder.create(tmp_path / "a")
        with pytest.raises(InputError, match=re.escape(f"Did you mean {tmp_path / 'a'}?")):
            RunFolder.resume(tmp_path)

    def test_not_a_run(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="found a folder without one"):
            RunFolder.resume(tmp_path)
        assert os.listdir(tmp_path) == []


class TestInterruptedStart:
    """A process that was killed while it wrote leaves what it was writing."""

    @pytest.fixture
    def killed(self) -> int:
        process = subprocess.Popen([sys.executable, "-c", ""])
        process.wait()
        return process.pid

    def test_before_the_first_file_had_its_name(self, killed: int, tmp_path: Path) -> None:
        (tmp_path / f".{MARKER}.{killed}.tmp").write_text("{")
        run = RunFolder.create(tmp_path)
        assert shown(run.path) == [SUMS, "checkpoints", MARKER]

    def test_later(self, killed: int, tmp_path: Path) -> None:
        run = RunFolder.create(tmp_path)
        (tmp_path / f".model.pt.{killed}.tmp").write_bytes(b"half")
        (tmp_path / f".report.{killed}.tmp").mkdir()
        mine = tmp_path / f".other.{os.getpid()}.tmp"  # of a process that is at work
        mine.write_text("")
        run.close()
        RunFolder.resume(run.path)
        assert (tmp_path / mine.name).exists()
        assert not (tmp_path / f".model.pt.{killed}.tmp").exists()
        assert not (tmp_path / f".report.{killed}.tmp").exists()

    @pytest.mark.parametrize("name", [".notes.tmp", "model.pt.7.tmp", ".git"])
    def test_files_of_others_are_other_files(self, name: str, tmp_path: Path) -> None:
        (tmp_path / name).write_text("")
        with pytest.raises(InputError, match="holds other files"):
            RunFolder.create(tmp_path)


class TestWriting:
    @pytest.fixture
    def run(self, tmp_path: Path) -> RunFolder:
        return RunFolder.create(tmp_path / "run")

    def test_text_is_utf8(self, run: RunFolder) -> None:
        assert run.write_text("a.txt", "µM α").read_bytes() == "µM α".encode()

    def test_json(self, run: RunFolder) -> None:
        path = run.write_json("a.json", {"x": [1, None, "é"]})
        assert json.loads(path.read_text()) == {"x": [1, None, "é"]}

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_json_without_a_number_is_refused_and_nothing_left(
        self, run: RunFolder, value: float
    ) -> None:
        with pytest.raises(ValueError, match="JSON"):
            run.write_json("a.json", {"x": value})
        assert not (run.path / "a.json").exists()

    def test_frame(self, run: RunFolder) -> None:
        frame = pl.DataFrame({"a": [1, None], "b": ["x", "y"]})
        assert pl.read_parquet(run.write_frame("f.parquet", frame)).equals(frame)

    def test_file_written_by_another(self, run: RunFolder) -> None:
        def save(path: Path) -> None:
            path.write_bytes(b"weights")

        path = run.write_file("model.pt", save)
        assert path.read_bytes() == b"weights"

    def test_failed_writer_leaves_nothing(self, run: RunFolder) -> None:
        def fail(path: Path) -> None:
            path.write_bytes(b"half")
            raise OSError("disk full")

        before = sorted(os.listdir(run.path))
        with pytest.raises(OSError, match="disk full"):
            run.write_file("model.pt", fail)
        assert sorted(os.listdir(run.path)) == before

    def test_log_lines_have_time_and_fields(self, run: RunFolder) -> None:
        run.log("epoch", loss=0.5, path=Path("x"))
        line = json.loads((run.path / "log.jsonl").read_text())
        assert (line["event"], line["loss"], line["path"]) == ("epoch", 0.5, "x")
        assert line["time"].endswith("+00:00")


def test_default_folder_is_new_each_time(tmp_path: Path) -> None:
    taken: set[Path] = set()
    for _ in range(3):
        path = default_folder("admet", tmp_path / "runs")
        assert path.parent == tmp_path / "runs"
        assert path.name.startswith("admet-")
        assert path not in taken
        path.mkdir(parents=True)
        taken.add(path)


def test_a_free_name_keeps_its_ending(tmp_path: Path) -> None:
    made = []
    for _ in range(3):
        path = free_name(tmp_path / "page.html")
        path.touch()
        made.append(path.name)
    assert made == ["page.html", "page-2.html", "page-3.html"]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="a system without /proc")
def test_a_file_system_that_takes_no_folders_is_refused_before_anything_is_computed() -> None:
    with pytest.raises(InputError, match="may be written to; found '/proc'"):
        check_free(Path("/proc/x/y"))
