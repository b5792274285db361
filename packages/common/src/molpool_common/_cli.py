"""What every command shares: flags from configuration models, exit codes, signals, the screen.

Exit codes: 0 done, 2 the user's input is wrong (one message, no traceback), 1 a fault of ours,
130 interrupted by Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import errno
import os
import re
import shlex
import signal
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pydantic import BaseModel

from molpool_common._config import validate_config, validate_values
from molpool_common._errors import USER_ERROR, InputError, nearest
from molpool_common._flags import (
    Section,
    check_values,
    flag_names,
    flag_registry,
    list_flags,
    section_flags,
    todays_flags,
)
from molpool_common._paths import expanded
from molpool_common._process import end_with_parent
from molpool_common._progress import showing
from molpool_common._ranks import is_rank, rank, speaks
from molpool_common._screen import console, printable
from molpool_common._torch_files import trust_files, trusting_files
from molpool_common._yaml import YamlDocument, read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator


ModelT = TypeVar("ModelT", bound=BaseModel)
INTERRUPTED = 130


def print_version(prog: str) -> int:
    """Print the version of the distribution that a program comes with, and return 0."""
    # A program is named like the distribution that it comes with.
    from importlib.metadata import version

    name = prog.partition(" ")[0]
    sys.stdout.write(f"{name} {version(name)}\n")
    return 0


def guarded(prog: str, body: Callable[[], int | None]) -> int:
    """Run `body` and turn what it raises into an exit code and one message on stderr.

    An exception with an attribute ``exit_code`` (`InputError` and the packages' own families) is
    the user's to mend and prints its message alone; any other keeps its traceback and gives 1.
    """
    if is_rank():
        # Before the seconds of imports: in them, too, what started all ranks may be killed.
        end_with_parent()
    try:
        # On stderr: what a command prints may be read by another.
        shown, untrusting = showing(console(stderr=True)), trusting_files(trusted=False)
        with _sigterm_as_interrupt(), _warnings_in_a_line(prog), shown, untrusting:
            return body() or 0
    except KeyboardInterrupt as interrupt:
        # Where there is a run to go on with, whoever wrote it says so.
        note = str(interrupt) or "Interrupted. The same command starts again from the beginning."
        with suppress(KeyboardInterrupt):  # the user is impatient
            sys.stderr.write(f"\n{prog}: {note}\n")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): nobody is left to read a message.
        sys.stderr.close()
        return 0
    except SystemExit as end:
        # tyro ends so after messages of its own.
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception as error:
        found = fault(error)
        if found is None:
            raise
        code, said = found
        # A file that is missing is missing for each process of a machine.
        if speaks():
            sys.stderr.write(f"{prog}: {printable(said)}\n")
        return code


@contextmanager
def interruption(note: str) -> Iterator[None]:
    """Have whatever interrupts the block say how to go on.

    Outside of all that writes when it is interrupted, so that a second Ctrl-C there does not take
    the words away.

    Parameters
    ----------
    note : str
        What the user is told, unless something within has said it already.

    Raises
    ------
    KeyboardInterrupt
        With the note, for one without words.
    """
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise KeyboardInterrupt(str(interrupt) or note) from None


def fault(error: Exception) -> tuple[int, str] | None:
    """Return exit code and message of what the user can mend; None where the fault is ours."""
    code = getattr(error, "exit_code", None)
    if isinstance(code, int):
        return code, str(error)
    if (wrong := _of_input(error)) is not None:
        return USER_ERROR, wrong
    refusal = _refusal(error)
    return None if refusal is None else (1, refusal)


def _of_input(error: Exception) -> str | None:
    """Return what to say of a name or a size that this machine has not, or of a damaged file."""
    text = str(error)
    if isinstance(error, MemoryError) or "can't allocate memory" in text:
        return f"memory: expected as much as this machine has; found {text or 'more'}."
    if isinstance(error, OSError) and error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
        name = str(error.filename)
        shown = name if len(name) < 100 else f"{name[:100]}..."
        return f"path: expected one that a file can have; found {shown!r}: {error.strerror}."
    if isinstance(error, RecursionError) and "/json/" in _innermost(error):
        return "JSON: expected a file of some levels of lists and objects; found thousands."
    of = type(error).__module__.partition(".")[0]
    if of in ("polars", "pyarrow") and ("parquet" in text.lower() or "ARROW:schema" in text):
        return f"Parquet: expected a file as it was written; found {text.splitlines()[0]}"
    return None


def _innermost(error: Exception) -> str:
    """Return the file whose code raised an error."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return "" if frame is None else frame.tb_frame.f_code.co_filename


_CURES = {
    errno.ENOSPC: "Free some space there",
    errno.EDQUOT: "Free some of the quota",
    errno.EFBIG: "Raise the limit of file sizes (ulimit -f)",
    errno.EROFS: "Give a folder that can be written to",
    errno.EACCES: "Give a folder that can be written to",
    errno.EPERM: "Give a folder that can be written to",
    errno.ENOENT: "It, or its folder, was removed or moved meanwhile: put it back",
    errno.ESTALE: "Its file system went away: mount it again",
    errno.EIO: "The disk or the network failed: look after it",
    errno.EMFILE: "Raise the limit of open files (ulimit -n)",
}
"""What a user can do where the system refuses to read or write."""


_OF_DISKS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}


def _refusal(error: BaseException) -> str | None:
    """Return what to say where the system refused, None where the fault is ours."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(cause)
    for one in chain:
        # Some libraries say in words of their own what the disk said; what they missed on the way
        # is their own affair.
        number = _number_of(one)
        if number in (_CURES if one is error else _OF_DISKS):
            # Of a file that is copied the second is the one that is written.
            file = getattr(one, "filename2", None) or getattr(one, "filename", None)
            name = "" if file is None else f"{str(file)!r}: "
            again = "then give the command again (--resume goes on with a run)"
            return f"{name}{os.strerror(number)}. {_CURES[number]}, {again}."
    return None


def _number_of(error: BaseException) -> int:
    """Return the system's number of an error; polars has it in its words alone."""
    if not isinstance(error, OSError):
        return 0
    said = re.search(r"\(os error (\d+)\)", str(error))
    return error.errno or (int(said[1]) if said else 0)


@contextmanager
def _warnings_in_a_line(prog: str) -> Iterator[None]:
    """Print what the user should know as a message, not as a place in our source."""
    before = warnings.formatwarning

    def formatted(message: Any, category: type[Warning], *place: Any, **line: Any) -> str:
        if issubclass(category, UserWarning):
            return f"{prog}: warning: {printable(str(message))}\n"
        return before(message, category, *place, **line)

    warnings.formatwarning = formatted
    if rank() > 0:  # the first says the same
        warnings.simplefilter("ignore", UserWarning)
    try:
        yield
    finally:
        warnings.formatwarning = before


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    def interrupt(_signum: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    try:
        # Cluster schedulers end jobs by SIGTERM: as an interrupt the run closes its files and can
        # be resumed.
        previous = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread: a test or a notebook runs the command
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


Migrate = Callable[[YamlDocument], YamlDocument]
Rewrite = Callable[[Mapping[str, Any]], tuple[dict[str, Any], list[str]]]


def parse_config(
    model: type[ModelT],
    argv: Sequence[str],
    *,
    prog: str,
    description: str,
    migrate: Migrate | None = None,
    takes_file: bool = True,
) -> ModelT:
    """Fill a configuration model from ``--config FILE`` and from flags that override it.

    Parameters
    ----------
    model : type of BaseModel
        Every key becomes a flag: ``training.batch_size`` is ``--training.batch-size``.
    argv : sequence of str
        Arguments of the command.
    prog, description : str
        For ``--help``.
    migrate : callable, optional
        Rewrites the parsed file before validation (legacy keys).
    takes_file : bool
        Whether ``--config`` is such a file, and no key of the model.

    Returns
    -------
    BaseModel

    Raises
    ------
    InputError
        For anything wrong in the file or in a flag's value, and for an unknown flag.
    """
    path, rest = take_config(argv) if takes_file else (None, expanded(list(argv)))
    document = read_yaml(path) if path else None
    if document and migrate:
        document = migrate(document)
    # The file is validated before flags are read, so that an error in it names its line.
    default = validate_config(model, document) if document else model()
    return _parse_flags(model, rest, default, prog, description)


def rewriting(rewrite: Rewrite) -> Migrate:
    """Return what `parse_config` takes to rewrite a file's keys, with a note on stderr.

    Parameters
    ----------
    rewrite : callable
        Takes the file's mapping; returns another and what became of its keys, a sentence each.
    """

    def migrate(document: YamlDocument) -> YamlDocument:
        data, notes = rewrite(document.data)
        for note in notes:
            sys.stderr.write(printable(f"{document.source}: {note}\n"))
        return replace(document, data=data) if notes else document

    return migrate


def take_config(argv: Sequence[str]) -> tuple[Path | None, list[str]]:
    """Return the file that ``--config`` names, if any, and the other arguments."""
    rest: list[str] = []
    path: Path | None = None
    arguments = iter(argv)
    for argument in arguments:
        if argument == "--config":
            value = next(arguments, None)
            if value is None:
                raise InputError("--config", expected="a file name after it", found="nothing")
            path = Path(expanded(value))
        elif argument.startswith("--config="):
            path = Path(expanded(argument.partition("=")[2]))
        else:
            rest.append(argument)
    return path, rest


def _parse_flags(
    model: type[ModelT], argv: list[str], default: ModelT, prog: str, description: str
) -> ModelT:
    import tyro

    renamed = todays_flags(model)
    # Renamed before tyro sees them, so that help shows one spelling only.
    argv = [_todays_flag(argument, renamed) for argument in argv] if renamed else argv
    argv = gathered(argv, list_flags(model))
    check_values(argv, model)
    with flag_registry():
        values, unknown = tyro.cli(
            model,
            args=argv,
            default=default,
            prog=prog,
            description=description,
            # Help is the program's: it knows what matters first.
            add_help=False,
            config=(tyro.conf.FlagConversionOff,),
            return_unknown_args=True,
        )
    if unknown:
        raise _unknown_argument(unknown[0], model)
    # Validated as a whole: flags and file may be right alone and contradict each other.
    found = validate_values(model, _overlay(default.model_dump(), cast("dict[str, Any]", values)))
    given = {argument.partition("=")[0].replace("_", "-") for argument in argv}
    _mark_given(found, default, given, "--")
    if getattr(found, "trust_checkpoint", False):
        trust_files()
    return found


def _mark_given(found: BaseModel, default: BaseModel, flags: set[str], prefix: str) -> None:
    """Count as set what the file or a flag sets, not all that was filled in."""
    marked = set(default.model_fields_set)
    for key, flag, aliases in section_flags(type(found), prefix):
        section, before = getattr(found, key), getattr(default, key)
        if flags.isdisjoint((flag, *aliases)) and section == before and isinstance(before, dict):
            # With sections of its own, of which each knows what was given.
            found.__dict__[key] = before
        if isinstance(section, BaseModel) and isinstance(before, BaseModel):
            _mark_given(section, before, flags, f"{flag}.")
            named = bool(section.model_fields_set)
        else:
            named = not flags.isdisjoint((flag, *aliases))
        if named:
            marked.add(key)
    found.__pydantic_fields_set__ = marked


def gathered(argv: list[str], several: Mapping[str, str]) -> list[str]:
    """Return arguments with the values of a repeated flag behind its first: ``--level .8 .9``.

    Parameters
    ----------
    argv : list of str
        Arguments.
    several : mapping of str to str
        Flags that take several values, by each of their spellings.
    """
    groups: list[list[str]] = [[]]
    first: dict[str, list[str]] = {}
    for argument in argv:
        flag, equals, value = argument.partition("=")
        key = several.get(flag.replace("_", "-"))
        if key is None and _is_flag(argument):
            groups.append([argument])
        elif key is None:
            groups[-1].append(argument)
        elif key in first:
            groups.append(first[key])
            first[key] += [value] if equals else []
        else:
            first[key] = [flag, value] if equals else [flag]
            groups.append(first[key])
    kept: list[list[str]] = []
    for group in groups:
        if not any(group is other for other in kept):
            kept.append(group)
    return [argument for group in kept for argument in group]


def _is_flag(argument: str) -> bool:
    return argument.startswith("--") and len(argument) > 2


def _todays_flag(argument: str, renamed: Mapping[str, str]) -> str:
    flag, equals, value = argument.partition("=")
    return renamed.get(flag.replace("_", "-"), flag) + equals + value


_TABLES = ("--predictions", "--data-path", "--data")
_RUNS = ("--run", "--runs", "--artefact", "--artefacts", "--model-dir", "--models", "--study-dir")
_OF_INPUTS = (*_TABLES, *_RUNS)
"""Flags of what a command reads, of which a file or folder without a flag is one."""

_ALIKE = (_TABLES, _RUNS, ("--output", "--save-path", "--save-dir"))
"""Flags of the same meaning in different commands."""


def _unknown_argument(argument: str, model: type[BaseModel]) -> InputError:
    if not argument.startswith("-"):
        there = os.path.lexists(argument)
        known = [flag for flag in _OF_INPUTS if there and flag in flag_names(model)]
        return InputError(
            "arguments",
            expected="--FLAG VALUE",
            found=f"{argument!r}, which belongs to no flag",
            hint=f"Did you mean {known[0]} {shlex.quote(argument)}?" if known else None,
        )
    flag, names = argument.partition("=")[0], flag_names(model)
    same = [name for group in _ALIKE if flag in group for name in group if name in names]
    # Two dashes would make any two flags alike.
    close = nearest(flag.strip("-"), [name.strip("-") for name in same or names])
    close = close or (same[0].strip("-") if same else None)
    return InputError(
        "flag",
        expected="a known one",
        found=repr(flag),
        hint=f"Did you mean '--{close}'?" if close else "--help lists them.",
    )


def _overlay(base: dict[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with the values of `top`, section by section."""
    merged = dict(base)
    for key, value in top.items():
        # Only sections merge; a mapping given by flag replaces that of the file.
        merged[key] = _overlay(base[key], value) if isinstance(value, Section) else value
    return merged
