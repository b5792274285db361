"""The commands of molpool-evaluate. Heavy imports happen once a command really runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from molpool_common import Command, Program, answer
from molpool_common import console as new_console

if TYPE_CHECKING:
    from molpool_pipelines.models import PredictConfig
    from molpool_pipelines.reports import ReportConfig
    from molpool_pipelines.scores import CompareConfig, ScoreConfig

PROG = "molpool-evaluate"


def _predict(config: PredictConfig, argv: Sequence[str]) -> None:
    # After parsing, here and below: help and refused flags need no model library.
    from molpool_pipelines.models import predict_table
    from molpool_pipelines.runs import rejected_beside

    from molpool_evaluate._screen import show_prediction

    done = predict_table(config)
    rejected = rejected_beside(done.path) if done.bad else None
    answer(
        files=[done.path, *([rejected] if rejected else [])],
        rows=done.rows,
        not_predicted=done.bad,
        outside_domain=done.far,
        tasks=list(done.task_names),
        seconds=done.seconds,
    )
    show_prediction(done, new_console())


def _score(config: ScoreConfig, argv: Sequence[str]) -> None:
    from molpool_pipelines.evaluation import score_predictions
    from molpool_pipelines.runs import run_summary

    from molpool_evaluate._screen import show_scores

    scores, folder = score_predictions(config, arguments=[PROG, "score", *argv])
    answer(**run_summary(folder))
    show_scores(scores, folder, new_console())


def _compare(config: CompareConfig, argv: Sequence[str]) -> None:
    from molpool_pipelines.evaluation import compare
    from molpool_pipelines.scores import headline

    from molpool_evaluate._screen import show_comparison

    found, files = compare(config)
    answer(files=files, models=found.models, headline=headline(found), notes=found.notes)
    show_comparison(found, files, new_console())


def _report(config: ReportConfig, argv: Sequence[str]) -> None:
    from molpool_pipelines.evaluation import report

    page = report(config)
    answer(files=[page])
    new_console().print(str(page), soft_wrap=True)


PROGRAM = Program(
    PROG,
    "Predict with, score and compare saved models.",
    {
        "predict": Command(
            "predict the molecules of a table with a saved model",
            "molpool_pipelines.models:PredictConfig",
            _predict,
            example="--run runs/logd --data-path new.csv --output predictions.csv",
            first=(
                "--run", "--data-path", "--output", "--level", "--models", "--combine",
                "--smiles-column", "--id-column", "--on-bad-smiles", "--overwrite",
            ),
        ),
        "score": Command(
            "score predictions: metrics, intervals, calibration, strata",
            "molpool_pipelines.scores:ScoreConfig",
            _score,
            example="--predictions predictions.csv --data-path measured.csv --save-dir scores",
            first=(
                "--predictions", "--run", "--data-path", "--save-dir", "--join", "--split",
                "--level", "--n-bootstrap", "--train-path", "--overwrite",
            ),
        ),
        "compare": Command(
            "compare models on the same rows: which of them wins",
            "molpool_pipelines.scores:CompareConfig",
            _compare,
            example="--model-dirs runs/a runs/b --test-data measured.csv --output comparison.html",
            first=(
                "--model-dirs", "--test-data", "--predictions", "--names", "--output", "--metrics",
                "--design", "--practical", "--n-bootstrap", "--overwrite",
            ),
        ),
        "report": Command(
            "one self-contained HTML page over a run, a study or a comparison",
            "molpool_pipelines.reports:ReportConfig",
            _report,
            example="--run runs/logd --output logd.html",
        ),
    },
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run molpool-evaluate and return its exit code."""
    return PROGRAM(argv)


if __name__ == "__main__":
    sys.exit(main())
