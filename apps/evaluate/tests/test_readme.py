"""Commands and keys that the documents name exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from molpool_common import parse_config
from molpool_pipelines.models import PredictConfig
from molpool_pipelines.reports import ReportConfig
from molpool_pipelines.scores import CompareConfig, ScoreConfig
from pydantic import BaseModel

APP = Path(__file__).parents[1]
GUIDE = APP.parents[1] / "docs" / "comparing.md"
DOCUMENTS = [d for d in (APP / "README.md", GUIDE) if d.is_file()]
CONFIGS: dict[str, type[BaseModel]] = {
    "predict": PredictConfig,
    "score": ScoreConfig,
    "compare": CompareConfig,
    "report": ReportConfig,
}


def commands(text: str) -> Iterator[list[str]]:
    """Yield the arguments of each molpool-evaluate that a document shows, lines joined."""
    joined = text.replace("\\\n", " ")
    for line in re.findall(r"^(?:    )?molpool-evaluate (.*)$", joined, re.MULTILINE):
        yield shlex.split(line)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.stem)
def test_commands_that_are_shown_can_be_parsed(document: Path) -> None:
    shown = list(commands(document.read_text(encoding="utf-8")))
    assert shown
    for name, *arguments in shown:
        assert parse_config(CONFIGS[name], arguments, prog=name, description="")


def test_the_readme_shows_every_command() -> None:
    shown = {name for name, *_ in commands((APP / "README.md").read_text(encoding="utf-8"))}
    assert shown == set(CONFIGS)
