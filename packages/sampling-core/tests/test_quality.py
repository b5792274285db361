from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sampling_core import CurriculumState, QualityWeights, SamplingError
from sampling_core._quality import encode_quality

QUALITIES = ("high", "medium", "low")
LABELS = ["high", "low", "medium", "high"]
ENUM = pl.Enum(["unused", "low", "high", "medium"])

FORMS: dict[str, Callable[[list[Any]], Any]] = {
    "list": list,
    "tuple": tuple,
    "numpy object": lambda x: np.array(x, dtype=object),
    "pandas object": lambda x: pd.Series(x, index=range(9, 9 + len(x)), dtype=object),
    "pandas text": lambda x: pd.Series(x, dtype="str"),
    "pandas nullable": lambda x: pd.Series(x, dtype="string"),
    "pandas category": lambda x: pd.Series(x, dtype="category"),
    "pandas Categorical": pd.Categorical,
    "pandas CategoricalIndex": pd.CategoricalIndex,
    "polars text": pl.Series,
    "polars Categorical": lambda x: pl.Series(x, dtype=pl.Categorical),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_labels_of_any_form_are_read(form: Callable[[list[Any]], Any]) -> None:
    codes = encode_quality(form(LABELS), QUALITIES)
    assert codes.tolist() == [0, 2, 1, 0]
    assert codes.dtype == np.int8


@pytest.mark.parametrize(
    "labels",
    [
        np.array(LABELS),
        np.array(LABELS, dtype=np.dtypes.StringDType()),
        pl.Series(LABELS, dtype=ENUM),
        np.array([0, 2, 1, 0], dtype=np.uint8),
        pd.Series([0, 2, 1, 0]),
        pl.Series([0, 2, 1, 0]),
    ],
    ids=["numpy text", "numpy StringDType", "polars Enum", "uint8", "pandas int", "polars int"],
)
def test_codes_and_fixed_texts_are_read(labels: Any) -> None:
    assert encode_quality(labels, QUALITIES).tolist() == [0, 2, 1, 0]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_missing_labels_are_refused_by_row(form: Callable[[list[Any]], Any]) -> None:
    with pytest.raises(SamplingError, match="found none in 2 rows: 1, 3"):
        encode_quality(form(["high", None, "low", None]), QUALITIES)


@pytest.mark.parametrize("gap", ["", float("nan"), None, pd.NA])
def test_every_kind_of_gap_counts_as_missing(gap: Any) -> None:
    with pytest.raises(SamplingError, match=r"found none in 12 rows: 1, 2, .* 10 and 2 more"):
        encode_quality(["high"] + [gap] * 12, QUALITIES)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_unknown_labels_are_refused_by_name(form: Callable[[list[Any]], Any]) -> None:
    message = (
        "unknown label 'mediun' in row 2; rows with an unknown label: 1 .*Did you mean 'medium'"
    )
    with pytest.raises(SamplingError, match=message):
        encode_quality(form(["high", "low", "mediun"]), QUALITIES)


@pytest.mark.parametrize(
    ("codes", "message"),
    [([0, -1], "found none in 1 rows: 1"), ([0, 3], "unknown label '3' in row 1")],
)
def test_codes_out_of_range_are_refused(codes: list[int], message: str) -> None:
    with pytest.raises(SamplingError, match=message):
        encode_quality(np.array(codes), QUALITIES)


def test_unused_categories_are_no_error() -> None:
    labels = pd.Categorical(["high", "low"], categories=["junk", "low", "high"])
    assert encode_quality(labels, QUALITIES).tolist() == [0, 2]


def test_more_qualities_than_a_byte_counts() -> None:
    qualities = [f"q{i}" for i in range(300)]
    assert encode_quality(qualities[::-1], qualities).tolist() == list(range(299, -1, -1))


def test_loss_weights_follow_the_phase() -> None:
    state = CurriculumState(patience=1)
    weights = QualityWeights(LABELS, state)
    assert len(weights) == 4
    assert [weights[i] for i in range(4)] == [0.9, 0.0, 0.1, 0.9]
    state.update(float("nan"))
    assert [weights[i] for i in range(4)] == [0.6, 0.1, 0.3, 0.6]


@pytest.mark.parametrize("count_normalize", [False, True])
def test_statistics_are_those_of_the_rows(count_normalize: bool) -> None:
    state = CurriculumState(patience=1, count_normalize=count_normalize)
    weights = QualityWeights(LABELS, state)
    for phase in ("warmup", "expand"):
        w = np.array([weights[i] for i in range(4)])
        p = w[w > 0] / w.sum()
        found = weights.statistics()
        assert weights.by_quality()["high"] == w[0], phase
        assert found.entropy == pytest.approx(-(p * np.log(p)).sum(), rel=1e-14)
        assert found.effective_samples == pytest.approx(w.sum() ** 2 / (w**2).sum(), rel=1e-14)
        assert found.min == pytest.approx((w / w.sum()).min(), rel=1e-14)
        assert (found.n_rows, found.n_drawable) == (4, (w > 0).sum())
        state.update(float("nan"))


def test_normalized_loss_weights_have_mean_one() -> None:
    weights = QualityWeights(LABELS, CurriculumState(count_normalize=True))
    # Shares .9 over 2/4 of the rows, .1 over 1/4, 0 over 1/4.
    expected = pytest.approx([1.8, 0.0, 0.4, 1.8], rel=1e-14)
    assert [weights[i] for i in range(4)] == expected
    assert sum(weights[i] for i in range(4)) == pytest.approx(4.0, rel=1e-14)


def test_loss_weights_refuse_a_phase_of_zeros() -> None:
    with pytest.raises(SamplingError, match="phase 'warmup'"):
        QualityWeights(["low"], CurriculumState())
