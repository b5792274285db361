"""The folder of a study: new, replaced, or gone on with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from molpool_common import MARKER, InputError, RunFolder, check_free

from molpool_pipelines.studies.storage import JOURNAL, is_database, without_password
from molpool_pipelines.studies.stored import STUDY

if TYPE_CHECKING:
    from molpool_pipelines.studies.study import TuningConfig
    from molpool_pipelines.studies.task import StudyTask

CONFIG = "config.resolved.yaml"


def check_folder(settings: TuningConfig, path: Path) -> None:
    """Refuse early, before data are read, a folder that holds something else."""
    if settings.overwrite and is_database(settings.study.storage):
        raise InputError(
            "overwrite",
            expected="a study in its own folder",
            found="one in a database, which others may share",
            hint="Give another --study-name.",
        )
    if settings.overwrite or not (path / MARKER).is_file():
        check_free(path, overwrite=settings.overwrite)
    elif not (path / STUDY).is_file():
        raise InputError(
            "save_dir",
            expected="a new folder, or that of a study",
            found=f"{str(path)!r}, which holds another run",
        )


def open_folder(
    task: StudyTask, path: Path, arguments: Sequence[str], *, overwrite: bool
) -> RunFolder:
    """Make the folder of a study, or open it to go on, and write down which study it is."""
    if (path / STUDY).is_file() and not overwrite:
        _check_same_study(task, path)
        run = RunFolder.resume(path)
    else:
        run = RunFolder.create(path, overwrite=overwrite, arguments=arguments)
        (path / JOURNAL).unlink(missing_ok=True)
    run.write_json(STUDY, _said(task, path))
    return run


def _said(task: StudyTask, path: Path) -> dict[str, object]:
    own = task.config.storage is None
    return {
        "name": task.name,
        "journal": JOURNAL if own else None,
        "storage": None if own else _public(task.storage),
        "n_trials": task.config.n_trials,
        "direction": task.direction,
    }


def _check_same_study(task: StudyTask, path: Path) -> None:
    before, now = json.loads((path / STUDY).read_text(encoding="utf-8")), _said(task, path)
    for key in ("name", "storage"):
        if before[key] != now[key]:
            raise InputError(
                f"study.{'study_name' if key == 'name' else key}",
                expected=f"{before[key] or 'none'}, as the folder {str(path)!r} was started with",
                found=str(now[key] or "none"),
                hint="Give another --save-dir for another study.",
            )


def _public(storage: str) -> str:
    if is_database(storage):
        return without_password(storage, storage)
    return str(Path(storage).resolve())
