"""Everything `molpool-affinity` takes: its keys, a training file read as them, where it writes."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from molpool_common import PATH, InputError, ReadConfig, YamlDocument, validate_values
from pydantic import Field, model_validator
from task_affinity import TaskAffinityConfig

from molpool_pipelines.tables import ON_BAD_SMILES, DataConfig, OnBadSmiles, TaskType

_SECTION = "task_affinity"
_SHARED = ("data_path", "on_bad_smiles", "read", "task_type", "task_types")
_OF_TRAINING = {_SECTION, "model", "training", "joint_sampling", "ensemble"}
"""Keys by which a file is known as one of `molpool-train chemprop`."""

_PICTURES = (".png", ".svg", ".pdf")
_ENDINGS = {
    "save_path": (".npz",),
    "plot_heatmap": _PICTURES,
    "plot_dendrogram": _PICTURES,
    "save_groups": (".json",),
    "report": (".html", ".htm"),
    "output": (".csv", ".tsv", ".parquet", ".xlsx"),
}


class AffinityCommandConfig(TaskAffinityConfig):
    """One measurement: which table, how it is measured and grouped, what is written."""

    enabled: bool = Field(
        default=True, description="As in a training configuration; this command always measures."
    )
    data_path: Annotated[str | None, PATH] = Field(
        default=None, description="Table of molecules: text, Parquet, Excel, SDF or SMILES."
    )
    rows: Literal["all", "train"] = Field(
        default="all",
        description=(
            "all: every row of the table; train: those of the training split of data.split_type, as"
            " molpool-train with this seed divides it."
        ),
    )
    on_bad_smiles: OnBadSmiles = Field(default="error", description=ON_BAD_SMILES)
    task_type: Literal["auto", "regression", "classification"] = Field(
        default="auto",
        description="Kind of all tasks; auto: classification where all values are 0 or 1.",
    )
    task_types: dict[str, TaskType] = Field(
        default_factory=dict, description="Kind of single tasks, by name; goes before task_type."
    )
    save_path: Annotated[str, PATH] = Field(
        default="task_affinity.npz",
        description="File of the matrix with standard errors; a .csv of the matrix lies beside it.",
    )
    output: Annotated[str | None, PATH] = Field(
        default=None,
        description="Table of the matrix, a row per task: .csv, .tsv, .parquet or .xlsx.",
    )
    plot_heatmap: Annotated[str | None, PATH] = Field(
        default=None, description="Picture of the matrix: .png, .svg or .pdf."
    )
    plot_dendrogram: Annotated[str | None, PATH] = Field(
        default=None, description="Picture of the tree of tasks: .png, .svg or .pdf."
    )
    save_groups: Annotated[str | None, PATH] = Field(
        default=None, description="JSON file of the groups, for molpool-train's key groups."
    )
    report: Annotated[str | None, PATH] = Field(
        default=None, description="Self-contained HTML page of it all."
    )
    read: ReadConfig = Field(default_factory=ReadConfig)
    data: DataConfig = Field(default_factory=DataConfig)

    @model_validator(mode="after")
    def _measures(self) -> Self:
        if not self.enabled:
            raise ValueError("enabled: expected true, as this command measures; found false")
        return self

    @property
    def measurement(self) -> TaskAffinityConfig:
        """The keys of measuring and grouping alone."""
        # Without this command's keys: the result file stores the section as training would.
        keys = self.model_fields_set & TaskAffinityConfig.model_fields.keys() | {"enabled"}
        return validate_values(TaskAffinityConfig, {key: getattr(self, key) for key in keys})


def read_as_measurement(document: YamlDocument) -> YamlDocument:
    """Return a configuration of `molpool-train chemprop` as one of this command.

    Keys of its section `task_affinity`, `data`, `data_path` and `on_bad_smiles` are read, rows are
    those of the training split, and stderr says what is not read.

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
    # Keys that this command lacks identify the file; `data` and `seed` alone are in both.
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
    # Paths move up with their keys, so that an error still names the line of the user's file.
    lines = {
        path[1:] if path[0] == _SECTION and len(path) > 1 else path: line
        for path, line in document.lines.items()
    }
    return replace(document, data=_measurement(document.data, section), lines=lines)


def _measurement(training: dict[str, Any], section: dict[str, Any]) -> dict[str, Any]:
    data = dict(training.get("data") or {})
    if data.get("split_seed") is None:  # the run's, 42 where it says nothing
        data["split_seed"] = training.get("seed", 42)
    shared = {key: training[key] for key in _SHARED if key in training}
    # `sharing` is how the groups are trained, which is not this command's matter.
    measured = {key: value for key, value in section.items() if key != "sharing"}
    return {**shared, **measured, "enabled": True, "rows": "train", "data": data}


def matrix_csv(config: AffinityCommandConfig) -> Path:
    """Return the file of the plain matrix, beside the npz."""
    return Path(config.save_path).with_suffix(".csv")


def check_outputs(config: AffinityCommandConfig) -> None:
    """Refuse files that could not be written, or that would replace something else.

    Results of an earlier run are replaced.

    Raises
    ------
    InputError
        If a name has another ending than its kind, lies where nothing may be written, or is
        given twice; or if the csv beside `save_path` is there without its npz.
    """
    named = {key: Path(getattr(config, key)) for key in _ENDINGS if getattr(config, key)}
    for key, path in named.items():
        if path.suffix.lower() not in _ENDINGS[key]:
            raise InputError(key, expected=f"a name in {_either(_ENDINGS[key])}", found=str(path))
        _check_writable(key, path)
    _check_distinct(named)
    csv = matrix_csv(config)
    # A CSV beside an npz is from an earlier run and is replaced; one alone may be the user's table.
    if csv.exists() and not Path(config.save_path).exists():
        raise InputError(
            "save_path",
            expected="a name beside which no other table lies",
            found=f"{str(csv)!r}, which the matrix would replace",
        )
    _check_writable("save_path", csv)


def _either(endings: tuple[str, ...]) -> str:
    return " or ".join(endings)


def _check_distinct(named: dict[str, Path]) -> None:
    first: dict[Path, str] = {}
    for key, path in named.items():
        # absolute(), so that a.png and ./a.png are recognised as one.
        other = first.setdefault(path.absolute(), key)
        if other != key:
            raise InputError(key, expected=f"another file than {other}", found=str(path))


def _check_writable(key: str, path: Path) -> None:
    if path.is_dir():
        raise InputError(key, expected="a file", found=f"the folder {str(path)!r}")
    there = next(p for p in path.absolute().parents if p.exists())
    if not there.is_dir():
        raise InputError(key, expected="a file in a folder", found=f"one below {str(there)!r}")
    if not os.access(there, os.W_OK):
        raise InputError(
            key,
            expected="a folder that may be written to",
            found=f"{str(there)!r}, read-only",
        )
