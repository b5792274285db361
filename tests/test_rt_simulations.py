"""The study of simulated panels, in its short form."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

STUDIES = Path(__file__).parents[1] / "studies"


@pytest.fixture(scope="module")
def study() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(STUDIES))
        yield importlib.import_module("rt_simulations")


@pytest.mark.parametrize("name", ["slopes of compounds", "swapped peaks"])
def test_intervals_cover_new_runs_of_panels(study: Any, name: str) -> None:
    found = study.study(name, 2)
    # 960 rows, those of a run err alike where it has a few swaps: a false alarm in 1 000.
    assert 0.90 <= found["cover95"] <= 0.995
    assert found["right"] == 1.0 or np.isnan(found["right"])


def test_errors_are_what_they_are_called(study: Any) -> None:
    rng = np.random.default_rng(0)
    runs = np.repeat(np.arange(200), 50)
    normal, heavy, drift = (study._errors(k, runs, rng) for k in ("normal", "t", "drift"))
    assert np.std(normal) == pytest.approx(1, abs=0.05)
    # The kurtosis of three degrees of freedom has no bound.
    assert (heavy**4).mean() > 3 * (normal**4).mean()
    of_run = np.array([drift[runs == run].mean() for run in range(200)])
    assert np.std(np.diff(of_run)) == pytest.approx(np.hypot(0.5, 0.2), abs=0.1)
