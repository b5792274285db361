"""Keys that hold paths: `~` is home wherever it stands, and what is stored means one place.

A path of a configuration, of its file as of its flags, is of the folder in which the command was
given. A configuration that is kept names it in full, so that it means the same from any folder.
"""

from __future__ import annotations

import os
from typing import Any, TypeVar

from pydantic import AfterValidator, BaseModel

ModelT = TypeVar("ModelT", bound=BaseModel)


def expanded(value: Any) -> Any:
    """Return a path, or each of several, with `~` and `~USER` as the folder they stand for."""
    if isinstance(value, list | tuple):
        return type(value)(expanded(one) for one in value)
    # Not `Path.expanduser`, which raises at a user who is not there.
    return os.path.expanduser(value) if isinstance(value, str) else value


_LONGEST, _LONGEST_PATH = 255, 4000
"""Bytes of the name of a file or folder, and of a path, on the usual file systems."""


def _path(value: Any) -> Any:
    """Return a path that a file system can have, expanded."""
    for text in value if isinstance(value, list | tuple) else (value,):
        if not isinstance(text, str) or "://" in text:
            continue
        longest = max(text.split("/"), key=len)
        if "\0" in text:
            raise ValueError(f"expected a path; found one with a zero byte, {text[:40]!r}")
        if len(text) > _LONGEST_PATH or len(os.fsencode(longest)) > _LONGEST:
            found = f"one of {len(text)} characters, {longest[:40]!r}..."
            raise ValueError(
                f"expected a path whose names have at most {_LONGEST} bytes; found {found}"
            )
    return expanded(value)


PATH = AfterValidator(_path)
"""Mark of a key that holds a path or several: ``Annotated[str | None, PATH]``.

The shell leaves `~` alone where it is quoted, and so does YAML.
"""


def absolute_paths(config: ModelT) -> ModelT:
    """Return a configuration whose paths mean the same from any folder.

    Parameters
    ----------
    config : BaseModel
        Keys marked by `PATH` are read as of the working folder, in all its sections. Addresses
        (``postgresql://...``) and standard input (``-``) stay.
    """
    update: dict[str, Any] = {}
    for name, field in type(config).model_fields.items():
        own = getattr(config, name)
        found = _absolute(own, PATH in field.metadata)
        # What is copied counts as given.
        update |= {} if found == own else {name: found}
    return config.model_copy(update=update)


def _absolute(value: Any, is_path: bool) -> Any:
    if isinstance(value, BaseModel):
        return absolute_paths(value)
    if isinstance(value, list):
        return [_absolute(one, is_path) for one in value]
    if is_path and isinstance(value, str) and "://" not in value and value != "-":
        return os.path.abspath(value)
    return value
