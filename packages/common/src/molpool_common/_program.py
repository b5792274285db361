"""Programs and their commands: arguments to a checked configuration, and what a command answers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from pydantic import BaseModel

from molpool_common._answer import answering, take_form
from molpool_common._cli import Migrate, guarded, parse_config, print_version
from molpool_common._completion import SHELLS, completion_script
from molpool_common._errors import USER_ERROR, InputError, did_you_mean
from molpool_common._flags import Flag, flags_of, with_subject, with_values
from molpool_common._help import help_asked, help_page, print_help
from molpool_common._parallel import take_engine, working_on
from molpool_common._ranks import world_size


@dataclass(frozen=True)
class Command:
    """A command: what it may be told, and what it does.

    Parameters
    ----------
    summary : str
        One line.
    options : str
        Configuration model, as ``MODULE:CLASS``; imported once the command is named.
    run : callable
        Takes the checked configuration and the arguments as they were given; returns an exit code
        or None.
    example : str
        Arguments of an example, for ``--help``.
    first : tuple of str
        The flags that matter first, at most ten; without them ``--help`` shows all.
    subject : str
        A flag whose values may stand without it: ``reproduce RUN`` for ``reproduce --run RUN``.
    takes_file : bool
        Whether ``--config FILE`` gives the options in YAML.
    migrate : callable, optional
        Rewrites such a file before it is checked.
    ranks : bool
        Whether several processes that torchrun starts may run it together.
    """

    summary: str
    options: str
    run: Callable[[Any, Sequence[str]], int | None]
    example: str = ""
    first: tuple[str, ...] = ()
    subject: str = ""
    takes_file: bool = True
    migrate: Migrate | None = None
    ranks: bool = False

    @property
    def about(self) -> str:
        """The summary as a sentence."""
        return f"{self.summary[0].upper()}{self.summary[1:]}."

    def model(self) -> type[BaseModel]:
        """Import the configuration model."""
        found: type[BaseModel] = _imported(self.options)
        return found

    def parse(self, prog: str, argv: Sequence[str]) -> Any:
        """Return the checked configuration; see `parse_config`."""
        model = self.model()
        argv = with_values(argv, model)
        return parse_config(
            model,
            with_subject(argv, self.subject, model) if self.subject else argv,
            prog=prog,
            description=self.about,
            migrate=self.migrate,
            takes_file=self.takes_file,
        )

    def help(self, prog: str, asked: Sequence[str]) -> str:
        """Return the page of ``--help``."""
        return help_page(
            prog,
            self.about,
            self.model(),
            asked=asked,
            first=self.first,
            example=self.example,
            subject=self.subject,
            takes_file=self.takes_file,
        )


@dataclass(frozen=True)
class Program:
    """A console script.

    Parameters
    ----------
    name : str
        Of the script, and of the distribution that it comes with.
    about : str
        One sentence for ``--help``.
    commands : mapping of str to Command
        Its commands; a program of a single one has it under the empty name.
    parts : mapping of str to tuple of str
        Other programs that are commands of this one: where each is, as ``MODULE:NAME``, and its
        summary.
    """

    name: str
    about: str
    commands: Mapping[str, Command]
    parts: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def __call__(self, argv: Sequence[str] | None = None) -> int:
        """Run the command that `argv` names and return the exit code of the process.

        Parameters
        ----------
        argv : sequence of str, optional
            Arguments without the program name; those of the process by default.
        """
        arguments = list(sys.argv[1:] if argv is None else argv)
        return guarded(self.name, lambda: self._select(arguments))

    def flags(self) -> dict[tuple[str, ...], list[Flag]]:
        """Return the flags of each command by its words, those of its parts among them."""
        found: dict[tuple[str, ...], list[Flag]] = {}
        if "" not in self.commands:
            found[self.name,] = []
        for name, command in self.commands.items():
            found[(self.name, name) if name else (self.name,)] = list(flags_of(command.model()))
        for name, (where, _) in self.parts.items():
            own = _imported(where).flags()
            found |= own
            found |= {(self.name, name, *words[1:]): flags for words, flags in own.items()}
        return found

    def _select(self, arguments: list[str]) -> int | None:
        if arguments[:1] == ["--completion"]:
            shell = arguments[1] if len(arguments) > 1 else "nothing"
            sys.stdout.write(completion_script(shell, self.flags()))
            return 0
        if "" in self.commands:
            return self._run("", arguments)
        # Without arguments the overview is shown as help for a mistake, hence the exit code of one.
        if not arguments or arguments[0] in {"-h", "--help", "--help-all"}:
            print_help(self._overview())
            return 0 if arguments else USER_ERROR
        if arguments[0] == "--version":
            return print_version(self.name)
        name = arguments[0]
        if name in self.parts:
            # Imported when it is named: all together would slow each other's help.
            code: int = _imported(self.parts[name][0])(arguments[1:])
            return code
        if name not in self.commands:
            names = [*self.parts, *self.commands]
            raise InputError(
                "command",
                expected=f"one of {', '.join(names)}",
                found=repr(name),
                hint=did_you_mean(name, names),
            )
        return self._run(name, arguments[1:])

    def _run(self, name: str, argv: Sequence[str]) -> int:
        command, prog = self.commands[name], f"{self.name} {name}".rstrip()
        self._check_ranks(prog, command)
        if (asked := help_asked(argv)) is not None:
            print_help(command.help(prog, asked))
            return 0
        if "--version" in argv:
            return print_version(self.name)
        form, rest = take_form(argv)
        with answering(prog, form) as said:
            engine, address, rest = take_engine(rest)
            with working_on(engine, address):
                said.code = command.run(command.parse(prog, rest), rest) or 0
        return said.code

    def _check_ranks(self, prog: str, command: Command) -> None:
        if world_size() == 1 or command.ranks:
            return
        able = [f"{self.name} {other}" for other, one in self.commands.items() if one.ranks]
        raise InputError(
            prog,
            expected="one process",
            found=f"{world_size()}, as torchrun started it",
            hint=f"torchrun is for {' and '.join(able)}." if able else "",
        )

    def _overview(self) -> str:
        rows = {name: summary for name, (_, summary) in self.parts.items()}
        rows |= {name: command.summary for name, command in self.commands.items()}
        width = max(map(len, rows))
        lines = [f"usage: {self.name} COMMAND [OPTIONS]", "", self.about, "", "commands:"]
        lines += [f"  {name:<{width}}  {summary}" for name, summary in rows.items()]
        lines += [
            "",
            f"'{self.name} COMMAND --help' shows an example and the options that matter first,",
            "--help-all all of them. Every command takes --quiet, --json and --version.",
            f"'{self.name} --completion {{{','.join(SHELLS)}}}' prints completion for a shell.",
        ]
        return "\n".join(lines) + "\n"


def _imported(where: str) -> Any:
    module, _, name = where.partition(":")
    return getattr(import_module(module), name)
