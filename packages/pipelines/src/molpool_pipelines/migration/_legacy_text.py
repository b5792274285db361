"""Legacy sampling keys rewritten in the text of a YAML file, every other line kept as it is.

A parser that writes YAML back would respace lines that are none of its business and part comments
from what they explain. Here whole lines move: the parser only says where each key stands. Whether
the new text means what it should is for the caller to check.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from molpool_common import InputError

_ALPHA = "task_sampling_alpha"


@dataclass(frozen=True)
class _Entry:
    """A key of a mapping and the lines [start, stop) that it and its value take."""

    key: yaml.Node
    value: yaml.Node
    start: int
    stop: int

    @property
    def column(self) -> int:
        return int(self.key.start_mark.column)


class _Lines:
    """Lines of which some are taken out and others put in, numbered as they were throughout."""

    def __init__(self, text: str) -> None:
        self.old = text.rstrip("\n").split("\n")
        self._changed: dict[int, str | None] = {}
        self._inserted: dict[int, list[str]] = {}

    def put(self, line: int, text: str | None) -> None:
        """Replace a line; None removes it."""
        self._changed[line] = text

    def take(self, start: int, stop: int) -> list[str]:
        """Remove lines and return them."""
        self._changed |= dict.fromkeys(range(start, stop))
        return self.old[start:stop]

    def insert(self, before: int, lines: list[str]) -> None:
        """Put lines in front of a line."""
        self._inserted[before] = lines

    def new(self) -> list[str]:
        """Return the lines as changed; one of two empty lines that a removal joins goes with it."""
        lines: list[str] = []
        joined = False
        for number, old in enumerate([*self.old, ""]):
            inserted = self._inserted.get(number, [])
            lines += inserted
            line = self._changed.get(number, old)
            joined = line is None or (joined and not inserted)
            if line is None or (joined and not line.strip() and not (lines and lines[-1].strip())):
                continue
            joined = False
            lines.append(line)
        while lines and not lines[-1].strip():
            lines.pop()
        return lines


def rewrite(text: str, joint: dict[str, Any], *, keep_sampling: bool) -> str:
    """Return the text of a configuration with its legacy keys turned into `joint_sampling`.

    Parameters
    ----------
    text : str
        A YAML file with at least one legacy key.
    joint : dict
        What `sampling_core.map_legacy` made of them.
    keep_sampling : bool
        Whether that is the section `sampling` as it stood, which is then only renamed.

    Returns
    -------
    str
        Lines of other keys, and comments, are those of `text`.

    Raises
    ------
    InputError
        If a legacy key does not stand on lines of its own.
    """
    # Line ends of Windows stay as they are.
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = _Lines(text.replace("\r\n", "\n"))
    # Composed, not loaded: only nodes know their lines and columns.
    root = yaml.compose("\n".join(lines.old), Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        raise _not_on_lines("the configuration")
    sections = {str(e.key.value): e for e in _entries(root, lines.old, len(lines.old))}
    optimization = sections.get("optimization")
    alpha, emptied = _take_alpha(lines, optimization) if optimization else ([], False)
    if "alpha" not in (joint.get("task_oversampling") or {}):
        alpha = []  # it was null
    for key in ("sampling", "curriculum"):
        if key in sections and not (keep_sampling and key == "sampling"):
            lines.take(sections[key].start, sections[key].stop)
    for section in (sections.get("joint_sampling"), optimization):
        if section and not isinstance(section.value, yaml.MappingNode):  # it was null
            lines.take(section.start, section.stop)
    if keep_sampling:
        _rename_sampling(lines, sections)
    elif joint:  # not if all keys were null
        _put_joint(lines, sections, joint, alpha, emptied=emptied)
    return newline.join(lines.new()) + newline


def _put_joint(
    lines: _Lines,
    sections: dict[str, _Entry],
    joint: dict[str, Any],
    alpha: Sequence[str],
    *,
    emptied: bool,
) -> None:
    """Put the new section where the first of the old ones stood."""
    optimization = sections.get("optimization")
    if "curriculum" in joint:
        if "curriculum" not in sections:
            raise _not_on_lines("curriculum")
        curriculum = sections["curriculum"]
        lines.insert(curriculum.start, _joint_lines(lines, joint, alpha, curriculum))
    elif optimization is None or not alpha:
        raise _not_on_lines(f"optimization.{_ALPHA}")
    else:
        block = _joint_lines(lines, joint, alpha, None)
        place = optimization.start if emptied else optimization.stop
        lines.insert(place, block if emptied else ["", *block])


def _entries(node: yaml.MappingNode, lines: Sequence[str], stop: int) -> list[_Entry]:
    """Return the keys of a block mapping whose lines end before `stop`."""
    starts = [key.start_mark.line for key, _ in node.value]
    ends = [*starts[1:], stop]
    return [
        _Entry(key, value, start, _content_end(lines, start, end, key.start_mark.column))
        for (key, value), start, end in zip(node.value, starts, ends, strict=True)
    ]


def _content_end(lines: Sequence[str], start: int, end: int, column: int) -> int:
    """Return where an entry ends: comments no deeper than its key belong to what follows."""
    while end > start + 1:
        line = lines[end - 1]
        indent = len(line) - len(line.lstrip())
        if line.strip() and not (line.lstrip().startswith("#") and indent <= column):
            break
        end -= 1
    return end


def _take_alpha(lines: _Lines, optimization: _Entry) -> tuple[list[str], bool]:
    """Take `task_sampling_alpha` out; return it as lines from column 0, and whether nothing stays.

    Comments right above the key go with it.
    """
    mapping = optimization.value
    if not isinstance(mapping, yaml.MappingNode):
        return [], False
    keys = [key.value for key, _ in mapping.value]
    if _ALPHA not in keys:
        return [], False
    if mapping.flow_style:
        return _take_alpha_from_braces(lines, optimization, mapping, keys.index(_ALPHA))
    entry = _entries(mapping, lines.old, optimization.stop)[keys.index(_ALPHA)]
    start = entry.start
    while start > optimization.start + 1 and lines.old[start - 1].lstrip().startswith("#"):
        start -= 1
    at = entry.start - start
    alpha = _shifted(lines.take(start, entry.stop), -entry.column)
    alpha[at] = "alpha" + alpha[at].lstrip("\"'").removeprefix(_ALPHA).lstrip("\"'")
    emptied = len(keys) == 1
    if emptied:
        header = optimization.start
        lines.put(header, _comment(lines.old[header], optimization.key.end_mark.column))
    return alpha, emptied


def _take_alpha_from_braces(
    lines: _Lines, optimization: _Entry, mapping: yaml.MappingNode, index: int
) -> tuple[list[str], bool]:
    """Do `_take_alpha` for ``optimization: {...}`` on one line."""
    number = optimization.start
    line = lines.old[number]
    if mapping.end_mark.line != number:
        raise _not_on_lines(f"optimization.{_ALPHA}")
    key, value = mapping.value[index]
    alpha = f"alpha: {line[value.start_mark.column : value.end_mark.column]}"
    if len(mapping.value) == 1:
        lines.put(number, None)
        comment = _comment(line, mapping.end_mark.column)
        return [f"{alpha}  {comment}" if comment else alpha], True
    if index + 1 < len(mapping.value):
        start, end = key.start_mark.column, mapping.value[index + 1][0].start_mark.column
    else:
        start, end = mapping.value[index - 1][1].end_mark.column, value.end_mark.column
    lines.put(number, line[:start] + line[end:])
    return [alpha], False


def _comment(line: str, column: int) -> str | None:
    """Return the comment at the end of a line as a line of its own, None where there is none."""
    _, mark, comment = line[column:].partition("#")
    return mark + comment if mark else None


def _rename_sampling(lines: _Lines, sections: dict[str, _Entry]) -> None:
    if "sampling" not in sections:
        raise _not_on_lines("sampling")
    key = sections["sampling"].key
    line, start, stop = key.start_mark.line, key.start_mark.column, key.end_mark.column
    lines.put(line, f"{lines.old[line][:start]}joint_sampling{lines.old[line][stop:]}")


def _joint_lines(
    lines: _Lines, joint: dict[str, Any], alpha: Sequence[str], curriculum: _Entry | None
) -> list[str]:
    step = _step(curriculum)
    oversampling = [f"enabled: {_word(joint['task_oversampling']['enabled'])}", *alpha]
    inner = [f"enabled: {_word(joint['enabled'])}", "task_oversampling:"]
    inner += _shifted(oversampling, step)
    if "composition_mode" in joint:
        inner.append(f"composition_mode: {joint['composition_mode']}")
    if curriculum:
        inner += _shifted(lines.old[curriculum.start : curriculum.stop], -curriculum.column)
    return ["joint_sampling:", *_shifted(inner, step)]


def _step(section: _Entry | None) -> int:
    """Return by how much a section indents what is in it."""
    value = section.value if section else None
    if isinstance(value, yaml.MappingNode) and not value.flow_style and value.value:
        return max(2, int(value.value[0][0].start_mark.column))
    return 2


def _shifted(lines: Sequence[str], by: int) -> list[str]:
    if by >= 0:
        return [" " * by + line if line.strip() else line for line in lines]
    return [line[min(-by, len(line) - len(line.lstrip())) :] for line in lines]


def _word(value: object) -> str:
    return str(value).lower()


def _not_on_lines(key: str) -> InputError:
    return InputError(
        key,
        expected="legacy keys on lines of their own",
        found="another layout (braces, an alias, a merge key)",
        hint="Write joint_sampling by hand; `molpool-train chemprop` reads the file as it is, too.",
    )
