"""YAML mappings that remember the line of every key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from molpool_common.errors import InputError, did_you_mean

Key = str | int


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
    """

    data: dict[str, Any]
    source: str
    lines: Mapping[tuple[Key, ...], int] = field(default_factory=dict)

    def where(self, path: Sequence[Key]) -> str:
        """Return ``file, line n`` for a key, or for the nearest enclosing key that has a line."""
        for end in range(len(path), 0, -1):
            line = self.lines.get(tuple(path[:end]))
            if line is not None:
                return f"{self.source}, line {line}"
        return self.source


def read_yaml(path: str | Path) -> YamlDocument:
    """Read a YAML mapping with the line of every key.

    Parameters
    ----------
    path : str or Path
        The file; an empty one is an empty mapping.

    Returns
    -------
    YamlDocument

    Raises
    ------
    InputError
        If the file is missing, is not text, is not YAML, is not a mapping, or gives a key twice.
    """
    path = Path(path)
    text = _read_text(path)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise _syntax_error(path, error) from None
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise InputError(
            "--config",
            expected="a YAML mapping of keys to values",
            found=f"a {type(data).__name__}",
            where=str(path),
        )
    lines = dict(_key_lines(node, (), path.name)) if node else {}
    return YamlDocument(data, path.name, lines)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        siblings = sorted(p.name for p in path.parent.glob("*.y*ml"))
        raise InputError(
            "--config",
            expected="an existing file",
            found=f"no file {str(path)!r}",
            hint=did_you_mean(path.name, siblings) if siblings else None,
        ) from None
    except IsADirectoryError:
        raise InputError(
            "--config", expected="a YAML file", found=f"the folder {str(path)!r}"
        ) from None
    except (UnicodeDecodeError, PermissionError) as error:
        raise InputError(
            "--config", expected="a readable UTF-8 text file", found=str(error), where=str(path)
        ) from None


def _syntax_error(path: Path, error: yaml.YAMLError) -> InputError:
    mark = getattr(error, "problem_mark", None)
    line = f", line {mark.line + 1}" if mark else ""
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return InputError("--config", expected="valid YAML", found=problem, where=f"{path.name}{line}")


def _key_lines(
    node: yaml.Node, path: tuple[Key, ...], source: str
) -> Iterator[tuple[tuple[Key, ...], int]]:
    """Yield the path and line of every key and list item below a node."""
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
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
