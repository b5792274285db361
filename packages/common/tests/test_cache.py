from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from molpool_common import cache_folder
from molpool_common._cache import CacheWarning, ContentStore, text_keys

TEXTS = [f"molecule {i}" for i in range(40)]


def collect(store: ContentStore, texts: list[str]) -> dict[str, float]:
    return {
        texts[asked]: float(found.arrays["value"][there])
        for found in store.find(text_keys(texts))
        for there, asked in zip(found.there, found.asked, strict=True)
    }


def add(folder: Path, texts: list[str]) -> None:
    values = np.array([float(text.split()[1]) for text in texts])
    ContentStore(folder).add(text_keys(texts), {"value": values})


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.chunk"))


def test_what_was_added_is_found_under_its_own_text(tmp_path: Path) -> None:
    add(tmp_path, TEXTS[:10])
    add(tmp_path, TEXTS[5:30])  # overlaps the first
    asked = TEXTS[::-3]
    expected = {text: float(text.split()[1]) for text in asked if text in TEXTS[:30]}
    assert collect(ContentStore(tmp_path), asked) == expected


def test_a_file_is_read_again_only_for_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(tmp_path, TEXTS[:10])
    assert collect(ContentStore(tmp_path), TEXTS[10:12]) == {}
    read: list[Path] = []
    whole = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path) or whole(path))
    assert collect(ContentStore(tmp_path), TEXTS[10:12]) == {}
    assert read == []
    assert len(collect(ContentStore(tmp_path), TEXTS[9:12])) == 1
    add(tmp_path, TEXTS[10:20])
    assert len(collect(ContentStore(tmp_path), TEXTS[10:12])) == 2
    assert len(read) == 2


def test_many_small_files_become_one(tmp_path: Path) -> None:
    store = ContentStore(tmp_path, merges=True)
    for i in range(33):
        # Counts in bytes and other numbers, as features are stored.
        value = np.array([i, i + 1], dtype=np.uint8 if i % 2 else np.float32)
        store.add(text_keys([f"x {i}", f"x {i + 1}"]), {"value": value})
    assert len(files(tmp_path)) == 2
    expected = {f"x {i}": float(i) for i in range(34)}
    assert collect(ContentStore(tmp_path), list(expected)) == expected


def test_merging_at_the_same_time_loses_nothing(tmp_path: Path) -> None:
    def work(who: int) -> None:
        for i in range(70):
            store = ContentStore(tmp_path, merges=True)
            store.add(text_keys([f"x {1000 * who + i}"]), {"value": np.array([1000.0 * who + i])})

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, range(3)))
    expected = {f"x {1000 * who + i}": 1000.0 * who + i for who in range(3) for i in range(70)}
    assert collect(ContentStore(tmp_path), list(expected)) == expected
    assert len(files(tmp_path)) < 40


def test_an_empty_or_missing_folder_holds_nothing(tmp_path: Path) -> None:
    store = ContentStore(tmp_path / "none")
    assert collect(store, TEXTS) == {}
    store.add(text_keys([]), {"value": np.empty(0)})
    assert not store.folder.exists()


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_damaged_byte_or_end_is_noticed(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    add(folder, TEXTS[:4])
    add(folder, TEXTS[4:8])
    path = files(folder)[0]
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[at] ^= data.draw(st.integers(1, 255))
    else:
        del content[at:]
    path.write_bytes(content)
    with pytest.warns(CacheWarning, match="damaged file"):
        found = collect(ContentStore(folder), TEXTS[:8])
    assert len(found) == 4
    assert not path.exists()
    assert collect(ContentStore(folder), TEXTS[:8]) == found


def test_what_a_killed_process_leaves_is_never_read(tmp_path: Path) -> None:
    add(tmp_path, TEXTS[:4])
    whole = files(tmp_path)[0].read_bytes()
    (tmp_path / ".half.chunk.1.tmp").write_bytes(whole[: len(whole) // 2])
    assert len(collect(ContentStore(tmp_path), TEXTS)) == 4


def test_a_folder_that_cannot_be_written_to_is_said_once(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    store = ContentStore(blocked / "cache")
    with pytest.warns(CacheWarning, match="can be written to"):
        store.add(text_keys(TEXTS[:2]), {"value": np.zeros(2)})
    store.add(text_keys(TEXTS[:2]), {"value": np.zeros(2)})  # silent


WRITER = """
import sys, numpy as np
from pathlib import Path
from molpool_common._cache import ContentStore, text_keys
for start in map(int, sys.argv[2:]):
    texts = [f"molecule {i}" for i in range(start, start + 10)]
    values = np.arange(start, start + 10, dtype=float)
    ContentStore(Path(sys.argv[1]), merges=True).add(text_keys(texts), {"value": values})
"""


@pytest.mark.slow
def test_processes_write_the_same_folder_at_once(tmp_path: Path) -> None:
    spans = [("0", "10", "20", "30"), ("30", "0", "10"), ("0", "10", "20")]
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), *span]) for span in spans
    ]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0]
    assert len(files(tmp_path)) == 4
    assert collect(ContentStore(tmp_path), TEXTS) == {t: float(t.split()[1]) for t in TEXTS}
    assert not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_a_process_killed_while_it_writes_leaves_whole_files(tmp_path: Path) -> None:
    spans = [str(start) for start in range(0, 100_000, 10)]
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), *spans])
    try:
        deadline = time.monotonic() + 60
        while len(files(tmp_path)) < 20 and time.monotonic() < deadline:
            time.sleep(0.005)
    finally:
        writer.kill()
        writer.wait()
    found = collect(ContentStore(tmp_path), TEXTS)  # a damaged file would warn, and so fail
    assert found == {text: float(text.split()[1]) for text in TEXTS}


def test_settings_of_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("MOLPOOL_CACHE", raising=False)
    assert cache_folder("none") is None
    assert cache_folder(None) is None
    assert cache_folder("auto") == tmp_path / "molpool" / "molecules"
    assert cache_folder("here") == Path("here")
    monkeypatch.setenv("MOLPOOL_CACHE", str(tmp_path / "mine"))
    assert cache_folder("auto") == tmp_path / "mine"
    monkeypatch.setenv("MOLPOOL_CACHE", "none")
    assert cache_folder("auto") is None
    monkeypatch.delenv("MOLPOOL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder("auto") == tmp_path / ".cache" / "molpool" / "molecules"
