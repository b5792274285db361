"""Training configurations, read for what they say of the table and of task affinity."""

from __future__ import annotations

import sys
from typing import Any

from molpool_common import InputError, YamlDocument

_SECTION = "task_affinity"
_SHARED = ("data_path", "on_bad_smiles")
_OF_TRAINING = {_SECTION, "model", "training", "joint_sampling", "ensemble"}
"""Keys by which a file is known as one of `molpool-train chemprop`."""


def read_as_measurement(document: YamlDocument) -> YamlDocument:
    """Return a configuration of `molpool-train chemprop` as one of this command.

    Keys of its section `task_affinity`, `data`, `data_path` and `on_bad_smiles` are kept, rows are
    those of the training side, and stderr says what is not read.

    Parameters
    ----------
    document : YamlDocument
        A parsed configuration file.

    Returns
    -------
    YamlDocument
        The same document where it is none of training.

    Raises
    ------
    InputError
        If the section `task_affinity` is no mapping.
    """
    if not _OF_TRAINING & set(document.data):
        return document
    section = document.data.get(_SECTION, {})
    if not isinstance(section, dict):
        raise InputError(
            _SECTION, expected="a section of keys", found=repr(section), where=document.source
        )
    ignored = [key for key in document.data if key not in {_SECTION, "data", "seed", *_SHARED}]
    if ignored:
        sys.stderr.write(
            f"{document.source}: a training configuration; not read: {', '.join(ignored)}\n"
        )
    lines = {
        path[1:] if path[0] == _SECTION and len(path) > 1 else path: line
        for path, line in document.lines.items()
    }
    return YamlDocument(_measurement(document.data, section), document.source, lines)


def _measurement(training: dict[str, Any], section: dict[str, Any]) -> dict[str, Any]:
    data = dict(training.get("data") or {})
    if data.get("split_seed") is None:  # the run's, 42 where it says nothing
        data["split_seed"] = training.get("seed", 42)
    shared = {key: training[key] for key in _SHARED if key in training}
    # `sharing` is how the groups are trained, which is not this command's matter.
    measured = {key: value for key, value in section.items() if key != "sharing"}
    return {**shared, **measured, "enabled": True, "rows": "train", "data": data}
