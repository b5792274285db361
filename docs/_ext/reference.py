"""Pages of the reference, written before each build from what they are about.

A package's page is its README and every name of its `.pyi`; a command's page lists the keys of the
configuration that its parser fills. Nothing of it is kept in the repository.
"""

from __future__ import annotations

import ast
import importlib
import re
import shutil
import tomllib
import types
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from molpool_common import Program, flag_names
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent
OUT = DOCS / "reference" / "generated"
PROJECTS = {
    path.parent: tomllib.loads(path.read_text(encoding="utf-8"))["project"]["name"]
    for path in sorted(ROOT.glob("*/*/pyproject.toml"))
}
"""Folder and name of every package and app."""
APPS = ("train", "hpo", "affinity", "rt", "evaluate", "data")


def setup(app: Any) -> dict[str, Any]:
    """Register what the site adds to Sphinx."""
    app.connect("builder-inited", write_reference)
    app.connect("source-read", local_links)
    app.connect("autodoc-skip-member", skip_library_members)
    return {"parallel_read_safe": True}


def write_reference(_app: Any) -> None:
    """Write the pages of packages, modules and commands."""
    shutil.rmtree(OUT, ignore_errors=True)
    for folder in ("packages", "api", "commands"):
        (OUT / folder).mkdir(parents=True)
    for project in PROJECTS:
        write_project(project)
    for command in commands():
        page = OUT / "commands" / f"{command.prog.replace(' ', '-')}.rst"
        page.write_text(command_page(command), encoding="utf-8")


def write_project(project: Path) -> None:
    """Write the page of a package or app, and those of its modules."""
    modules = [p for p in sorted(project.glob("src/**/__init__.pyi")) if public_names(p)]
    text = links_from((project / "README.md").read_text(encoding="utf-8"), project)
    if modules:
        text += "\n## Every public name\n\n```{toctree}\n:maxdepth: 1\n\n"
        text += "\n".join(f"../api/{module_of(m)}" for m in modules) + "\n```\n"
    (OUT / "packages" / f"{PROJECTS[project]}.md").write_text(text, encoding="utf-8")
    for stub in modules:
        page = OUT / "api" / f"{module_of(stub)}.rst"
        page.write_text(api_page(module_of(stub), public_names(stub)), encoding="utf-8")


def module_of(stub: Path) -> str:
    """Return the module that a `.pyi` describes."""
    parts = stub.parent.parts
    return ".".join(parts[parts.index("src") + 1 :])


def public_names(stub: Path) -> dict[str, str]:
    """Return the names that a `.pyi` makes public, with the modules that they come from."""
    tree = ast.parse(stub.read_text(encoding="utf-8"))
    return {
        alias.asname: ("." * node.level) + (node.module or "")
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }


KINDS = ("Classes", "Functions", "Errors and warnings", "Constants")


def api_page(module: str, names: dict[str, str]) -> str:
    """Return the page of a module: its names by kind, each with its docstring."""
    found = importlib.import_module(module)
    by_kind: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for name, source in sorted(names.items(), key=lambda item: item[0].lower()):
        value = getattr(found, name)
        if source.startswith(".") and is_own(module, value):
            by_kind[kind_of(value)].append(entry(module, name, value))
        else:
            home = value.__module__.split(".")[0] if source.startswith(".") else source
            line = f":py:obj:`{name} <{home}.{name}>`"
            by_kind[kind_of(value)].append(f"{line}: {summary(value)}\n")
    first = (found.__doc__ or "").strip().partition("\n")[0]
    parts = [heading(module, "="), first, ""]
    for kind, entries in by_kind.items():
        if entries:
            parts += [heading(kind, "-"), *entries]
    return "\n".join(parts)


def summary(value: object) -> str:
    """Return the first sentence of a docstring."""
    return escaped((value.__doc__ or "").strip().partition("\n")[0])


def is_own(module: str, value: object) -> bool:
    """Return whether a name's package made it, rather than passing it on."""
    made_in = getattr(value, "__module__", module)
    return str(made_in).split(".")[0] == module.split(".")[0] or kind_of(value) == "Constants"


def heading(text: str, line: str) -> str:
    """Return a heading of reStructuredText."""
    return f"{text}\n{line * len(text)}\n"


def kind_of(value: object) -> str:
    """Return under which heading a name stands."""
    if isinstance(value, type):
        is_error = issubclass(value, BaseException)
        return "Errors and warnings" if is_error else "Classes"
    return "Functions" if isinstance(value, types.FunctionType) else "Constants"


def entry(module: str, name: str, value: object) -> str:
    """Return the directive of a name; of a configuration, the table of its keys."""
    full = f"{module}.{name}"
    if isinstance(value, type) and issubclass(value, BaseModel):
        keys = rst_table(list(keys_of(value)))
        return f".. autoclass:: {full}()\n\n{keys}\n"
    if isinstance(value, type) and not get_origin(value):
        return f".. autoclass:: {full}\n   :members:\n"
    if isinstance(value, types.FunctionType):
        return f".. autofunction:: {full}\n"
    return f".. py:data:: {full}\n\n   {documented(module, name)}\n"


def documented(module: str, name: str) -> str:
    """Return the text below a constant or an alias in the source, if there is one."""
    folder = Path(importlib.import_module(module).__file__ or "").parent
    for path in folder.glob("**/*.py"):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        for node, after in pairwise(body):
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", 0)]
            named = any(isinstance(t, ast.Name) and t.id == name for t in targets)
            if named and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                return " ".join(str(after.value.value).split()).replace("`", "``")
    return ""


def skip_library_members(
    _app: Any, what: str, name: str, member: Any, skip: bool, _options: Any
) -> bool | None:
    """Leave out members without a docstring, and those that scikit-learn adds to estimators."""
    is_added = re.fullmatch(r"set_\w+_request", name) is not None
    return True if is_added or not getattr(member, "__doc__", None) else (skip or None)


@dataclass(frozen=True)
class Key:
    """A key of a configuration."""

    name: str
    type: str
    default: str
    meaning: str
    short: str = ""


def keys_of(model: type[BaseModel], prefix: str = "") -> Iterator[Key]:
    """Yield the keys of a configuration, those of its sections with dotted names."""
    for name, field in model.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            yield from keys_of(section, f"{prefix}{name}.")
            continue
        meaning = " ".join((field.description or "").split())
        aliases = [a for mark in field.metadata for a in getattr(mark, "aliases", None) or ()]
        short = "".join(f" or ``{alias}``" for alias in aliases)
        yield Key(prefix + name, type_words(field), default_words(field), meaning, short)


def type_words(field: Any) -> str:
    """Return what a key takes, with its range."""
    limits = []
    for mark in field.metadata:
        for sign, attribute in ((">", "gt"), ("≥", "ge"), ("<", "lt"), ("≤", "le")):
            if (limit := getattr(mark, attribute, None)) is not None:
                limits.append(f"{sign} {limit}")
    words, none, _ = annotation_words(field.annotation).partition(" or none")
    return " ".join([words, *limits]) + none


SIMPLE = {int: "whole number", float: "number", str: "text", bool: "true or false", Path: "path"}


def annotation_words(annotation: Any) -> str:
    """Return the values of a type in words."""
    arguments = get_args(annotation)
    origin = get_origin(annotation)
    if annotation in SIMPLE:
        return SIMPLE[annotation]
    if annotation in (None, type(None)):
        return "none"
    if origin is Literal:
        return ", ".join(str(a) for a in arguments)
    if hasattr(annotation, "__metadata__"):
        return annotation_words(arguments[0])
    if origin in (types.UnionType, Union):
        return " or ".join(dict.fromkeys(annotation_words(a) for a in arguments))
    if origin in (list, tuple):
        inner = list(dict.fromkeys(annotation_words(a) for a in arguments if a is not Ellipsis))
        return f"list of {' and '.join(inner)}"
    if isinstance(origin, type) and arguments:
        return f"mapping of {annotation_words(arguments[0])} to {annotation_words(arguments[-1])}"
    return getattr(annotation, "__name__", str(annotation))


def default_words(field: Any) -> str:
    """Return a key's default, as YAML would have it."""
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "must be given"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, BaseModel):
        return "its own defaults"
    if value is None:
        return "none"
    return str(value) if value != "" else '""'


def rst_table(keys: list[Key]) -> str:
    """Return the keys of a configuration as a table."""
    if not keys:
        return ""
    lines = [".. list-table::", "   :header-rows: 1", "   :class: flags", ""]
    lines += ["   * - key", "     - takes", "     - default", "     - meaning"]
    for key in keys:
        cells = (code(key.name) + key.short, key.type, code(key.default), key.meaning)
        lines += [f"   * - {cells[0]}", *(f"     - {escaped(cell)}" for cell in cells[1:])]
    return "\n".join(lines)


def code(text: str) -> str:
    """Return a text as a literal, where it can be one."""
    return f"``{text}``" if text.strip() == text and "`" not in text else text


def escaped(text: str) -> str:
    """Return a text in which nothing but literals is markup."""
    parts = re.split(r"(``[^`]+``)", text)
    return "".join(p if p.startswith("``") else re.sub(r"([\\*|_`])", r"\\\1", p) for p in parts)


@dataclass(frozen=True)
class CommandPage:
    """A command: how it is called, what it does, and the configuration that its flags fill."""

    prog: str
    description: str
    model: type[BaseModel]
    example: str


def commands() -> Iterator[CommandPage]:
    """Yield every command of every app."""
    for app in (*APPS, ""):
        program = program_of(app)
        for name, command in program.commands.items():
            prog = f"{program.name} {name}".rstrip()
            yield CommandPage(prog, command.about, command.model(), command.example)


def program_of(app: str) -> Program:
    """Return the program of an app; of none, `molpool` itself."""
    program: Program = importlib.import_module(
        f"molpool_{app}.cli" if app else "molpool.cli"
    ).PROGRAM
    return program


def command_page(command: CommandPage) -> str:
    """Return the page of a command."""
    head = [heading(command.prog, "="), escaped(command.description), ""]
    indented = command.example.replace("\n", "\n   ")
    head += [".. code-block:: text", "", f"   {command.prog} {indented}", ""]
    note = (
        "Every key is a flag, underscores written as dashes: "
        "``training.batch_size`` is ``--training.batch-size``. "
        "``--config FILE`` gives any of them in YAML, and flags override the file."
    )
    keys = list(keys_of(command.model))
    flags = set(flag_names(command.model))
    if inner := [key.name for key in keys if flag_of(key) not in flags]:
        note += f" In the file alone: {', '.join(map(code, inner))}."
    return "\n".join([*head, note, "", rst_table(keys), ""])


def flag_of(key: Key) -> str:
    """Return the flag of a key that has one."""
    return f"--{key.name.replace('_', '-')}"


LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#|mailto:)([^)\s#]+)(#[^)\s]*)?\)")


def local_links(_app: Any, name: str, source: list[str]) -> None:
    """Point links of a page to what the site has of it, and leave others as words."""
    page = DOCS / f"{name}.md"
    if page.is_file() and OUT not in page.parents:
        source[0] = links_from(source[0], page.parent)


def links_from(text: str, base: Path) -> str:
    """Return Markdown whose links to files of the repository hold within the site.

    Parameters
    ----------
    text : str
        Markdown with links that are relative to `base`.
    base : Path
        Folder of the file in the repository.
    """

    def moved(match: re.Match[str]) -> str:
        mark, words, path, anchor = match.groups()
        target = (base / path).resolve()
        project = PROJECTS.get(target if target.is_dir() else target.parent)
        if project is not None:
            target = OUT / "packages" / f"{project}.md"
        if DOCS in target.parents:
            return f"{mark}[{words}](/{target.relative_to(DOCS)}{anchor or ''})"
        return f"{words} (`{target.relative_to(ROOT)}`)" if target.exists() else match[0]

    return LINK.sub(moved, text)
