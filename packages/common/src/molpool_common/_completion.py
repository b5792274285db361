"""Completion of commands, flags and their choices in bash, zsh and fish: a script for each shell.

All that can be typed stands in the script, so that a shell answers at once, without Python.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

from molpool_common._errors import InputError
from molpool_common._flags import Flag

Commands = Mapping[tuple[str, ...], list[Flag]]
"""Flags of each command, by its words: ``("molpool-train", "auto")``."""

SHELLS = ("bash", "zsh", "fish")

_ALWAYS = ("--config", "--quiet", "--json", "--help", "--help-all", "--version")

_BASH = r"""# Completion of molpool.
{head}_molpool() {{
    local cur="${{COMP_WORDS[COMP_CWORD]}}" prev="${{COMP_WORDS[COMP_CWORD-1]}}"
    local key="${{COMP_WORDS[0]##*/}}" word words="" flags=""
    for word in "${{COMP_WORDS[@]:1:$((COMP_CWORD-1))}}"; do
        case "$_molpool_commands" in
            *" ${{key// /:}}:$word "*) key="$key $word" ;;
            *) break ;;
        esac
    done
    case "$key $prev" in
{choices}
    esac
    case "$key" in
{flags}
    esac
    # Behind a flag stands a value, often a file: only what begins like a flag is one.
    if [[ -z $words && ( $cur == -* || $flags != -* ) ]]; then words="$flags"; fi
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}}
_molpool_commands={commands}
complete -o default -F _molpool {programs}
"""

_ZSH_HEAD = """autoload -U +X compinit && compinit
autoload -U +X bashcompinit && bashcompinit
"""


def completion_script(shell: str, commands: Commands) -> str:
    """Return a script that a shell reads at its start.

    Parameters
    ----------
    shell : {"bash", "zsh", "fish"}
        For which shell.
    commands : mapping of tuple of str to list of Flag
        Flags of each command; those with further words have none.

    Raises
    ------
    InputError
        If there is no such shell.
    """
    if shell not in SHELLS:
        raise InputError("--completion", expected=" or ".join(SHELLS), found=repr(shell))
    if shell == "fish":
        return "".join(f"{line}\n" for line in _fish(commands))
    below = " ".join(":".join(words) for words in commands if len(words) > 1)
    return _BASH.format(
        head=_ZSH_HEAD if shell == "zsh" else "",
        choices="\n".join(_choices(commands)),
        flags="\n".join(_flags(commands)),
        commands=shlex.quote(f" {below} "),
        programs=" ".join(sorted({words[0] for words in commands})),
    )


def _flags(commands: Commands) -> Iterator[str]:
    for words in commands:
        typed = " ".join(_typed(words, commands))
        yield f"        {shlex.quote(' '.join(words))}) flags={shlex.quote(typed)} ;;"


def _typed(words: tuple[str, ...], commands: Commands) -> list[str]:
    """Return what can be typed behind a command: further words, or its flags."""
    further = [w[-1] for w in commands if w[:-1] == words]
    return further or [*(flag.names[0] for flag in commands[words]), *_ALWAYS]


def _choices(commands: Commands) -> Iterator[str]:
    for words, flags in commands.items():
        for flag in flags:
            if flag.choices:
                names = "|".join(shlex.quote(" ".join((*words, name))) for name in flag.names)
                yield f"        {names}) words={shlex.quote(' '.join(flag.choices))} ;;"


def _fish(commands: Commands) -> Iterator[str]:
    yield "# Completion of molpool."
    for words, flags in commands.items():
        seen = [f"__fish_seen_subcommand_from {word}" for word in words[1:]]
        further = [w[-1] for w in commands if w[:-1] == words]
        if further:
            here = [*seen, f"not __fish_seen_subcommand_from {' '.join(further)}"]
            yield _fish_line(words[0], here, f"-f -a {shlex.quote(' '.join(further))}")
            continue
        for flag in flags:
            values = f"-xa {shlex.quote(' '.join(flag.choices))}" if flag.choices else "-r"
            about = shlex.quote(flag.text.partition(";")[0].partition(":")[0])
            yield _fish_line(words[0], seen, f"-l {flag.names[0][2:]} {values} -d {about}")
        for name in _ALWAYS:
            yield _fish_line(words[0], seen, f"-l {name[2:]}")


def _fish_line(program: str, seen: list[str], rest: str) -> str:
    where = f" -n {shlex.quote('; and '.join(seen))}" if seen else ""
    return f"complete -c {program}{where} {rest}"
