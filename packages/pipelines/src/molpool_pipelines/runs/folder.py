"""The run folder at the start of a run: new, replaced, or gone on with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molpool_common import InputError, RunFolder, check_free, dump_config, load_config

if TYPE_CHECKING:
    from molpool_pipelines.fitting import TrainChempropConfig, TrainMILConfig

    Config = TrainChempropConfig | TrainMILConfig

CONFIG = "config.resolved.yaml"
CHECKPOINTS = "checkpoints"
AFFINITY = "affinity.npz"
MATRIX = "affinity.csv"
GROUPS = "groups.json"
HEATMAP = "affinity_heatmap.png"
DENDROGRAM = "affinity_dendrogram.png"


def check_folder(config: Config, path: Path) -> None:
    """Refuse early, before minutes of work, what could not be written or resumed."""
    if not config.resume:
        check_free(path, overwrite=config.overwrite)
        return
    if config.overwrite:
        raise InputError("--overwrite", expected="it or --resume", found="both")
    if config.save_dir is None:
        raise InputError("--resume", expected="--save-dir, the folder of the run", found="none")
    RunFolder.resume(path)
    if (path / CONFIG).is_file():
        _check_same(load_config(type(config), path / CONFIG), config)


def _check_same(stored: Config, config: Config) -> None:
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
    for key in old:
        if (
            isinstance(old[key], dict)
            and isinstance(new[key], dict)
            and set(old[key]) == set(new[key])
        ):
            found |= _differences(old[key], new[key], f"{prefix}{key}.")
        elif old[key] != new[key]:
            found[prefix + key] = (old[key], new[key])
    return found


def open_folder(config: Config, path: Path, arguments: Sequence[str]) -> RunFolder:
    """Make the run folder with its configuration, or open the one to resume."""
    if config.resume:
        run = RunFolder.resume(path)
        run.log("resumed", arguments=list(arguments))
        return run
    run = RunFolder.create(path, overwrite=config.overwrite, arguments=arguments)
    for picture in (HEATMAP, DENDROGRAM):  # of a run that was replaced
        (path / picture).unlink(missing_ok=True)
    stored = config.model_copy(update={"resume": False, "overwrite": False})
    run.write_text(CONFIG, dump_config(stored))
    run.log("started", arguments=list(arguments))
    return run
