"""Entry point of molpool-evaluate. Heavy imports happen once a command really runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from molpool_common import Command, dispatch, parse_config
from molpool_common import console as new_console

PROG = "molpool-evaluate"


def main(argv: Sequence[str] | None = None) -> int:
    """Run molpool-evaluate and return its exit code."""
    commands = {
        "predict": Command("predict the molecules of a table with a saved model", _predict),
        "score": Command("score predictions: metrics, intervals, calibration, strata", _score),
        "compare": Command("compare models on the same rows: which of them wins", _compare),
        "report": Command("one HTML page over a run, a study or a comparison", _report),
    }
    return dispatch(PROG, "Predict with, score and compare saved models.", commands, argv)


def _predict(argv: Sequence[str]) -> None:
    from molpool_pipelines.models import PredictConfig

    config = parse_config(
        PredictConfig,
        argv,
        prog=f"{PROG} predict",
        description="Predict the molecules of a table with a saved model.",
    )
    # After parsing, here and below: help and refused flags need no model library.
    from molpool_pipelines.models import predict_table

    from molpool_evaluate._screen import show_prediction

    show_prediction(predict_table(config), new_console())


def _score(argv: Sequence[str]) -> None:
    from molpool_pipelines.scores import ScoreConfig

    config = parse_config(
        ScoreConfig,
        argv,
        prog=f"{PROG} score",
        description="Score predictions against the truth.",
    )
    from molpool_pipelines.evaluation import score_predictions

    from molpool_evaluate._screen import show_scores

    scores, folder = score_predictions(config, arguments=[PROG, "score", *argv])
    show_scores(scores, folder, new_console())


def _compare(argv: Sequence[str]) -> None:
    from molpool_pipelines.scores import CompareConfig

    config = parse_config(
        CompareConfig,
        argv,
        prog=f"{PROG} compare",
        description="Compare models on the same rows.",
    )
    from molpool_pipelines.evaluation import compare

    from molpool_evaluate._screen import show_comparison

    found, files = compare(config)
    show_comparison(found, files, new_console())


def _report(argv: Sequence[str]) -> None:
    from molpool_pipelines.reports import ReportConfig

    config = parse_config(
        ReportConfig,
        argv,
        prog=f"{PROG} report",
        description="One self-contained HTML page over a run, a study or a comparison.",
    )
    from molpool_pipelines.evaluation import report

    new_console().print(str(report(config)), soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
