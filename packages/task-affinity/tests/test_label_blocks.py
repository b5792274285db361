from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from task_affinity.label_blocks import label_blocks


def cost(labelled, sizes, blocks, overhead):
    return sum((labelled[b].any(0).sum() + 1) * (sizes[b].sum() + overhead) for b in blocks)


@settings(max_examples=50, deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 20), st.integers(1, 6))), st.floats(0, 5))
def test_every_row_once_and_never_dearer_than_the_ends(labelled, overhead):
    sizes = np.linspace(0.5, 1.5, len(labelled))
    blocks = label_blocks(labelled, sizes, overhead)
    assert sorted(np.concatenate(blocks).tolist()) == list(range(len(labelled)))
    assert all((np.diff(b) > 0).all() for b in blocks)
    patterns = np.unique(labelled, axis=0, return_inverse=True)[1].ravel()
    apart = [np.flatnonzero(patterns == k) for k in range(patterns.max() + 1)]
    assert cost(labelled, sizes, blocks, overhead) <= cost(labelled, sizes, apart, overhead) + 1e-9


def test_disjoint_families_part_and_equal_patterns_stay():
    labelled = np.repeat([[True, True, False, False], [False, False, True, True]], 10, axis=0)
    first, second = sorted(label_blocks(labelled, np.ones(20)), key=lambda b: b[0])
    assert first.tolist() == list(range(10))
    assert second.tolist() == list(range(10, 20))


def test_a_dear_pass_keeps_all_together():
    labelled = np.eye(5, dtype=bool)
    (block,) = label_blocks(labelled, np.ones(5), overhead=100.0)
    assert block.tolist() == [0, 1, 2, 3, 4]
