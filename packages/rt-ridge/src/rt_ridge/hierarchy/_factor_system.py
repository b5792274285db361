"""The system of locations with descriptors, for methods that solve it thousands of times.

`LinearSystem` sums over cells, of which each has all columns that act on it, and weights of
descriptors leave as many cells as there are pairs. Here every two factors are summed over the pairs
of their own levels alone: groups and supercategories meet in as many places as there are groups.
Columns differ in kind, by entry of the location and by descriptor; messages are weighted once, into
an entry for each kind, and sums of coarser levels are taken from those of finer ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from molpool_common import FloatArray, IntArray
from scipy.sparse import csr_array

from rt_ridge.hierarchy._linear_system import (
    FLAT,
    Arrangement,
    Factor,
    LinearSystem,
    Solution,
    dense_scales,
    segment_sum,
)

MAX_WEIGHTED = 2 * 10**7
"""Most entries of weighted messages: 160 MB, of which two exist at a time."""


@dataclass
class _Meeting:
    """Pairs of levels of two factors that occur together.

    Parameters
    ----------
    level : dict of str to ndarray of int64, [n]
        Levels of the factors whose meeting it is.
    of_pair : ndarray of int64, [G]
        Where each pair belongs.
    finer : int or None
        Number of the meeting that is summed into this one; None: pairs themselves are.
    total : csr_array, [n, n of the finer], or None
        How; None: they are the same, in their order.
    index : ndarray of int64, [n of the finer]
        Where each of the finer belongs.
    """

    level: dict[str, IntArray]
    of_pair: IntArray
    finer: int | None
    total: csr_array | None
    index: IntArray

    @property
    def size(self) -> int:
        return len(next(iter(self.level.values())))


class FactorSystem(LinearSystem):
    """As `LinearSystem`, for factors that cross and have descriptors; see the module.

    Parameters
    ----------
    arrangement : Arrangement
        See `fits`.
    n_entries : int
        D, the entries of a location.
    """

    def __init__(self, arrangement: Arrangement, n_entries: int) -> None:
        super().__init__(arrangement, n_entries)
        at = arrangement
        assert at.eliminated is not None
        self._factors = (at.eliminated, *at.dense)
        kinds = _kinds(self._factors)
        # From kinds to entries of the location, [G, D, K].
        self._weight = np.zeros((len(at.joint_of_pair), n_entries, len(kinds)))
        for k, ((row, _), weight) in enumerate(kinds.items()):
            self._weight[:, row, k] = weight
        self._kind = {
            f.name: np.array([list(kinds).index(key) for key in _keys(f)]) for f in self._factors
        }
        self._meetings: list[_Meeting] = []
        self._of: dict[tuple[str, str], int] = {}
        self._meet()
        self._first = np.cumsum([0, *(meeting.size for meeting in self._meetings)])
        # To sum linear terms by the levels of one factor.
        self._to_levels = {f.name: segment_sum(f.level, f.n_levels) for f in self._factors}

    @staticmethod
    def fits(arrangement: Arrangement) -> bool:
        """Whether factors cross, and messages weighted by descriptors are not too large."""
        at = arrangement
        if at.eliminated is None or at.nested or at.cell_weights is None:
            return False
        size = len(_kinds((at.eliminated, *at.dense)))
        return len(at.joint_of_pair) * size**2 <= MAX_WEIGHTED

    def _meet(self) -> None:
        """Find the meetings of every two factors, the finest first."""
        found = []
        for f, g in combinations_with_replacement(self._factors, 2):
            code = f.level * g.n_levels + g.level
            _, first, of_pair = np.unique(code, return_index=True, return_inverse=True)
            found.append((f, g, first, of_pair))
        for f, g, first, of_pair in sorted(found, key=lambda m: -len(m[2])):
            number, index = self._finer(of_pair, len(first))
            level = {f.name: f.level[first], g.name: g.level[first]}
            total = None
            if len(index) != len(first) or (index != np.arange(len(first))).any():
                total = segment_sum(index, len(first))
            self._of[f.name, g.name] = len(self._meetings)
            self._meetings.append(_Meeting(level, of_pair, number, total, index))

    def _finer(self, of_pair: IntArray, size: int) -> tuple[int | None, IntArray]:
        """Return the coarsest meeting that tells this one, and where each of its parts belongs."""
        for number in reversed(range(len(self._meetings))):
            other = self._meetings[number]
            index = np.empty(other.size, dtype=np.int64)
            index[other.of_pair] = of_pair
            if (index[other.of_pair] == of_pair).all():
                return number, index
        return None, of_pair

    def _joints(self, precision: FloatArray, linear: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Weigh messages by descriptors; return their sums over all meetings one after another.

        Nothing of them is kept: chains that run side by side share the system.
        """
        Z = self._weight
        K = Z.shape[2]
        J = np.matmul(Z.transpose(0, 2, 1), np.matmul(precision, Z)).reshape(len(Z), -1)
        found: list[FloatArray] = []
        for meeting in self._meetings:
            of = J if meeting.finer is None else found[meeting.finer]
            found.append(of if meeting.total is None else np.asarray(meeting.total @ of))
        return np.concatenate(found).reshape(-1, K, K), np.matmul(linear[:, None], Z)[:, 0]

    def _sums(self, J: FloatArray, number: int) -> FloatArray:
        """Return the sums of one meeting, [n, K, K]."""
        return J[self._first[number] : self._first[number + 1]]

    def _dense_part(
        self, J: FloatArray, h: FloatArray, scales: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        at = self.arrangement
        R = at.n_dense
        S, b = np.zeros((R, R)), np.zeros(R)
        for i, f in enumerate(at.dense):
            for g in at.dense[i:]:
                block, rows, columns = self._block(J, f, g)
                S[rows, columns] = block
                if f is not g:
                    S[columns, rows] = block
            terms = self._to_levels[f.name] @ h
            b[at.columns[f.name]] = terms[:, self._kind[f.name]]
        s = dense_scales(at, scales)
        S *= s[:, None] * s
        S[np.diag_indices(R)] += at.scale != FLAT
        return S, b * s

    def _block(self, J: FloatArray, f: Factor, g: Factor) -> tuple[FloatArray, IntArray, IntArray]:
        """Return the sums of two dense factors, and where they stand."""
        number, columns = self._of[f.name, g.name], self.arrangement.columns
        meeting = self._meetings[number]
        kinds = self._kind[f.name][:, None], self._kind[g.name]
        rows = columns[f.name][meeting.level[f.name]][:, :, None]
        return (
            self._sums(J, number)[:, kinds[0], kinds[1]],
            rows,
            columns[g.name][meeting.level[g.name]][:, None, :],
        )

    def _level_part(
        self, J: FloatArray, h: FloatArray, scales: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        at = self.arrangement
        e = at.eliminated
        assert e is not None
        d, kinds, s = len(e.rows), self._kind[e.name], scales[e.scale]
        # Levels of one factor meet themselves in their own order.
        own = self._sums(J, self._of[e.name, e.name])
        A = own[:, kinds[:, None], kinds] * s[:, :, None] * s[:, None, :]
        A[:, np.arange(d), np.arange(d)] += 1
        c = (self._to_levels[e.name] @ h)[:, kinds] * s
        B = np.zeros((e.n_levels, d, at.n_dense))
        for f in at.dense:
            number = self._of[e.name, f.name]
            meeting = self._meetings[number]
            level, columns = meeting.level[e.name], at.columns[f.name][meeting.level[f.name]]
            place = level[:, None, None], np.arange(d)[:, None], columns[:, None, :]
            B[place] = self._sums(J, number)[:, kinds[:, None], self._kind[f.name]]
        B *= s[:, :, None]
        B *= dense_scales(at, scales)
        return A, c, B

    def locations(self, solution: Solution, scales: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return mean [G, D] and covariance [G, D, D] of the location of every pair."""
        at, Z = self.arrangement, self._weight
        e = at.eliminated
        assert e is not None
        s, own = dense_scales(at, scales), scales[e.scale]
        means = {f.name: (solution.dense_mean * s)[at.columns[f.name]] for f in at.dense}
        means[e.name] = solution.level_mean * own
        mean = np.zeros((len(Z), Z.shape[2]))
        for f in self._factors:
            mean[:, self._kind[f.name]] += means[f.name][f.level]
        cov = solution.dense_cov * s[:, None] * s
        falls = solution.falls * own[:, :, None] * s
        level_cov = solution.level_cov * own[:, :, None] * own[:, None, :]
        # Added up over factors, coarser meetings into finer ones and these into pairs.
        parts: dict[int | None, FloatArray] = {}
        for (name, other), number in reversed(self._of.items()):
            meeting = self._meetings[number]
            part = parts.pop(number, None)
            if part is None:
                part = np.zeros((meeting.size, Z.shape[2], Z.shape[2]))
            kinds, others = self._kind[name], self._kind[other]
            if name == other == e.name:
                block = level_cov
            else:
                columns = at.columns[other][meeting.level[other]][:, None, :]
                if name == e.name:
                    level, d = meeting.level[name][:, None, None], np.arange(len(kinds))
                    block = -falls[level, d[:, None], columns]
                else:
                    block = cov[at.columns[name][meeting.level[name]][:, :, None], columns]
            part[:, kinds[:, None], others] += block
            if name != other:
                part[:, others[:, None], kinds] += block.transpose(0, 2, 1)
            found = part if meeting.total is None else part[meeting.index]
            if meeting.finer in parts:
                parts[meeting.finer] += found
            else:
                parts[meeting.finer] = found
        moments = np.matmul(np.matmul(Z, parts[None]), Z.transpose(0, 2, 1))
        return np.matmul(Z, mean[:, :, None])[:, :, 0], moments


def _keys(factor: Factor) -> list[tuple[int, int]]:
    """Return entry and descriptor of each column."""
    return list(zip(factor.rows.tolist(), factor.descriptor.tolist(), strict=True))


def _kinds(factors: tuple[Factor, ...]) -> dict[tuple[int, int], FloatArray]:
    """Return the kinds of columns, and the weight [G] of each pair in them."""
    weight: dict[tuple[int, int], FloatArray] = {}
    for f in factors:
        for j, key in enumerate(_keys(f)):
            if key not in weight:
                weight[key] = np.ones(len(f.level)) if f.weights is None else f.weights[:, j]
    return weight
