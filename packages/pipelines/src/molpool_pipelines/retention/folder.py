"""Folders and files that commands leave behind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from molpool_common import InputError, RunFolder, check_free, default_folder, dump_config

from molpool_pipelines.retention.config import FolderConfig

CONFIG = "config.resolved.yaml"
COEFFICIENTS = "coefficients.npz"
STATISTICS = "statistics.npz"
METRICS = "metrics.json"


def free_folder(config: FolderConfig, command: str) -> Path:
    """Return where a command may write, or raise `InputError`; makes nothing yet."""
    path = Path(config.save_dir) if config.save_dir else default_folder(command)
    check_free(path, overwrite=config.overwrite)
    return path


def open_folder(config: FolderConfig, path: Path, arguments: Sequence[str]) -> RunFolder:
    """Make the folder, with its configuration."""
    run = RunFolder.create(path, overwrite=config.overwrite, arguments=arguments)
    run.checkpoints.rmdir()
    stored = config.model_copy(update={"overwrite": False, "save_dir": str(path)})
    run.write_text(CONFIG, dump_config(stored))
    run.log("started", arguments=list(arguments))
    return run


def check_file(path: Path, *, overwrite: bool, key: str = "output") -> Path:
    """Return `path` if it may be written, or raise `InputError`."""
    if not path.parent.is_dir():
        raise InputError(key, expected="a folder that exists", found=repr(str(path.parent)))
    if path.is_dir() or (path.exists() and not overwrite):
        raise InputError(
            key,
            expected="a new file",
            found=f"{str(path)!r}, which exists",
            hint=None if path.is_dir() else "Give --overwrite true to replace it.",
        )
    return path
