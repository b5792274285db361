"""The noise ceiling, against noise that is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from molpool_pipelines.scores import Predictions, noise_ceilings


def repeated(made: Callable[..., Predictions], n: int, noise: float, seed: int = 0) -> Predictions:
    """Return n molecules that are measured twice each, with normal noise."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=n)
    y = (truth[:, None] + noise * rng.normal(size=(n, 2))).reshape(-1, 1)
    # The second of each is written otherwise.
    smiles = [s for k in range(n) for s in (f"{'C' * (k + 1)}O", f"O{'C' * (k + 1)}")]
    return made(y, np.repeat(truth, 2)[:, None], smiles=np.array(smiles, dtype=object))


def test_it_is_the_error_of_a_model_that_knows_the_truth(made: Callable[..., Predictions]) -> None:
    found = repeated(made, 400, noise=0.3)
    of = noise_ceilings(found, found)["t0"]
    # E|N(0, 0.3)| = 0.3 sqrt(2/pi) = 0.2394; its estimate from 400 pairs has a standard deviation
    # of 0.2394 * 0.756 / 20 = 0.009: four of them, a failure rate below 1e-4.
    assert of.mae == pytest.approx(0.3 * (2 / np.pi) ** 0.5, abs=0.036)
    own = np.abs(found.y_true - found.y_pred).mean()
    assert of.mae == pytest.approx(own, abs=0.036), "what this model, which is the truth, does"
    assert of.n == 400
    assert of.interval is not None
    assert of.interval.low < of.rae < of.interval.high
    assert of.difference == pytest.approx(of.mae * 2**0.5)


def test_few_repeats_say_nothing(made: Callable[..., Predictions]) -> None:
    found = repeated(made, 9, noise=0.3)
    assert noise_ceilings(found, found) == {}


def test_three_measurements_are_three_pairs(made: Callable[..., Predictions]) -> None:
    y = np.tile([0.0, 1.0, 3.0], 10)[:, None]
    smiles = np.array(["C" * (k // 3 + 1) + "O" for k in range(30)], dtype=object)
    found = noise_ceilings(made(y, y, smiles=smiles), made(y, y))["t0"]
    assert found.difference == pytest.approx((1 + 2 + 3) / 3)
