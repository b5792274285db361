"""What `molpool-train migrate-config` makes of its arguments."""

from __future__ import annotations

from pathlib import Path

import pytest
from molpool_train.cli import main

LEGACY = "sampling:\n  enabled: true\n"


def test_arguments_reach_the_migration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    path, new = tmp_path / "config.yaml", tmp_path / "new.yaml"
    path.write_text(LEGACY)
    assert main(["migrate-config", str(path), "--dry-run"]) == 0
    assert "+joint_sampling:" in capsys.readouterr().out
    assert path.read_text() == LEGACY
    assert main(["migrate-config", str(path), "--output", str(new)]) == 0
    assert new.read_text() == "joint_" + LEGACY
    assert path.read_text() == LEGACY


def test_no_path_and_a_bad_file_end_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["migrate-config"]) == 2
    assert "files or folders to migrate; found none" in capsys.readouterr().err
    assert main(["migrate-config", str(tmp_path / "no.yaml")]) == 2
