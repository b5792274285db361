"""Coverage and choice of structure by default, on panels whose truth is known.

Panels are drawn from each model of the family, and from models outside it. Every panel is fitted as
`molpool-rt fit` does where nothing is set, and later runs of it are predicted.

    python studies/rt_simulations.py --panels 200 --output simulations.csv

prints for each model: share of new rows within 95 % intervals, its standard error over panels, and
how often the structure was chosen that the panel was drawn from (where there is one).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from rt_panels import Rows, fit_by_default

Floats = npt.NDArray[np.float64]
SPECIES, COMPOUNDS, RUNS, NEW_RUNS, COVARIATES = 3, 8, 30, 20, 2
SIGMA = 0.05
"""Noise, min; slopes, spreads of intercepts and drift are several times that."""


@dataclass(frozen=True)
class Truth:
    """What a panel is drawn from.

    Parameters
    ----------
    words : tuple of str
        Of names of structures, one of which a right choice holds; none: there is no right one.
    one, compound, group, pair : float
        Common slope, and spread of slopes by compound, group and pair, in noise.
    noises : float
        Spread of log σ between groups.
    errors : str
        normal, or t (of three degrees of freedom), swaps (two peaks in a hundred change places),
        drift (a random walk of all compounds that covariates do not show).
    """

    words: tuple[str, ...] = ()
    one: float = 0.0
    compound: float = 0.0
    group: float = 0.0
    pair: float = 0.0
    noises: float = 0.0
    errors: str = "normal"


TRUTHS = {
    "no slopes": Truth(("no slopes",)),
    "one slope": Truth(("one slope",), one=3),
    "slopes of compounds": Truth(("slopes of compounds", "and compounds"), one=3, compound=3),
    "slopes of groups": Truth(("slopes of groups",), one=3, group=3),
    "slopes of pairs": Truth(("pairs",), one=3, pair=3),
    "groups and compounds": Truth(("groups and compounds", "groups, compounds"), 3, 3, 3),
    "σ of groups": Truth(("σ of groups",), one=3, noises=0.7),
    "t errors": Truth(one=3, compound=3, errors="t"),
    "swapped peaks": Truth(one=3, compound=3, errors="swaps"),
    "drift": Truth(one=3, compound=3, errors="drift"),
}


def draw(truth: Truth, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """Return the rows of a panel's runs, and those of later ones."""
    runs = np.repeat(np.arange(RUNS + NEW_RUNS), SPECIES * COMPOUNDS)
    pair = np.tile(np.arange(SPECIES * COMPOUNDS), RUNS + NEW_RUNS)
    group, compound = np.divmod(pair, COMPOUNDS)
    X = rng.normal(size=(RUNS + NEW_RUNS, COVARIATES))[runs]

    def slopes(spread: float, count: int) -> Floats:
        return SIGMA * spread * rng.normal(size=(count, COVARIATES))

    w = SIGMA * truth.one + slopes(truth.pair, SPECIES * COMPOUNDS)[pair]
    w = w + slopes(truth.compound, COMPOUNDS)[compound] + slopes(truth.group, SPECIES)[group]
    line = rng.normal(8, 2, COMPOUNDS)[compound] + 0.3 * rng.normal(size=SPECIES)[group]
    line = line + 0.1 * rng.normal(size=SPECIES * COMPOUNDS)[pair] + (X * w).sum(axis=1)
    sigma = SIGMA * np.exp(truth.noises * rng.normal(size=SPECIES))[group]
    y = line + sigma * _errors(truth.errors, runs, rng)
    if truth.errors == "swaps":
        for row in np.flatnonzero(rng.uniform(size=len(y)) < 0.01):
            other = row - row % COMPOUNDS + rng.integers(COMPOUNDS)
            y[[row, other]] = y[[other, row]]
    rows = Rows(X, np.stack([group, compound, np.zeros_like(group)], axis=1), runs, y)
    return rows.take(runs < RUNS), rows.take(runs >= RUNS)


def _errors(kind: str, runs: npt.NDArray[np.int64], rng: np.random.Generator) -> Floats:
    """Return errors in noise, [N]."""
    if kind == "t":
        return rng.standard_t(3, size=len(runs))
    noise = rng.normal(size=len(runs))
    if kind == "drift":
        noise += np.cumsum(0.5 * rng.normal(size=runs.max() + 1))[runs]
    return noise


def panel(truth: Truth, seed: int) -> tuple[float, bool]:
    """Return the coverage of a panel's new rows, and whether its structure was chosen."""
    train, test = draw(truth, np.random.default_rng(seed))
    found = fit_by_default(train)
    prediction = found.summaries.predict(test.X, *test.ids.T)
    inside = np.abs(test.y - prediction.mean) <= prediction.half_width(0.95)
    table = found.summaries.structure
    assert table is not None
    names = [name for name, _ in table.taken]
    return float(inside.mean()), any(word in name for word in truth.words for name in names)


def study(
    name: str, n_panels: int, first: int = 0, tell: Callable[[int], None] = lambda _: None
) -> dict[str, float | str]:
    """Return coverage, its standard error over panels, and the share of right choices."""
    found = []
    for seed in range(first, first + n_panels):
        found.append(panel(TRUTHS[name], seed))
        tell(seed)
    coverage, right = np.array(found).T
    return {
        "model": name,
        "panels": n_panels,
        "cover95": float(coverage.mean()),
        "cover95_se": float(coverage.std(ddof=1) / np.sqrt(n_panels)),
        "right": float(right.mean()) if TRUTHS[name].words else float("nan"),
    }


def main() -> None:
    """Read the command line and run the study."""
    parser = argparse.ArgumentParser(description="Coverage and choice on simulated panels")
    parser.add_argument("models", nargs="*", help=f"of {', '.join(TRUTHS)}")
    parser.add_argument("--panels", type=int, default=200, help="of each model")
    # The rules of choice were looked at on seeds 0 to 13.
    parser.add_argument("--first-seed", type=int, default=1000, help="of the first panel")
    parser.add_argument("--output", type=Path, help="table to write, .csv")
    given = parser.parse_args()
    rows = []
    for name in given.models or TRUTHS:
        rows.append(study(name, given.panels, given.first_seed))
        r = rows[-1]
        sys.stdout.write(
            f"{name:22}{100 * float(r['cover95']):6.1f} ± {100 * float(r['cover95_se']):.1f} %"
            f"{100 * float(r['right']):8.0f} % right\n"
        )
        sys.stdout.flush()
        if given.output is not None:
            pl.DataFrame(rows).write_csv(given.output)


if __name__ == "__main__":
    main()
