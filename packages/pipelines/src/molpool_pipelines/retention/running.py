"""`molpool-rt run`: simulate or take tables, fit every model, evaluate them together, report."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from molpool_common import MARKER, InputError, RunFolder
from rich.console import Console

from molpool_pipelines.retention.artefacts import Artefact
from molpool_pipelines.retention.config import FitConfig, ModelConfig, RunConfig
from molpool_pipelines.retention.evaluating import evaluate, show, write
from molpool_pipelines.retention.figures import FittedRun
from molpool_pipelines.retention.fitting import build_estimator, fit_table
from molpool_pipelines.retention.folder import free_folder, open_folder
from molpool_pipelines.retention.reporting import build_page, write_page
from molpool_pipelines.retention.simulating import table_path, write_tables
from molpool_pipelines.retention.training import training_columns
from molpool_pipelines.tables import TableFiles


def main(config: RunConfig, arguments: Sequence[str]) -> None:
    """Do all of it, and name the report."""
    console = Console(highlight=False)
    path = free_folder(config, "rt")
    _check(config)
    fits = {name: _fit_config(config, path, name) for name in config.models}
    run = open_folder(config, path, arguments)
    _remove_others(path / "models", fits)
    if not config.train:
        _simulate(config, run, console)
    for name, fit in fits.items():
        _fit(name, fit, run, arguments, console)
    artefacts = [Artefact.load(f"{name}={path / 'models' / name}") for name in fits]
    score = config
    if any(model.use_descriptors for model in config.models.values()):
        score = config.model_copy(update={"descriptors": _descriptors(config, path)})
    evaluation = evaluate(
        score, TableFiles.find(_tables(config, path)[1], "test"), artefacts, console
    )
    write(evaluation, run)
    show(evaluation, console)
    runs = [FittedRun.load(str(path / "models" / name)) for name in fits]
    page = build_page(config.title, runs, evaluation)
    write_page(page, path / "report.html", pdf=True)
    console.print(f"{path}: report.html, report.pdf, evaluation.json, models/", soft_wrap=True)


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
        build_estimator(model)
        if model.use_descriptors and config.train and config.descriptors is None:
            raise InputError(
                "descriptors", expected=f"a table of them, for the model {name}", found="none"
            )
        if model.class_slopes != "none" and config.train and config.classes is None:
            raise InputError(
                "classes", expected=f"a table of them, for the model {name}", found="none"
            )
    if config.train:
        table = TableFiles.find(config.train, "train")
        TableFiles.find(config.test, "test")
        for name in config.models:
            training_columns(_fit_config(config, Path(), name), table)


def _remove_others(models: Path, kept: Collection[str]) -> None:
    """Remove the fits of an earlier run that is replaced, and only what a fit writes."""
    for folder in models.glob("*/"):
        if folder.name not in kept and (folder / MARKER).is_file():
            emptied = RunFolder.create(folder, overwrite=True)
            emptied.checkpoints.rmdir()
            (folder / MARKER).unlink()
            if not any(folder.iterdir()):
                folder.rmdir()


def _tables(config: RunConfig, path: Path) -> tuple[list[str], list[str]]:
    """Return the training and the test tables, given or simulated."""
    if config.train:
        return config.train, config.test
    train, test = (str(table_path(path / "data", n, "parquet")) for n in ("train", "test"))
    return [train], [test]


def _fit_config(config: RunConfig, path: Path, name: str) -> FitConfig:
    model = config.models[name]
    return FitConfig(
        **model.model_dump(include=set(ModelConfig.model_fields)),
        data=_tables(config, path)[0],
        covariates=config.covariates,
        compound_col=config.compound_col,
        parent_col=config.parent_col,
        target_col=config.target_col,
        descriptors=_descriptors(config, path) if model.use_descriptors else None,
        descriptor_cols=config.descriptor_cols,
        classes=_classes(config, path) if model.class_slopes != "none" else None,
        class_col=config.class_col,
        save_dir=str(path / "models" / name),
        overwrite=config.overwrite,
    )


def _descriptors(config: RunConfig, path: Path) -> str | None:
    """Return the table of descriptors: the one given, or of a simulation its own."""
    if config.train or config.descriptors is not None:
        return config.descriptors
    return str(table_path(path / "data", "compounds", "parquet"))


def _classes(config: RunConfig, path: Path) -> str | None:
    """Return the table of classes: the one given, or of a simulation its own."""
    if config.train or config.classes is not None:
        return config.classes
    return str(table_path(path / "data", "compounds", "parquet"))


def _simulate(config: RunConfig, run: RunFolder, console: Console) -> None:
    (run.path / "data").mkdir(exist_ok=True)
    sizes = write_tables(config.simulate, run.path / "data", "parquet")
    console.print(
        f"Simulated {sizes['train']:,} training and {sizes['test']:,} test rows of"
        f" {sizes['species']:,} species and {sizes['compounds']:,} compounds."
    )


def _fit(
    name: str, fit: FitConfig, run: RunFolder, arguments: Sequence[str], console: Console
) -> None:
    console.rule(name)
    fitted = fit_table(fit, console)
    folder = open_folder(fit, run.path / "models" / name, arguments)
    fitted.write(folder)
    fitted.show(console)
