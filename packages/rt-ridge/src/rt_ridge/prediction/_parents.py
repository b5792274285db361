"""What pairs are shrunken toward: the expectation of each from everything but its own level."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from molpool_common import FloatArray

from rt_ridge.prediction._backoff import LEVELS
from rt_ridge.prediction._summaries import Stage1CoeffSummaries
from rt_ridge.tables._keys import unpack


@dataclass(frozen=True)
class ParentExpectation:
    """What a new pair in the place of each pair would have for coefficients.

    Attributes
    ----------
    mean, sd : ndarray, [G, D]
        Expectation and standard deviation of [b, w]; NaN where a model has no levels.
    level : ndarray of str, [G]
        Where it comes from, see `LEVELS`.
    """

    mean: FloatArray
    sd: FloatArray
    level: npt.NDArray[np.str_]

    def shrinkage(self, summaries: Stage1CoeffSummaries) -> FloatArray:
        """Return the share of the parent in each pair's estimate, [G, D].

        Notes
        -----
        The posterior of a mean with prior variance t² and data of variance s² has the variance
        1 / (1/t² + 1/s²), and the prior weighs s² / (s² + t²) in it: the ratio of the posterior to
        the prior variance. 0: a pair's own rows decide; 1: they say nothing.
        """
        variance = np.einsum("gdd->gd", summaries.cov)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = variance / self.sd**2
        return np.asarray(np.clip(share, 0.0, 1.0))


def parent_expectation(summaries: Stage1CoeffSummaries) -> ParentExpectation:
    """Return what each pair's coefficients are expected to be at the level above it.

    The rows of a pair count among those of its parents.
    """
    known, size = summaries.coefficients, summaries.mean.shape[1]
    # Without the pairs themselves every row is placed at the nearest level above.
    above = replace(known, keys=known.keys[:0], mean=known.mean[:0], cov=known.cov[:0])
    groups, compounds = unpack(known.keys)
    located = above.locate(groups, compounds)
    each = [above.moments(np.tile(line, (len(groups), 1)), located) for line in np.eye(size)]
    mean, variance = (np.stack(part, axis=1) for part in zip(*each, strict=True))
    return ParentExpectation(mean, np.sqrt(variance), np.array(LEVELS)[located.level])
