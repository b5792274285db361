"""Files of structures as tables: SDF with its properties, and SMILES with names."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from molpool_common._errors import InputError, listed
from molpool_common.tables._expansion import check_size
from molpool_common.tables._files import opened
from molpool_common.tables._layout import text_encoding
from molpool_common.tables._settings import ReadConfig

SMILES = "SMILES"
"""Column of the structures."""

NAME = "Name"
"""Column of their title lines."""


_MEANING = re.compile(r"(?P<space> *)(?:\$\$\$\$|>.*<)")
"""Lines of a value that would end a record, or head another value."""


def sdf_line(line: str) -> str:
    """Return a line of a title or value that means nothing to a reader; `_plain_line` undoes it."""
    return f" {line}" if _MEANING.match(line) else line


def _plain_line(line: str) -> str:
    found = _MEANING.match(line)
    return line[1:] if found is not None and found["space"] else line


def read_sdf(path: Path, read: ReadConfig, key: str) -> tuple[pl.DataFrame, str, list[str]]:
    """Return the records of an SDF file: SMILES, Name where one has a title, properties as text.

    Records that RDKit does not read have no SMILES; they are counted in the notes.

    Returns
    -------
    frame : DataFrame
    encoding : str
    notes : list of str
    """
    # RDKit is an extra, and takes a second to import.
    from molpool_common._chem import smiles_of_blocks

    encoding = text_encoding(path, read)
    blocks: list[str] = []
    rows: list[dict[str, str]] = []
    for record in _sdf_records(path, encoding):
        block, properties = _parts(record)
        blocks.append(block)
        rows.append(properties)
    if not blocks:
        raise InputError(key, expected="structures", found="an empty file", where=path.name)
    smiles = smiles_of_blocks(blocks)
    titles = [block.partition("\n")[0].strip() for block in blocks]
    names = dict.fromkeys(name for properties in rows for name in properties)
    # Each record may bring properties of its own, and each property is a column of all records.
    check_size(8 * len(names) * len(rows), path, read, key)
    columns: dict[str, list[str | None]] = {SMILES: list(smiles)}
    if any(titles) and NAME not in names:
        columns[NAME] = [title or None for title in titles]
    notes = []
    for name in names:
        values = [properties.get(name) for properties in rows]
        if name == SMILES and values == smiles:
            continue  # it says what the structures say, as in a file that we wrote
        new = name
        while new == SMILES or (new != name and new in names):
            new = f"{new} (property)"
        columns[new] = values
        if new != name:
            notes.append(f"{SMILES} are those of the structures; the property is {new!r}.")
    bad = [i + 1 for i, text in enumerate(smiles) if text is None]
    if bad:
        noun = "structure" if len(bad) == 1 else "structures"
        notes.append(f"{len(bad):,} {noun} that RDKit does not read: rows {listed(bad)}.")
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String)), encoding, notes


def _sdf_records(path: Path, encoding: str) -> Iterator[list[str]]:
    lines: list[str] = []
    with (
        opened(path) as raw,
        io.TextIOWrapper(raw, encoding=encoding, errors="replace", newline=None) as text,
    ):
        for number, line in enumerate(text):
            if number == 0:
                line = line.removeprefix("\ufeff")
            if line.startswith("$$$$"):
                yield lines
                lines = []
            else:
                lines.append(line.removesuffix("\n"))
    if any(line.strip() for line in lines):
        yield lines


def _parts(record: list[str]) -> tuple[str, dict[str, str]]:
    """Return the mol block and the properties of a record."""
    end = next((i + 1 for i, line in enumerate(record) if line.startswith("M  END")), None)
    if end is None:
        end = next((i for i, line in enumerate(record) if line.startswith(">")), len(record))
    properties: dict[str, str] = {}
    name: str | None = None
    values: list[str] = []
    for line in record[end:]:
        # A value may begin with > itself, as >200.
        header = line.startswith(">") and "<" in line and not values
        if name is not None and (header or not line.strip()):
            properties[name] = "\n".join(values)
            name, values = None, []
        if name is not None:
            values.append(_plain_line(line))
        elif header:
            name = line[line.find("<") + 1 : line.rfind(">")]
    if name is not None:
        properties[name] = "\n".join(values)
    return "\n".join(record[:end]), properties


def read_smi(path: Path, read: ReadConfig, key: str) -> tuple[pl.DataFrame, str, list[str]]:
    """Return the lines of a file of SMILES: SMILES, and Name where one has more than that.

    A first line that says ``SMILES`` is its header. Extensions in bars stay with the SMILES.
    """
    encoding = text_encoding(path, read)
    smiles: list[str | None] = []
    names: list[str | None] = []
    with opened(path) as raw, io.TextIOWrapper(raw, encoding=encoding, newline=None) as text:
        for i, line in enumerate(text):
            words = line.removeprefix("\ufeff").strip().split(None, 1)
            if not words or (i == 0 and words[0].casefold() == "smiles"):
                continue
            rest = words[1] if len(words) > 1 else ""
            if rest.startswith("|") and "|" in rest[1:]:
                extension, _, rest = rest[1:].partition("|")
                words[0] += f" |{extension}|"
            smiles.append(words[0])
            names.append(rest.strip() or None)
    if not smiles:
        raise InputError(key, expected="SMILES", found="an empty file", where=path.name)
    columns = {SMILES: smiles, **({NAME: names} if any(names) else {})}
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String)), encoding, []
