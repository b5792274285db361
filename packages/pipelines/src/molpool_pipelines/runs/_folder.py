"""The run folder: names of its files, and its start (new, replaced, or resumed).

Each file is written atomically and under one name by every command, so that a folder is read
without knowing which command left it. `docs/run_folder.md` describes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from molpool_common import (
    MARKER,
    ConfigModel,
    InputError,
    RunFolder,
    check_free,
    dump_config,
    load_config,
)
from pydantic import Field

from molpool_pipelines.runs._tracking import TrackingConfig

CONFIG = "config.resolved.yaml"
ENVIRONMENT = MARKER
LOG = "log.jsonl"
CHECKPOINTS = "checkpoints"
LAST_CHECKPOINT = "last.ckpt"
MODEL = "model.pt"
MODELS = "models"
METRICS = "metrics.json"
PREDICTIONS = "predictions.parquet"
SAMPLING = "sampling.parquet"
DROPPED = "dropped_rows.csv"
LEFT_OUT = "left_out.csv"
REPORT = "report.html"
SPLIT_FILE = "splits.json"
FOLD_SCORES = "folds.csv"
CELLS = "folds"
AFFINITY = "affinity.npz"
MATRIX = "affinity.csv"
GROUPS = "groups.json"
HEATMAP = "affinity_heatmap.png"
DENDROGRAM = "affinity_dendrogram.png"
ATTENTION_SDF = "attention_test.sdf"
ATTENTION_PAGE = "attention.html"


def predictions_of_table(name: str, ending: str = ".parquet") -> str:
    """Return the file of predictions of another table, by that table's name."""
    return f"predictions_{name}{ending}"


def attention_of(name: str) -> str:
    """Return the stem of the files of attention on a split, or on bags that were not trained on."""
    return f"attention_{name}"


class RunConfig(ConfigModel):
    """Keys of every training run: where it goes, and whether it starts or goes on."""

    save_dir: str | None = Field(
        None, description="run folder; by default runs/NAME-TIME of the configuration's name"
    )
    resume: bool = Field(False, description="go on with the run in save_dir")
    overwrite: bool = Field(False, description="replace the run in save_dir")
    tracking: TrackingConfig = Field(default_factory=TrackingConfig)


def check_folder(config: RunConfig, path: Path) -> None:
    """Refuse early, before minutes of work, what could not be written or resumed.

    Raises
    ------
    InputError
        If the folder holds something else, or `resume` finds no run or one of other settings.
    """
    if not config.resume:
        check_free(path, overwrite=config.overwrite)
        return
    if config.overwrite:
        raise InputError("--overwrite", expected="it or --resume", found="both")
    if config.save_dir is None:
        raise InputError("--resume", expected="--save-dir, the folder of the run", found="none")
    # For its checks; the folder itself is opened only when the inputs are known to be right.
    RunFolder.resume(path)
    # A run that died before its configuration was written has nothing to compare with.
    if (path / CONFIG).is_file():
        _check_same(load_config(type(config), path / CONFIG), config)


def _check_same(stored: RunConfig, config: RunConfig) -> None:
    """Refuse to resume with other settings: the result would belong to neither."""
    free: dict[str, Any] = dict.fromkeys(("resume", "overwrite", "save_dir", "tracking"), True)
    free["data"] = {"predict_path"}  # other molecules may be predicted at any time
    before, now = stored.model_dump(exclude=free), config.model_dump(exclude=free)
    for key, (old, new) in _differences(before, now).items():
        raise InputError(
            key,
            expected=f"{old!r}, as the run was started with",
            found=repr(new),
            hint="Leave it out to resume, or start another run.",
        )


def _differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, before in old.items():
        now = new[key]
        if isinstance(before, dict) and isinstance(now, dict) and before.keys() == now.keys():
            found |= _differences(before, now, f"{prefix}{key}.")
        elif before != now:
            found[prefix + key] = (before, now)
    return found


def open_folder(config: RunConfig, path: Path, arguments: Sequence[str]) -> RunFolder:
    """Make the run folder with its configuration, or open the one to resume.

    Parameters
    ----------
    config : RunConfig
        Written into a new folder, as one that neither resumes nor overwrites.
    path : Path
        The folder, as `check_folder` let it pass.
    arguments : sequence of str
        The command line, for the record.
    """
    if config.resume:
        run = RunFolder.resume(path)
        run.log("resumed", arguments=list(arguments))
        return run
    run = RunFolder.create(path, overwrite=config.overwrite, arguments=arguments)
    for picture in (HEATMAP, DENDROGRAM):  # of a run that was replaced
        (path / picture).unlink(missing_ok=True)
    stored = config.model_copy(update={"resume": False, "overwrite": False})
    # Without resume and overwrite, so that the file starts the same run anew.
    run.write_text(CONFIG, dump_config(stored))
    run.log("started", arguments=list(arguments))
    return run
