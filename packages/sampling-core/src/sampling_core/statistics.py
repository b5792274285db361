"""How uneven a row distribution is."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from sampling_core.cells import CellRows, FloatArray


@dataclass(frozen=True)
class WeightStatistics:
    """Summary of the probabilities of all rows.

    Attributes
    ----------
    min, max : float
        Smallest and largest probability of a row; `min` is 0 where some row cannot be drawn.
    entropy : float
        -Σ p log p, in nats.
    effective_samples : float
        1 / Σ p² (Kish): as many equally likely rows would collide as often.
    n_rows, n_drawable : int
        Rows of the table, and those with a probability above 0.
    """

    min: float
    max: float
    entropy: float
    effective_samples: float
    n_rows: int
    n_drawable: int

    def as_dict(self) -> dict[str, float]:
        """Return the figures by name."""
        return asdict(self)


def statistics_of_cells(cells: CellRows, probabilities: FloatArray) -> WeightStatistics:
    """Summarise the row distribution that cells of given probability imply.

    Disjoint cells are summed over as they stand; a row in several cells needs the probabilities
    of all rows, (n_rows,) float64.
    """
    if cells.disjoint:
        held = probabilities > 0
        sizes = cells.sizes[held]
        return _summary(probabilities[held] / sizes, sizes, cells.n_rows)
    by_row = cells.row_probabilities(probabilities)
    by_row = by_row[by_row > 0]
    return _summary(by_row, np.ones(len(by_row), dtype=np.int8), cells.n_rows)


def _summary(p: FloatArray, times: npt.NDArray[np.signedinteger], n_rows: int) -> WeightStatistics:
    """Summarise the probabilities `p` > 0, each of them that of `times` rows."""
    n_drawable = int(times.sum())
    return WeightStatistics(
        min=float(p.min()) if n_drawable == n_rows else 0.0,
        max=float(p.max()),
        entropy=float(-(times * p * np.log(p)).sum()),
        effective_samples=float(1.0 / (times * p * p).sum()),
        n_rows=n_rows,
        n_drawable=n_drawable,
    )
