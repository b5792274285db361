from __future__ import annotations

import ctypes
import errno
import io
import json
import os
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from molpool_common._cache import CacheWarning
from molpool_common._cli import (
    guarded,
    interruption,
    parse_config,
    rewriting,
    take_config,
)
from molpool_common._config import ConfigModel, YamlDocument, dump_config
from molpool_common._errors import InputError
from molpool_common._process import heed_ctrl_c
from pydantic import Field


def stop(error: BaseException) -> Any:
    def body() -> int | None:
        raise error

    return body


class TestGuarded:
    @pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (3, 3)])
    def test_body_that_ends(self, returned: int | None, code: int) -> None:
        assert guarded("p", lambda: returned) == code

    def test_users_error_is_one_message_and_2(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert guarded("p", stop(InputError("x", expected="a", found="b"))) == 2
        assert capsys.readouterr().err == "p: x: expected a; found b.\n"

    def test_any_exception_with_an_exit_code_counts(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        class FamilyError(ValueError):
            exit_code = 2

        assert guarded("p", stop(FamilyError("of a package"))) == 2
        assert capsys.readouterr().err == "p: of a package\n"

    def test_fault_of_ours_keeps_its_traceback(self) -> None:
        with pytest.raises(ZeroDivisionError):
            guarded("p", stop(ZeroDivisionError()))

    @pytest.mark.parametrize("wrapped", [False, True])
    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EFBIG, errno.EIO])
    def test_a_refusal_of_the_system_is_one_message_with_a_cure(
        self, capsys: pytest.CaptureFixture[str], number: int, wrapped: bool
    ) -> None:
        def body() -> None:
            try:
                raise OSError(number, os.strerror(number), "run/model.pt")
            except OSError as error:
                if wrapped:
                    raise RuntimeError("of a library") from error
                raise

        assert guarded("p", body) == 1
        said = capsys.readouterr().err
        assert said.startswith(f"p: 'run/model.pt': {os.strerror(number)}. ")
        assert said.count("\n") == 1
        assert "--resume" in said

    def test_a_full_disk_is_told_by_the_file_that_is_written(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = os.strerror(errno.ENOSPC)
        assert guarded("p", stop(OSError(f"{words} (os error {errno.ENOSPC})"))) == 1  # polars
        assert guarded("p", stop(OSError(errno.ENOSPC, words, "/tmp/x", None, "model.pt"))) == 1
        first, second = capsys.readouterr().err.splitlines()
        assert first.startswith(f"p: {words}. Free")
        assert second.startswith(f"p: 'model.pt': {words}. Free")

    @pytest.mark.parametrize("kind", [UserWarning, CacheWarning])
    def test_warnings_for_users_are_a_line_of_text(self, kind: type[Warning]) -> None:
        said: list[str] = []
        guarded("tool", lambda: said.append(warnings.formatwarning("slow", kind, "x.py", 1)))
        assert said == ["tool: warning: slow\n"]

    def test_interrupt(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert guarded("p", stop(KeyboardInterrupt())) == 130
        assert (
            capsys.readouterr().err
            == "\np: Interrupted. The same command starts again from the beginning.\n"
        )

    def test_a_second_interrupt_does_not_take_the_advice_away(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def stopped_twice() -> None:
            with interruption("Go on with: p --resume"):
                try:
                    raise KeyboardInterrupt
                finally:
                    raise KeyboardInterrupt  # while the first is logged

        assert guarded("p", stopped_twice) == 130
        assert capsys.readouterr().err == "\np: Go on with: p --resume\n"

    def test_the_innermost_advice_is_given(self) -> None:
        with (
            pytest.raises(KeyboardInterrupt, match="inner"),
            interruption("outer"),
            interruption("inner"),
        ):
            raise KeyboardInterrupt

    def test_interrupt_with_advice(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert guarded("p", stop(KeyboardInterrupt("Go on with: p --resume"))) == 130
        assert "Go on with: p --resume" in capsys.readouterr().err

    @pytest.mark.parametrize(("value", "code"), [(0, 0), (2, 2), (None, 0), ("text", 1)])
    def test_exit_of_a_library(self, value: Any, code: int) -> None:
        assert guarded("p", stop(SystemExit(value))) == code

    def test_sigterm_is_an_interrupt_and_the_handler_is_put_back(self) -> None:
        before = signal.getsignal(signal.SIGTERM)
        assert guarded("p", lambda: os.kill(os.getpid(), signal.SIGTERM)) == 130
        assert signal.getsignal(signal.SIGTERM) is before

    def test_runs_outside_the_main_thread(self) -> None:
        codes: list[int] = []
        thread = threading.Thread(target=lambda: codes.append(guarded("p", lambda: 7)))
        thread.start()
        thread.join()
        assert codes == [7]


PROGRAM = """
import sys
from molpool_common._cli import guarded

def body():
    for i in range(100_000):
        print("a line of output that fills the pipe", i)

sys.exit(guarded("p", body))
"""


@pytest.mark.slow
def test_reader_that_leaves_is_no_fault() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(timeout=60) == 0
    assert said == b""


@pytest.mark.slow
def test_fault_of_ours_ends_a_process_with_1() -> None:
    code = (
        "import sys; from molpool_common._cli import guarded; sys.exit(guarded('p', lambda: 1/0))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 1
    assert "Traceback" in ended.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="takes the handler away as C code does")
def test_ctrl_c_is_heeded_again_after_a_library_took_it_away() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    libc = ctypes.CDLL(None)
    libc.signal.argtypes, libc.signal.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
    try:
        ignore = 1
        libc.signal(signal.SIGINT, ignore)
        signal.raise_signal(signal.SIGINT)  # swallowed
        heed_ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


class TestTakeConfig:
    @pytest.mark.parametrize("form", [["--config", "c.yaml"], ["--config=c.yaml"]])
    def test_both_forms_anywhere(self, form: list[str]) -> None:
        assert take_config(["--a", "1", *form, "--b"]) == (Path("c.yaml"), ["--a", "1", "--b"])

    def test_none(self) -> None:
        assert take_config(["--configure", "x"]) == (None, ["--configure", "x"])

    def test_without_a_name(self) -> None:
        with pytest.raises(InputError, match="--config: expected a file name after it"):
            take_config(["--config"])


class Part(ConfigModel):
    rate: float = 1.0
    steps: int = Field(1, ge=1)


class Whole(ConfigModel):
    name: str = "x"
    part: Part = Field(default_factory=Part)
    maybe: Part | None = None
    table: dict[str, float] = Field(default_factory=dict)


def parse(*argv: str, **options: Any) -> Whole:
    return parse_config(Whole, argv, prog="p", description="D.", **options)


def test_only_what_file_and_flags_say_counts_as_set(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("part: {steps: 3}\n")
    found = parse("--config", str(file), "--part.rate", "1.0")
    assert found.model_fields_set == {"part"}
    assert found.part.model_fields_set == {"steps", "rate"}
    assert parse("--name", "y").model_fields_set == {"name"}
    assert parse("--part.steps=2").part.model_fields_set == {"steps"}


class TestParseConfig:
    @pytest.fixture
    def file(self, tmp_path: Path) -> str:
        path = tmp_path / "c.yaml"
        path.write_text("name: file\npart: {rate: 2, steps: 3}\ntable: {a: 1}\nmaybe: {steps: 4}\n")
        return str(path)

    def test_defaults(self) -> None:
        assert parse() == Whole()

    def test_flags_override_the_file_key_by_key(self, file: str) -> None:
        config = parse("--config", file, "--part.rate", "5", "--name", "flag")
        assert config.name == "flag"
        assert config.part == Part(rate=5, steps=3)
        assert config.maybe == Part(steps=4)

    def test_a_mapping_is_replaced_as_a_whole(self, file: str) -> None:
        assert parse("--config", file, "--table", "b", "2").table == {"b": 2.0}

    def test_wrong_value_of_the_file_is_named_even_where_a_flag_overrides(
        self, tmp_path: Path
    ) -> None:
        path = tmp_path / "c.yaml"
        path.write_text("part: {steps: 0}\n")
        with pytest.raises(InputError, match=r"part\.steps \(c\.yaml, line 1\)"):
            parse("--config", str(path), "--part.steps", "2")

    def test_migration_comes_before_validation(self, tmp_path: Path) -> None:
        path = tmp_path / "c.yaml"
        path.write_text("old_name: y\n")

        def migrate(document: YamlDocument) -> YamlDocument:
            return YamlDocument({"name": document.data["old_name"]}, document.source)

        assert parse("--config", str(path), migrate=migrate).name == "y"

    @given(
        base=st.builds(Part, rate=st.floats(-1e9, 1e9), steps=st.integers(1, 99)),
        rate=st.none() | st.floats(-1e9, 1e9),
        steps=st.none() | st.integers(1, 99),
    )
    def test_each_flag_changes_its_key_and_no_other(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        base: Part,
        rate: float | None,
        steps: int | None,
    ) -> None:
        path = tmp_path_factory.getbasetemp() / "overlay.yaml"
        path.write_text(dump_config(Whole(part=base)))
        flags = [f"--part.rate={rate!r}"] if rate is not None else []
        flags += [f"--part.steps={steps}"] if steps is not None else []
        given = {k: v for k, v in (("rate", rate), ("steps", steps)) if v is not None}
        config = parse("--config", str(path), *flags)
        assert config == Whole(part=base.model_copy(update=given))


def test_rewritten_keys_are_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    def rewrite(data: Any) -> tuple[dict[str, Any], list[str]]:
        return ({"new": data["old"]}, ["old: now new."]) if "old" in data else (data, [])

    migrate = rewriting(rewrite)
    untouched = YamlDocument({"new": 1}, "a.yaml")
    assert migrate(untouched) is untouched
    assert capsys.readouterr().err == ""
    assert migrate(YamlDocument({"old": 1}, "a.yaml")).data == {"new": 1}
    assert capsys.readouterr().err == "a.yaml: old: now new.\n"


SINK = io.BytesIO()
pl.DataFrame({"x": [1.5]}).write_parquet(SINK)
OTHER_SCHEMA = SINK.getvalue().replace(b"/////", b"~~~~~", 1)


@pytest.mark.parametrize(
    ("raising", "says"),
    [
        (lambda: [0] * (1 << 60), "memory: expected"),
        (lambda: Path("x" * 300).stat(), "path: expected one that a file can have"),
        (lambda: json.loads("[" * 100_000), "JSON: expected"),
        (lambda: pl.read_parquet(io.BytesIO(b"PAR1 and no more")), "Parquet: expected"),
        (lambda: pl.read_parquet(io.BytesIO(OTHER_SCHEMA)), "Parquet: expected"),
    ],
)
def test_what_no_machine_has_is_the_users_to_mend(
    raising: Any, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert guarded("prog", raising) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"prog: {says}"), said
    assert len(said) < 400
