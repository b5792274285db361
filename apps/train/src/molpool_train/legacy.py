"""Configuration files from before `joint_sampling`, read as what they meant."""

from __future__ import annotations

import sys
from typing import Any

from molpool_common.config import YamlDocument
from sampling_core.legacy import LEGACY_KEYS, map_legacy


def migrate(document: YamlDocument) -> YamlDocument:
    """Rewrite legacy sampling keys and say on stderr what each became.

    Parameters
    ----------
    document : YamlDocument
        A parsed configuration file.

    Returns
    -------
    YamlDocument
        The same document where it has no legacy key.

    Raises
    ------
    SamplingError
        If legacy keys and `joint_sampling` are both there.
    """
    joint, notes = map_legacy(document.data)
    if not notes:
        return document
    for note in notes:
        sys.stderr.write(f"{document.source}: {note}\n")
    data = without_legacy(document.data) | {"joint_sampling": joint}
    return YamlDocument(data, document.source, document.lines)


def without_legacy(data: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration less its legacy keys, and less an `optimization` that held no more."""
    rest = {key: value for key, value in data.items() if key not in LEGACY_KEYS}
    optimization = rest.pop("optimization", None)
    if isinstance(optimization, dict):
        optimization = {k: v for k, v in optimization.items() if k != "task_sampling_alpha"}
    # An `optimization` with other keys is left for validation to name.
    return rest | {"optimization": optimization} if optimization else rest
