"""What MLflow is told of a run that is through, whatever kind of model it trained."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from molpool_pipelines.fitting._results import Results
from molpool_pipelines.models import save_served
from molpool_pipelines.runs import TableRows, Tracker
from molpool_pipelines.tables import TableConfig

_EXAMPLES = 3
_NAMESPACE = 'xmlns="http://www.w3.org/2000/svg"'


def track_results(
    tracker: Tracker,
    run: Path,
    results: Results,
    rows: TableRows,
    page: Path | None,
    files: Sequence[Path],
    *,
    source: str,
    served: bool = True,
) -> None:
    """Log metrics by split and task, the table, page and figures, and a model that can be served.

    Parameters
    ----------
    tracker : Tracker
        Where to.
    run : Path
        The run folder, with its model.
    results : Results
        What was found.
    rows : TableRows
        Digests of the table.
    page : Path or None
        The page of the run, where it could be drawn.
    files : sequence of Path
        What else to attach.
    source : str
        Where the table is.
    served : bool
        Whether the model reads SMILES.
    """
    tracker.metrics(dict(_numbers(results)))
    # MLflow takes 36 characters.
    tracker.table(Path(source).name or source, rows.digest[:32], source)
    for file in (*files, *([] if page is None else [page])):
        tracker.file(file)
    if page is not None:
        tracker.folder("figures", partial(_write_figures, page))
    if served:
        example = results.predictions["SMILES"].head(_EXAMPLES).to_list()
        # `mlflow models serve -m runs:/ID/model` finds it by this name.
        tracker.folder("model", partial(_write_model, run, example))


def sources_of(config: TableConfig) -> str:
    """Return where the tables of a run are."""
    tables = config.data.tables(config.data_path)
    return ", ".join(source.path or source.dataset or "" for source in tables)


def _write_model(run: Path, example: Sequence[str], folder: Path) -> None:
    save_served(run, folder, example)


def _write_figures(page: Path, folder: Path) -> None:
    """Write the figures of a page as files of their own."""
    folder.mkdir()
    found = re.findall(r"<svg\b.*?</svg>", page.read_text(encoding="utf-8"), re.DOTALL)
    for number, svg in enumerate(found, 1):
        text = svg if "xmlns=" in svg[:500] else svg.replace("<svg", f"<svg {_NAMESPACE}", 1)
        (folder / f"figure-{number:02d}.svg").write_text(text, encoding="utf-8")


def _numbers(results: Results) -> Iterator[tuple[str, float]]:
    """Yield names and values: ``test/mae`` of means over tasks, ``test/LogD/mae`` of a task."""
    for split, table in results.metrics.items():
        for name, macro in table.macro().items():
            # MLflow takes no None.
            if macro.mean is not None:
                yield f"{split}/{name}", macro.mean
        for task in table.tasks:
            for name, value in task.values.items():
                if value is not None:
                    yield f"{split}/{task.task}/{name}", value
        yield from _more_numbers(split, results.more.get(split, {}))


def _more_numbers(split: str, more: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield what intervals cover, scores and decisions of bags, and means of simple models."""
    if more.get("fold_score") is not None:
        yield f"{split}/fold_score", more["fold_score"]
    for task, decided in more.get("decisions", {}).items():
        for name in ("threshold", "precision", "recall", "accuracy"):
            if decided[name] is not None:
                yield f"{split}/{task}/decision_{name}", decided[name]
    for task, held in more.get("intervals", {}).items():
        yield f"{split}/{task}/coverage", held["inside"]
        yield f"{split}/{task}/median_width", held["median_width"]
    found = more.get("baselines")
    for model, metrics in found.models.items() if found is not None else ():
        for name, one in metrics.macro.items():
            if one.value is not None:
                yield f"{split}/baselines/{model}/{name}", one.value
