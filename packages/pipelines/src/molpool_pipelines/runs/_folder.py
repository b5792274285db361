"""The run folder: names of its files, and its start (new, replaced, or resumed).

Each file is written atomically and under one name by every command, so that a folder is read
without knowing which command left it. `docs/run_folder.md` describes them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, TypeVar

from molpool_common import (
    MARKER,
    PATH,
    RESOLVED,
    TRUST,
    ConfigModel,
    InputError,
    RunFolder,
    absolute_paths,
    check_free,
    check_run,
    checked,
    dump_config,
    read_yaml,
    validate_config,
)
from pydantic import BaseModel, Field

from molpool_pipelines.runs._tracking import TrackingConfig

ConfigT = TypeVar("ConfigT", bound=BaseModel)

CONFIG = RESOLVED
ENVIRONMENT = MARKER
LOG = "log.jsonl"
CHECKPOINTS = "checkpoints"
LAST_CHECKPOINT = "last.ckpt"
MODEL = "model.pt"
MODELS = "models"
TABULAR_FOLDER = "model"
BAGS_FOLDER = "bags"
DISTILLED = "distilled"
RELATED = "related.json"
CALIBRATION = "calibration.npz"
BASELINE_MODELS = "baselines"
METRICS = "metrics.json"
PREDICTIONS = "predictions.parquet"
SAMPLING = "sampling.parquet"
TABLE_ROWS = "table_rows.parquet"
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


ACCEPT_CHANGED_TABLE = (
    "go on although the table is not the one that the run was started with, instead of refusing; "
    "what has changed is in the notes"
)


class RunConfig(ConfigModel):
    """Keys of every training run: where it goes, and whether it starts or goes on."""

    save_dir: Annotated[str | None, PATH] = Field(
        None, description="run folder; by default runs/NAME-TIME of the configuration's name"
    )
    resume: bool = Field(False, description="go on with the run in save_dir")
    overwrite: bool = Field(False, description="replace the run in save_dir")
    accept_changed_table: bool = Field(False, description=ACCEPT_CHANGED_TABLE)
    trust_checkpoint: bool = Field(False, description=TRUST)
    page: bool = Field(
        True, description="write report.html; molpool-evaluate report --run RUN writes it later"
    )
    tracking: TrackingConfig = Field(default_factory=TrackingConfig)


EARLIER: dict[str, Any] = {
    "blend.models": ["attention"],
    "data.standardize": "none",
    "split.standardize": "none",
    "data.cluster_method": "leaders",
    "split.cluster_method": "leaders",
    "study.space_version": 1,
    "origins": 0,
}
"""What runs did before there was a key for it, by key.

A run that is resumed goes on as it began: one of 2026 compared salts as they were written, and
clustered molecules around leaders.
"""


def earlier_settings(model: type[BaseModel], path: Path) -> dict[str, Any]:
    """Return what a stored configuration lacks and a run of its time did otherwise than today.

    Parameters
    ----------
    model : type of BaseModel
        What the configuration is read as.
    path : Path
        The file.

    Returns
    -------
    dict of str to value
        By dotted key.
    """
    stored = read_yaml(checked(path)).data
    found = {}
    for dotted, value in EARLIER.items():
        section, _, key = dotted.rpartition(".")
        of = _section(model, section)
        inside = (stored.get(section) or {}) if section else stored
        if of is not None and key in of.model_fields and key not in inside:
            found[dotted] = value
    return found


def _section(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    """Return the model of a section, or of all where there is no name; None where none has it."""
    if not name:
        return model
    field = model.model_fields.get(name)
    of = None if field is None else field.annotation
    return of if isinstance(of, type) and issubclass(of, BaseModel) else None


def load_stored(model: type[ConfigT], path: Path) -> ConfigT:
    """Read the configuration of a run folder as the run of its time understood it."""
    document = read_yaml(checked(path))
    for dotted, value in earlier_settings(model, path).items():
        section, _, key = dotted.rpartition(".")
        if section:
            document.data[section] = {**(document.data.get(section) or {}), key: value}
        else:
            document.data[key] = value
    return validate_config(model, document)


def as_begun(config: ConfigT, folder: Path) -> ConfigT:
    """Return a configuration that goes on in a folder with what was done there before its keys."""
    file = folder / CONFIG
    update: dict[str, Any] = {}
    for dotted, value in (earlier_settings(type(config), file) if file.is_file() else {}).items():
        section, _, key = dotted.rpartition(".")
        if section:
            own = update.get(section, getattr(config, section))
            update[section] = own.model_copy(update={key: value})
        else:
            update[key] = value
    return config.model_copy(update=update)


_OF_ONE_COMMAND = ("resume", "overwrite", "accept_changed_table", "save_dir", "tracking", "page")
"""Keys that say nothing of what is trained."""


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
    check_run(path)
    # A run that died before its configuration was written has nothing to compare with.
    if (path / CONFIG).is_file():
        stored = load_stored(type(config), path / CONFIG)
        _check_same(stored, config, has_table_rows=(path / TABLE_ROWS).is_file())


def _check_same(stored: RunConfig, config: RunConfig, *, has_table_rows: bool) -> None:
    """Refuse to resume with other settings: the result would belong to neither."""
    free: dict[str, Any] = dict.fromkeys(_OF_ONE_COMMAND, True)
    free["data"] = {"predict_path"}  # other molecules may be predicted at any time
    free["size"] = True  # what it stands for is compared key by key
    if has_table_rows:
        # The content of the table says whether it is the same, wherever it lies now.
        free["data_path"] = True
    # Earlier versions stored paths as they were given.
    before, now = (absolute_paths(c).model_dump(exclude=free) for c in (stored, config))
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
        if not (path / CONFIG).is_file():  # it was killed before
            write_config(run, config)
        run.log("resumed", arguments=list(arguments))
        return run
    run = RunFolder.create(path, overwrite=config.overwrite, arguments=arguments)
    for picture in (HEATMAP, DENDROGRAM):  # of a run that was replaced
        (path / picture).unlink(missing_ok=True)
    write_config(run, config)
    run.log("started", arguments=list(arguments))
    return run


def remember_notes(run: RunFolder, notes: list[str], new: Sequence[str] = ()) -> None:
    """Add what was noted before the run was interrupted, and what is new, for the next time too.

    Some is said by training alone, which a resumed run may have behind it.

    Parameters
    ----------
    run : RunFolder
        With the log.
    notes : list of str
        What the user should know; extended in place.
    new : sequence of str
        What is not found out again when the run is resumed.
    """
    earlier = list(_logged_notes(run.path / LOG))
    for note in new:
        if note not in earlier:
            run.log("note", text=note)
    notes.extend(note for note in (*earlier, *new) if note not in notes)


def _logged_notes(log: Path) -> Iterator[str]:
    for line in log.read_text(encoding="utf-8").splitlines() if log.is_file() else ():
        with suppress(ValueError):  # the last line of a process that was killed
            entry = json.loads(line)
            if entry.get("event") == "note":
                yield entry["text"]


_ONCE = ("resume", "overwrite", "accept_changed_table", "trust_checkpoint")


def write_config(run: RunFolder, config: ConfigModel) -> None:
    """Write the configuration of a run or a study, without what is of one command alone."""
    once = {key: False for key in _ONCE if key in type(config).model_fields}
    # So that the file starts the same run anew.
    stored = absolute_paths(config.model_copy(update=once))
    stored.__pydantic_fields_set__ = stored.model_fields_set - once.keys()
    run.write_text(CONFIG, dump_config(stored))
