"""Training runs of molpool-train in processes of their own, gone on with where they broke off."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from molpool_common import INTERRUPTED, InputError, write_text

from molpool_pipelines.studies.errors import HPOError

_TRAIN = "molpool_train.cli"
_DONE = "report.html"
"""Written last by a run."""


def train_member(kind: str, values: dict[str, Any], path: Path) -> None:
    """Train one model by molpool-train, unless it is there; an interrupted one goes on.

    Parameters
    ----------
    kind : str
        Subcommand.
    values : dict
        Its whole configuration, which is written beside the run folder.
    path : Path
        Its run folder.

    Raises
    ------
    HPOError
        If training fails; it has said why.
    KeyboardInterrupt
        On Ctrl-C or SIGTERM, once the run can be resumed.
    """
    if is_done(path):
        return
    if find_spec(_TRAIN.partition(".")[0]) is None:
        raise InputError("retrain", expected="molpool-train beside molpool-hpo", found="none")
    file = path.with_name(f"{path.name}.yaml")
    write_text(file, yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100))
    flags = ["--config", str(file), "--save-dir", str(path)]
    if any((path / "checkpoints").rglob("last.ckpt")):
        flags += ["--resume", "true"]
    elif path.is_dir() and any(path.iterdir()):
        flags += ["--overwrite", "true"]
    _run_process([sys.executable, "-m", _TRAIN, kind, *flags], path)


def is_done(path: Path) -> bool:
    """Return whether a run folder is whole."""
    log = path / "log.jsonl"
    if not (path / _DONE).is_file() or not log.is_file():
        return False
    lines = log.read_text(encoding="utf-8").splitlines()
    return bool(lines) and json.loads(lines[-1]).get("event") == "finished"


def _run_process(command: list[str], path: Path) -> None:
    # In a session of its own: a Ctrl-C reaches us alone, and we pass it on once.
    process = subprocess.Popen(command, start_new_session=True)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        code = INTERRUPTED
    if code == INTERRUPTED:
        raise KeyboardInterrupt("Interrupted. Repeat the command to go on.")
    if code:
        raise HPOError(f"retrain: molpool-train failed with exit code {code}, in {path}.")
