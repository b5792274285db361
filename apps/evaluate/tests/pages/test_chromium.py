"""Pages in a real browser, with the network cut: nothing fails, overflows or sorts wrongly."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from molpool_evaluate.cli import main
from test_report import make_comparison, make_run, make_study

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium"),
]
WIDTHS = (400, 768, 1280)
PROBE = """
const rows = table => [...table.tBodies[0].rows].map(r => r.cells[1].textContent);
const found = {};
for (const frame of document.querySelectorAll("iframe")) {
  const page = frame.contentDocument, root = page.documentElement;
  found[frame.width] = root.scrollWidth - root.clientWidth;
}
const page = document.querySelector("iframe").contentDocument;
const view = page.defaultView;
found.outside = view.performance.getEntriesByType("resource").map(e => e.name)
  .filter(name => !name.startsWith("data:"));
found.dark = view.getComputedStyle(page.body).backgroundColor;
found.focusable = [...page.querySelectorAll("thead button, .scroll, .plot")]
  .every(e => e.tabIndex >= 0);
const table = [...page.querySelectorAll("table")].find(t => t.rows[0].cells[1].textContent
  .trim() === COLUMN);
const button = table.rows[0].cells[1].querySelector("button");
button.click(); found.up = rows(table); found.sort = button.closest("th").getAttribute("aria-sort");
button.click(); found.down = rows(table);
document.title = "done";
const out = document.createElement("script");
out.type = "application/json"; out.id = "found"; out.textContent = JSON.stringify(found);
document.body.append(out);
"""


def chromium(folder: Path, *arguments: str, dark: bool = False) -> subprocess.CompletedProcess[str]:
    """Run the browser without a network; nothing may stand on its console."""
    assert CHROMIUM is not None
    colours = ["--blink-settings=preferredColorScheme=0"] if dark else []
    ended = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            f"--user-data-dir={folder / 'profile'}", "--enable-logging=stderr",
            "--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=20000",
            *colours, *arguments,
        ],
        capture_output=True, text=True, timeout=180, check=True,
    )  # fmt: skip
    assert not re.findall(r".*CONSOLE.*", ended.stderr), ended.stderr
    return ended


def look(folder: Path, page: Path, column: str, *, dark: bool = False) -> dict[str, object]:
    """Show the page at three widths and return what the probe saw."""
    text = html.escape(page.read_text(encoding="utf-8"), quote=True)
    frames = "".join(
        f'<iframe width="{width}" height="900" srcdoc="{text}"></iframe>' for width in WIDTHS
    )
    probe = PROBE.replace("COLUMN", json.dumps(column))
    wrapper = folder / "wrapper.html"
    wrapper.write_text(
        f"<!doctype html><meta charset=utf-8><body>{frames}"
        f"<script>addEventListener('load', () => {{ {probe} }});</script>",
        encoding="utf-8",
    )
    ended = chromium(folder, "--dump-dom", wrapper.as_uri(), dark=dark)
    found = re.search(r'id="found">(.*?)</script>', ended.stdout, re.DOTALL)
    assert found, ended.stderr
    result: dict[str, object] = json.loads(found[1])
    return result


def numbers(texts: object) -> list[float]:
    assert isinstance(texts, list)
    return [float(t.replace(",", "")) for t in texts if t != "–"]


@pytest.mark.parametrize(
    ("kind", "make", "column"),
    [
        ("run", lambda p: make_run(p / "run"), "labels"),
        ("study", lambda p: make_study(p / "study"), "inner score"),
        ("comparison", lambda p: make_comparison(p / "c.json"), "labels"),
    ],
)
def test_pages_at_three_widths(
    tmp_path: Path, kind: str, make: Callable[[Path], Path], column: str
) -> None:
    page = tmp_path / "page.html"
    assert main(["report", f"--{kind}", str(make(tmp_path)), "--output", str(page)]) == 0
    found = look(tmp_path, page, column)
    assert [found[str(width)] for width in WIDTHS] == [0, 0, 0], "nothing overflows the page"
    assert found["outside"] == []
    assert found["focusable"] is True
    up, down = numbers(found["up"]), numbers(found["down"])
    totals = 0 if kind == "study" else int("mean over tasks" in page.read_text(encoding="utf-8"))
    body = len(up) - totals
    assert found["sort"] == "ascending"
    assert up[:body] == sorted(up[:body])
    assert down[:body] == sorted(down[:body], reverse=True)
    assert up[body:] == down[body:], "the mean stays last"


def test_dark_and_printed(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    source = make_study(tmp_path / "study")
    assert main(["report", "--study", str(source), "--output", str(page)]) == 0
    assert look(tmp_path, page, "inner score")["dark"] == "rgb(255, 255, 255)"
    assert look(tmp_path, page, "inner score", dark=True)["dark"] == "rgb(20, 23, 26)"
    printed = tmp_path / "page.pdf"
    chromium(tmp_path, f"--print-to-pdf={printed}", page.as_uri())
    assert printed.read_bytes()[:5] == b"%PDF-"
