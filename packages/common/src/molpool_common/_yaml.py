"""YAML that anybody may have written: a tree of plain values of a sane size, or one message.

A document remembers the line of every key. Aliases may neither go in circles nor multiply: a file
of some hundred bytes can stand for billions of values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from molpool_common._errors import InputError
from molpool_common._input_files import read_text

Key = str | int

_DEEPEST = 100
"""Levels of mappings and lists."""

_LONGEST = 1_000_000
"""Characters, which take some seconds to read."""

_MOST = 100_000
"""Keys, items and values, those behind an alias counted wherever it stands."""


GIVEN = "# Given, at their defaults: "
"""Begins a file that was written with all keys, and names those that the user gave."""


@dataclass(frozen=True)
class YamlDocument:
    """A parsed YAML mapping that remembers where each key stood.

    Parameters
    ----------
    data : dict
        The mapping as plain Python values.
    source : str
        File name for messages.
    lines : dict
        Line (from 1) of each key, by the path of keys that leads to it.
    given : tuple of str
        Dotted keys that its first line says were given, though they are at their defaults.
    """

    data: dict[str, Any]
    source: str
    lines: Mapping[tuple[Key, ...], int] = field(default_factory=dict)
    given: tuple[str, ...] = ()

    def where(self, path: Sequence[Key]) -> str:
        """Return ``file, line n`` for a key, or for the nearest enclosing key that has a line."""
        for end in range(len(path), 0, -1):
            line = self.lines.get(tuple(path[:end]))
            if line is not None:
                return f"{self.source}, line {line}"
        return self.source


def read_yaml(path: str | Path, key: str = "--config") -> YamlDocument:
    """Read a YAML mapping with the line of every key.

    Parameters
    ----------
    path : str or Path
        The file; an empty one is an empty mapping.
    key : str
        The flag or key that names the file, for messages.

    Returns
    -------
    YamlDocument

    Raises
    ------
    InputError
        If the file is missing, is not text, is not YAML, is not a mapping, or gives a key twice.
    """
    path = Path(path)
    text = read_text(path, key)
    node = _composed(text, path.name, key)
    # Before its values are made, which puts what a merge key brings among a mapping's own keys.
    lines = dict(_key_lines(node, (), path.name)) if node else {}
    data = _value(node, path.name, key)
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise InputError(
            key,
            expected="a YAML mapping of keys to values",
            found=f"a {type(data).__name__}",
            where=str(path),
        )
    first = text.partition("\n")[0]
    given = first.removeprefix(GIVEN).split() if first.startswith(GIVEN) else ()
    return YamlDocument(data, path.name, lines, tuple(given))


def parse_yaml(text: str, where: str, key: str = "--config") -> Any:
    """Return the value of a YAML text.

    Parameters
    ----------
    text : str
        One document; JSON is YAML.
    where : str
        What it is of, for messages.
    key : str
        The flag or key that brought it, for messages.

    Raises
    ------
    InputError
        If it is not YAML, nests deeper than `_DEEPEST`, or stands for more than `_MOST` values.
    """
    return _value(_composed(text, where, key), where, key)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which does not nest for ever and says where a value is wrong."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self._depth > _DEEPEST:
            raise _too_deep(self.peek_event().start_mark)  # type: ignore[no-untyped-call]
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, ArithmeticError, LookupError, AttributeError) as error:
            kind = node.tag.rpartition(":")[2]
            shown = str(node.value)[:40]
            problem = f"{shown!r}, which is no {kind} ({str(error).partition(';')[0]})"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from None


def _too_deep(mark: yaml.Mark) -> yaml.MarkedYAMLError:
    problem = f"more than {_DEEPEST} levels of lists and mappings"
    return yaml.composer.ComposerError(None, None, problem, mark)


def _composed(text: str, where: str, key: str) -> yaml.Node | None:
    if len(text) > _LONGEST:
        raise InputError(
            key, expected=f"at most {_LONGEST:,} characters", found=f"{len(text):,}", where=where
        )
    try:
        node: yaml.Node | None = yaml.compose(text, Loader=_Loader)
        if node is not None:
            _measure(node, {})
    except yaml.YAMLError as error:
        raise _syntax_error(where, key, error) from None
    return node


def _measure(node: yaml.Node, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Return how many values a node stands for and how deep it is; each node is gone into once."""
    if id(node) in known:
        size, depth = known[id(node)]
        if not size:
            raise yaml.composer.ComposerError(
                None, None, "an alias that stands for what it is in", node.start_mark
            )
        return size, depth
    known[id(node)] = (0, 0)
    children: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        children = [part for pair in node.value for part in pair]
    elif isinstance(node, yaml.SequenceNode):
        children = node.value
    below = [_measure(child, known) for child in children]
    size = 1 + sum(n for n, _ in below)
    depth = 1 + max((d for _, d in below), default=0)
    if depth > _DEEPEST:
        raise _too_deep(node.start_mark)
    if size > _MOST:
        raise yaml.composer.ComposerError(
            None,
            None,
            f"more than {_MOST:,} values, those behind an alias wherever it stands",
            node.start_mark,
        )
    known[id(node)] = (size, depth)
    return size, depth


def _value(node: yaml.Node | None, where: str, key: str) -> Any:
    if node is None:
        return None
    loader = _Loader("")
    try:
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        raise _syntax_error(where, key, error) from None
    finally:
        loader.dispose()


def _syntax_error(where: str, key: str, error: yaml.YAMLError) -> InputError:
    mark = getattr(error, "problem_mark", None)
    line = f", line {mark.line + 1}" if mark else ""
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    problem = problem.removeprefix("but ").removeprefix("found ")
    return InputError(key, expected="valid YAML", found=problem, where=f"{where}{line}")


def _key_lines(
    node: yaml.Node, path: tuple[Key, ...], source: str
) -> Iterator[tuple[tuple[Key, ...], int]]:
    """Yield the path and line of every key and list item below a node."""
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # a list or a mapping, which no mapping of Python has as a key
            line = key.start_mark.line + 1
            # YAML itself keeps the last of two equal keys in silence.
            if key.value in seen:
                raise InputError(
                    ".".join(map(str, (*path, key.value))),
                    expected="each key once",
                    found=f"it on lines {seen[key.value]} and {line}",
                    where=source,
                )
            seen[key.value] = line
            yield (*path, key.value), line
            yield from _key_lines(value, (*path, key.value), source)
    elif isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            yield (*path, i), item.start_mark.line + 1
            yield from _key_lines(item, (*path, i), source)
