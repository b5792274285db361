from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import distribution, version
from pathlib import Path

import molpool
import pytest
from molpool.cli import SUMMARIES, main

pytestmark = pytest.mark.core


NAMES: list[str] = molpool.__all__  # pyrefly: ignore[missing-attribute]
HEAVY = {"torch", "pymc", "rdkit", "mlflow", "polars", "pydantic", "numpy"}


def test_import_is_light() -> None:
    code = f"import sys, molpool; print({HEAVY} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("name", [n for n in NAMES if n != "__version__"])
def test_names_lead_somewhere(name: str) -> None:
    assert getattr(molpool, name).__name__ == name


def test_what_is_listed_is_what_is_public() -> None:
    assert dir(molpool) == sorted(NAMES)


def test_the_stub_lists_the_same_names() -> None:
    stub = Path(molpool.__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    found = re.findall(r"^from (\S+) import (\w+) as (\w+)$", stub, re.M)
    assert {name: home for home, name, _ in found} == molpool._HOMES  # pyrefly: ignore[missing-attribute]


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = molpool.no_such_name  # pyrefly: ignore[missing-attribute]


def test_every_command_is_a_script_of_this_distribution() -> None:
    scripts = {s.name: s.value for s in distribution("molpool").entry_points}
    assert scripts == {"molpool": "molpool.script:main"} | {
        f"molpool-{name}": f"molpool_{name}.script:main" for name in SUMMARIES
    }


@pytest.mark.parametrize("name", sorted(SUMMARIES))
def test_one_word_more_is_the_same_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    assert f"usage: molpool-{name}" in capsys.readouterr().out


def test_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian", "chemprop"]) == 2
    assert "train" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], *([name] for name in sorted(SUMMARIES))])
def test_every_command_tells_its_version(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--version"]) == 0
    name = "-".join(["molpool", *arguments])
    assert capsys.readouterr().out == f"{name} {version(name)}\n"


def test_subcommands_tell_the_version_of_their_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "chemprop", "--version"]) == 0
    assert capsys.readouterr().out == f"molpool-train {version('molpool-train')}\n"


class TestDoctor:
    def test_tables(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["doctor"]) == 0
        out = capsys.readouterr().out
        assert f"molpool-common     │ {version('molpool-common')}" in out
        assert "All that is installed fits together." in out

    def test_json(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["doctor", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["ours"]["molpool"] == version("molpool")

    def test_unknown_argument(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["doctor", "--jsn"]) == 2
        assert "flag: expected a known one; found '--jsn'" in capsys.readouterr().err
