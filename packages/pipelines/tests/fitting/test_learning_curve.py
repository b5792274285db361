"""Whether more data would help."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from molpool_common import flag_names
from molpool_pipelines.fitting import TrainChempropCommand, TrainMILCommand, TrainTabularCommand
from molpool_pipelines.fitting._learning_curve import answer, nested_parts
from molpool_pipelines.scores import Predictions


@given(st.lists(st.integers(0, 20), min_size=1, max_size=60), st.integers(0, 5))
def test_parts_are_nested_and_molecules_whole(units: list[int], seed: int) -> None:
    shares = [0.1, 0.5, 1.0]
    parts = [set(part.tolist()) for part in nested_parts(units, shares, seed)]
    assert parts[0] <= parts[1] <= parts[2] == set(range(len(units)))
    for share, part in zip(shares, parts, strict=True):
        taken = {units[i] for i in part}
        assert part == {i for i, unit in enumerate(units) if unit in taken}
        assert len(taken) == max(1, round(share * len(set(units))))


def predicted(noise: float, n: int = 200, seed: int = 0) -> Predictions:
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(n, 2))
    return Predictions(
        name="model",
        ids=np.array(["same"] * n, dtype=object),
        tasks=("a", "b"),
        task_types=("regression", "regression"),
        y_true=y,
        y_pred=y + noise * rng.normal(size=(n, 2)),
        n_bounds=np.zeros(2, dtype=np.int64),
    )


@pytest.mark.parametrize(
    ("fewer", "words"),
    [(0.9, "would probably still help"), (0.5, "may not help"), (0.2, "hardly help")],
)
def test_the_answer_follows_what_the_last_data_brought(fewer: float, words: str) -> None:
    said = answer(predicted(fewer, seed=0), predicted(0.5, seed=0), (50, 100))
    assert said is not None
    assert words in said
    way = "rose" if fewer < 0.5 else "fell"
    assert re.match(rf"From 50 to 100 training rows MA-RAE {way} by 0\.\d+ \(95 % -?0", said)


def test_shares_are_a_flag_and_between_0_and_1() -> None:
    for command in (TrainChempropCommand, TrainTabularCommand, TrainMILCommand):
        assert "--learning-curve" in flag_names(command), command.__name__
    with pytest.raises(ValueError, match=r"at most 1, found 1\.5"):
        TrainTabularCommand(learning_curve=[0.5, 1.5])
