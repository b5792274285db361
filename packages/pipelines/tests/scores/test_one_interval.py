"""One run has one interval of a metric, wherever it is computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from molpool_common import LABELS, N_RESAMPLES, bootstrap_interval
from molpool_pipelines.evaluation import compare, score_predictions
from molpool_pipelines.reports import ReportConfig, _metric_tables, _read_run
from molpool_pipelines.runs import MACRO, read_metrics
from molpool_pipelines.scores import CompareConfig, Resampling, ScoreConfig, read_predictions
from molpool_pipelines.studies._scoring import Contender, MacroScore, outer_scores

TASKS = ("LogD", "KSOL", "hERG")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two run folders that predict the same rows, each in an order of its own, with gaps."""
    rng = np.random.default_rng(5)
    n = 70
    y = rng.normal(size=(n, 3))
    y[:, 2] = y[:, 2] > 0.2
    y[rng.random((n, 3)) < 0.2] = np.nan
    folders = []
    for name in ("first", "second"):
        folder = tmp_path_factory.mktemp("runs") / name
        folder.mkdir()
        columns: dict[str, object] = {
            "id": [f"M{i}" for i in range(n)],
            "split": ["test"] * (n - 10) + ["train"] * 10,
        }
        for t, task in enumerate(TASKS):
            columns[task] = pl.Series(y[:, t]).fill_nan(None)
            columns[f"{task} predicted"] = np.nan_to_num(y[:, t]) + rng.normal(size=n)
        pl.DataFrame(columns)[rng.permutation(n)].write_parquet(folder / "predictions.parquet")
        folders.append(folder)
    return folders


def test_page_score_comparison_and_study_have_one_interval(
    runs: list[Path], tmp_path: Path
) -> None:
    scores, folder = score_predictions(
        ScoreConfig(predictions=str(runs[0]), save_dir=str(tmp_path / "scores"))
    )
    stored = read_metrics(folder).of_reported
    compared, _ = compare(
        CompareConfig(predictions=[str(r) for r in runs], output=str(tmp_path / "c" / "c.csv"))
    )
    values = {(v.task, v.metric): v for v in compared.values if v.model == "first"}
    found = read_predictions(runs[0]).of_split("test")
    defaults = ReportConfig()
    how = Resampling(defaults.n_bootstrap, defaults.level, defaults.seed)
    page = _metric_tables.metric_table(_read_run.read_run(runs[0]), "test", found, how)
    for t, (task, names) in enumerate(
        [
            ("LogD", ("mae", "ma_rae", "rmse", "r2", "spearman")),
            ("KSOL", ("mae", "ma_rae", "rmse", "r2", "spearman")),
            ("hERG", ("average_precision", "roc_auc")),
        ]
    ):
        shown = [str(head) for head in page.columns]
        for name in names:
            interval = scores.of(task, name).interval  # type: ignore[union-attr]
            assert interval is not None
            # Without tolerances: it is the same number.
            one = values[task, name]
            assert (one.low, one.high) == tuple(interval)
            in_file = stored.tasks[task].metrics[name]
            assert (in_file.low, in_file.high) == tuple(interval)
            alone = bootstrap_interval(
                name, found.y_true[:, t], found.y_pred[:, t], keys=found.keys
            )
            assert tuple(alone) == tuple(interval)
            at = shown.index(LABELS[name])
            assert tuple(page.rows[t][at + 1 : at + 3]) == tuple(interval)
    macro = scores.of(MACRO, "ma_rae")
    assert macro is not None
    assert macro.interval is not None
    one = values[MACRO, "ma_rae"]
    assert (one.low, one.high) == tuple(macro.interval)
    contender = [Contender("best", found.y_pred)]
    for metrics, task in ((("ma_rae", "ma_rae", None), MACRO), (("ma_rae", None, None), "LogD")):
        of_study = outer_scores(
            contender, found.y_true, TASKS, MacroScore(metrics), keys=found.keys
        )[0].interval
        assert of_study is not None
        assert tuple(of_study) == tuple(scores.of(task, "ma_rae").interval)  # type: ignore[union-attr,arg-type]


def test_all_configurations_ask_for_the_same_resamples() -> None:
    score, page, compared = ScoreConfig(), ReportConfig(), CompareConfig()
    assert score.n_bootstrap == page.n_bootstrap == N_RESAMPLES <= compared.n_bootstrap
    assert score.seed == page.seed == compared.seed == 0
    assert score.level == page.level == compared.level
