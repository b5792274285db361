from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from molpool_common import PATH, Command, ConfigModel, InputError, Program, answer, console
from molpool_common._completion import completion_script
from molpool_common._flags import with_subject
from molpool_common._parallel import engine_flags
from molpool_common._ranks import _STARTED
from pydantic import Field


class Layers(ConfigModel):
    """How the network is built."""

    width: int = Field(300, ge=1, description="units of a layer")


class Options(ConfigModel):
    """Things."""

    data_path: Annotated[str | None, PATH] = Field(None, description="table of molecules")
    mode: Literal["mean", "median"] = Field("mean", description="how rows are merged")
    names: list[str] = Field(default_factory=list, description="columns; one task each")
    dry_run: bool = False
    ratio: tuple[float, float] = (0.8, 0.2)
    layers: Layers = Field(default_factory=Layers)


STDOUT = [1]
"""What a library in C writes to."""


def _work(options: Options, argv: Sequence[str]) -> int | None:
    console().print(f"width {options.layers.width}")
    os.write(STDOUT[0], b"from a library\n")
    answer(
        steps=[("p", "predict", "--run", "a b")],
        width=options.layers.width,
        names=options.names,
        arguments=[*argv, *engine_flags()],
        scores=np.array([0.5, np.nan]),
        run=Path("runs"),
    )
    if options.mode == "median":
        raise InputError("mode", expected="mean", found="median")
    return 5 if options.dry_run else None


def _broken(options: Options, argv: Sequence[str]) -> None:
    raise ZeroDivisionError("ours")


FIT = Command(
    "fit it",
    "test_program:Options",
    _work,
    example="--data-path t.csv --layers.width 8",
    first=("--data-path", "--layers.width"),
    subject="--names",
)
OTHER = Command("predict it", "test_program:Options", _broken, takes_file=False)
PROGRAM = Program("molpool-common", "Does things.", {"fit": FIT, "predict": OTHER})
WHOLE = Program("molpool-all", "All.", {}, {"common": ("test_program:PROGRAM", "things")})


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setitem(sys.modules, "test_program", sys.modules[__name__])


class TestSelection:
    @pytest.mark.parametrize(("argv", "code"), [(["-h"], 0), (["--help"], 0), ([], 2)])
    def test_overview(self, argv: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
        assert PROGRAM(argv) == code
        text = capsys.readouterr().out
        assert text.startswith("usage: molpool-common COMMAND")
        assert "  fit      fit it\n  predict  predict it\n" in text

    def test_unknown_command(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert PROGRAM(["pedict"]) == 2
        said = capsys.readouterr().err
        assert "expected one of fit, predict; found 'pedict'. Did you mean 'predict'?" in said

    def test_arguments_of_the_process(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(sys, "argv", ["p", "fit", "--layers.width", "9"])
        assert PROGRAM() == 0
        assert "width 9\n" in capsys.readouterr().out

    @pytest.mark.parametrize("words", [["--version"], ["fit", "--names", "a", "--version"]])
    def test_version(self, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        assert PROGRAM(words) == 0
        assert capsys.readouterr().out == f"molpool-common {version('molpool-common')}\n"

    def test_a_part_is_a_program_of_its_own(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert WHOLE(["common", "fit", "--dry-run"]) == 5
        assert WHOLE(["comon"]) == 2
        assert "Did you mean 'common'?" in capsys.readouterr().err

    def test_several_processes_run_only_what_can_be_run_together(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for name, value in {
            _STARTED: "x",
            "WORLD_SIZE": "2",
            "RANK": "0",
            "LOCAL_RANK": "0",
        }.items():
            monkeypatch.setenv(name, value)
        assert PROGRAM(["fit"]) == 2
        assert "molpool-common fit: expected one process; found 2" in capsys.readouterr().err

    def test_the_engine_is_no_argument_of_the_command(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert PROGRAM(["fit", "--engine", "local", "--mode", "mean", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["arguments"] == ["--mode", "mean", "--engine", "local"]

    @pytest.mark.parametrize(
        ("flags", "said"),
        [
            (["--engine", "spark"], "--engine: expected local or dask; found 'spark'"),
            (["--scheduler-address=tcp://x:1"], "--scheduler-address: expected --engine dask"),
            (["--engine"], "--engine: expected a value after it; found nothing"),
        ],
    )
    def test_engines_that_there_are(
        self, flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert PROGRAM(["predict", *flags]) == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--layers.width"], "--layers.width: expected a value after it; found nothing."),
        (["--data_path", "--dry-run"], "--data_path: expected a value after it; found nothing."),
        (["--ratio", "1"], "--ratio: expected 2 values after it; found 1."),
    ],
)
def test_a_flag_without_its_value(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert PROGRAM(["fit", *words]) == 2
    assert capsys.readouterr().err == f"molpool-common: {said}\n"


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["a", "b", "--mode", "mean"], ["--names", "a", "b", "--mode", "mean"]),
        (["--mode", "mean", "a"], ["--names", "a", "--mode", "mean"]),
        (["--mode=mean", "a"], ["--names", "a", "--mode=mean"]),
        (["--dry-run", "a"], ["--names", "a", "--dry-run"]),
        (["--dry-run", "no", "a"], ["--names", "a", "--dry-run", "no"]),
        (["--ratio", "1", "2", "a"], ["--names", "a", "--ratio", "1", "2"]),
        (["--names", "a", "b"], ["--names", "a", "b"]),
        (["--unknown", "b"], ["--unknown", "b"]),
    ],
)
def test_the_subject_may_stand_without_its_flag(argv: list[str], expected: list[str]) -> None:
    assert with_subject(argv, "--names", Options) == expected


class TestHelp:
    def page(self, capsys: pytest.CaptureFixture[str], *words: str) -> str:
        assert PROGRAM(["fit", *words]) == 0
        return capsys.readouterr().out

    def test_first_come_an_example_and_what_matters(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        text = self.page(capsys, "--help")
        assert text.startswith("usage: molpool-common fit NAMES [OPTIONS]\n\nFit it.\n\nexample:\n")
        assert "  molpool-common fit --data-path t.csv --layers.width 8\n" in text
        assert "  --layers.width INT          units of a layer (default: 300)\n" in text
        assert "show all 6 options, or those of sections: layers 1" in " ".join(text.split())
        assert "--mode" not in text

    def test_all_of_it_by_section(self, capsys: pytest.CaptureFixture[str]) -> None:
        text = self.page(capsys, "--help-all")
        assert "--mode {mean,median}" in text
        assert "--names [TEXT ...]          columns; one task each\n" in text
        assert "--dry-run [{true,false}]    (default: false)\n" in text
        assert "--ratio FLOAT FLOAT         (default: 0.8 0.2)\n" in text
        assert "\nlayers:\n  How the network is built.\n" in text
        assert "--config FILE" in text

    def test_one_section(self, capsys: pytest.CaptureFixture[str]) -> None:
        text = self.page(capsys, "--help-all", "layers")
        assert "--layers.width" in text
        assert "--mode" not in text
        assert PROGRAM(["fit", "--help-all", "layer"]) == 2
        assert "Did you mean 'layers'?" in capsys.readouterr().err

    def test_a_command_that_takes_no_file_does_not_say_so(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert PROGRAM(["predict", "--help"]) == 0
        assert "--config" not in capsys.readouterr().out


class TestAnswer:
    def run(self, capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
        STDOUT[0] = sys.stdout.fileno()
        code = PROGRAM(["fit", *words])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    def test_text_ends_with_what_comes_next(self, capfd: pytest.CaptureFixture[str]) -> None:
        code, out, err = self.run(capfd)
        assert (code, err) == (0, "")
        assert "from a library\n" in out
        assert out.endswith("Next:\n  p predict --run 'a b'\n")

    def test_what_failed_has_no_next(self, capfd: pytest.CaptureFixture[str]) -> None:
        code, out, _ = self.run(capfd, "--dry-run")
        assert code == 5
        assert "Next:" not in out

    def test_json_alone_is_on_standard_output(self, capfd: pytest.CaptureFixture[str]) -> None:
        code, out, err = self.run(capfd, "--json", "--names", "é")
        assert code == 0
        assert json.loads(out) == {
            "command": "molpool-common fit",
            "exit_code": 0,
            "width": 300,
            "names": ["é"],
            "arguments": ["--names", "é", *engine_flags()],
            "scores": [0.5, None],
            "run": "runs",
            "next": ["p predict --run 'a b'"],
        }
        assert "width 300\n" in err
        assert "from a library\n" in err

    def test_json_of_a_mistake(self, capfd: pytest.CaptureFixture[str]) -> None:
        code, out, err = self.run(capfd, "--json", "--mode", "median")
        found = json.loads(out)
        assert (code, found["exit_code"]) == (2, 2)
        assert found["error"] == "mode: expected mean; found median."
        assert found["error"] in err

    def test_json_of_a_fault_of_ours(self, capfd: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(ZeroDivisionError):
            PROGRAM(["predict", "--json"])
        found = json.loads(capfd.readouterr().out)
        assert (found["exit_code"], found["error"]) == (1, "ZeroDivisionError('ours')")

    @pytest.mark.parametrize("flags", [["--quiet"], ["--quiet", "true"], ["--quiet=yes"]])
    def test_quiet(self, flags: list[str], capfd: pytest.CaptureFixture[str]) -> None:
        assert self.run(capfd, *flags) == (0, "", "")
        code, out, err = self.run(capfd, *flags, "--mode", "median")
        assert (code, out) == (2, "")
        assert err.startswith("molpool-common: mode: expected mean")

    def test_flags_may_be_taken_back(self, capfd: pytest.CaptureFixture[str]) -> None:
        assert "width 300" in self.run(capfd, "--quiet", "false", "--json=no")[1]

    def test_nobody_asks_in_a_notebook(self, capfd: pytest.CaptureFixture[str]) -> None:
        answer(unasked=3)
        assert capfd.readouterr() == ("", "")
        # Nor is it kept for the next command that is asked.
        assert "unasked" not in json.loads(self.run(capfd, "--json")[1])


class TestCompletion:
    def words(self, tmp_path: Path, *typed: str) -> list[str]:
        import subprocess

        script = tmp_path / "complete.bash"
        script.write_text(completion_script("bash", WHOLE.flags()))
        asking = (
            f'source {script}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _molpool; '
            'printf "%s\n" "${COMPREPLY[@]}"'
        )
        done = subprocess.run(
            ["bash", "-c", asking, "-", *typed], capture_output=True, text=True, check=True
        )
        return done.stdout.split()

    @pytest.mark.parametrize(
        ("typed", "expected"),
        [
            (["molpool-all", ""], {"common"}),
            (["molpool-all", "common", ""], {"fit", "predict"}),
            (["molpool-common", "f"], {"fit"}),
            (["/usr/bin/molpool-common", "fit", "--la"], {"--layers.width"}),
            (["molpool-all", "common", "fit", "--mode", ""], {"mean", "median"}),
            (["molpool-common", "fit", "--dry-run", "t"], {"true"}),
            (["molpool-common", "fit", "--q"], {"--quiet"}),
            (["molpool-common", "fit", "--data-path", ""], set()),
        ],
    )
    def test_bash(self, typed: list[str], expected: set[str], tmp_path: Path) -> None:
        assert set(self.words(tmp_path, *typed)) == expected

    def test_fish_and_zsh(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert PROGRAM(["--completion", "fish"]) == 0
        out = capsys.readouterr().out
        assert (
            "complete -c molpool-common -n '__fish_seen_subcommand_from fit' -l mode "
            "-xa 'mean median' -d 'how rows are merged'"
        ) in out.splitlines()
        assert PROGRAM(["--completion", "zsh"]) == 0
        assert "bashcompinit" in capsys.readouterr().out
        assert PROGRAM(["--completion", "csh"]) == 2
        assert "expected bash or zsh or fish; found 'csh'" in capsys.readouterr().err


def test_help_where_the_screen_has_only_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    from molpool_common._help import print_help

    out: Any = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    print_help("R² – 95 %\n")
    out.flush()
    assert out.buffer.getvalue() == b"R? ? 95 %\n"
