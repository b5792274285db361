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
    examples = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S)
    # Each goes on where the one before it ended.
    names: dict[str, object] = {}
    for example in examples:
        exec(example, names)
    said = capsys.readouterr().out
    share = float(said.split()[0])
    # Half of the bags are active: about 0.5 without having learned anything.
    assert share > 0.85
    assert "attention" in said
    assert not list(tmp_path.iterdir())
