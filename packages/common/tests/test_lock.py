"""One writer per folder, told by name, and nothing stale."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from molpool_common import InputError, RunFolder, check_free
from molpool_common._lock import LOCK, OWNER, FolderLock, was_interrupted

HOLD = """
import sys, time
from pathlib import Path
from molpool_common import RunFolder
with RunFolder.create(Path(sys.argv[1])) as run:
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Callable[[Path], subprocess.Popen[str]]]:
    """Start a process that holds a folder until its input ends."""
    started: list[subprocess.Popen[str]] = []

    def start(folder: Path) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        command = [sys.executable, "-c", HOLD, str(folder)]
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


Holder = Callable[[Path], subprocess.Popen[str]]


def test_the_second_is_told_who_holds_the_folder(tmp_path: Path, holder: Holder) -> None:
    process = holder(tmp_path / "run")
    before = sorted(os.listdir(tmp_path / "run"))
    held = rf"save_dir: expected a folder that no other command writes to; .* process {process.pid}"
    for second in (check_free, RunFolder.create, RunFolder.resume):
        with pytest.raises(InputError, match=held):
            second(tmp_path / "run")
    with pytest.raises(InputError, match=held):
        RunFolder.create(tmp_path / "run", overwrite=True)
    assert sorted(os.listdir(tmp_path / "run")) == before


def test_a_lock_ends_with_its_process(tmp_path: Path, holder: Holder) -> None:
    process = holder(tmp_path / "run")
    process.send_signal(signal.SIGKILL)
    process.wait()
    with RunFolder.resume(tmp_path / "run") as run:
        assert json.loads((run.path / OWNER).read_text())["process"] == os.getpid()
    assert not (tmp_path / "run" / OWNER).exists()


def test_one_of_many_that_start_at_once(tmp_path: Path) -> None:
    script = f"""
import sys, time
from molpool_common import InputError, RunFolder
time.sleep(max(0, float(sys.argv[1]) - time.time()))
try:
    with RunFolder.create({str(tmp_path / "run")!r}):
        time.sleep(1.5)
    print("made")
except InputError as error:
    print("held" if "no other command" in str(error) else error)
"""
    start = str(time.time() + 1)
    started = [
        subprocess.Popen([sys.executable, "-c", script, start], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = sorted(process.communicate()[0].strip() for process in started)
    assert said == ["held", "held", "made"]


def test_a_lock_can_be_taken_again(tmp_path: Path) -> None:
    for _ in range(2):
        lock = FolderLock(tmp_path)
        lock.acquire()
        with pytest.raises(InputError, match="no other command"):
            FolderLock(tmp_path).acquire(wait=0)
        lock.release()


def test_a_folder_of_a_lock_alone_is_empty(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    lock.acquire()
    lock.release(done=False)
    assert sorted(os.listdir(tmp_path)) == [LOCK, OWNER]
    check_free(tmp_path)


def test_what_was_interrupted_starts_anew_where_nothing_is_resumed(tmp_path: Path) -> None:
    class StoppedError(Exception): ...

    def write(*, fail: bool) -> None:
        with RunFolder.create(tmp_path / "run", restart=True) as run:
            assert not (run.path / "rows.csv").exists()
            run.write_text("rows.csv", "")
            if fail:
                raise StoppedError

    for _ in range(2):
        with pytest.raises(StoppedError):
            write(fail=True)
        assert was_interrupted(tmp_path / "run")
    with pytest.raises(InputError, match="which holds a run"):
        RunFolder.create(tmp_path / "run")  # of commands that resume
    write(fail=False)
    assert not was_interrupted(tmp_path / "run")
    with pytest.raises(InputError, match=r"holds a run\. Give --overwrite true to replace it"):
        write(fail=False)


def test_what_another_command_left_does_not_start_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt), RunFolder.create(tmp_path / "run"):
        raise KeyboardInterrupt
    monkeypatch.setattr(sys, "argv", ["molpool-rt", "fit"])
    with pytest.raises(InputError, match="which holds a run"):
        RunFolder.create(tmp_path / "run", restart=True)


def test_a_folder_that_may_not_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    # The superuser may write anywhere, so the answer of the system is given here.
    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(InputError, match=r"may be written to; .*Permission denied"):
        FolderLock(tmp_path).acquire()
    monkeypatch.undo()
    FolderLock(tmp_path).acquire(wait=0)
