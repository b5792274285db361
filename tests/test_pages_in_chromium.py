"""Pages of every command in a real browser: nothing fails, nothing is asked for, nothing overflows.

Pages of runs, studies and comparisons, and what hovers on them: `apps/evaluate/tests/pages`; the
page of attention to conformers: `packages/mil-attn/tests`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from molpool_affinity.cli import main as affinity
from molpool_data.cli import main as describe
from molpool_evaluate.cli import main as evaluate
from molpool_pipelines.demo import build_demo
from molpool_rt.cli import main as rt

sys.path.append(str(Path(__file__).resolve().parents[1] / "apps" / "evaluate" / "tests" / "pages"))
from devtools import CHROMIUM, Browser  # no package holds it

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")]

MARKUP = "<img src=x onerror=alert(1)> $x^2$"
"""A task's name."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as found:
        yield found


def profile(folder: Path) -> Path:
    table = build_demo(100, seed=0).rename({"LogP": MARKUP})
    table.write_csv(folder / "table.csv")
    page = folder / "profile.html"
    assert describe(["describe", str(folder / "table.csv"), "--output", str(page)]) == 0
    return page


def groups(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    columns = {name: rng.normal(size=80) for name in (MARKUP, "a", "b")}
    smiles = build_demo(100, seed=0)["SMILES"][:80]
    pl.DataFrame({"SMILES": smiles, **columns}).write_csv(folder / "table.csv")
    page = folder / "affinity.html"
    flags = [
        *("--data-path", str(folder / "table.csv"), "--target-columns", MARKUP, "a", "b"),
        *("--n-groups", "2", "--n-bootstrap", "2", "--every-n-steps", "3"),
        *("--save-path", str(folder / "affinity.npz"), "--report", str(page)),
    ]
    assert affinity(flags) == 0
    return page


def score(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    y = rng.normal(size=60)
    columns = {MARKUP: y, f"{MARKUP} predicted": y + rng.normal(size=60)}
    frame = pl.DataFrame({"id": [f"<b>{i}</b>" for i in range(60)], **columns})
    frame.write_csv(folder / "predictions.csv")
    flags = ["--predictions", str(folder / "predictions.csv"), "--save-dir", str(folder / "scores")]
    assert evaluate(["score", *flags, "--n-bootstrap", "50"]) == 0
    return folder / "scores" / "report.html"


def retention(folder: Path) -> Path:
    small = [
        "--simulate.n-species",
        "4",
        "--simulate.n-clusters",
        "2",
        "--simulate.n-compounds",
        "6",
    ]
    few = ["--simulate.rare-pairs", "4", "--simulate.unseen-pairs", "2"]
    assert rt(["run", *small, *few, "--save-dir", str(folder / "rt")]) == 0
    return folder / "rt" / "report.html"


@pytest.mark.parametrize("make", [profile, groups, score, retention])
def test_a_page_says_nothing_on_the_console_and_asks_for_nothing(
    make: Callable[[Path], Path], browser: Browser, tmp_path: Path
) -> None:
    page = make(tmp_path)
    browser.errors.clear()
    browser.requests.clear()
    colours = set()
    for width in (390, 1440):
        browser.load(page, dark=width == 390, width=width)
        overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert browser.evaluate(overflow) == 0
        colours.add(browser.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(colours) == 2, "dark is dark"
    assert browser.errors == []
    assert browser.requests == []
    assert browser.evaluate("document.querySelectorAll('img[src=x]').length") == 0
