"""The time that a run may take, and what of it is left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter

from molpool_pipelines.fitting._config import seconds_of

_SAMPLE = 64
"""Molecules whose features are timed before those of all."""

_FEATURES = 0.4
"""Share of the budget that features may take; one featuriser is never left out."""

_FINAL = 0.1
"""Share of the budget that is kept for what comes after the models: intervals, files, the page."""


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

    def promise(self, seconds: float) -> None:
        """Keep time for what is done later, such as a fit to all rows of a model just tried."""
        self._promised += seconds

    @property
    def spent(self) -> float:
        """Seconds since it was made."""
        return perf_counter() - self._start

    @property
    def left(self) -> float | None:
        """Seconds that models may still take; None without an end."""
        if self.seconds is None:
            return None
        return (1 - _FINAL) * self.seconds - self.spent - self._promised

    @property
    def is_over(self) -> bool:
        """Whether nothing is left at all."""
        return self.seconds is not None and self.spent > self.seconds

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
        most = _FEATURES * self.seconds
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
