"""The command `molpool-train migrate-config`: legacy sampling keys to `joint_sampling` in files."""

from __future__ import annotations

import shutil
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import unified_diff
from pathlib import Path
from typing import Any, Literal

import yaml
from molpool_common import (
    USER_ERROR,
    InputError,
    YamlDocument,
    answer,
    atomic_path,
    read_yaml,
    validate_config,
)
from molpool_common import (
    console as new_console,
)
from pydantic import ValidationError
from sampling_core import JointSamplingConfig, SamplingError, map_legacy, without_legacy

from molpool_pipelines.fitting import TrainChempropConfig, TrainMILConfig
from molpool_pipelines.migration._legacy_text import rewrite

_GLOB = frozenset("*?[")


@dataclass(frozen=True)
class Outcome:
    """What became of one file.

    Parameters
    ----------
    path : Path
        The file.
    state : {"migrated", "unchanged", "failed"}
        In a dry run, ``migrated`` is what would be.
    notes : list of str
        What became of each legacy key, or why the file failed.
    before, after : str
        Its text.
    """

    path: Path
    state: Literal["migrated", "unchanged", "failed"]
    notes: list[str] = field(default_factory=list)
    before: str = ""
    after: str = ""


def migrate_files(
    paths: Sequence[str], *, output: Path | None = None, dry_run: bool = False
) -> int:
    """Migrate files, print a diff (dry run) and a table, and return the exit code.

    Parameters
    ----------
    paths : sequence of str
        Files, globs, and folders, which are searched for .yaml and .yml.
    output : Path or None
        Where to write instead of in place: a new file for a single file, else a folder.
    dry_run : bool
        Print what would change as a unified diff, and write nothing.

    Returns
    -------
    int
        0, or 2 if any file failed; the other files are migrated all the same.
    """
    # A folder and a file in it may both be given.
    files = list(dict.fromkeys(_expand(paths)))
    single = len(files) == 1 and not (output and output.is_dir())
    outcomes = []
    for path, name in files:
        target = None if output is None else output if single else output / name
        # One bad file does not stop the others; the exit code says that there was one.
        outcomes.append(_migrate(path, target, dry_run=dry_run))
    if dry_run:
        sys.stdout.write("".join(map(_diff, outcomes)))
    _print_table(outcomes, dry_run=dry_run)
    return USER_ERROR if any(o.state == "failed" for o in outcomes) else 0


def _expand(paths: Sequence[str]) -> Iterator[tuple[Path, Path]]:
    """Yield each file and its name below the folder that was given."""
    for given in paths:
        path = Path(given)
        if path.is_dir():
            found = sorted(p for p in path.rglob("*.y*ml") if p.suffix in (".yaml", ".yml"))
            yield from ((p, p.relative_to(path)) for p in found)
        elif _GLOB & set(given) and not path.exists():
            start = Path(path.anchor)
            found = sorted(start.glob(str(path.relative_to(start))))
            # A pattern without a match is kept, so that reading it says that there is no such file.
            yield from ((p, Path(p.name)) for p in found or [path])
        else:
            yield path, Path(path.name)


def _migrate(path: Path, target: Path | None, *, dry_run: bool) -> Outcome:
    try:
        outcome = migrate_text(path)
        if not dry_run:
            _write(outcome, target)
    except (InputError, SamplingError, OSError) as error:
        return Outcome(path, "failed", [str(error)])
    return outcome


def migrate_text(path: Path) -> Outcome:
    """Return a file's text with `joint_sampling` for the legacy keys; writes nothing.

    Raises
    ------
    InputError
        If the file is no YAML mapping, if a legacy key cannot be moved line by line, or if the new
        section is not valid.
    SamplingError
        If legacy keys and `joint_sampling` are both there, or a section is no mapping.
    """
    document = read_yaml(path)
    # read_text would turn CRLF into LF, and every line would differ.
    text = path.read_bytes().decode("utf-8")
    if _is_of_bags(document.data):
        # Its section `sampling` is of today: how often bags with a rare positive are drawn.
        notes = _left_over(document.data, TrainMILConfig, "molpool-train mil")
        return Outcome(path, "unchanged", notes, text, text)
    joint, notes = map_legacy(document.data)
    if not notes:
        return Outcome(path, "unchanged", [], text, text)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        validate_config(TrainChempropConfig, YamlDocument({"joint_sampling": joint}, path.name))
    notes += [f"{warning.message}." for warning in caught]
    new = rewrite(text, joint, keep_sampling=joint == document.data.get("sampling"))
    meant = without_legacy(document.data) | ({"joint_sampling": joint} if joint else {})
    # Text surgery is checked by what the result parses to, never trusted.
    _check_meaning(new, meant)
    return Outcome(path, "migrated", notes + _left_over(meant), text, new)


def _is_of_bags(data: Mapping[str, Any]) -> bool:
    """Return whether a configuration is of `molpool-train mil`, which never had legacy keys."""
    sampling = data.get("sampling")
    if isinstance(sampling, Mapping) and sampling:
        # The one section of which both had one, with nothing in common.
        section = TrainMILConfig().sampling
        return type(section).model_fields.keys() >= sampling.keys()
    only_bags = TrainMILConfig.model_fields.keys() - TrainChempropConfig.model_fields.keys()
    return bool((only_bags - {"sampling"}) & data.keys())


def _check_meaning(text: str, meant: dict[str, Any]) -> None:
    """Refuse a text that does not say what was meant: an alias or a merge key was in the way."""
    try:
        found = without_legacy(yaml.safe_load(text) or {})
        same = _resolved(found) == _resolved(meant)
    except (yaml.YAMLError, ValidationError):
        same = False
    if not same:
        raise InputError(
            "legacy keys",
            expected="keys that can be moved with their lines",
            found="an alias, an anchor or a merge key that ties them to other lines",
            hint="Write joint_sampling by hand; molpool-train reads the file as it is, too.",
        )


def _resolved(data: dict[str, Any]) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said once already
        joint = JointSamplingConfig.model_validate(data.get("joint_sampling") or {})
    return data | {"joint_sampling": joint}


def _left_over(
    data: dict[str, Any],
    model: type[TrainChempropConfig | TrainMILConfig] = TrainChempropConfig,
    command: str = "molpool-train chemprop",
) -> list[str]:
    """Say which other keys a command would refuse; they are none of our business."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.model_validate(data)
    except ValidationError as error:
        findings = error.errors(include_url=False)
        unknown = [_dotted(f["loc"]) for f in findings if f["type"] == "extra_forbidden"]
        wrong = [_dotted(f["loc"]) for f in findings if f["type"] != "extra_forbidden"]
        notes = [f"left as it is, unknown to {command}: {key}." for key in unknown]
        return notes + [f"left as it is, wrong for {command}: {key}." for key in wrong]
    return []


def _dotted(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location))


def _write(outcome: Outcome, target: Path | None) -> None:
    if target is None:
        if outcome.state == "migrated":
            # Through a link to the file itself, which keeps its permissions.
            real = outcome.path.resolve()
            with atomic_path(real) as temporary:
                temporary.write_bytes(outcome.after.encode("utf-8"))
                shutil.copymode(real, temporary)
        return
    # Only with --output: in place the file itself is what is to be replaced.
    if target.exists():
        raise InputError("--output", expected="a new file", found=f"{str(target)!r}, which exists")
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(target) as temporary:
        temporary.write_bytes(outcome.after.encode("utf-8"))


def _diff(outcome: Outcome) -> str:
    name = str(outcome.path)
    before, after = (t.splitlines(keepends=True) for t in (outcome.before, outcome.after))
    lines = unified_diff(before, after, name, name)
    end = "\n\\ No newline at end of file\n"
    return "".join(line if line.endswith("\n") else line + end for line in lines)


def _print_table(outcomes: Sequence[Outcome], *, dry_run: bool) -> None:
    from rich.table import Table

    # A dry run leaves standard output to the diff, so that it can be piped into `patch`.
    console = new_console(stderr=dry_run)
    table = Table(box=None, pad_edge=False)
    for column in ("file", "outcome", "what was done" if not dry_run else "what would be done"):
        table.add_column(column)
    for outcome in outcomes:
        table.add_row(_plain(str(outcome.path)), outcome.state, _plain("\n".join(outcome.notes)))
    answer(
        files=[{"file": o.path, "outcome": o.state, "notes": list(o.notes)} for o in outcomes],
        dry_run=dry_run,
    )
    if outcomes:
        console.print(table)
    counts = {s: sum(o.state == s for o in outcomes) for s in ("migrated", "unchanged", "failed")}
    summary = ", ".join(f"{n} {state}" for state, n in counts.items() if n)
    console.print(summary or "no YAML file found", style="bold")
    if dry_run:
        console.print("Dry run: nothing was written.")


def _plain(text: str) -> Any:
    from rich.text import Text

    return Text(text)
