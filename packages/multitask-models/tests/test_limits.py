"""Limits of assays: found where they are, nowhere else, and said of predictions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multitask_models import AssayLimits, Labels, ModelError, MultitaskMLP, find_limits
from scipy.stats import norm


def labels(values: Any, signs: Any = None) -> Labels:
    column = np.asarray(values, dtype=float)
    return Labels.checked(column.reshape(-1, 1), signs, None, "regression")


def found(values: Any, signs: Any = None) -> tuple[float, float]:
    limits = find_limits(labels(values, signs))
    return float(limits.floor[0]), float(limits.ceiling[0])


NONE = (-np.inf, np.inf)


def test_a_repeated_least_value_is_a_floor() -> None:
    y = np.maximum(np.random.default_rng(0).normal(size=500), -1.0)
    assert found(y) == (-1.0, np.inf)
    assert found(-y) == (-np.inf, 1.0)


def test_a_scattered_plateau_is_a_ceiling() -> None:
    rng = np.random.default_rng(0)
    # As kinetic solubilities: log-normal, and all above 200 read about 270.
    amount = 10 ** rng.normal(1.8, 0.8, 3000)
    y = np.where(amount > 230, rng.normal(270, 15, 3000), amount)
    floor, ceiling = found(np.log10(y + 1))
    assert floor == -np.inf
    assert np.log10(200) < ceiling < np.log10(260)
    assert 200 < found(y)[1] < 260


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: rng.normal(size=2000),
        lambda rng: rng.normal(size=2000).round(1),
        lambda rng: rng.lognormal(0, 1.5, 2000),
        lambda rng: rng.exponential(size=2000),
        lambda rng: rng.uniform(size=2000),
        # Efflux ratios: a sharp mode near the low end, and a long tail.
        lambda rng: np.concatenate([rng.lognormal(0, 0.3, 1400), rng.lognormal(1.5, 1, 600)]),
        # A bound share crowds to its end.
        lambda rng: rng.beta(4, 0.5, 2000),
        lambda rng: np.concatenate([rng.normal(size=1000), rng.normal(4, 1, 1000)]),
        lambda rng: rng.normal(size=12),
    ],
)
def test_where_there_is_no_limit_none_is_found(draw: Any) -> None:
    # Ten seeds each: the criteria are no test with an error rate, but none of these may trip them.
    for seed in range(10):
        assert found(draw(np.random.default_rng(seed))) == NONE


def test_bounds_of_one_value_are_a_limit() -> None:
    y = np.concatenate([np.random.default_rng(0).uniform(2, 9, 50), np.full(8, 1.56), [1.0]])
    signs = np.concatenate([np.zeros(50), np.full(9, -1)])
    assert found(y, signs) == (1.56, np.inf)
    # An exact label beyond shows that the bound is of that sample, not of the assay.
    y[0] = 0.5
    assert found(y, signs)[0] == -np.inf


@given(scale=st.sampled_from([1e-9, 0.01, 1.0, 1e6]), shift=st.sampled_from([0.0, -3.0, 100.0]))
def test_limits_follow_the_unit(scale: float, shift: float) -> None:
    y = np.minimum(np.random.default_rng(0).normal(size=300), 1.0)
    assert found(y * scale + shift * scale) == (-np.inf, pytest.approx((1.0 + shift) * scale))


def test_classes_have_no_limits() -> None:
    y = np.array([0.0, 1.0] * 50).reshape(-1, 1)
    limits = find_limits(Labels.checked(y, None, None, "classification"))
    assert not limits.any.any()


def test_labels_at_limits_become_bounds() -> None:
    given = labels([0.0, 0.5, 2.0, 2.3, 2.5, 0.4, np.nan], [0, 0, 0, 0, -1, 1, 0])
    censored = AssayLimits.given([[0.5, 2.0]], given).censor(given)
    np.testing.assert_array_equal(censored.values[:, 0], [0.5, 0.5, 2, 2, 2.5, 0.4, np.nan])
    # `< 2.5` says nothing about a ceiling of 2, nor `> .4` about a floor of .5.
    np.testing.assert_array_equal(censored.signs[:, 0], [-1, -1, 1, 1, -1, 1, 0])


def test_what_is_reported_at_a_limit_is_the_median_there() -> None:
    limits = AssayLimits.given([[np.nan, 2.0]], labels([1.0, 2.1, 2.2, 2.6]))
    latent = np.array([[-9.0], [1.9], [2.0], [7.0]])
    np.testing.assert_array_equal(limits.report(latent), [[-9.0], [1.9], [2.2], [2.2]])


def test_limits_in_words() -> None:
    y = labels([0.0, 0.0, 1.0, 2.0, 3.0])
    text = AssayLimits.given([[0.0, 3.0]], y).describe(y, ["KSOL"])
    assert text == "KSOL: 40 % of 5 labels at or below 0; KSOL: 20 % of 5 labels at or above 3"


def test_another_shape_is_refused() -> None:
    with pytest.raises(ModelError, match="each of 1 tasks"):
        AssayLimits.given([1.0, 2.0], labels([1.0, 2.0]))


def test_a_model_predicts_within_limits_and_says_how_probable_they_are() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3))
    truth = 2 * X[:, 0] + 0.1 * rng.normal(size=300)
    model = MultitaskMLP(members=2, hidden=32, epochs=40, batch_size=16, dropout=0.0)
    model.set_params(input_dropout=0.0)
    model.fit(X, np.clip(truth, -2.0, 1.0))
    assert (model.limits_.floor[0], model.limits_.ceiling[0]) == (-2.0, 1.0)
    reported, latent = model.predict(X), model.predict(X, latent=True)
    assert (reported.min(), reported.max()) == (-2.0, 1.0)
    assert latent.max() > 1.0
    at_floor, at_ceiling = model.predict_at_limits(X, scale=[0.5])
    np.testing.assert_allclose(at_ceiling, norm.sf(1.0, latent, 0.5), rtol=1e-12)
    np.testing.assert_allclose(at_floor, norm.cdf(-2.0, latent, 0.5), rtol=1e-12)
    known = model.predict_at_limits(X)[1]
    assert known[truth > 2].mean() > 0.7
    assert known[truth < 0].mean() < 0.1


def public_table(name: str, first: int) -> pl.DataFrame:
    """Return the columns of a public table from number `first` on."""
    near = (p / "shared" / "data" for p in Path(__file__).resolve().parents)
    root = Path(os.environ.get("MOLPOOL_DATA") or next(filter(Path.is_dir, near), ""))
    path = root / "admet" / name
    if not path.exists():
        pytest.skip(f"no {name}: set MOLPOOL_DATA to the folder of the public data sets")
    return pl.read_csv(path, infer_schema_length=None)[:, first:].cast(pl.Float64)


@pytest.mark.realdata
def test_limits_of_real_assays() -> None:
    expansion = public_table("expansionrx/expansion_data_train.csv", 2)
    biogen = public_table("biogen/ADME_public_set_3521.csv", 4)
    names = expansion.columns
    values = expansion.to_numpy().copy()
    values[:, 1:] = np.log10(values[:, 1:] + 1)
    limits = find_limits(Labels.checked(values, None, None, "regression"))
    at = {name: (limits.floor[t], limits.ceiling[t]) for t, name in enumerate(names)}
    # SOURCES.md: 41 % of KSOL about 250 µM; clearances of 0.
    assert 220 < 10 ** at["KSOL"][1] - 1 < 260
    assert at["HLM CLint"][0] == at["MLM CLint"][0] == 0.0
    assert {n for n, v in at.items() if v != NONE} == {"KSOL", "HLM CLint", "MLM CLint"}

    limits = find_limits(Labels.checked(biogen.to_numpy(), None, None, "regression"))
    at = {name: (limits.floor[t], limits.ceiling[t]) for t, name in enumerate(biogen.columns)}
    # SOURCES.md: 958 and 346 values.
    assert at["LOG HLM_CLint (mL/min/kg)"][0] == pytest.approx(0.675687, abs=1e-6)
    assert at["LOG RLM_CLint (mL/min/kg)"][0] == pytest.approx(1.027920, abs=1e-6)
    # Binding of 100 % unbound is where a percentage ends.
    assert at["LOG PLASMA PROTEIN BINDING (HUMAN) (% unbound)"] == (-np.inf, 2.0)
