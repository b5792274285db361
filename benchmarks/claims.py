"""What benchmarks share: times in turn, and their claims as `scripts/bench-all` reads them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import numpy as np

Times = dict[str, "np.ndarray[tuple[int], np.dtype[np.float64]]"]
"""Seconds of each round, by what ran."""

LINE = re.compile(
    r"claim (?P<name>.+?): (?:ours (?P<ours>.+?), )?(?:peer (?P<peer>.+?), )?"
    r"ratio (?P<ratio>\S+) \((?P<bar>at (?:least|most) \S+)\): (?P<verdict>holds|FAILS)"
)


@dataclass(frozen=True)
class Claim:
    """One figure against its bar.

    Parameters
    ----------
    name : str
        What is claimed, in a few words.
    ratio : float
        The figure: of ours to the peer's or to a fixed bound, as `name` says.
    bar : float
        What it is held against.
    at_most : bool
        Whether it must not lie above the bar; by default it must not lie below.
    ours, peer : str
        The two sides of the ratio with their units, where there are two.
    """

    name: str
    ratio: float
    bar: float
    at_most: bool = False
    ours: str = ""
    peer: str = ""

    @property
    def holds(self) -> bool:
        """Whether the figure is on the right side of its bar; one that is not finite is not."""
        return self.ratio <= self.bar if self.at_most else self.ratio >= self.bar

    def __str__(self) -> str:
        sides = "".join(
            f"{word} {text}, " for word, text in (("ours", self.ours), ("peer", self.peer)) if text
        )
        bar = f"at {'most' if self.at_most else 'least'} {self.bar:g}"
        verdict = "holds" if self.holds else "FAILS"
        return f"claim {self.name}: {sides}ratio {self.ratio:.4g} ({bar}): {verdict}"


def settle(*claims: Claim) -> int:
    """Print the claims and return the exit status: 0 where all hold, else 1."""
    for claim in claims:
        print(claim)
    return 0 if all(claim.holds for claim in claims) else 1


def timed(work: Callable[[], object], clock: Callable[[], float] = perf_counter) -> float:
    """Return the seconds that `work` takes."""
    start = clock()
    work()
    return clock() - start


def in_turn(
    works: Mapping[str, Callable[[], object]],
    rounds: int,
    warm_up: int = 0,
    clock: Callable[[], float] = perf_counter,
) -> Times:
    """Time all of them in each round, so that what else the machine does falls on all alike."""
    seconds = [[timed(work, clock) for work in works.values()] for _ in range(warm_up + rounds)]
    return dict(zip(works, np.array(seconds[warm_up:]).T, strict=True))


def faster(
    name: str, bar: float, times: Times, ours: str = "ours", peer: str = "theirs", unit: str = "ms"
) -> Claim:
    """Claim that one is so many times as fast as the other: the median of the rounds' ratios."""
    factor = {"ms": 1e3, "s": 1}[unit]
    digits = 1 if unit == "ms" else 2
    own, other = (f"{median(times[key]) * factor:.{digits}f} {unit}" for key in (ours, peer))
    return Claim(name, median(times[peer] / times[ours]), bar, ours=own, peer=other)
