"""`molpool-hpo retrain` and `show`: flags that make no sense end with one message."""

from __future__ import annotations

from pathlib import Path

import pytest
from molpool_hpo.cli import main


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--trial", "1", "--k", "2"), "expected one trial, or k of the best"),
        (("--name", "a/b"), "expected the name of a folder"),
        (("--kk", "1"), "--kk"),
        ((), "--study-dir: expected the folder of a study"),
    ],
)
def test_refused(
    flags: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["retrain", "--study-dir", str(tmp_path), *flags]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.core
def test_needs_a_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["retrain"]) == 2
    assert "--study-dir: expected the folder of a study" in capsys.readouterr().err
    assert main(["show", "--study-dir", str(tmp_path)]) == 2
    assert "--study-dir: expected the folder of a study" in capsys.readouterr().err
    assert main(["show", "--study-dir", str(tmp_path), "--best", "-1"]) == 2
    assert (
        "best: expected a number greater than or equal to 0; found '-1'" in capsys.readouterr().err
    )
