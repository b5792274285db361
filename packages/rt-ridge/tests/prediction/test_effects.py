from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from rt_ridge._config import SimulateConfig
from rt_ridge._errors import RTRidgeError
from rt_ridge._estimators import PartialPoolingRidge
from rt_ridge.prediction._summaries import Stage1CoeffSummaries
from rt_ridge.statistics._sufficient import SufficientStatistics
from rt_ridge.studies._simulate import simulate
from rt_ridge.tables._compounds import UNCLASSED, CompoundClasses

LAB = SimulateConfig(
    n_clusters=4,
    n_species=8,
    n_compounds=40,
    n_classes=4,
    n_covariates=2,
    anchors=0,
    rare_pairs=0,
    unseen_pairs=0,
    gamma_sd=0.05,
    class_gamma_sd=0.3,
    cluster_class_gamma_sd=0.3,
    species_gamma_sd=0.0,
    noise_sd=0.05,
)
N_KNOWN = 32
"""Compounds that are measured in training; the others are known by their class alone."""


def fitted(class_slopes: str, classes: CompoundClasses) -> PartialPoolingRidge:
    lab = simulate(LAB)
    seen = lab.train.filter(pl.col("comp_id") < N_KNOWN)
    stats = SufficientStatistics.from_frame(
        seen, covariates=list(LAB.covariates), parent="species_cluster"
    )
    model = PartialPoolingRidge(
        slope_head_mode="cluster_supercat",
        compound_slopes=True,
        class_slopes=class_slopes,
        lambda_slopes="estimate",
    )
    return model.fit(stats, classes=classes)


def slope_errors(summaries: Stage1CoeffSummaries) -> tuple[float, float]:
    """Return RMSE and RMS z-score of the slopes of compounds never measured."""
    lab = simulate(LAB)
    new = lab.pairs.filter(pl.col("comp_id") >= N_KNOWN)
    ids = [new[c].to_numpy() for c in ("species", "comp_id")]
    error, score = [], []
    for j in range(2):
        low, high = np.zeros((2, new.height, 2))
        high[:, j] = 1.0
        # The difference of two rows is the slope; its variance, that far out, nearly the slope's.
        slope = summaries.predict(high, *ids).mean - summaries.predict(low, *ids).mean
        far = summaries.predict(1e4 * high, *ids).std / 1e4
        error.append(new[f"slope_{j}"].to_numpy() - slope)
        score.append(error[-1] / far)
    return float(np.sqrt(np.mean(np.square(error)))), float(np.sqrt(np.mean(np.square(score))))


@pytest.fixture(scope="module")
def classes() -> CompoundClasses:
    return CompoundClasses.from_frame(simulate(LAB).compounds)


def test_classes_carry_slopes_to_compounds_never_measured(classes):
    found = {mode: fitted(mode, classes).summaries_ for mode in ("none", "global", "cluster")}
    errors = {mode: slope_errors(summaries) for mode, summaries in found.items()}
    # Slopes scatter by 0.3 between classes and again by class within supercategory, by 0.05 else.
    assert errors["cluster"][0] < 0.5 * errors["global"][0] < 0.5 * errors["none"][0]
    # 64 slopes a mode of 8 compounds: the RMS z-score of honest intervals scatters by a fifth.
    assert all(0.5 < score < 1.6 for _, score in errors.values())
    # A compound without a class, and a supercategory never seen, are wider by what is not known.
    row = [[30.0, 30.0]], [0], [N_KNOWN], [0]
    known = found["cluster"].predict(*row).std_mean
    unclassed = found["cluster"].predict(row[0], [0], [10**6], [0]).std_mean
    elsewhere = found["cluster"].predict(row[0], [10**6], [N_KNOWN], [-1]).std_mean
    assert known < 0.5 * unclassed
    assert known < 0.5 * elsewhere


def test_artefact_with_classes_survives_the_file(classes, tmp_path: Path):
    summaries = fitted("cluster", classes).summaries_
    summaries.save(tmp_path / "a.npz")
    loaded = Stage1CoeffSummaries.load(tmp_path / "a.npz")
    rows = np.ones((3, 2)), [0, 1, 10**6], [N_KNOWN, 10**6, N_KNOWN], [0, 1, 2]
    assert (loaded.predict(*rows).std == summaries.predict(*rows).std).all()
    effect = summaries.coefficients.classes
    assert effect is not None
    assert effect.own is not None
    spoilt = replace(effect, own=replace(effect.own, cov=-effect.own.cov))
    with pytest.raises(RTRidgeError, match="class: cov: expected positive semidefinite"):
        replace(summaries, coefficients=replace(summaries.coefficients, classes=spoilt))


def test_compounds_without_a_class_are_one_and_said(classes):
    some = CompoundClasses(classes.ids[:30], classes.classes[:30])
    model = fitted("global", some)
    assert "2 compounds without a class taken as a class of their own" in model.notes_
    assert some.of(np.array([0, 35])).tolist() == [0, UNCLASSED]


def test_names_are_numbered_in_their_order():
    frame = pl.DataFrame({"comp_id": [7, 3, 5], "class_id": ["sugar", "amine", "sugar"]})
    found = CompoundClasses.from_frame(frame)
    assert (found.ids.tolist(), found.classes.tolist()) == ([3, 5, 7], [0, 1, 1])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"comp_id": [1, 1], "class_id": [0, 1]}, "each compound once .* found 1 after 1"),
        ({"comp_id": [1, 2], "class": [0, 1]}, "no column 'class_id'; did you mean 'class'"),
        ({"comp_id": [1, 2], "class_id": [0, -1]}, "classes: expected ids from 0"),
        ({"comp_id": [1, 2], "class_id": ["a", None]}, "names in every row of 'class_id'"),
        ({"comp_id": ["a", "b"], "class_id": [0, 1]}, "expected whole comp_id"),
        ({"comp_id": [], "class_id": []}, "expected"),
    ],
)
def test_tables_of_classes_that_are_none(columns, message):
    with pytest.raises(RTRidgeError, match=f"(?i){message}"):
        CompoundClasses.from_frame(pl.DataFrame(columns))
