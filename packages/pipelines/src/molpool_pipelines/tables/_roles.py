"""What each column of a table is to a command: nothing is a feature that the user did not mean.

A configuration names columns under many keys; here stands, once for all of them, what a key makes
of its column. Columns that no key names may still tell by their name that they are no measurement
of a molecule (``fold``, ``plate``, ``row``), or that they are about a target (``LogD_sd``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from molpool_common import listed, smiles_column_of
from pydantic import BaseModel

Role = Literal[
    "structure", "target", "auxiliary target", "bound", "id", "instance", "time", "split", "series",
    "fold", "plate", "weight", "quality", "energy", "stratum", "witness", "feature", "not used",
]  # fmt: skip

KEY_ROLES: Mapping[str, Role] = {
    "smiles_column": "structure",
    "target_columns": "target",
    "columns": "target",
    "column": "target",
    "modifier": "bound",
    "modifier_columns": "bound",
    "modifier_suffix": "bound",
    "id_column": "id",
    "instance_column": "instance",
    "energy_column": "energy",
    "time_column": "time",
    "split_column": "split",
    "group_column": "series",
    "fold_column": "fold",
    "fold_where": "fold",
    "plate_column": "plate",
    "weight_columns": "weight",
    "quality_col": "quality",
    "strata_column": "stratum",
    "witness_column": "witness",
    "feature_columns": "feature",
}
"""What a key of a configuration makes of the columns that it names."""

_AUXILIARY = "aux"
"""Section whose ``columns`` are auxiliary targets, by group."""

_BY_NAME: tuple[tuple[Role, str], ...] = (
    (
        "id",
        # Without a name: the row numbers that pandas writes.
        r"(|row|index|unnamed( \d+)?|no|nr|number|id|ids|uuid|guid|name|batch id|cas|cid|inchikey)",
    ),
    ("id", r"(.+ (id|index|no|nr)|(molecule|compound|sample|mol|cpd) (name|number))"),
    ("structure", r"(smiles|canonical smiles|inchi|mol|structure|.+ smiles|smiles .+)"),
    ("fold", r"(.* )?(cv )?folds?( \d+)?"),
    ("split", r"(split|set|subset|side|partition|train test|is (train|test|val))"),
    ("plate", r"(.* )?(plate|well|run|batch|lot|lab|instrument|operator)( \w+)?"),
    ("weight", r"(weights?|sample weights?|row weights?|loss weights?)"),
    ("quality", r"(quality|qualities|confidence|tier|source|reliability)"),
    # "Retention time" is a measurement.
    ("time", r"(time|timestamp|datetime|year|month|day|(.+ )?date|date .+)"),
)
"""Roles by the whole name of a column, in lower case with single spaces."""

_ABOUT = re.compile(
    r"\b(sd|std|stdev|stddev|stderr|sem|(standard|std) (dev|deviation|err|error)|errors?|variance"
    r"|uncertainty|ci (lower|upper|low|high)|(lower|upper) (ci|bound|limit)|[pq] ?val(ue)?|fdr"
    r"|t statistic|cohens d|(n|no|num|number of) (replicates?|measurements?|obs(ervations)?|values)"
    r"|replicates|occurr?ences|predicted|predictions?|residuals?)\b"
    r"|^(concentration|conc|dose)( |$)"
)
"""Words of names of columns that are about a measurement rather than one."""


@dataclass(frozen=True)
class ColumnRole:
    """What a column is, and who says so.

    Parameters
    ----------
    role : str
        One of `Role`.
    reason : str
        The key of the configuration, or that its name tells; empty where nothing does.
    """

    role: Role
    reason: str = ""

    @property
    def is_named(self) -> bool:
        """Whether a key of the configuration says so."""
        return self.reason not in ("", _TELLS)


def roles(config: BaseModel, columns: Sequence[str]) -> dict[str, ColumnRole]:
    """Return the role of each column of a table.

    Parameters
    ----------
    config : BaseModel
        Of any command that reads molecules or bags, or a section of one.
    columns : sequence of str
        Of the table.

    Returns
    -------
    dict of str to ColumnRole
        In the order of the columns. A key goes before a name; of several keys the first that is no
        ``feature``, so that a target is never one.
    """
    named: dict[str, ColumnRole] = {}
    suffixes: list[str] = []
    for key, name, role in _named(config, ""):
        if role == "structure":
            name = smiles_column_of(columns, name, given=False)
        if key.endswith("modifier_suffix"):
            suffixes.append(name)
        elif name not in named or named[name].role == "feature":
            named[name] = ColumnRole(role, key)
    targets = [name for name, of in named.items() if of.role in ("target", "auxiliary target")]
    for suffix in suffixes:
        for target in targets:
            named.setdefault(target + suffix, ColumnRole("bound", "modifier_suffix"))
    return {name: named.get(name) or _by_name(name, targets) for name in columns}


def roles_note(config: BaseModel, columns: Sequence[str]) -> str:
    """Return one sentence that names the columns by role."""
    by_role: dict[str, list[str]] = {}
    for name, of in roles(config, columns).items():
        # What nothing names is not used, whatever its name tells.
        by_role.setdefault(of.role if of.is_named else "not used", []).append(name)
    unused = by_role.pop("not used", [])
    words = [f"{role} {listed(names, 6)}" for role, names in by_role.items()]
    if unused:
        words.append(f"not used {listed(unused, 6)}")
    return f"Columns: {'; '.join(words)}."


_TELLS = "its name"


def plain_name(name: str) -> str:
    """Return a name in lower case, its words apart by single spaces."""
    # "PlateId" and "plate_id" read alike.
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return " ".join(re.sub(r"[^a-z0-9]+", " ", words.casefold()).split())


def role_by_name(name: str) -> Role | None:
    """Return what the name of a column tells that it is; None where it tells nothing."""
    plain = plain_name(name)
    return next((role for role, text in _BY_NAME if re.fullmatch(text, plain)), None)


def is_about_another(name: str) -> bool:
    """Return whether the name of a column tells of an error, a statistic or a condition."""
    return _ABOUT.search(plain_name(name)) is not None


def _by_name(name: str, targets: Sequence[str]) -> ColumnRole:
    role = role_by_name(name)
    if role is not None:
        return ColumnRole(role, _TELLS)
    about = [t for t in targets if re.match(re.escape(t) + r"[ _.:(\[-]", name)]
    # Its error, its unit, its other scale: each of them knows the target.
    return ColumnRole("bound", _TELLS) if about else ColumnRole("not used")


def _named(config: BaseModel, prefix: str) -> Iterator[tuple[str, str, Role]]:
    """Yield key, column and role of every column that a configuration names."""
    for key in type(config).model_fields:
        value = getattr(config, key)
        path = f"{prefix}{key}"
        if key == _AUXILIARY and isinstance(value, Mapping):
            for group, section in value.items():
                for name in section.columns:
                    yield f"{path}.{group}.columns", name, "auxiliary target"
        elif key in KEY_ROLES:
            yield from _columns_of(path, key, value)
        else:
            yield from _below(value, path)


def _below(value: Any, path: str) -> Iterator[tuple[str, str, Role]]:
    sections = value if isinstance(value, list | tuple) else [value]
    for section in sections:
        if isinstance(section, BaseModel):
            yield from _named(section, f"{path}.")


def _columns_of(path: str, key: str, value: Any) -> Iterator[tuple[str, str, Role]]:
    if isinstance(value, str):
        yield path, value, KEY_ROLES[key]
    elif isinstance(value, Mapping):
        # Columns by target, but for those by their own name.
        names = value.keys() if key == "fold_where" else value.values()
        for name in names:
            if isinstance(name, BaseModel):
                yield from _named(name, f"{path}.")
            else:
                yield path, name, KEY_ROLES[key]
    else:
        for name in value or ():
            yield path, name, KEY_ROLES[key]
