from __future__ import annotations

from pathlib import Path

import pytest
from molpool_common.cache import cache_folder


def test_settings_of_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("MOLPOOL_CACHE", raising=False)
    assert cache_folder("none") is None
    assert cache_folder(None) is None
    assert cache_folder("auto") == tmp_path / "molpool" / "molecules"
    assert cache_folder("here") == Path("here")
    monkeypatch.setenv("MOLPOOL_CACHE", str(tmp_path / "mine"))
    assert cache_folder("auto") == tmp_path / "mine"
    monkeypatch.delenv("MOLPOOL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder("auto") == tmp_path / ".cache" / "molpool" / "molecules"
