"""Digests beside the files of a run."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from molpool_common import SUMS, DamagedFileError, RunFolder, atomic_path, checked, read_npz
from molpool_common._digests import seal


def sums(folder: Path) -> dict[str, str]:
    lines = (folder / SUMS).read_text().splitlines()
    return {line[66:]: line[:64] for line in lines}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    def save(folder: Path) -> None:
        (folder / "a b.pt").write_bytes(b"weights")

    with RunFolder.create(tmp_path / "run") as run:
        run.write_text("metrics.json", "{}")
        run.write_folder("models", save)
        (run.checkpoints / "last.ckpt").write_bytes(b"state")
        run.log("finished")
    return run.path


def flip(path: Path, place: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_every_file_has_its_digest_but_the_log(run: Path) -> None:
    names = {"environment.json", "metrics.json", "models/a b.pt", "checkpoints/last.ckpt"}
    assert set(sums(run)) == names
    for name, digest in sums(run).items():
        assert hashlib.sha256((run / name).read_bytes()).hexdigest() == digest


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum here")
def test_the_systems_own_command_reads_them(run: Path) -> None:
    command = ["sha256sum", "--strict", "--quiet", "-c", SUMS]
    assert subprocess.run(command, cwd=run, check=False).returncode == 0
    flip(run / "metrics.json")
    assert subprocess.run(command, cwd=run, capture_output=True, check=False).returncode == 1


@pytest.mark.parametrize("name", ["metrics.json", "models/a b.pt", "checkpoints/last.ckpt"])
def test_a_changed_file_is_refused_by_name(run: Path, name: str) -> None:
    assert checked(run / name) == run / name
    flip(run / name)
    with pytest.raises(DamagedFileError, match=f"{name} .*expected SHA-256 .* as it was written"):
        checked(run / name)
    folder = (run / name).parent
    if folder != run:
        with pytest.raises(DamagedFileError, match=name):
            checked(folder)


def test_a_lost_file_of_a_folder_is_named(run: Path) -> None:
    (run / "models" / "a b.pt").unlink()
    with pytest.raises(DamagedFileError, match=r"models/a b\.pt .*found no file"):
        checked(run / "models")


def test_files_without_a_digest_pass(run: Path, tmp_path: Path) -> None:
    (tmp_path / "alone.json").write_text("{}")
    (run / "notes.txt").write_text("mine")
    for file in (tmp_path / "alone.json", run / "notes.txt", run / "log.jsonl", run / "absent"):
        assert checked(file) == file


def test_what_replaces_a_file_takes_its_digest_with_it(run: Path) -> None:
    # A command that writes into the folder of a run without opening it.
    with atomic_path(run / "metrics.json") as temporary:
        temporary.write_text('{"a": 1}')
    checked(run / "metrics.json")
    flip(run / "metrics.json")
    with pytest.raises(DamagedFileError):
        checked(run / "metrics.json")


def test_a_process_killed_before_the_new_file_had_its_name(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", die)
    with pytest.raises(KeyboardInterrupt), atomic_path(run / "metrics.json") as temporary:
        temporary.write_text("half")
    checked(run / "metrics.json")


@pytest.mark.parametrize("left", range(0, 80, 7))
def test_half_a_line_at_the_end_is_no_line(run: Path, left: int) -> None:
    content = (run / SUMS).read_text()
    lines = content.splitlines(keepends=True)
    (run / SUMS).write_text("".join(lines[:-1]) + lines[-1][:left])
    with atomic_path(run / "new.json") as temporary:
        temporary.write_text("new")
    checked(run / "new.json")
    flip(run / "new.json")
    with pytest.raises(DamagedFileError):
        checked(run / "new.json")


def test_a_run_within_a_run_has_its_own(run: Path) -> None:
    with RunFolder.create(run / "folds" / "fold-0") as fold:
        fold.write_text("metrics.json", "{}")
    seal(run)
    assert not any(name.startswith("folds") for name in sums(run))
    flip(fold.path / "metrics.json")
    with pytest.raises(DamagedFileError, match="fold-0"):
        checked(fold.path / "metrics.json")


def test_a_run_of_an_earlier_version_gets_them_when_it_is_resumed(run: Path) -> None:
    (run / SUMS).unlink()
    flip(run / "metrics.json")
    checked(run / "metrics.json")
    with RunFolder.resume(run):
        assert "metrics.json" in sums(run)


def test_no_changed_byte_and_no_cut_of_an_archive_is_read_as_another(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.arange(20.0), names=np.array(["a", "µ"]))
    sound, arrays = path.read_bytes(), read_npz(path)
    for place in range(0, len(sound), 5):
        path.write_bytes(sound[:place])
        with pytest.raises(DamagedFileError):
            read_npz(path)
        path.write_bytes(sound)
        flip(path, place)
        with suppress(DamagedFileError):  # there are bytes that say nothing, such as dates
            again = read_npz(path)
            assert {k: v.tolist() for k, v in again.items() if k in arrays} == {
                k: v.tolist() for k, v in arrays.items() if k in again
            }


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04", b"\x93NUMPY\x01\x00"])
def test_what_is_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"a\.npz .*expected an npz file"):
        read_npz(tmp_path / "a.npz")
