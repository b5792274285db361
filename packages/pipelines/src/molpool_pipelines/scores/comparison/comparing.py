"""`molpool-evaluate compare`: several models on the same rows, and who can be told to win."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from molpool_common import InputError, atomic_path, write_text
from rich.console import Console

from molpool_pipelines.scores.comparison.aligned import align
from molpool_pipelines.scores.comparison.candidates import model_names, read_models, sources
from molpool_pipelines.scores.comparison.config import CompareConfig
from molpool_pipelines.scores.comparison.deciding import compare_models
from molpool_pipelines.scores.comparison.named_results import compare_values, read_result
from molpool_pipelines.scores.comparison.result import Comparison


def compare(config: CompareConfig) -> Comparison:
    """Compare, write the files and show the table.

    Raises
    ------
    InputError
        If the models cannot be compared; nothing is written then.
    """
    output = Path(config.output)
    check_output(output, overwrite=config.overwrite)
    paths = sources(config)
    names = model_names(config, paths)
    found = _found(config, paths, names)
    files = write_comparison(found, output)

    from molpool_pipelines.scores.comparison.screen import show_comparison

    show_comparison(found, Console(highlight=False), files)
    return found


def _found(config: CompareConfig, paths: Sequence[Path], names: Sequence[str]) -> Comparison:
    n_models = len(paths) - len(config.result_files)
    results = [read_result(path, config.side) for path in paths[n_models:]]
    rows = [r.predictions for r in results]
    known = [path for path in rows if path is not None]
    if results and len(known) < len(results):
        if n_models:
            lacking = [str(r.path) for r in results if r.predictions is None]
            raise InputError(
                "result_files",
                expected="files beside their predictions, to compare with models",
                found=f"none beside {lacking[0]}",
            )
        return compare_values(results, names, config)
    models, side = read_models(config, [*paths[:n_models], *known])
    data = align(models, names, common_rows=config.common_rows)
    notes = [] if side == "all" else [f"Compared on the {side} side of each model's predictions."]
    if config.test_data is not None:
        from molpool_pipelines.scores.comparison.leaks import leak_notes

        n_dirs = len(config.model_dirs)
        notes += leak_notes(paths[:n_dirs], models[:n_dirs], names[:n_dirs])
    return compare_models(data, config, notes)


def check_output(output: Path, *, overwrite: bool) -> None:
    """Refuse a name that cannot be written before anything is read."""
    if output.suffix != ".csv":
        raise InputError(
            "output", expected="the name of a .csv file; the others go beside it", found=output.name
        )
    there = next(p for p in (output, *output.absolute().parents) if p.exists())
    if there != output and not there.is_dir():
        raise InputError("output", expected="a name in a folder", found=f"the file {str(there)!r}")
    taken = [f for f in files_of(output) if f.exists()]
    if taken and not overwrite:
        raise InputError(
            "output",
            expected="a new file",
            found=f"{str(taken[0])!r}, which is there",
            hint="--overwrite true replaces it.",
        )


def files_of(output: Path) -> list[Path]:
    """Return all that a comparison writes."""
    return [output.with_suffix(s) for s in (".csv", ".json", ".png", ".svg", ".html")]


def write_comparison(found: Comparison, output: Path) -> list[Path]:
    """Write table, JSON, figure and page; each appears whole."""
    from molpool_common import style

    from molpool_pipelines.reports import comparison_page, summary_figure

    output.parent.mkdir(parents=True, exist_ok=True)
    table, text, *pictures, page = files_of(output)
    with atomic_path(table) as temporary:
        found.to_frame().write_csv(temporary)
    write_text(text, found.to_json())
    with style():
        figure = summary_figure(found)
        for picture in pictures:
            with atomic_path(picture) as temporary:
                figure.savefig(temporary, format=picture.suffix[1:], dpi=160)
    write_text(page, comparison_page(found, output.stem))
    return [table, text, *pictures, page]
