"""From the sampling keys of before to `joint_sampling`."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from molpool_common import listed

from sampling_core._errors import SamplingError

LEGACY_KEYS = ("optimization.task_sampling_alpha", "curriculum", "sampling")
"""Dotted keys that `joint_sampling` replaces."""


def map_legacy(config: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Map the sampling keys of before onto the section `joint_sampling`, values unchanged.

    Parameters
    ----------
    config : mapping
        A complete configuration.

    Returns
    -------
    joint_sampling : dict
        The new section, not yet validated, so that a misspelt key is named under its new name;
        empty where no legacy key is present.
    notes : list of str
        One sentence per legacy key: what became of it.

    Raises
    ------
    SamplingError
        If `joint_sampling` and a legacy key are both present, or a section is no mapping.

    Notes
    -----
    A key whose value is null is as absent. Before, `sampling` went before `curriculum`, and that
    before `task_sampling_alpha`: only the first that was switched on took effect, and so it is
    here.
    """
    present = [key for key in LEGACY_KEYS if _get(config, key) is not None]
    empty = [f"{key}: null, and so as absent." for key in _empty_keys(config)]
    if not present:
        return {}, empty
    if config.get("joint_sampling") is not None:
        raise SamplingError(
            f"joint_sampling and the legacy {listed(present)} are both given; keep joint_sampling"
        )
    notes = empty
    unified = _section(config, "sampling")
    if unified.get("enabled") or present == ["sampling"]:
        notes.append("sampling: renamed to joint_sampling.")
        notes += [f"{key}: dropped, as sampling overruled it." for key in present[:-1]]
        return unified, notes
    if unified:
        notes.append("sampling: dropped, as it was switched off.")
    return _from_separate(config, notes), notes


def migrate_legacy(config: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return a configuration with `joint_sampling` in place of its legacy keys.

    Parameters
    ----------
    config : mapping
        A complete configuration; not changed.

    Returns
    -------
    config : dict
        The same where it has no legacy key.
    notes : list of str
        One sentence per legacy key: what became of it.

    Raises
    ------
    SamplingError
        As `map_legacy`.
    """
    joint, notes = map_legacy(config)
    if not notes:
        return dict(config), []
    return without_legacy(config) | ({"joint_sampling": joint} if joint else {}), notes


def _empty_keys(config: Mapping[str, Any]) -> list[str]:
    """Return what is there and null: legacy keys, their section, and what replaces them."""
    found = []
    for key in (*LEGACY_KEYS, "joint_sampling"):
        section, _, name = key.rpartition(".")
        inside = config.get(section) if section else config
        if isinstance(inside, Mapping) and name in inside and inside[name] is None:
            found.append(key)
    if "optimization" in config and not config["optimization"]:
        found.append("optimization")
    return found


def without_legacy(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration less its legacy keys, and less an `optimization` that held no more."""
    rest = {key: value for key, value in config.items() if key not in LEGACY_KEYS}
    if rest.get("joint_sampling", 0) is None:
        del rest["joint_sampling"]
    optimization = rest.pop("optimization", None)
    if isinstance(optimization, dict):
        optimization = {k: v for k, v in optimization.items() if k != "task_sampling_alpha"}
    # An `optimization` with other keys is left for validation to name.
    return rest | {"optimization": optimization} if optimization else rest


def _from_separate(config: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    """Map the two samplers that excluded each other."""
    alpha = _get(config, "optimization.task_sampling_alpha")
    curriculum = _section(config, "curriculum")
    by_quality = bool(curriculum.get("enabled", False))
    by_task = alpha is not None and not by_quality
    joint: dict[str, Any] = {"enabled": by_quality or by_task, "task_oversampling": {}}
    joint["task_oversampling"]["enabled"] = by_task
    if alpha is not None:
        joint["task_oversampling"]["alpha"] = alpha
    if by_task:
        joint["composition_mode"] = "hierarchical"
        notes.append(
            "optimization.task_sampling_alpha: now joint_sampling.task_oversampling.alpha with"
            " composition_mode hierarchical, the draw of a task, then of a row, that it was."
        )
    elif alpha is not None:
        notes.append(
            "optimization.task_sampling_alpha: kept as joint_sampling.task_oversampling.alpha but"
            " switched off, as curriculum.enabled overruled it."
        )
    if curriculum:
        joint["curriculum"] = {"enabled": by_quality} | curriculum
        state = "on" if by_quality else "off"
        notes.append(f"curriculum: moved to joint_sampling.curriculum, switched {state} as before.")
    return joint


def _get(config: Mapping[str, Any], dotted: str) -> Any:
    value: Any = config
    for key in dotted.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _section(config: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = config.get(key)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise SamplingError(f"{key}: expected a mapping, found {value!r}")
    return deepcopy(dict(value))
