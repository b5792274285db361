"""Every command that reads a table takes the section ``read``, and takes it alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from molpool_affinity import cli as affinity
from molpool_data import cli as data
from molpool_evaluate import cli as evaluate
from molpool_hpo import cli as hpo
from molpool_rt import cli as rt
from molpool_train import cli as train

COMMANDS = [
    *((train.main, name) for name in ("chemprop", "tabular", "blend", "mil")),
    *((hpo.main, name) for name in ("chemprop", "mil")),
    *((evaluate.main, name) for name in ("predict", "score", "compare")),
    *((rt.main, name) for name in ("prepare", "fit", "predict", "evaluate", "run")),
    (data.main, "describe"),
    (affinity.main, None),
]


def told(
    command: Callable[[list[str]], int],
    name: str | None,
    flags: list[str],
    capsys: pytest.CaptureFixture[str],
) -> tuple[int, str]:
    """Return the exit code of a command, and what it prints."""
    words = [*([name] if name else []), *flags]
    if name == "describe":
        words.insert(1, "no table")
    try:
        code = command(words)
    except SystemExit as end:
        code = int(end.code or 0)
    printed = capsys.readouterr()
    return code, printed.out + printed.err


@pytest.mark.parametrize(("command", "name"), COMMANDS)
@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--read.separator", "xx"], "read.separator"),
        (["--read.encoding", "utf-99"], "read.encoding"),
    ],
)
def test_a_wrong_value_is_refused_before_anything_is_read(
    command: Callable[[list[str]], int],
    name: str | None,
    flags: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, said = told(command, name, flags, capsys)
    assert code == 2
    # Of a command without a configuration tyro words the message.
    assert words in said or (name == "describe" and "expected auto" in said)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("command", "name"), COMMANDS)
def test_right_values_are_taken(
    command: Callable[[list[str]], int],
    name: str | None,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = ["--read.separator", "tab", "--read.decimal", ",", "--read.encoding", "cp1252"]
    flags += ["--read.sheet", "one", "--read.quote", "none", "--read.missing", "NA", "?"]
    flags += ["--train", "no.csv", "--test", "no.csv"] if name == "run" else []
    code, said = told(command, name, flags, capsys)
    # Without a table, model or target there is nothing to do; of `read` nothing is wrong.
    assert code == 2
    assert "read." not in said
