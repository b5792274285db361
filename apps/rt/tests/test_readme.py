"""Commands and keys that the documents name exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import molpool_pipelines.retention as rt
import pytest
from molpool_common import flag_names
from molpool_rt.cli import PROGRAM

APP = Path(__file__).parents[1]
ROOT = APP.parents[1]
GUIDE = ROOT / "docs" / "retention.md"
DOCUMENTS = [d for d in (APP / "README.md", GUIDE) if d.is_file()]


def commands(text):
    """Yield the arguments of each molpool-rt that a document shows, lines joined."""
    joined = text.replace("\\\n", " ")
    for line in re.findall(r"^(?:\$ |    )(?:uv run )?molpool-rt (.*)$", joined, re.M):
        yield shlex.split(line)


@pytest.mark.skipif(
    not (ROOT / "configs").is_dir(), reason="the files that they name lie in the workspace"
)
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.stem)
def test_commands_that_are_shown_can_be_parsed(document, monkeypatch):
    monkeypatch.chdir(ROOT)
    shown = list(commands(document.read_text(encoding="utf-8")))
    assert shown
    for name, *arguments in shown:
        assert PROGRAM.commands[name].parse(name, arguments)


@pytest.mark.skipif(not GUIDE.is_file(), reason="the guide lies in the workspace")
def test_flags_that_the_guide_names_exist():
    flags = set(re.findall(r"`(--[a-z.-]+)", GUIDE.read_text(encoding="utf-8")))
    known = {f for command in PROGRAM.commands.values() for f in flag_names(command.model())}
    assert flags <= known


@pytest.mark.skipif(not GUIDE.is_file(), reason="the guide lies in the workspace")
def test_the_guide_names_the_keys_of_fit():
    text = GUIDE.read_text(encoding="utf-8")
    for key in rt.FitConfig.model_fields:
        shared = {"location_mean", "location_sd", "sigma_fixed", "priors", "sampling", "overwrite"}
        if key not in shared | {"data", "seed", "save_dir"}:
            assert f"`{key}`" in text, key
