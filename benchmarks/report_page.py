"""Claim: the page of a run of 10 000 test molecules has at most 5 MB, and is painted within 2 s.

In Chromium, with the molecule of each point drawn under the pointer. The peer of its size is what
the same structures weigh as RDKit draws them. Exit status 1 beyond either claim.

Physical limit: SMILES of 40 characters and five numbers a point are 1 MB; a browser parses some
50 MB of SVG a second.

    uv run python benchmarks/report_page.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from time import process_time

import numpy as np
import polars as pl
from claims import Claim, settle
from molpool_common import draw_molecule
from molpool_pipelines.demo import build_demo
from molpool_pipelines.reports import run_page

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "apps/evaluate/tests/pages"))

from devtools import CHROMIUM, Browser

N, N_DEMO = 10_000, 7_000
MOST_BYTES, MOST_SECONDS = 5_000_000, 2.0


def make_run(folder: Path, smiles: list[str]) -> None:
    """Write predictions of three tasks with intervals."""
    rng = np.random.default_rng(0)
    columns: dict[str, object] = {
        "id": [f"E-{i:07d}" for i in range(N)],
        "SMILES": smiles,
        "split": ["test"] * N,
        "similarity": rng.beta(4, 4, N),
    }
    for task in ("LogD", "KSOL", "HLM"):
        y = rng.normal(size=N)
        p = y + 0.4 * rng.normal(size=N)
        columns |= {task: y, f"{task} predicted": p}
        columns |= {f"{task}_lower": p - 0.7, f"{task}_upper": p + 0.7}
    pl.DataFrame(columns).write_parquet(folder / "predictions.parquet")


def first_paint(page: Path) -> float:
    """Return the seconds from navigation to the first paint, the middle of five."""
    script = "performance.getEntriesByName('first-contentful-paint')[0].startTime / 1000"
    seconds = []
    with Browser() as browser:
        for _ in range(5):
            browser.load(page)
            seconds.append(float(browser.evaluate(script)))
    return sorted(seconds)[2]


def main() -> int:
    """Print what was measured."""
    if CHROMIUM is None:
        print("needs chromium")
        return 0
    known = build_demo(N_DEMO, seed=0)["SMILES"].to_list()[:N_DEMO]
    # The demo has no more molecules than that: salts of some of them are the rest.
    smiles = [*known, *(f"{s}.Cl" for s in known[: N - N_DEMO])]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_run(folder, smiles)
        start = process_time()
        html = run_page(folder, "run")
        made = process_time() - start
        page = folder / "page.html"
        page.write_text(html, encoding="utf-8")
        size, paint = len(html.encode()), first_paint(page)
    drawn = np.mean([len(draw_molecule(s) or "") for s in smiles[:100]]) * N
    print(f"page of {N:,} molecules, 3 tasks: {size / 1e6:.1f} MB, made in {made:.1f} s of CPU")
    return settle(
        Claim("megabytes of the page", size / 1e6, MOST_BYTES / 1e6, at_most=True),
        Claim("seconds to the first paint", paint, MOST_SECONDS, at_most=True),
        Claim(
            "structures as RDKit's SVG, of the page",
            float(drawn / size),
            5.0,
            ours=f"{size / 1e6:.1f} MB",
            peer=f"{drawn / 1e6:.0f} MB",
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
