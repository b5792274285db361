"""What the samplers share beyond the stream: cells, their probabilities and reports of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from sampling_core.cells import CellRows, FloatArray
from sampling_core.draws import CellDraws
from sampling_core.statistics import WeightStatistics, statistics_of_cells
from sampling_core.stream import EpochStream


@dataclass(frozen=True)
class Cell:
    """One weight class, as reports show it.

    Attributes
    ----------
    task : int or None
        Column of the task: the primary one of the rows, or the one that is drawn.
    quality : str or None
        Quality label.
    rare_positives : int or None
        Number of rare tasks that the rows are positive for.
    size : int
        Rows in the cell.
    probability : float
        Probability that a draw falls into the cell.
    """

    task: int | None = None
    quality: str | None = None
    rare_positives: int | None = None
    size: int = 0
    probability: float = 0.0


class CellSampler(EpochStream):
    """Base of the samplers that draw a cell, then a row of it uniformly.

    Parameters
    ----------
    cells : CellRows
        The rows of each cell.
    num_samples : int or None
        Draws an epoch, the number of rows if None.
    seed, increment_seed_per_epoch, rank, world_size
        As in `EpochStream`.
    """

    def __init__(
        self,
        cells: CellRows,
        num_samples: int | None,
        seed: int | None,
        *,
        increment_seed_per_epoch: bool = True,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(
            cells.n_rows if num_samples is None else num_samples,
            seed,
            increment_seed_per_epoch=increment_seed_per_epoch,
            rank=rank,
            world_size=world_size,
        )
        self._cells = cells
        self._summary: tuple[bytes, WeightStatistics] | None = None

    @abstractmethod
    def _cell_probabilities(self) -> FloatArray:
        """Return the probability of each cell under the weights of this moment."""

    @abstractmethod
    def _cell_keys(self) -> Sequence[Cell]:
        """Return what names each cell."""

    def _draws_now(self) -> CellDraws:
        return CellDraws(self._cells, self._cell_probabilities())

    def probabilities(self) -> FloatArray:
        """Return the probability of each row under the weights of now.

        Returns
        -------
        ndarray of float64, (N,)
            Sums to 1.
        """
        return self._cells.row_probabilities(self._cell_probabilities())

    def statistics(self) -> WeightStatistics:
        """Summarise the row distribution under the weights of now.

        Costs as much as there are cells; where rows are in several cells (draws of a task first)
        as much as there are labels, once for each set of weights.
        """
        probabilities = self._cell_probabilities()
        weights = probabilities.tobytes()
        if self._summary is None or self._summary[0] != weights:
            self._summary = weights, statistics_of_cells(self._cells, probabilities)
        return self._summary[1]

    def cell_table(self) -> list[Cell]:
        """Return the cells that hold a row, with size and probability under the weights of now."""
        table = zip(
            self._cell_keys(), self._cells.sizes.tolist(), self._cell_probabilities(), strict=True
        )
        return [
            Cell(key.task, key.quality, key.rare_positives, size, float(probability))
            for key, size, probability in table
            if size
        ]
