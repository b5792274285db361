"""Everything at once: simulate or take tables, fit every model, evaluate them together, report."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from molpool_common import MARKER, InputError, RunFolder, remove_run

from molpool_pipelines.retention._config import (
    EvaluateConfig,
    FitConfig,
    ModelConfig,
    Progress,
    ReportConfig,
    RunConfig,
    ScoreConfig,
    SimulateRunConfig,
    TrainingColumnsConfig,
    silent,
)
from molpool_pipelines.retention._evaluate import Evaluation, evaluate
from molpool_pipelines.retention._fit import Fitted, fit
from molpool_pipelines.retention._report import report
from molpool_pipelines.retention._simulate import simulate, write_tables
from molpool_pipelines.retention._training import (
    Training,
    build_estimator,
    read_training,
    training_columns,
)
from molpool_pipelines.tables import TableFiles

Step = dict[str, int] | Training | Fitted | Evaluation
"""Rows of the simulated tables, by table; then two results per model; then their evaluation."""


def run(
    config: RunConfig,
    arguments: Sequence[str] = (),
    on_result: Callable[[str, Step], object] = lambda _name, _step: None,
    progress: Progress = silent,
) -> Path:
    """Do all of it, and return the folder.

    Parameters
    ----------
    config : RunConfig
        Tables or a laboratory to simulate, models, and how they are scored.
    arguments : sequence of str
        The command line, for the record.
    on_result : callable
        Called with the name of the model ("" where there is none) and each result once it is there.
    progress : callable
        Called with what is being done.

    Raises
    ------
    InputError, RTRidgeError
        If tables or configuration are wrong; what can be known of it is before anything is written.
    """
    path = config.free_folder("rt")
    # Before the folder is made: a mistyped prior of the last model would otherwise stop hours in.
    _check(config)
    fits = {name: _fit_config(config, path, name) for name in config.models}
    with config.open_folder(path, arguments) as folder:
        _fill(config, folder, fits, arguments, on_result, progress)
    return path


def _fill(
    config: RunConfig,
    folder: RunFolder,
    fits: dict[str, FitConfig],
    arguments: Sequence[str],
    on_result: Callable[[str, Step], object],
    progress: Progress,
) -> None:
    """Simulate, fit, evaluate and report into an open folder."""
    path = folder.path
    # The report of a replaced run must not list models that are no longer configured.
    _remove_others(path / "models", fits)
    if not config.train:
        progress("Simulating")
        on_result("", _write_simulated(config, path / "data"))
    for name, model in fits.items():
        training = read_training(model, progress)
        on_result(name, training)
        fitted = fit(model, training, progress)
        with model.open_folder(path / "models" / name, arguments) as own:
            fitted.write(own)
        on_result(name, fitted)
    evaluation = evaluate(_evaluate_config(config, path), progress)
    evaluation.write(folder)
    on_result("", evaluation)
    progress("Writing the report")
    report(
        ReportConfig(
            runs=[str(path / "models" / name) for name in fits],
            evaluation=str(path),
            output=str(path / "report.html"),
            title=config.title,
            # The folder is this run's own, and was checked at the start.
            overwrite=True,
        )
    )


def _check(config: RunConfig) -> None:
    """Refuse before anything is written what no fit could be made from."""
    if bool(config.train) != bool(config.test):
        given, absent = ("train", "test") if config.train else ("test", "train")
        raise InputError(absent, expected=f"tables, as {given} has", found="none")
    if not config.models:
        raise InputError("models", expected="at least one", found="none")
    for name, model in config.models.items():
        if Path(name).name != name or name.startswith("."):
            raise InputError("models", expected="names that a folder can have", found=repr(name))
        # For its checks alone.
        build_estimator(model)
        needed = {"descriptors": model.use_descriptors, "classes": model.class_slopes != "none"}
        for key, is_needed in needed.items():
            if is_needed and config.train and getattr(config, key) is None:
                raise InputError(
                    key, expected=f"a table of them, for the model {name}", found="none"
                )
    if config.train:
        table = TableFiles.find(config.train, "train", read=config.read)
        TableFiles.find(config.test, "test", read=config.read)
        for name in config.models:
            training_columns(_fit_config(config, Path(), name), table)


def _remove_others(models: Path, wanted: Collection[str]) -> None:
    """Remove the fits of a run that is replaced, and only what a fit writes."""
    for folder in models.glob("*/"):
        # Only folders with the marker of a run: whatever else a user put there stays.
        if folder.name not in wanted and (folder / MARKER).is_file():
            remove_run(folder)


def _write_simulated(config: RunConfig, folder: Path) -> dict[str, int]:
    folder.mkdir(exist_ok=True)
    made = simulate(SimulateRunConfig(**config.simulate.model_dump()))
    return write_tables(made, folder, "parquet")


def _simulated(path: Path, table: str) -> str:
    return str(path / "data" / f"{table}.parquet")


def _compounds(config: RunConfig, path: Path, key: str) -> str | None:
    """Return the table of descriptors or of classes: the one given, or the simulated compounds."""
    given: str | None = getattr(config, key)
    return given if config.train or given is not None else _simulated(path, "compounds")


def _fit_config(config: RunConfig, path: Path, name: str) -> FitConfig:
    model = config.models[name]
    return FitConfig(
        **model.model_dump(include=set(ModelConfig.model_fields), exclude_unset=True),
        **config.model_dump(include=set(TrainingColumnsConfig.model_fields), exclude_unset=True),
        data=config.train or [_simulated(path, "train")],
        descriptors=_compounds(config, path, "descriptors") if model.use_descriptors else None,
        classes=_compounds(config, path, "classes") if model.class_slopes != "none" else None,
        save_dir=str(path / "models" / name),
        # The folder is this run's own: a fit in it is of what was killed or is replaced.
        overwrite=True,
    )


def _evaluate_config(config: RunConfig, path: Path) -> EvaluateConfig:
    score = config.model_dump(include=set(ScoreConfig.model_fields), exclude_unset=True)
    if any(model.use_descriptors for model in config.models.values()):
        score["descriptors"] = _compounds(config, path, "descriptors")
    return EvaluateConfig(
        **score,
        artefacts=[f"{name}={path / 'models' / name}" for name in config.models],
        data=config.test or [_simulated(path, "test")],
    )
