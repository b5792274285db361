"""What every benchmark ends with: its claims, a line each, as `scripts/bench-all` reads them."""

from __future__ import annotations

import re
from dataclasses import dataclass

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
