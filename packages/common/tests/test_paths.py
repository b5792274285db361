"""Paths of configurations: home wherever `~` stands, and one place from any folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
from molpool_common import PATH, ConfigModel, absolute_paths, load_config, parse_config
from pydantic import Field


class Source(ConfigModel):
    """A table."""

    path: Annotated[str | None, PATH] = Field(None, description="file")


class Section(ConfigModel):
    """A section."""

    path: Annotated[str | None, PATH] = Field(None, description="file")
    several: Annotated[list[str], PATH] = Field(default_factory=list, description="files")
    sources: list[Source] = Field(default_factory=list, description="tables")


class Whole(ConfigModel):
    """A configuration."""

    save_dir: Annotated[str | None, PATH] = Field(None, description="folder")
    name: str = Field("~/not a path", description="a name")
    section: Section = Field(default_factory=Section)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of our own."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_tilde_is_home_in_yaml(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(
        "save_dir: ~/run\nsection: {path: '~/a.csv', several: [~/b, c], sources: [{path: ~/d}]}\n"
    )
    read = load_config(Whole, file)
    assert read.save_dir == str(home / "run")
    assert read.section.path == str(home / "a.csv")
    assert read.section.several == [str(home / "b"), "c"]
    assert read.section.sources[0].path == str(home / "d")
    assert read.name == "~/not a path"


def test_tilde_is_home_in_quoted_flags(home: Path) -> None:
    flags = ["--save-dir", "~/run", "--section.several", "~/a", "~/b"]
    read = parse_config(Whole, flags, prog="test", description="")
    assert read.save_dir == str(home / "run")
    assert read.section.several == [str(home / "a"), str(home / "b")]


def test_the_file_of_a_configuration_may_be_below_home(home: Path) -> None:
    home.mkdir()
    (home / "c.yaml").write_text("name: one\n")
    for flags in (["--config", "~/c.yaml"], ["--config=~/c.yaml"]):
        assert parse_config(Whole, flags, prog="test", description="").name == "one"


def test_a_user_who_is_not_there_stays_as_written() -> None:
    assert Whole(save_dir="~nobody-of-this-name/x").save_dir == "~nobody-of-this-name/x"


def test_absolute_paths_mean_the_same_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = Section(path="a.csv", several=["b", "/c"], sources=[Source(path="../d"), Source()])
    monkeypatch.chdir(tmp_path)
    stored = absolute_paths(Whole(save_dir="run", section=section))
    monkeypatch.chdir("/")
    assert stored.save_dir == str(tmp_path / "run")
    assert stored.section.path == str(tmp_path / "a.csv")
    assert stored.section.several == [str(tmp_path / "b"), "/c"]
    assert [s.path for s in stored.section.sources] == [str(tmp_path.parent / "d"), None]
    assert stored.name == "~/not a path"
    assert absolute_paths(stored) == stored


def test_addresses_stay() -> None:
    address = "postgresql://somebody@host/name"
    assert absolute_paths(Whole(save_dir=address)).save_dir == address
