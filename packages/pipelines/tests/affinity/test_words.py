"""What is drawn while affinities are measured."""

from __future__ import annotations

import io
import logging

import numpy as np
import pytest
from molpool_pipelines.affinity import _words
from molpool_pipelines.affinity._words import AffinityScreen, printing_matrix
from rich.console import Console
from task_affinity import AffinityProgress, PairAccumulator


def test_terminal_shows_a_bar_and_leading_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_words, "_SECONDS", 0.0)
    drawn = io.StringIO()
    console = Console(file=drawn, force_terminal=True, width=80, height=24)
    pairs = PairAccumulator(2)
    pairs.add(np.arange(2), np.array([[1.0, 0.25], [0.25, 1.0]]))
    draw = AffinityScreen(console, ["LogD", "KSOL"], symmetric=True)
    with draw.showing():
        draw(AffinityProgress(3, 12, pairs))
    text = drawn.getvalue()
    assert "3/12" in text
    assert "LogD" in text
    assert "+0.250" in text


def test_nothing_is_drawn_where_there_is_no_terminal() -> None:
    drawn = io.StringIO()
    draw = AffinityScreen(Console(file=drawn), ["a", "b"], symmetric=True)
    with draw.showing():
        draw(AffinityProgress(1, 2, PairAccumulator(2)))
    assert drawn.getvalue() == ""


@pytest.mark.parametrize(("n_tasks", "printed"), [(3, "matrix [x]\n"), (41, "")])
def test_large_matrices_are_left_to_the_file(n_tasks: int, printed: str) -> None:
    drawn = io.StringIO()
    logger = logging.getLogger("task_affinity._run")
    with printing_matrix(Console(file=drawn), n_tasks):
        logger.info("matrix [x]")
    logger.info("later")
    assert drawn.getvalue() == printed
    assert logging.getLogger("task_affinity").handlers == []
