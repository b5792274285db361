"""The multi-task network: what it learns from, and what it must not depend on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from multitask_models import (
    MissingLabelWarning,
    ModelError,
    MultitaskMLP,
    _mlp_inputs,
    _mlp_network,
)
from multitask_models._labels import Labels
from multitask_models._mlp_inputs import CLIP, InputScaling
from multitask_models._mlp_network import Recipe, TrainingRows, label_losses, outputs_of, train
from scipy.stats import norm
from sklearn.utils.estimator_checks import check_estimator


def network(**changes: Any) -> MultitaskMLP:
    """Return a network small enough for a test."""
    settings: dict[str, Any] = {"members": 2, "hidden": 16, "epochs": 6, "batch_size": 16}
    return MultitaskMLP(**(settings | changes))


def problem(
    n: int = 80, n_tasks: int = 3, missing: float = 0.4, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return counts and descriptors [N, 12] and linear labels of them with gaps."""
    rng = np.random.default_rng(seed)
    X = np.hstack([rng.poisson(1.0, (n, 8)), rng.normal(size=(n, 4))]).astype(np.float32)
    Y = X @ rng.normal(size=(12, n_tasks)) + rng.normal(size=n_tasks)
    Y[rng.random(Y.shape) < missing] = np.nan
    return X, Y


@pytest.mark.core
def test_it_learns() -> None:
    X, Y = problem(400, missing=0.3)
    model = network(epochs=40, batch_size=32, hidden=32, dropout=0.0).fit(X[:300], Y[:300])
    error = np.nanmean(np.abs(model.predict(X[300:]) - Y[300:]), axis=0)
    alone = np.nanmean(np.abs(np.nanmean(Y[:300], axis=0) - Y[300:]), axis=0)
    # Fitted by least squares it would be exact; half of the mean's error is far from chance.
    assert (error < alone / 2).all()


def test_predictions_are_linear_in_what_encode_returns() -> None:
    X, Y = problem()
    model = network(epochs=2).fit(X, Y)
    X[3] = np.nan
    units = model.encode(X)
    assert units.shape == (80, 2 * 16)
    known = np.isfinite(units).all(axis=1)
    assert np.flatnonzero(~known).tolist() == [3]
    design = np.column_stack([units[known], np.ones(known.sum())]).astype(np.float64)
    mean = model.predict(X, latent=True)[known]
    found, *_ = np.linalg.lstsq(design, mean, rcond=None)
    # 79 rows by 33 columns: what is not linear would be left over. Units are float32.
    np.testing.assert_allclose(design @ found, mean, rtol=0, atol=1e-4)


def test_nothing_is_encoded_where_nothing_was_learned() -> None:
    X, _ = problem()
    with pytest.raises(ModelError, match="encode: expected a task"):
        network().fit(X, np.ones(len(X))).encode(X)


@pytest.mark.parametrize("n_sparse", [0, 8])
@pytest.mark.parametrize("tobit", [False, True])
def test_packed_networks_are_those_that_train_alone(tobit: bool, n_sparse: int) -> None:
    X, Y = problem()
    # Counts last, as `InputScaling` orders them.
    X = X[:, ::-1].copy()
    labels = Labels.checked(Y, None, None, "regression")
    labelled = np.asarray(labels.present.any(axis=1))
    rows = TrainingRows.of(X[labelled], labels.rows(labelled), 0.5, n_sparse)
    recipe = Recipe(32, 0.3, 0.1, 10, 16, 2e-3, 0.01, 0.25, 0.5, tobit)
    packed = outputs_of(train(rows, recipe, np.random.SeedSequence(3).spawn(4))[0], X)
    for i, seed in enumerate(np.random.SeedSequence(3).spawn(4)):
        alone = outputs_of(train(rows, recipe, [seed])[0], X)
        np.testing.assert_allclose(alone[0], packed[i], rtol=0, atol=1e-6)


def test_passing_over_zeros_changes_nothing() -> None:
    X, Y = problem()
    X = X[:, ::-1].copy()
    labels = Labels.checked(np.nan_to_num(Y), None, None, "regression")
    # Without dropout of inputs, whose masks have another shape where zeros have none.
    recipe = Recipe(32, 0.3, 0.0, 10, 16, 2e-3, 0.01, 0.25, 0.5, False)
    both = [
        outputs_of(train(rows, recipe, np.random.SeedSequence(3).spawn(2))[0], X)
        for rows in (TrainingRows.of(X, labels, 0.5, n) for n in (0, 8))
    ]
    # Sums in another order, over 50 steps of float32.
    np.testing.assert_allclose(*both, rtol=0, atol=1e-4)


def test_losses_are_those_of_their_definitions() -> None:
    rng = np.random.default_rng(0)
    outputs, targets = rng.normal(size=(2, 5, 3)), rng.normal(size=(2, 5, 3))
    signs = rng.integers(-1, 2, (2, 5, 3))
    noise = rng.normal(size=(2, 1, 3)) * 0.3
    given = [torch.from_numpy(a) for a in (outputs, targets, signs.astype(float), noise)]
    kinds = torch.tensor([False, False, False])

    error = outputs - targets
    outside = np.where((signs < 0) & (error < 0) | (signs > 0) & (error > 0), 0.0, error)
    size = np.abs(outside)
    smooth = np.where(size < 0.25, size**2 / 0.5, size - 0.125)
    ours = label_losses(given[0], given[1], given[2], kinds, 0.25, None)
    np.testing.assert_allclose(ours, smooth, rtol=1e-12)

    scale = np.exp(noise)
    # Up to the constant of the normal density, log sqrt(2 pi).
    density = -norm.logpdf(targets, outputs, scale) - 0.5 * np.log(2 * np.pi)
    below, above = -norm.logcdf(targets, outputs, scale), -norm.logsf(targets, outputs, scale)
    tobit = np.where(signs == 0, density, np.where(signs < 0, below, above))
    ours = label_losses(given[0], given[1], given[2], kinds, 0.25, given[3])
    np.testing.assert_allclose(ours, tobit, rtol=1e-9)

    classes = (targets > 0).astype(float)
    chance = 1 / (1 + np.exp(-outputs))
    binary = -np.log(np.where(classes == 1, chance, 1 - chance))
    ours = label_losses(given[0], torch.from_numpy(classes), given[2], ~kinds, 0.25, None)
    np.testing.assert_allclose(ours, binary, rtol=1e-9)


@pytest.mark.parametrize("loss", ["one_sided", "tobit"])
def test_a_satisfied_bound_asks_nothing(loss: Any) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3))
    truth = 2 * X[:, 0]
    y, signs = np.minimum(truth, 0.5), (truth >= 0.5).astype(int)
    settings: dict[str, Any] = {"epochs": 40, "limits": None, "censored_loss": loss}
    bounds = network(**settings).fit(X, y, censoring=signs).predict(X)
    values = network(**settings).fit(X, y).predict(X)
    high = truth > 1.5
    # A bound lets the prediction go on where a value would hold it at .5.
    assert bounds[high].mean() > values[high].mean() + 0.3


def test_rows_and_signs_without_labels_take_no_part() -> None:
    X, Y = problem()
    model = network().fit(X, Y)
    alone = np.vstack([X, X[:5] + 1])
    with_rows = network().fit(alone, np.vstack([Y, np.full((5, 3), np.nan)]))
    np.testing.assert_array_equal(model.predict(X), with_rows.predict(X))
    signs = np.where(np.isnan(Y), 1, 0)
    np.testing.assert_array_equal(model.predict(X), network().fit(X, Y, censoring=signs).predict(X))


def test_weight_zero_is_absence() -> None:
    X, Y = problem()
    weights = np.ones(80)
    weights[60:] = 0
    ours = network().fit(X, Y, sample_weight=weights).predict(X)
    np.testing.assert_array_equal(ours, network().fit(X[:60], Y[:60]).predict(X))


@pytest.mark.parametrize("unit", [1e-9, 1000.0])
def test_a_change_of_unit_changes_predictions_by_it_alone(unit: float) -> None:
    X, Y = problem()
    ours = network().fit(X, Y).predict(X)
    theirs = network().fit(X, Y * unit).predict(X)
    np.testing.assert_allclose(theirs, ours * unit, rtol=1e-6, atol=1e-6 * unit)


@pytest.mark.parametrize("factor", [0.001, 60.0])
def test_a_change_of_a_descriptors_unit_changes_little(factor: float) -> None:
    X, Y = problem()
    ours = network(blocks=[8, 4]).fit(X, Y).predict(X)
    changed = X.copy()
    changed[:, 9] *= factor
    # float32 rounds the column otherwise.
    np.testing.assert_allclose(
        network(blocks=[8, 4]).fit(changed, Y).predict(changed), ours, atol=1e-3
    )


def test_members_differ_and_are_the_same_in_any_ensemble() -> None:
    X, Y = problem()
    model = network().fit(X, Y)
    _, spread = model.predict(X, return_std=True)
    assert (spread > 0).all()
    three = network(members=3).fit(X, Y)
    np.testing.assert_allclose(
        three._member_means(X)[:2], model._member_means(X), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("loss", ["one_sided", "tobit"])
def test_an_ensemble_grows_one_by_one_into_the_one_that_is_trained_at_once(loss: Any) -> None:
    X, Y = problem()
    whole = network(members=3, censored_loss=loss).fit(X, Y)
    grown = network(members=1, censored_loss=loss, warm_start=True).fit(X, Y)
    first = grown._member_means(X)
    for members in (2, 3, 3):
        grown.set_params(members=members).fit(X, Y)
    np.testing.assert_array_equal(grown._member_means(X)[0], first[0])
    for ours, theirs in zip(
        grown.predict(X, return_std=True), whole.predict(X, return_std=True), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-6)
    np.testing.assert_allclose(grown._noise, whole._noise, rtol=1e-6)
    # Fewer networks, and other rows, layers or tasks, are no more of the same.
    for wrong in ({"members": 1}, {"hidden": 8}):
        with pytest.raises(ModelError, match="warm_start: expected"):
            grown.set_params(**({"members": 3, "hidden": 16} | wrong)).fit(X, Y)
    grown.set_params(members=3, hidden=16)
    with pytest.raises(ModelError, match="warm_start: expected"):
        grown.fit(X[:, :5], Y)
    with pytest.raises(ModelError, match="warm_start: expected"):
        grown.fit(X, Y[:, :2])


def test_a_growing_ensemble_goes_on_with_its_sampler_and_its_start() -> None:
    class Some:
        def set_epoch(self, epoch: int) -> None:
            self.epoch = epoch

        def __iter__(self) -> Iterator[int]:
            return iter(np.random.default_rng(self.epoch).permutation(40).tolist())

    X, Y = problem(missing=0.0)
    before = network(members=1).fit(X[:60], Y[:60, :2])
    whole = network(members=3).starting_from(before).fit(X, Y, sampler=Some())
    grown = network(members=1, warm_start=True).starting_from(before).fit(X, Y, sampler=Some())
    for members in (2, 3):
        grown.set_params(members=members).fit(X, Y, sampler=Some())
    np.testing.assert_allclose(grown.predict(X), whole.predict(X), rtol=0, atol=2e-6)


def test_what_was_learned_before_is_where_it_begins() -> None:
    X, Y = problem(missing=0.0)
    before = network(members=1).fit(X[:60], Y[:60, :2])
    still = network(learning_rate=1e-12).starting_from(before).fit(X[60:], Y[60:, 2])
    # Both members begin with its layers, of inputs that are scaled as its own were.
    np.testing.assert_allclose(still.encode(X), np.tile(before.encode(X), 2), atol=1e-6)
    moved = network(learning_rate=1e-2).starting_from(before).fit(X[60:], Y[60:, 2])
    units = moved.encode(X).reshape(80, 2, 16)
    assert np.abs(units[:, 0] - units[:, 1]).max() > 0.01
    for other in (network(members=3).fit(X, Y), network(members=2, hidden=8).fit(X, Y)):
        with pytest.raises(ModelError, match="starting_from: expected blocks"):
            network().starting_from(other)


def test_time_enough_changes_nothing() -> None:
    X, Y = problem()
    whole, limited = network().fit(X, Y), network(time_limit=1e9).fit(X, Y)
    np.testing.assert_array_equal(limited.predict(X), whole.predict(X))
    assert limited.epochs_ == whole.epochs_ == pytest.approx(6, abs=0.2)


@pytest.mark.parametrize(("limit", "steps"), [(10.0, 10), (0.001, 1), (25.0, 25)])
def test_a_schedule_ends_in_time(limit: float, steps: int, monkeypatch: Any) -> None:
    X, Y = problem(missing=0.0)
    made: list[Any] = []

    class Watched(torch.optim.lr_scheduler.OneCycleLR):
        def __init__(self, *given: Any, **named: Any) -> None:
            made.append((self, []))
            super().__init__(*given, **named)

        def step(self, epoch: int | None = None) -> None:
            super().step(epoch)
            made[-1][1].append(self.get_last_lr()[0])

    monkeypatch.setattr(torch.optim.lr_scheduler, "OneCycleLR", Watched)
    # Of 30 steps each takes a second.
    monkeypatch.setattr(_mlp_network, "perf_counter", lambda: len(made[-1][1]) if made else 0)
    model = network(time_limit=limit).fit(X, Y)
    assert model.epochs_ == pytest.approx(6 * steps / 30, abs=0.4)
    rates = made[-1][1]
    # From a 25th of the highest up to it and down to almost nothing, however few the steps.
    assert rates[-1] < 2e-3 / 25
    assert limit < 1 or max(rates) == pytest.approx(2e-3, rel=0.1)


def test_one_member_has_no_spread() -> None:
    X, Y = problem()
    with pytest.raises(ModelError, match="return_std"):
        network(members=1).fit(X, Y).predict(X, return_std=True)


def test_classes_are_predicted_as_probabilities() -> None:
    X, Y = problem(200, 2, missing=0.2)
    Y[:, 1] = np.where(np.isnan(Y[:, 1]), np.nan, Y[:, 1] > np.nanmedian(Y[:, 1]))
    kinds = ["regression", "classification"]
    chance = network(task_kinds=kinds, epochs=30).fit(X, Y).predict(X)[:, 1]
    assert ((chance > 0) & (chance < 1)).all()
    assert chance[Y[:, 1] == 1].mean() > chance[Y[:, 1] == 0].mean() + 0.3


@pytest.mark.core
def test_it_is_saved_and_read_bit_for_bit(tmp_path: Path) -> None:
    X, Y = problem()
    Y[:, 1] = np.where(np.isnan(Y[:, 1]), np.nan, Y[:, 1] > 0)
    model = network(blocks=(8, 4), task_kinds=["regression", "classification", "regression"])
    model.fit(X, Y)
    model.save(tmp_path / "model")
    again = MultitaskMLP.load(tmp_path / "model")
    for ours, theirs in zip(
        model.predict(X, return_std=True), again.predict(X, return_std=True), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert again.get_params()["hidden"] == 16


def test_a_refit_is_the_same() -> None:
    X, Y = problem()
    model = network()
    np.testing.assert_array_equal(model.fit(X, Y).predict(X), model.fit(X, Y).predict(X))


def test_a_sampler_says_which_rows_come() -> None:
    class First:
        """Ten rows, in an order that follows from the epoch."""

        def set_epoch(self, epoch: int) -> None:
            self.epoch = epoch

        def __iter__(self) -> Iterator[int]:
            return iter(np.random.default_rng(self.epoch).permutation(10).tolist())

    X, Y = problem(missing=0.0)
    other = Y.copy()
    other[10:] = other[10:][::-1]
    # Centre and spread are those of all labels, which a permutation keeps.
    ours, theirs = (network().fit(X, y, sampler=First()).predict(X) for y in (Y, other))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    assert not np.allclose(network().fit(X, Y).predict(X), network().fit(X, other).predict(X))


def test_a_sampler_that_draws_nothing_is_refused() -> None:
    class Nothing:
        def set_epoch(self, epoch: int) -> None: ...

        def __iter__(self) -> Iterator[int]:
            return iter([])

    X, Y = problem()
    with pytest.raises(ModelError, match="sampler"):
        network().fit(X, Y, sampler=Nothing())


def test_no_task_has_a_label() -> None:
    X, Y = problem()
    with pytest.raises(ModelError, match="none in 80"):
        network().fit(X, np.full_like(Y, np.nan))


def test_a_task_without_labels_is_predicted_as_missing() -> None:
    X, Y = problem()
    Y[:, 1] = np.nan
    with pytest.warns(MissingLabelWarning, match="task 1:"):
        model = network().fit(X, Y)
    mean = model.predict(X)
    assert np.isnan(mean[:, 1]).all()
    assert np.isfinite(mean[:, [0, 2]]).all()


def test_a_constant_task_is_predicted_as_its_constant() -> None:
    X, Y = problem()
    Y[:, 1] = np.where(np.isnan(Y[:, 1]), np.nan, 0.1)
    mean, spread = network().fit(X, Y).predict(X, return_std=True)
    np.testing.assert_array_equal(mean[:, 1], 0.1)
    assert np.isnan(spread[:, 1]).all()
    # The other tasks learn as if it were not there.
    np.testing.assert_array_equal(mean[:, [0, 2]], network().fit(X, Y[:, [0, 2]]).predict(X))


def test_one_label_a_task() -> None:
    X, _ = problem(3)
    mean = network().fit(X, np.diag([1.0, 2.0, 3.0]) + np.where(np.eye(3), 0, np.nan)).predict(X)
    np.testing.assert_array_equal(mean, [[1.0, 2.0, 3.0]] * 3)


def test_617_tasks_in_which_most_labels_are_missing() -> None:
    X, Y = problem(200, 617, missing=0.9)
    mean = network(epochs=2).fit(X, Y).predict(X)
    assert mean.shape == (200, 617)
    assert np.isfinite(mean).all()


def test_nothing_but_duplicates() -> None:
    X, Y = problem(2, missing=0.0)
    X, Y = np.repeat(X[:1], 30, axis=0), np.tile(Y, (15, 1))
    mean = network(epochs=40).fit(X, Y).predict(X)
    # One molecule with two values: between them.
    assert ((mean >= Y.min(axis=0)) & (mean <= Y.max(axis=0))).all()


def test_molecules_without_features_are_not_predicted() -> None:
    X, Y = problem()
    failed = X.copy()
    failed[3] = np.nan
    mean = network().fit(failed, Y).predict(failed)
    assert np.isnan(mean[3]).all()
    assert np.isfinite(np.delete(mean, 3, axis=0)).all()


def test_labels_in_one_dimension_give_predictions_in_one() -> None:
    X, Y = problem(missing=0.0)
    assert network().fit(X, Y[:, 0]).predict(X).shape == (80,)
    assert network().fit(X, Y[:, :1]).predict(X).shape == (80, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"blocks": [8, 3]}, "make up 12 features"),
        ({"blocks": ["rdkit2d", "maccs"]}, "widths, whole numbers; found 'rdkit2d'"),
        ({"members": 0}, "members: expected 1"),
        ({"dropout": 1.0}, "dropout: expected 0 to below 1"),
        ({"censored_loss": "gauss"}, "found 'gauss'"),
        ({"task_kinds": "rank"}, "found 'rank'"),
        ({"task_kinds": ["regression"]}, "each of 3 tasks; found 1"),
        ({"task_kinds": "classification"}, "expected 0, 1 or NaN"),
        ({"limits": "some"}, "found 'some'"),
        ({"limits": [[1, 0], [0, 1], [0, 1]]}, "limits of task 0"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    X, Y = problem()
    with pytest.raises(ModelError, match=message) as error:
        network(**changes).fit(X, Y)
    assert error.value.exit_code == 2


def test_inputs_of_many_rows_and_columns_are_those_of_few(monkeypatch: Any) -> None:
    X, _ = problem()
    X[::7, 3] = np.nan
    X[:, 9] = np.nan
    monkeypatch.setattr(_mlp_inputs, "_ROWS", 1000)
    monkeypatch.setattr(_mlp_inputs, "_COLUMNS", 1000)
    whole = InputScaling.fitted(X, [8, 4])
    inputs = whole.transform(X)
    monkeypatch.setattr(_mlp_inputs, "_ROWS", 7)
    monkeypatch.setattr(_mlp_inputs, "_COLUMNS", 3)
    parts = InputScaling.fitted(X, [8, 4])
    for name, value in vars(whole).items():
        np.testing.assert_array_equal(getattr(parts, name), value)
    np.testing.assert_array_equal(parts.transform(X), inputs)


def test_inputs_by_hand() -> None:
    X = np.array([[0, 7, 1.5, 10], [3, 7, 2.5, np.nan], [1, 7, 3.5, 30]])
    scaling = InputScaling.fitted(X, [2, 2])
    ours = scaling.transform(X)
    # The second column never varies; blocks are two wide.
    factor = np.sqrt(256 / 2)
    z = np.array([-1.0, 0.0, 1.0])
    np.testing.assert_allclose(ours[:, 0], factor * np.log1p([0, 3, 1]), rtol=1e-6)
    np.testing.assert_allclose(ours[:, 1], factor * CLIP * np.tanh(z / np.std(z) / CLIP), rtol=1e-6)
    np.testing.assert_allclose(ours[:, 2], factor * CLIP * np.tanh(z / CLIP), rtol=1e-6)


BATCHES = "learns from batches, in which repeated rows are not one of twice the weight"
EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": BATCHES,
    "check_sample_weight_equivalence_on_sparse_data": BATCHES,
}


@pytest.mark.slow
def test_it_is_an_estimator_of_scikit_learn() -> None:
    model = MultitaskMLP(members=1, hidden=32, epochs=10, batch_size=16, dropout=0.1)
    check: Any = check_estimator  # its stubs are of an earlier release
    check(model, expected_failed_checks=EXPECTED_FAILURES, on_skip=None)
