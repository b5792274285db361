"""Parts of a page: figures of matplotlib, and the files that a folder may hold."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molpool_common import (
    Cell,
    Code,
    Facts,
    Figure,
    InputError,
    Part,
    Section,
    Table,
    checked,
    figure_svg,
    style,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture


def page_figure(
    draw: Callable[[], Picture], *, alt: str, caption: str, data: Table | None = None
) -> Figure:
    """Return what `draw` makes as a part of a page, no wider than its text is worth."""
    with style():
        picture = draw()
        svg = figure_svg(picture)
    return Figure(svg, alt, caption, data)


def records(path: Path, event: str) -> list[dict[str, Any]]:
    """Return the lines of a log of one kind of event; none where there is no log."""
    if not path.is_file():
        return []
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            entry = json.loads(line)
        except ValueError:
            # A line cut by a crash is the last one; pages do not guess what it was.
            raise InputError(
                f"line {number}", expected="JSON", found=line[:60], where=str(path)
            ) from None
        if entry.get("event") == event:
            found.append(entry)
    return found


def since_start(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return each epoch once: of a run that was resumed, as it was trained last."""
    # A resumed run logs the epochs after its checkpoint a second time; later entries replace
    # earlier ones at their place.
    last = {(e.get("member"), e.get("group"), e.get("fold"), e.get("epoch")): e for e in entries}
    return list(last.values())


def picture(path: Path, alt: str, caption: str) -> Figure:
    """Return a PNG file as a figure inside the page."""
    data = path.read_bytes()
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        raise InputError("picture", expected="a PNG file", found=str(path))
    # Width and height stand in the IHDR chunk, always the first of a PNG: no imaging library is
    # needed.
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    text = base64.b64encode(data).decode("ascii")
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'style="max-width: {width / 16:.0f}rem"><image width="{width}" height="{height}" '
        f'href="data:image/png;base64,{text}"/></svg>'
    )
    return Figure(svg, alt, caption)


def environment(folder: Path) -> list[Part]:
    """Return when, where and with what versions a folder was made."""
    file = folder / "environment.json"
    if not file.is_file():
        return []
    try:
        said = json.loads(checked(file).read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError("environment.json", expected="JSON", found=str(error)) from None
    facts: dict[str, Cell] = {
        # get: environments of earlier versions have fewer facts.
        "Started": said.get("time"),
        "Python": said.get("python"),
        "Platform": said.get("platform"),
        "CPUs": said.get("cpus"),
    }
    packages = "\n".join(f"{k} {v}" for k, v in (said.get("packages") or {}).items())
    return [
        Facts(facts),
        Code("command line", " ".join(said.get("arguments") or [])),
        Code("versions of packages", packages),
    ]


def configuration(folder: Path, names: Sequence[str]) -> Section:
    """Return the files of a configuration, and the environment."""
    parts: list[Part] = [
        Code(name, (folder / name).read_text(encoding="utf-8"))
        for name in names
        if (folder / name).is_file()
    ]
    return Section("Configuration", [*parts, *environment(folder)])
