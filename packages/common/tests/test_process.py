import gc
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
from molpool_common._process import KEPT_SHAPES, objects_kept

COMMAND = "from molpool_common._process import run_script; run_script('command')"


def ran(folder: Path, source: str) -> subprocess.CompletedProcess[str]:
    (folder / "command.py").write_text(source)
    return subprocess.run(
        [sys.executable, "-c", COMMAND], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("code", [0, 2, 130])
def test_the_process_ends_with_the_code_of_main(tmp_path: Path, code: int) -> None:
    assert ran(tmp_path, f"def main(): return {code}").returncode == code


def test_what_was_written_arrives_though_nothing_is_taken_apart(tmp_path: Path) -> None:
    run = ran(
        tmp_path,
        "import sys\n"
        "class Thing:\n"
        "    def __del__(self): print('taken apart')\n"
        "kept = Thing()\n"
        "def main():\n"
        "    sys.stdout.write('x' * 100_000)\n"
        "    return 0\n",
    )
    assert run.stdout == "x" * 100_000


def test_threads_end_and_exit_functions_run_first(tmp_path: Path) -> None:
    run = ran(
        tmp_path,
        "import atexit, threading, time\n"
        "def late():\n"
        "    time.sleep(0.2)\n"
        "    print('thread')\n"
        "def main():\n"
        "    atexit.register(print, 'exit function')\n"
        "    threading.Thread(target=late).start()\n"
        "    return 0\n",
    )
    assert run.stdout.split("\n") == ["thread", "exit function", ""]


def test_a_fault_keeps_its_traceback_and_gives_1(tmp_path: Path) -> None:
    run = ran(tmp_path, "def main(): raise RuntimeError('a fault')")
    assert run.returncode == 1
    assert "Traceback" in run.stderr
    assert run.stderr.endswith("RuntimeError: a fault\n")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and trims glibc's heap")
def test_holes_of_the_heap_go_back_to_the_system(tmp_path: Path) -> None:
    """Blocks below the largest that comes from the heap, the last of them kept."""
    run = ran(
        tmp_path,
        "from molpool_common._process import free_memory\n"
        "def mb(): return int(open('/proc/self/statm').read().split()[1]) * 4096 / 2**20\n"
        "def main():\n"
        "    blocks = [bytearray(b'x') * (8 << 20) for _ in range(40)]\n"
        "    loop = [blocks]\n"
        "    loop.append(loop)\n"
        "    kept = bytearray(b'x') * (1 << 20)\n"
        "    del blocks, loop\n"
        "    before = mb()\n"
        "    free_memory()\n"
        "    print(before - mb() > 300)\n"
        "    return 0\n",
    )
    assert run.stdout == "True\n", run.stderr


def test_what_the_user_says_of_caches_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = sorted(KEPT_SHAPES)
    for name in names:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(names[0], "7")
    source = f"import os\ndef main():\n    print([os.environ[n] for n in {names}])\n    return 0\n"
    assert ran(tmp_path, source).stdout == "['7', '64']\n"


class Node:
    """Refers to itself, so that only a collection of garbage ends it."""

    def __init__(self) -> None:
        self.itself = self


def test_collections_pass_over_what_was_there_before() -> None:
    old = Node()
    of_old = weakref.ref(old)
    with objects_kept():
        of_new = weakref.ref(Node())
        del old
        gc.collect()
        assert of_new() is None
        assert of_old() is not None
    gc.collect()
    assert of_old() is None


def test_a_process_ends_with_the_one_that_started_it() -> None:
    child = (
        "import time; from molpool_common._process import end_with_parent\n"
        "end_with_parent(); print('here', flush=True); time.sleep(60)"
    )
    parent = (
        "import os, subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}], stdout=subprocess.PIPE)\n"
        "child.stdout.readline(); os.kill(os.getpid(), 9)"
    )
    # The child has our pipe of errors open until it ends.
    run = subprocess.run([sys.executable, "-c", parent], stderr=subprocess.PIPE, timeout=30)
    assert run.returncode == -9
