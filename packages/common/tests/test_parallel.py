"""Work in several processes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from socket import socket
from typing import Any

import pytest
from molpool_common import (
    cores,
    each_group,
    groups_of,
    mapped,
    threads,
)


def test_groups_are_filled_in_order() -> None:
    assert list(groups_of(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(groups_of([], 3)) == []


@pytest.mark.parametrize(("asked", "found"), [("3", 3), ("0", None), ("many", None), (None, None)])
def test_threads_are_those_asked_for_or_one_for_each_core(
    asked: str | None, found: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert threads() == (found or cores())


def test_one_worker_is_this_process() -> None:
    found = each_group(lambda group: [n + 1 for n in group], groups_of(range(4), 2), 1, lambda _: 0)
    assert list(found) == [([0, 1], [1, 2]), ([2, 3], [3, 4])]


def run(mode: str, *arguments: object) -> Any:
    script = Path(__file__).with_name("spawned.py")
    done = subprocess.run(
        [sys.executable, str(script), mode, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode in (0, 9), done.stderr
    # Of one that ends without a word, the tracker of semaphores tells what it left; Dask tells of
    # workers that die, in as many lines as their errors have.
    if done.returncode == 0:
        assert "resource_tracker" not in done.stderr
        assert "dask" in mode or not done.stderr
        assert "already in use" not in done.stderr
    return json.loads(done.stdout) if done.stdout else None


@pytest.mark.slow
def test_a_process_that_dies_or_hangs_costs_one_molecule() -> None:
    found = run("local")
    assert found["die"] == {str(i): -1 if i == 5 else i * i for i in range(12)}
    # Of one process what may hang is left to another, which can be ended.
    assert found["aside"] == {str(i): -1 if i == 7 else i * i for i in range(8)}


@pytest.mark.slow
def test_dask_gives_what_one_process_gives() -> None:
    pytest.importorskip("distributed", reason="Dask is an extra")
    with socket() as taken:
        with suppress(OSError):  # another has it
            taken.bind(("", 8787))  # of another cluster on this machine
            taken.listen()
        found = run("dask")
    assert found == {"groups": [n**3 for n in range(120)], "items": [n * n for n in range(8)]}


@pytest.mark.slow
def test_dask_takes_nothing_but_time_where_a_worker_dies(tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="Dask is an extra")
    found = run("dying-on-dask", tmp_path)
    assert found["died"]
    assert found["once"] == [n * n for n in range(8)]
    assert found["die"] == {str(i): -1 if i == 5 else i * i for i in range(12)}


@pytest.mark.slow
def test_processes_end_with_the_one_that_started_them() -> None:
    processes = run("leave")
    assert len(processes) == 2
    for _ in range(100):
        if not any(Path(f"/proc/{pid}").exists() for pid in processes):
            return
        time.sleep(0.1)
    pytest.fail(f"still there after 10 s: {processes}")


def test_without_an_engine_items_are_worked_on_as_they_are_asked_for() -> None:
    asked: list[int] = []

    def items() -> Iterator[int]:
        for n in range(3):
            asked.append(n)
            yield n

    results = mapped(lambda shared, item: shared * item, 10, items())
    assert next(results) == 0
    assert asked == [0]
    assert list(results) == [10, 20]
