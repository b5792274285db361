"""The time that a run may take, and what of it is left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter

from molpool_pipelines.fitting._config import seconds_of

_SAMPLE = 64
"""Molecules whose features are timed before those of all."""

_FEATURES = 0.4
"""Share of the time left that features may take; one featuriser is never left out."""

_FINAL = 0.1
"""Share of the budget that at least is kept for what comes after the models."""

_ALWAYS, _PANEL, _PANELS, _TASK, _PAIRS = 4.0, 0.7, 24, 0.07, 3e7
"""Seconds of intervals, files and page on one core, measured with 1 to 617 tasks: of any run, of
the figures of a task, of which there are so many at most, and of all else of a task; and pairs of
molecules whose similarity takes a second."""


class Budget:
    """Counts from when it is made.

    Parameters
    ----------
    text : str or None
        A duration such as ``10m``; None: no end.
    """

    def __init__(self, text: str | None) -> None:
        self.seconds = None if text is None else seconds_of(text)
        self._start = perf_counter()
        self._promised = 0.0
        self._reserve = _FINAL * (self.seconds or 0.0)

    def promise(self, seconds: float) -> None:
        """Keep time for what is done later, such as a fit to all rows of a model just tried."""
        self._promised += seconds

    def reserve(self, n_tasks: int, n_rows: int, n_tested: int) -> None:
        """Keep time for what comes after the models: intervals, files and the page of a run."""
        of_tasks = _PANEL * min(n_tasks, _PANELS) + _TASK * n_tasks
        # Of a fold, as one is always predicted.
        of_pairs = n_rows * (n_tested + n_rows / 5) / _PAIRS
        self._reserve = max(self._reserve, _ALWAYS + of_tasks + of_pairs)

    def allows(self, seconds: float) -> bool:
        """Whether something has time beside what comes last of all."""
        return self.seconds is None or self.spent + seconds + self._reserve <= self.seconds

    @property
    def spent(self) -> float:
        """Seconds since it was made."""
        return perf_counter() - self._start

    @property
    def left(self) -> float | None:
        """Seconds that models may still take; None without an end."""
        if self.seconds is None:
            return None
        return self.seconds - self._reserve - self.spent - self._promised

    def affordable(
        self, names: Sequence[str], smiles: Sequence[str], compute: Callable[[str, list[str]], None]
    ) -> tuple[list[str], list[str]]:
        """Return the featurisers that all molecules allow, and a sentence for each of the others.

        Parameters
        ----------
        names : sequence of str
            Featurisers.
        smiles : sequence of str
            The molecules; some of them, evenly spread, are computed to see how long they take.
        compute : callable
            Computes features of one name.
        """
        if self.seconds is None or len(smiles) <= _SAMPLE:
            return list(names), []
        sample = [smiles[i * len(smiles) // _SAMPLE] for i in range(_SAMPLE)]
        wanted: dict[str, float] = {}
        for name in names:
            # What has to be loaded is loaded by the first molecule.
            compute(name, sample[:1])
            start = perf_counter()
            compute(name, sample[1:])
            wanted[name] = (perf_counter() - start) * len(smiles) / (len(sample) - 1)
        most = _FEATURES * max(self.left or 0.0, 0.0)
        # The first ones matter most; where each is too long, the quickest is better than none.
        possible = [name for name in wanted if wanted[name] <= most]
        kept = [] if possible else [min(wanted, key=wanted.__getitem__)]
        for name in possible:
            if sum(wanted[other] for other in (*kept, name)) <= most:
                kept.append(name)
        return kept, [
            f"Left out for the time budget: features {name}, about {seconds:.0f} s of "
            f"{self.seconds:.0f} s."
            for name, seconds in wanted.items()
            if name not in kept
        ]
