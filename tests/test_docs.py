"""What the pages show works: command lines parse, names exist, every flag is in the reference."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal
from unittest import mock

import pytest
from molpool.cli import PROGRAM as MOLPOOL
from molpool_common import Command, ConfigModel, flag_names
from pydantic import Field

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS / "_ext"))

import links  # noqa: E402
import reference  # noqa: E402
import shown  # noqa: E402
import typed  # noqa: E402

PAGES = sorted(
    p
    for p in (*ROOT.glob("*.md"), *ROOT.glob("*/*/README.md"), *DOCS.glob("**/*.md"))
    if "generated" not in p.parts and "_build" not in p.parts
)
SCRIPTS = sorted(p for folder in ("gallery", "notebooks") for p in (DOCS / folder).glob("*.py"))
CONFIG = "{data_path: assays.csv}\n"
"""Of a configuration that a page names and does not show."""


class Parsed(SystemExit):
    """Ends a command once its arguments are understood."""


def write_configs(page: str, words: list[str]) -> None:
    """Write the configurations that a command line names, as the page shows them."""
    shown = {s.kind.split()[1]: s.text for s in typed.steps(page) if s.kind.startswith("file ")}
    for flag, value in pairwise(words):
        if flag == "--config" and not Path(value).exists():
            Path(value).write_text(shown.get(value, CONFIG), encoding="utf-8")


def stop_after_parsing() -> Any:
    """Return within what a command parses its arguments and does nothing else."""
    parse = Command.parse

    def parse_and_stop(command: Command, *arguments: Any) -> None:
        parse(command, *arguments)
        raise Parsed(0)

    return mock.patch.object(Command, "parse", parse_and_stop)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_command_line_is_understood_by_its_command(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    text = page.read_text(encoding="utf-8")
    lines = list(shown.command_lines(text))
    wrong = []
    for program, *words in lines:
        if program == "molpool" and words[0] in reference.APPS:
            program = f"molpool-{words.pop(0)}"
        write_configs(text, words)
        cli = importlib.import_module(f"{program.replace('-', '_')}.cli")
        with stop_after_parsing():
            if cli.main(words):
                wrong.append(f"{program} {shlex.join(words)}: {capsys.readouterr().err}")
    assert not wrong, "\n".join(wrong)


FLAGS = {words: {n for flag in own for n in flag.names} for words, own in MOLPOOL.flags().items()}
"""Flags of each command by its words; none of a program that needs a command."""
SHARED = {"--help", "--help-all", "--version", "--quiet", "--json", "--completion"}
SHARED |= {"--config", "--engine", "--scheduler-address"}
OTHERS = ("chemprop predict", "torchrun", "mlflow")
SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
FLAG = re.compile(r"(?<![\w-])--[a-z][\w.-]*\w")


def flags_of_scripts(text: str) -> set[str]:
    """Return the flags of the studies and scripts that a text names."""
    found = (ROOT / name for name in set(re.findall(r"(?:studies|scripts)/[\w-]+(?:\.py)?", text)))
    sources = (path.read_text(encoding="utf-8") for path in found if path.is_file())
    return {flag for source in sources for flag in FLAG.findall(source)}


def flags_of_command(span: str) -> set[str]:
    """Return the flags of the command that a text begins with, those of all where it is none."""
    words = tuple(span.removeprefix("uv run ").split())
    if words[:1] not in FLAGS:
        return set().union(*FLAGS.values())
    depth = next(i for i in range(len(words), 0, -1) if words[:i] in FLAGS)
    unknown = words[depth : depth + 1]
    assert FLAGS[words[:depth]] or not unknown or not re.match("[a-z]", unknown[0]), span
    return FLAGS[words[:depth]]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_and_flags_within_text_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    of_scripts = flags_of_scripts(text)
    for span in (" ".join(found.split()) for found in SPAN.findall(text)):
        if not span.startswith(OTHERS):
            assert set(FLAG.findall(span)) <= SHARED | of_scripts | flags_of_command(span), span


EVERY = SHARED.union(*FLAGS.values())
NO_FLAGS = {"--upgrade", "--read", "--reproduce"}
"""Of pip, the beginning of others, and a flag of earlier versions that is answered with today's."""


def test_commands_and_flags_that_messages_name_exist() -> None:
    said = []
    for path in ROOT.glob("*/*/src/**/*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        of_docs = {
            id(node.body[0].value)
            for node in nodes
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        texts = [n for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)]
        named = {f for n in texts if id(n) not in of_docs for f in FLAG.findall(str(n.value))}
        assert named <= EVERY | NO_FLAGS, path
        said += [found for node in nodes if (found := next_words(node))]
    # What commands print under "Next:" is written as words.
    assert len(said) >= 8
    for words in said:
        assert set(FLAG.findall(words)) <= SHARED | flags_of_command(words), words


def next_words(node: ast.AST) -> str:
    """Return the command line that a tuple or list of a source spells out, with X for values."""
    if not isinstance(node, ast.Tuple | ast.List) or len(node.elts) < 2:
        return ""
    words = [e.value if isinstance(e, ast.Constant) else "X" for e in node.elts]
    return " ".join(map(str, words)) if re.fullmatch("molpool(-[a-z]+)?", str(words[0])) else ""


@pytest.mark.parametrize("app", reference.APPS)
def test_the_readme_of_an_app_shows_every_command_of_it(app: str) -> None:
    text = (ROOT / "apps" / app / "README.md").read_text(encoding="utf-8")
    words = reference.program_of(app).commands
    assert not [w for w in words if w and not re.search(rf"[ `#]{w}\b", text)]


def public(module: str) -> set[str] | None:
    """Return the public names of a module of ours, None of another's."""
    found = [*ROOT.glob(f"*/*/src/{module.replace('.', '/')}/__init__.pyi")]
    return set(reference.public_names(found[0])) if found else None


def imported(source: str) -> Iterator[tuple[str, str]]:
    """Yield the names that a script imports, with their modules."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, alias.name) for alias in node.names)


@pytest.mark.parametrize("path", [*SCRIPTS, *PAGES], ids=lambda p: str(p.relative_to(ROOT)))
def test_names_that_snippets_import_are_public(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    blocks = [text] if path.suffix == ".py" else re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    for module, name in (pair for block in blocks for pair in imported(block)):
        names = public(module)
        assert names is None or name in names, f"{module}.{name}"


def test_each_picture_and_notebook_is_numbered_and_titled() -> None:
    for path in SCRIPTS:
        assert re.match(r"(plot_\d\d|run_\d)_", path.name), path.name
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        title, rule, *_ = text.splitlines()
        assert set(rule) == {"="}
        assert len(rule) == len(title), path.name


class Part(ConfigModel):
    share: float = Field(0.5, gt=0, le=1, description="of | rows")


class Whole(ConfigModel):
    mode: Literal["a", "b"] = Field("a", description="which")
    names: list[str] = Field(default_factory=list, description="several")
    size: Annotated[int | None, Field(ge=1)] = Field(None, description="how many")
    part: Part = Field(default_factory=Part)


def test_a_key_is_shown_with_what_it_takes_its_default_and_meaning() -> None:
    found = {key.name: key for key in reference.keys_of(Whole)}
    assert found["mode"] == reference.Key("mode", "a, b", "a", "which")
    assert found["names"] == reference.Key("names", "list of text", "[]", "several")
    assert found["size"].type == "whole number ≥ 1 or none"
    assert found["part.share"].type == "number > 0 ≤ 1"
    assert reference.escaped("of | rows, ``a|b`` and *") == r"of \| rows, ``a|b`` and \*"


def test_the_reference_has_every_flag_of_every_command() -> None:
    pages = list(reference.commands())
    assert len({page.prog for page in pages}) == len(pages) > 25
    for page in pages:
        keys = {"--" + key.name.replace("_", "-") for key in reference.keys_of(page.model)}
        aliases = {f for f in flag_names(page.model) if f not in keys}
        # What is left are short spellings of keys that have a dotted name.
        assert not {f for f in aliases if "." in f}, page.prog


def test_a_page_is_typed_as_it_stands(tmp_path: Path) -> None:
    page = (
        "```console\n$ pip install this\n$ echo 3.5 of \\\n   4   # both\n```\n\n"
        "```text\n1.25 of 7\n```\n\n```{code-block} yaml\n:caption: a.yaml\nkey: 1\n```\n"
    )
    found = list(typed.steps(page))
    assert [s.kind for s in found] == ["command", "command", "text", "file a.yaml"]
    printed = ""
    for step in found:
        printed = typed.perform(step, tmp_path, printed)
    assert (tmp_path / "a.yaml").read_text() == "key: 1\n"
    with pytest.raises(AssertionError, match="not printed"):
        typed.perform(typed.Step("text", "5 of none"), tmp_path, printed)
    with pytest.raises(AssertionError, match="exit code 3"):
        typed.perform(typed.Step("command", "exit 3"), tmp_path, "")


def test_a_line_of_a_page_is_run_with_less_to_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = shown.smaller("molpool", ["train", "auto", "--cv.folds", "5", "--model", "gp"])
    assert words[:6] == ["train", "auto", "--cv.folds", "2", "--model", "gp"]
    assert words[6:] == ["--features", "maccs", "--folds", "2", "--baselines", "none"]
    monkeypatch.chdir(tmp_path)
    lines = "molpool-data demo --output a.csv --n 100\n$ molpool-data describe b.csv"
    (tmp_path / "a.md").write_text(f"```console\n$ {lines}\n$ molpool-data fetch biogen\n```\n")
    (_, good), (line, wrong) = shown.run_page(tmp_path / "a.md")
    assert good is None
    assert (tmp_path / "a.csv").is_file()
    assert line == "molpool-data describe b.csv"
    assert wrong is not None
    assert wrong.startswith("exit code 2")


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<a id="top" href="b.html#part"></a><a href="#top"></a><a href="https://e.org/x"></a>'
        '<img src="no%20file.png"><a href="b.html#gone"></a>'
    )
    (tmp_path / "b.html").write_text('<p id="part">')
    assert links.broken(tmp_path) == ["a.html: b.html#gone", "a.html: no%20file.png"]
