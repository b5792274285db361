from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rt_ridge._errors import RTRidgeError
from rt_ridge.prediction._effects import BackoffLevel, DescriptorEffect
from rt_ridge.prediction._summaries import Stage1CoeffSummaries
from rt_ridge.tables._keys import find

NEW = 10**6  # An id that no fit has seen.


def predict(model: Any, x: Any, group: int, compound: int, parent: int = -1) -> Any:
    n = len(x)
    ids = [np.full(n, i) for i in (group, compound, parent)]
    return model.predict(x, *ids)


@pytest.mark.parametrize("seed", [0, 2, 4])
def test_every_level_equals_dense_algebra(dense_hierarchy: Any, seed: int) -> None:
    model = dense_hierarchy(seed=seed)
    summaries = model.summaries()
    x = np.random.default_rng(seed).normal(size=(5, 1))
    design = np.concatenate([np.ones((5, 1)), x], axis=1)
    g, c = int(model.group[1]), int(model.compound[1])
    cases: list[tuple[str, tuple[int, ...], Any]] = [
        ("pair", (g, c), model.moments(pair=1)),
        ("group", (g, NEW), model.moments("E", group=g)),
        ("parent", (NEW, c, 2), model.moments("ME", parent=2)),
        ("global", (NEW, c), model.moments("SME")),
        ("global", (NEW, c, NEW), model.moments("SME")),
    ]
    for level, ids, (mean, cov) in cases:
        found = predict(summaries, x, *ids)
        assert set(found.level) == {level}
        variance = np.einsum("nd,de,ne->n", design, cov, design)
        # Sums of four products in another order.
        np.testing.assert_allclose(found.mean, design @ mean, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(found.std_mean**2, variance, rtol=1e-11)
        noise = {1: 0.1, 3: 0.9}.get(ids[0], model.sigma2)
        np.testing.assert_allclose(found.std**2, variance + noise, rtol=1e-11)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), data=st.data())
def test_less_knowledge_is_never_more_certain(
    dense_hierarchy: Any, seed: int, data: st.DataObject
) -> None:
    # A theorem for intercepts alone: of two regressors, one may be known better a level up.
    model = dense_hierarchy(seed=2 * seed, size=1)
    summaries = model.summaries()
    k = data.draw(st.integers(0, len(model.group) - 1))
    g, c = int(model.group[k]), int(model.compound[k])
    nodes = [(g, c), (g, NEW), (NEW, NEW, g // 2), (NEW, NEW)]
    found = [predict(summaries, np.zeros((1, 0)), *node) for node in nodes]
    assert [f.level[0] for f in found] == ["pair", "group", "parent", "global"]
    widths = np.array([f.std_mean[0] for f in found])
    # Rounding of the dense inverse.
    assert (np.diff(widths) >= -1e-7 * widths.max()).all()


def test_a_compound_adds_its_effect_to_every_level_but_its_own_pairs(dense_hierarchy: Any) -> None:
    model = dense_hierarchy(seed=1)
    summaries, bare = model.summaries(), dense_hierarchy(seed=1)
    bare.seed = 0
    bare = bare.summaries()
    x = np.array([[0.7]])
    design = np.array([1.0, 0.7])
    for parent, level in ((0, "parent"), (-1, "global")):
        known = predict(summaries, x, NEW, 1, parent)
        new = predict(summaries, x, NEW, NEW, parent)
        base = predict(bare, x, NEW, NEW, parent)
        assert known.level[0] == ("parent+compound" if level == "parent" else "compound")
        assert new.level[0] == level
        assert known.mean[0] - base.mean[0] == pytest.approx(0.5 * 1.7, rel=1e-12)
        assert new.mean[0] == base.mean[0]
        gain = known.std_mean[0] ** 2 - base.std_mean[0] ** 2
        assert gain == pytest.approx(0.01 * 1.7**2, rel=1e-9)
        gain = new.std_mean[0] ** 2 - base.std_mean[0] ** 2
        assert gain == pytest.approx(0.2 * design @ design, rel=1e-9)
    g, c = int(model.group[0]), int(model.compound[0])
    assert predict(summaries, x, g, c).mean[0] == predict(bare, x, g, c).mean[0]


def test_rows_do_not_depend_on_their_neighbours(dense_hierarchy: Any) -> None:
    summaries = dense_hierarchy(seed=3).summaries()
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40_000, 1))  # More than two chunks.
    ids = [rng.integers(0, 8, 40_000), rng.integers(0, 5, 40_000), rng.integers(-1, 4, 40_000)]
    together = summaries.predict(x, *ids)
    order = rng.permutation(40_000)
    shuffled = summaries.predict(x[order], *(column[order] for column in ids))
    for name in ("mean", "std", "std_mean", "level_code"):
        assert (getattr(together, name)[order] == getattr(shuffled, name)).all()
    assert len(set(together.level)) == 7


def test_a_model_without_levels_says_nothing_of_unseen_pairs(dense_hierarchy: Any) -> None:
    model = dense_hierarchy(seed=0)
    summaries = model.summaries()
    object.__setattr__(summaries.coefficients, "levels", ())
    found = predict(summaries, np.zeros((2, 1)), NEW, 0)
    assert np.isnan([found.mean, found.std, found.std_mean]).all()
    assert found.level.tolist() == ["none", "none"]


@settings(deadline=None)
@given(
    ids=st.lists(st.integers(0, 30), unique=True, max_size=10),
    wanted=st.lists(st.integers(-1, 31), max_size=10),
)
def test_find_is_a_dictionary(ids: list[int], wanted: list[int]) -> None:
    ids = sorted(ids)
    place = find(np.array(ids, dtype=np.int64), np.array(wanted, dtype=np.int64))
    assert place.tolist() == [ids.index(i) if i in ids else -1 for i in wanted]


def described(dense_hierarchy: Any) -> Any:
    """Return an artefact with compound effects and two descriptors known for compound 2."""
    summaries = dense_hierarchy(seed=1).summaries()
    heads = (
        BackoffLevel("group", np.array([4]), np.array([[0.3, 0.0]]), np.full((1, 2, 2), 0.02)),
        BackoffLevel("global", np.array([0]), np.zeros((1, 2)), 0.5 * np.eye(2)[None]),
    )
    effect = DescriptorEffect(
        ("mass", "logp"),
        np.array([1.0, 0.0]),
        np.array([1]),
        np.array([[2.0, 3.0]]),
        np.array([0.1, 0.2]),
        np.diag([0.01, 0.04]),
        3.0 * np.eye(2),
        heads,
    )
    coefficients = replace(summaries.coefficients, descriptors=effect)
    return replace(summaries, coefficients=coefficients)


def test_descriptors_speak_for_compounds_never_seen(dense_hierarchy: Any) -> None:
    plain, model = dense_hierarchy(seed=1).summaries(), described(dense_hierarchy)
    x = np.zeros((3, 1))
    ids = np.full(3, NEW), np.array([1, NEW, NEW]), np.array([0, 0, 0])
    z = np.array([[9.0, 9.0], [2.0, 1.0], [np.nan, 1.0]])
    found, without = model.predict(x, *ids, z), plain.predict(x, *ids)
    shift = found.mean - without.mean
    # Seen: its own effect; described: (2 - 1) 0.1 + 1 * 0.2; neither: no shift.
    np.testing.assert_allclose(shift, [0.0, 0.3, 0.0], atol=1e-12)
    gain = found.std_mean**2 - without.std_mean**2
    # Head of a new group: 0.5 z·z at z = (1, 3) and (1, 1), θ: 0.01 + 0.04; blind: 3 for 0.2.
    np.testing.assert_allclose(gain, [0.5 * 10, 0.5 * 2 + 0.05, 2.8], rtol=1e-10)


def test_compounds_of_one_group_that_nobody_described_vary_as_those_described(
    dense_hierarchy: Any,
) -> None:
    """Where no compound has two pairs there is no effect of compounds, and still ignorance."""
    model = described(dense_hierarchy)
    alone = replace(model.coefficients, compound=None)
    model = replace(model, coefficients=alone)
    plain = replace(model, coefficients=replace(alone, descriptors=None))
    x, ids = np.zeros((3, 1)), (np.full(3, NEW), np.array([1, NEW, NEW]), np.zeros(3, dtype=int))
    z = np.array([[9.0, 9.0], [2.0, 1.0], [np.nan, 1.0]])
    found, without = model.predict(x, *ids, z), plain.predict(x, *ids)
    gain = found.std_mean**2 - without.std_mean**2
    np.testing.assert_allclose(gain, [0.5 * 10 + 0.37, 0.5 * 2 + 0.05, 3.0], rtol=1e-10)


def test_heads_move_groups_that_have_one(dense_hierarchy: Any) -> None:
    plain, model = dense_hierarchy(seed=1).summaries(), described(dense_hierarchy)
    row = np.zeros((1, 1)), [4], [NEW], [-1]
    shift = model.predict(*row, [[3.0, 0.0]]).mean - plain.predict(*row).mean
    assert shift[0] == pytest.approx(2 * (0.1 + 0.3), rel=1e-12)


def test_descriptors_survive_the_file(dense_hierarchy: Any, tmp_path: Path) -> None:
    model = described(dense_hierarchy)
    model.save(tmp_path / "a.npz")
    loaded = Stage1CoeffSummaries.load(tmp_path / "a.npz")
    row = np.zeros((1, 1)), [4], [NEW], [-1], [[3.0, 0.5]]
    ours, theirs = model.predict(*row), loaded.predict(*row)
    assert (ours.mean, ours.std) == (theirs.mean, theirs.std)
    effect = loaded.coefficients.descriptors
    assert effect is not None
    assert effect.names == ("mass", "logp")
    spoilt = replace(effect, values=np.array([[np.nan, 0.0]]))
    with pytest.raises(RTRidgeError, match=r"descriptor: values: expected finite .* compound 1"):
        replace(model, coefficients=replace(model.coefficients, descriptors=spoilt))
