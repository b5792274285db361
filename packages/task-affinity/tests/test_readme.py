from __future__ import annotations

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.core


README = Path(__file__).parents[1] / "README.md"


def test_the_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S)
    exec(example, {})
    assert capsys.readouterr().out.splitlines()[0] == (
        "[['LogD', 'KSOL'], ['PAMPA', 'hERG', 'CLint']]"
    )
    assert {p.name for p in tmp_path.iterdir()} == {"heatmap.png", "groups.json"}
