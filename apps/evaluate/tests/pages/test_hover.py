"""Points of a page say what they are, in a real browser and by keys; nothing else is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from devtools import CHROMIUM, Browser
from molpool_pipelines.demo import build_demo
from molpool_pipelines.reports import comparison_page, run_page, study_page
from molpool_pipelines.scores import load_comparison
from test_report import make_comparison, make_study

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")]

TASK = "<img src=x onerror=alert(1)> $x^2$ [red]"
NAME = "<b>M</b>"
CARD = 'document.querySelector("body > .card")'


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as found:
        yield found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run of 40 molecules, whose first test row measures least."""
    folder = tmp_path_factory.mktemp("run")
    rng = np.random.default_rng(0)
    n = 40
    y = np.sort(rng.normal(size=n))
    p = y + 0.3 * rng.normal(size=n)
    pl.DataFrame(
        {
            "id": [f"{NAME}{i}" for i in range(n)],
            "SMILES": build_demo(100, seed=0)["SMILES"].to_list()[:n],
            "split": ["test"] * n,
            "similarity": rng.random(n),
            TASK: y,
            f"{TASK} predicted": p,
            f"{TASK}_lower": p - 0.5,
            f"{TASK}_upper": p + 0.5,
        }
    ).write_parquet(folder / "predictions.parquet")
    file = folder / "page.html"
    file.write_text(run_page(folder, "run"), encoding="utf-8")
    return file


def card(browser: Browser) -> dict[str, Any]:
    found = browser.evaluate(
        f"({{shown: !{CARD}.hidden, text: {CARD}.innerText, "
        f"drawn: {CARD}.querySelectorAll('line').length}})"
    )
    return dict(found)


def test_the_pointer_shows_molecule_values_and_interval(browser: Browser, page: Path) -> None:
    browser.load(page)
    x, y = browser.evaluate(
        """(() => {
          const figure = document.querySelector("figure.hovers");
          figure.scrollIntoView({ block: "center" });
          const panel = JSON.parse(figure.querySelector("script.points").textContent)[0];
          const [left, top, right, bottom] = panel.box, [low, high] = panel.x_range;
          const rows = JSON.parse(document.getElementById("hover-rows").textContent);
          const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0));
          const first = k => new Float32Array(bytes(rows.values[0][k]).buffer)[0];
          const there = figure.querySelector("svg").getScreenCTM();
          const across = left + (first(0) - low) / (high - low) * (right - left);
          const down = bottom - (first(1) - low) / (high - low) * (bottom - top);
          const { x, y } = new DOMPoint(across, down).matrixTransform(there);
          return [x, y];
        })()"""
    )
    browser.move(x + 2, y - 2)
    found = card(browser)
    assert found["shown"]
    assert found["drawn"] > 3
    lines = found["text"].splitlines()
    assert f"{NAME}0" in lines, "markup in a name is text"
    assert {"measured", "predicted", "interval"} <= set(lines)
    browser.move(5, 5)
    assert not card(browser)["shown"]


def test_arrow_keys_go_from_point_to_point(browser: Browser, page: Path) -> None:
    browser.load(page)
    browser.evaluate('document.querySelector("figure.hovers .plot").focus()')
    browser.press("ArrowRight")
    assert f"{NAME}0" in card(browser)["text"], "from the left"
    browser.press("ArrowRight")
    assert f"{NAME}1" in card(browser)["text"]
    browser.press("End")
    assert f"{NAME}39" in card(browser)["text"]
    browser.press("Escape")
    assert not card(browser)["shown"]
    assert browser.errors == []
    assert browser.requests == []
    assert browser.evaluate("document.querySelectorAll('img').length") == 0


@pytest.mark.parametrize("kind", ["run", "study", "comparison"])
def test_pages_ask_for_nothing_and_say_nothing_on_the_console(
    browser: Browser, page: Path, tmp_path: Path, kind: str
) -> None:
    if kind == "study":
        page = tmp_path / "study.html"
        page.write_text(study_page(make_study(tmp_path / "study"), "study"), encoding="utf-8")
    if kind == "comparison":
        found = load_comparison(make_comparison(tmp_path / "comparison.json"))
        page = tmp_path / "comparison.html"
        page.write_text(comparison_page(found, "comparison"), encoding="utf-8")
    for width in (390, 1440):
        browser.load(page, dark=width == 390, width=width)
        overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert browser.evaluate(overflow) == 0
    assert browser.errors == []
    assert browser.requests == []
