"""Comparing: several models on the same rows, and which of them are distinguishable."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import polars as pl
from molpool_common import (
    METRICS,
    InputError,
    atomic_path,
    did_you_mean,
    only_warned,
    style,
    write_table,
    write_text,
)

from molpool_pipelines.evaluation._test_data import overlap_notes, predict_test_data
from molpool_pipelines.models import path_names
from molpool_pipelines.reports import comparison_page, summary_figure
from molpool_pipelines.runs import (
    rejected_beside,
    rejected_note,
    rejected_rows,
    write_rejected,
)
from molpool_pipelines.scores import (
    CompareConfig,
    Comparison,
    Predictions,
    aligned,
    compare_models,
    compare_values,
    pair_rows,
    read_predictions,
    read_result,
)

TABLES = (".csv", ".tsv", ".parquet", ".xlsx")
"""Endings of tables of comparisons, which have no structures."""

FOLDER_FILES = ("metrics", "predictions")
"""Stems of files that are called after their folder."""


def compare(config: CompareConfig) -> tuple[Comparison, list[Path]]:
    """Compare models and write table, JSON, figures and page.

    Returns
    -------
    comparison : Comparison
    files : list of Path
        What was written.

    Raises
    ------
    InputError
        If the models cannot be compared; nothing is written then.
    """
    output = Path(config.output)
    # Before models are loaded, which takes longest.
    _check_output(output, overwrite=config.overwrite)
    paths = _sources(config)
    found, rejected = _compared(config, paths, _model_names(config, paths))
    files = write_comparison(found, output)
    lost = write_rejected(output, rejected)
    return found, [*files, lost] if lost else files


def _compared(
    config: CompareConfig, paths: Sequence[Path], names: Sequence[str]
) -> tuple[Comparison, pl.DataFrame]:
    """Return the comparison, and the rows of the test table that no model predicts."""
    n_models = len(paths) - len(config.result_files)
    results = [read_result(path, config.split) for path in paths[n_models:]]
    rows = [r.predictions for r in results]
    known = [path for path in rows if path is not None]
    if results and len(known) < len(results):
        # Values alone can be set beside each other, but a model predicts rows, and rows cannot be
        # paired with values.
        if n_models:
            lacking = [str(r.path) for r in results if r.predictions is None]
            raise InputError(
                "result_files",
                expected="files beside their predictions, to compare with models",
                found=f"none beside {lacking[0]}",
            )
        return compare_values(results, names, config), rejected_rows([])
    models, split = _read_models(config, [*paths[:n_models], *known])
    models, notes = aligned(models, names, config.join)
    data = pair_rows(models, names, common_rows=config.common_rows)
    notes += list(dict.fromkeys(note for model in models for note in model.notes))
    if split != "all":
        notes.append(f"Compared on the {split} rows of each model's predictions.")
    if config.test_data is not None:
        n_dirs = len(config.model_dirs)
        notes += overlap_notes(paths[:n_dirs], models[:n_dirs], names[:n_dirs])
    found = [m.rejected for m in models if m.rejected is not None]
    rejected = pl.concat([rejected_rows([]), *found]).unique(maintain_order=True)
    notes += rejected_note(rejected, rejected_beside(config.output).name)
    return compare_models(data, config, notes), rejected


def _sources(config: CompareConfig) -> list[Path]:
    """Return what is compared, in the order of the flags.

    Raises
    ------
    InputError
        If there are fewer than two, names are not as many, or a metric is unknown.
    """
    for key, names in (("metrics", config.metrics), ("practical", [*config.practical])):
        for name in names:
            if name not in METRICS:
                raise InputError(
                    key,
                    expected="names of metrics",
                    found=repr(name),
                    hint=did_you_mean(name, list(METRICS)),
                )
    paths = [Path(p) for p in (*config.model_dirs, *config.predictions, *config.result_files)]
    if len(paths) < 2:
        raise InputError(
            "models",
            expected="at least two of --model-dirs, --predictions or --result-files",
            found=str(len(paths)),
        )
    if config.names and len(config.names) != len(paths):
        raise InputError(
            "names",
            expected=f"one for each of {len(paths)} models",
            found=str(len(config.names)),
        )
    if config.test_data and not config.model_dirs:
        raise InputError("test_data", expected="--model-dirs, which predict it", found="none")
    return paths


def _model_names(config: CompareConfig, paths: Sequence[Path]) -> list[str]:
    """Return the names asked for, or as much of each path's end as is unique."""
    if config.names:
        return list(config.names)
    return path_names(paths, FOLDER_FILES)


def _read_models(config: CompareConfig, paths: Sequence[Path]) -> tuple[list[Predictions], str]:
    """Return the predictions of all models of one split, and which that is.

    Raises
    ------
    InputError
        If a table or model cannot be read, or has no such split.
    """
    read = [_read(config, path, n < len(config.model_dirs)) for n, path in enumerate(paths)]
    split = config.split or _split_of_all(read)
    if split == "all":
        return read, split
    # A table without splits is taken as a whole: test predictions of other tools have none.
    return [m if m.split is None else m.of_split(split) for m in read], split


def _split_of_all(models: Sequence[Predictions]) -> str:
    """Return the split to compare: test where all that have splits have it, else validation."""
    splits = [m.splits for m in models if m.splits]
    if not splits:
        return "all"
    # One split for all: test rows of one model against validation rows of another would not pair.
    return next((s for s in ("test", "val") if all(s in have for have in splits)), "test")


def _read(config: CompareConfig, path: Path, is_model: bool) -> Predictions:
    if is_model and config.test_data is not None:
        return predict_test_data(
            path,
            config.test_data,
            columns=config.columns,
            task_types=config.task_types,
            id_column=config.id_column,
            smiles_column=config.smiles_column,
            on_bad_smiles=config.on_bad_smiles,
            read=config.read,
        )
    return read_predictions(
        path, columns=config.columns, task_types=config.task_types, read=config.read
    )


def _check_output(output: Path, *, overwrite: bool) -> None:
    """Refuse a name that cannot be written before anything is read."""
    if output.suffix not in TABLES:
        raise InputError(
            "output",
            expected=f"the name of a table, in {', '.join(TABLES)}; the others go beside it",
            found=output.name,
        )
    # The nearest parent that exists: the folder itself is made when there is something to write.
    there = next(p for p in (output, *output.absolute().parents) if p.exists())
    if there != output and not there.is_dir():
        raise InputError("output", expected="a name in a folder", found=f"the file {str(there)!r}")
    taken = [f for f in _files_of(output) if f.exists()]
    if taken and not overwrite:
        raise InputError(
            "output",
            expected="a new file",
            found=f"{str(taken[0])!r}, which is there",
            hint="--overwrite true replaces it.",
        )


def _files_of(output: Path) -> list[Path]:
    """Return all that a comparison writes."""
    return [output, *(output.with_suffix(s) for s in (".json", ".png", ".svg", ".html"))]


def write_comparison(found: Comparison, output: Path) -> list[Path]:
    """Write table, JSON, figure and page; each is written atomically."""
    output.parent.mkdir(parents=True, exist_ok=True)
    table, text, *pictures, page = _files_of(output)
    write_table(table, found.to_frame())
    write_text(text, found.to_json())

    def draw() -> None:
        with style():
            figure = summary_figure(found)
            for picture in pictures:
                with atomic_path(picture) as temporary:
                    figure.savefig(temporary, format=picture.suffix[1:], dpi=160)
        write_text(page, comparison_page(found, output.stem))

    again = f"molpool-evaluate report --comparison {shlex.quote(str(text))} draws the page again"
    only_warned("figures and page", f"Table and JSON are; {again}.", draw)
    return [file for file in (table, text, *pictures, page) if file.is_file()]
