"""The models of a comparison: where their predictions come from, and what they are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from molpool_common import METRICS, InputError, did_you_mean

from molpool_pipelines.scores.comparison.config import CompareConfig
from molpool_pipelines.scores.prediction_table import Predictions
from molpool_pipelines.scores.predictions import read_predictions

UNNAMED = ("metrics", "predictions")
"""Files of a folder, whose name is the model's."""


def sources(config: CompareConfig) -> list[Path]:
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


def model_names(config: CompareConfig, paths: Sequence[Path]) -> list[str]:
    """Return the names asked for, or as much of each path's end as tells all apart."""
    if config.names:
        return list(config.names)
    named = [p.absolute().parent if p.stem in UNNAMED else p.absolute() for p in paths]
    parts = [(*p.parent.parts, p.stem) for p in named]
    depth = 1
    names = ["/".join(p[-depth:]) for p in parts]
    while max(Counter(names).values()) > 1 and depth < max(map(len, parts)):
        depth += 1
        names = ["/".join(p[-depth:]) for p in parts]
    return names


def read_models(config: CompareConfig, paths: Sequence[Path]) -> tuple[list[Predictions], str]:
    """Return the predictions of all models on one side, and which side that is.

    Raises
    ------
    InputError
        If a table or model cannot be read, or has no such side.
    """
    read = [_read(config, path, n < len(config.model_dirs)) for n, path in enumerate(paths)]
    side = config.side or _side(read)
    if side == "all":
        return read, side
    return [m if m.side is None else m.of_side(side) for m in read], side


def _side(models: Sequence[Predictions]) -> str:
    """Return the side that counts: test where all that have sides have it, else validation."""
    sided = [set(m.side.tolist()) for m in models if m.side is not None]
    if not sided:
        return "all"
    return next((s for s in ("test", "val") if all(s in have for have in sided)), "test")


def _read(config: CompareConfig, path: Path, is_model: bool) -> Predictions:
    if is_model and config.test_data is not None:
        from molpool_pipelines.scores.comparison.predicted import predict_test_data

        return predict_test_data(config, path)
    return read_predictions(path, columns=config.columns, task_types=config.task_types)
