"""Help answers at once: it imports nothing that takes seconds."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.core


HEAVY = {"torch", "lightning", "chemprop", "sklearn", "rdkit", "mlflow", "matplotlib", "polars"}

RUNNER = """
import json, sys
from molpool_train.cli import main
code = main(sys.argv[1:])
sys.stderr.write(json.dumps([code, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def ask(*arguments: str) -> tuple[int, set[str], str]:
    """Return exit code, top-level modules imported and the text printed."""
    ended = subprocess.run(
        [sys.executable, "-c", RUNNER, *arguments], capture_output=True, text=True, check=True
    )
    code, modules = json.loads(ended.stderr)
    return code, set(modules), ended.stdout


@pytest.mark.slow
@pytest.mark.parametrize("command", ["", "chemprop", "mil", "auto", "tabular", "blend"])
def test_help_imports_nothing_heavy(command: str) -> None:
    code, modules, text = ask(*command.split(), "--help")
    assert code == 0
    assert not modules & HEAVY
    assert "usage: molpool-train" in text


@pytest.mark.slow
def test_overview_lists_the_commands() -> None:
    _, _, text = ask("-h")
    assert re.search(r"chemprop +train a multi-task Chemprop model", text)


@pytest.mark.slow
def test_help_of_a_command_shows_flags_defaults_and_sections() -> None:
    _, _, text = ask("chemprop", "--help")
    for flag in (
        "--data-path",
        "--training.epochs INT",
        "--joint-sampling.task-oversampling.alpha",
    ):
        assert flag in text
    assert "--resume [{true,false}]" in text
    assert "--config FILE gives any of these keys" in text
    assert "Optimisation: Adam with a linear warm-up" in text
    assert "Values of one section" not in text


@pytest.mark.slow
def test_configuration_that_is_wrong_imports_nothing_heavy() -> None:
    """A mistyped flag must not cost the import of torch either."""
    ended = subprocess.run(
        [sys.executable, "-c", RUNNER, "chemprop", "--training.epoch", "3"],
        capture_output=True,
        text=True,
        check=True,
    )
    message, _, state = ended.stderr.rpartition("\n")
    code, modules = json.loads(state)
    assert code == 2
    assert "Did you mean '--training.epochs'?" in message
    assert not set(modules) & HEAVY
