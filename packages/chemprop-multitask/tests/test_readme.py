from __future__ import annotations

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.core


README = Path(__file__).parents[1] / "README.md"


@pytest.mark.slow
def test_the_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S)
    names: dict[str, object] = {}
    exec(example, names)
    assert capsys.readouterr().out.startswith("MAE and BCE, mean over tasks, each the mean of")
    assert (tmp_path / "model.pt").is_file()
