"""The README's example."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from molecule_features import FeatureSet

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


@pytest.mark.core
def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.S)
    assert len(example.splitlines()) <= 10
    exec(example, {})
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("(5, 2431) [('rdkit2d', 'descriptor', 216)")
    assert [line[0] for line in said[1:3]] == ["3", "4"]
    assert "empty" in said[2]


def test_the_table_of_featurisers_is_true() -> None:
    rows = re.findall(r"^\| (`[a-z].*?) \| ([\d ]+) \| (.*?) \|", README, re.M)
    for names, width, kinds in rows:
        for name, kind in zip(re.findall(r"`(\w+)`", names), kinds.split(", "), strict=True):
            if name.startswith(("admet", "mordred")):
                continue
            found = FeatureSet.named(name)
            assert (found.width, found.blocks[0].kind) == (int(width.replace(" ", "")), kind)
