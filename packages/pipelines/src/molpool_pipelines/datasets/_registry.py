"""The registry: every data set that molpool knows by name, with files, checksums and terms."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Annotated

import yaml
from molpool_common import InputError, did_you_mean
from pydantic import BaseModel, ConfigDict, Field

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
RelativePath = Annotated[str, Field(pattern=r"^[^/\\][^\\]*$")]
"""A path with forward slashes below some folder."""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Licence(_Entry):
    """Under which terms the data may be used.

    Attributes
    ----------
    id : str
        SPDX expression; ``NOASSERTION`` where the owner states none.
    note : str
        Where the licence is stated, and what else binds a user.
    """

    id: str
    note: str = ""


class Source(_Entry):
    """A public repository at one commit.

    Attributes
    ----------
    repository : str
        ``owner/name`` on GitHub.
    commit : str
        Hexadecimal commit, 7 to 40 digits.
    """

    repository: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{7,40}$")]


class DataFile(_Entry):
    """One file of a data set.

    Attributes
    ----------
    name : str
        Path below the data set's folder.
    source : str
        Path in the source repository.
    derived : str
        How the file was made from its source; empty if it is the source byte for byte.
    rows : int or None
        Data rows, where the file is a table.
    bytes : int
        Size.
    sha256 : str
        Checksum.
    about : str
        What the file holds, where the title of the set does not say it.
    columns : mapping of str to str
        Unit or meaning of columns that the other files of the set have not.
    """

    name: RelativePath
    source: RelativePath
    derived: str = ""
    rows: Annotated[int, Field(ge=0)] | None = None
    bytes: Annotated[int, Field(gt=0)]
    sha256: Sha256
    about: str = ""
    columns: Mapping[str, str] = Field(default_factory=dict)

    @property
    def format(self) -> str:
        """Suffixes of the name without the first dot, such as ``csv.gz``."""
        base = self.name.rsplit("/", 1)[-1]
        # Dots in names such as v1.2.csv are no suffixes.
        known = [part for part in base.split(".")[1:] if part.isalpha() or part == "gz"]
        return ".".join(known[-2:])


class Dataset(_Entry):
    """One public data set.

    Attributes
    ----------
    name : str
        By which `locate` and `fetch` know it.
    title : str
        What it is, in a line.
    folder : str
        Folder of its files below a data folder.
    licence : Licence
        Terms of use.
    citation : str
        What to cite.
    source : Source
        Where the files come from.
    columns : mapping of str to str
        Unit or meaning by column. A ``*`` in a name stands for any text.
    notes : tuple of str
        Caveats that a user must know.
    files : tuple of DataFile
        At least one; the first is the one that `locate` takes by default.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
    title: str
    folder: RelativePath
    licence: Licence
    citation: str
    source: Source
    columns: Mapping[str, str] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
    files: Annotated[tuple[DataFile, ...], Field(min_length=1)]

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(file.bytes for file in self.files)

    @property
    def rows(self) -> int:
        """Data rows of all tables."""
        return sum(file.rows or 0 for file in self.files)

    def file(self, name: str | None = None) -> DataFile:
        """Return a file by its name, or the first.

        Raises
        ------
        InputError
            If the set has no such file.
        """
        if name is None:
            return self.files[0]
        by_name = {file.name: file for file in self.files}
        if name not in by_name:
            raise InputError(
                f"file of data set {self.name!r}",
                expected=f"one of its {len(by_name)} files",
                found=repr(name),
                hint=did_you_mean(name, list(by_name)),
            )
        return by_name[name]

    def location(self, file: DataFile) -> str:
        """Return the path of a file below a data folder, with forward slashes."""
        return f"{self.folder}/{file.name}"

    def meaning(self, column: str, file: DataFile) -> str | None:
        """Return the unit or meaning of a column of a file, or None if none is registered.

        What the file says goes before what the set says, and a name before a pattern with ``*``.
        """
        known = {**self.columns, **file.columns}
        if column in known:
            return known[column]
        for pattern in [*file.columns, *self.columns]:
            text = ".*".join(re.escape(part) for part in pattern.split("*"))
            if "*" in pattern and re.fullmatch(text, column):
                return known[pattern]
        return None

    def address(self, file: DataFile) -> str:
        """Return the public address of the file, or of what it was derived from."""
        source = self.source
        if file.derived:
            return f"https://github.com/{source.repository}/tree/{source.commit}/{file.source}"
        host = "https://raw.githubusercontent.com"
        return f"{host}/{source.repository}/{source.commit}/{file.source}"


@cache
def registry() -> Mapping[str, Dataset]:
    """Return every known data set by name, in the registry's order.

    Returns
    -------
    mapping of str to Dataset
        Read-only.

    Raises
    ------
    pydantic.ValidationError
        If the registry that ships with the package is damaged.
    """
    text = files("molpool_pipelines.datasets").joinpath("registry.yaml").read_text("utf-8")
    # The C parser where there is one: the registry is read at the start of commands.
    entries = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  # both are safe
    return MappingProxyType(
        {name: Dataset.model_validate({"name": name, **entry}) for name, entry in entries.items()}
    )


def dataset(name: str) -> Dataset:
    """Return a data set by name.

    Raises
    ------
    InputError
        If the name is unknown; the message gives the nearest valid one.
    """
    known = registry()
    if name not in known:
        raise InputError(
            "data set",
            expected="a name of the data registry",
            found=repr(name),
            hint=did_you_mean(name, list(known)),
        )
    return known[name]
