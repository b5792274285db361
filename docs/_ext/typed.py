"""Types what a page of Markdown shows, as a reader would: ``typed.py [--keep FOLDER] PAGE...``.

Blocks called ``console`` are commands, ``python`` is executed, a ``code-block`` with a caption is
written to the file of that name, and each line of a ``text`` block must come in what was printed
before it, whatever its numbers. Each page has an empty folder of its own, which `--keep` keeps for
a look, with all that was printed. Exits with 1 where a command fails.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

BLOCK = re.compile(r"^```(\{code-block\} )?(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INSTALLS = ("pip ", "uv ", "molpool serve")


@dataclass(frozen=True)
class Step:
    """Something that a page asks its reader to do."""

    kind: str
    text: str


def steps(page: str) -> Iterator[Step]:
    """Yield what a page asks for, in order."""
    for match in BLOCK.finditer(page):
        directive, language, body = match.groups()
        if directive:
            caption = re.match(r":caption: (\S+)\n", body)
            if caption:
                yield Step(f"file {caption[1]}", body[caption.end() :])
        elif language == "console":
            yield from (Step("command", command) for command in commands(body))
        elif language in ("python", "text"):
            yield Step(language, body)


def commands(block: str) -> Iterator[str]:
    """Yield the commands of a ``console`` block, continued lines joined."""
    for line in block.replace("\\\n", " ").splitlines():
        if line.startswith("$ "):
            yield line[2:].partition("   #")[0].strip()


def shape(text: str) -> str:
    """Return a text without what differs from machine to machine."""
    return re.sub(r"[\d.,]+", "#", " ".join(text.split()))


def perform(step: Step, folder: Path, printed: str) -> str:
    """Do one step in a folder and return what it printed; raise where it fails."""
    if step.kind.startswith("file "):
        (folder / step.kind.removeprefix("file ")).write_text(step.text, encoding="utf-8")
        return printed
    if step.kind == "text":
        missing = [
            line
            for line in step.text.splitlines()
            if line.strip(" .") and shape(line) not in shape(printed)
        ]
        if missing:
            raise AssertionError(f"not printed: {missing}; printed was:\n{printed}")
        return printed
    if step.kind == "command" and step.text.startswith(INSTALLS):
        return printed
    words = (
        [sys.executable, "-c", step.text] if step.kind == "python" else ["bash", "-c", step.text]
    )
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        words,
        cwd=folder,
        env=os.environ | {"PATH": path, "COLUMNS": "120"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise AssertionError(f"exit code {done.returncode}:\n{step.text}\n{done.stdout}")
    return done.stdout


def cpu_seconds() -> float:
    """Return the CPU time of all that this process started and that has ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def type_page(page: Path, folder: Path) -> None:
    """Do all that a page asks for in a folder; tell how long each step took."""
    printed, began = "", cpu_seconds()
    with (folder / "typed.txt").open("w", encoding="utf-8") as record:
        for step in steps(page.read_text(encoding="utf-8")):
            before, start = cpu_seconds(), time.monotonic()
            printed = perform(step, folder, printed)
            if step.kind in ("command", "python"):
                record.write(f"$ {step.text}\n{printed}\n")
                record.flush()
                took = f"{cpu_seconds() - before:6.1f} s CPU {time.monotonic() - start:6.1f} s"
                sys.stdout.write(f"{took}  {page.stem}: {step.text.splitlines()[0][:90]}\n")
                sys.stdout.flush()
    sys.stdout.write(f"{cpu_seconds() - began:6.1f} s CPU in all: {page.stem}\n")


def main(arguments: list[str]) -> int:
    """Type every page and return the exit code."""
    parser = argparse.ArgumentParser(description="Type what pages show, as a reader would.")
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--keep", type=Path, help="folder that keeps each page's folder")
    given = parser.parse_args(arguments)
    failed = 0
    for page in given.pages:
        with TemporaryDirectory() as temporary:
            folder = Path(temporary) if given.keep is None else given.keep / page.stem
            folder.mkdir(parents=True, exist_ok=True)
            try:
                type_page(page, folder)
            except AssertionError as error:
                sys.stderr.write(f"{page}: {error}\n")
                failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
