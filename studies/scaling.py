"""What each command costs as its table grows: start-up, exponent, memory; one figure.

    python studies/scaling.py run results.jsonl [--most 100000] [--only describe predict ...]
    python studies/scaling.py table results.jsonl
    python studies/scaling.py figure results.jsonl docs/explanation/scaling.svg

Each command runs as a process of its own, on one thread, on tables of 100, 1 000, 3 162 ... rows of
distinct molecules (or of retention times: 50 compounds, a run for each 50 rows), without caches;
the sampler's index is of 20 tasks, 30 % of whose cells have a label. Counted are the seconds of the
processor, which other work on the machine hardly touches, and the most memory of a process. Fitted
is seconds = start + rate · n^exponent, by least squares of the logarithm.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from itertools import islice, product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
from molpool_common import OKABE_ITO, new_figure, style
from scipy.optimize import least_squares
from study_results import Results, table

Floats = npt.NDArray[np.float64]

SIZES = (100, 1000, 3162, 10_000, 31_623, 100_000, 1_000_000, 10_000_000)
RINGS = (
    *("c1cc({a})c({b})c({c})c1", "c1nc({a})c({b})nc1{c}", "c1({a})ccc2c({b})c({c})ccc2c1"),
    *("C1CC({a})N({b})CC1{c}", "c1({a})oc({b})cc1{c}", "c1({a})sc({b})cc1{c}"),
)
GROUPS = """
C CC CCC C(C)C CCCC CC(C)C N NC N(C)C O OC OCC F Cl Br C#N C(F)(F)F C(=O)N C(=O)NC C(=O)O C(=O)OC
S(C)(=O)=O S(N)(=O)=O SC C3CC3 N3CCOCC3 N3CCCCC3 CO CCO CN CCN C(C)(C)C NC(C)=O c3ccccc3 c3ccncc3
c3ccccc3F c3ccccc3C n3cccn3 OC(F)F OCCO CC#N C=C C#C CCl CBr CF OCC3CC3
"""
"""Three of these at a ring make some 600 000 molecules, and as many hydrates."""


class Pipeline(NamedTuple):
    """A command, and the largest table that it is given."""

    command: str
    most: int = 100_000


LABELS = "--smiles-column SMILES --target-columns y z"
ALONE = "--baselines none --data.cache-dir none"
MODEL = f"train chemprop --data-path {{here}}/1000.csv {LABELS} {ALONE} --training.epochs 1"
PIPELINES = {
    "sampler index": Pipeline(f"python {__file__} index {{n}}", 10_000_000),
    "describe": Pipeline(f"data describe {{table}} {LABELS} --output {{out}}.html"),
    "train tabular": Pipeline(
        f"train tabular --data-path {{table}} {LABELS} {ALONE} --model lightgbm --save-dir {{out}}",
        10_000,
    ),
    "train chemprop, an epoch": Pipeline(
        f"train chemprop --data-path {{table}} {LABELS} {ALONE} --training.epochs 1 "
        "--save-dir {out}",
        10_000,
    ),
    "predict": Pipeline(
        "evaluate predict --model-dir {here}/model --data-path {table} --output {predicted}",
        1_000_000,
    ),
    "score": Pipeline(
        "evaluate score --predictions {predicted} --data-path {table} --save-dir {out}"
    ),
    "affinity": Pipeline(
        f"affinity --data-path {{table}} {LABELS} --n-groups 2 --save-path {{out}}.npz", 31_623
    ),
    "rt prepare": Pipeline(
        "rt prepare --data {here}/rt-{n}.parquet --species-raw species "
        "--cluster-raw species_cluster --save-dir {out}",
        1_000_000,
    ),
    "rt fit": Pipeline(
        "rt fit --data {here}/rt-{n}.parquet --structure fixed --save-dir {out}", 1_000_000
    ),
}


def molecules(n: int) -> pl.DataFrame:
    """Return n molecules with two made-up values."""
    rng = np.random.default_rng(0)
    groups = GROUPS.split()
    every = product(("", ".O"), groups, groups, groups, RINGS)
    smiles = [ring.format(a=a, b=b, c=c) + water for water, a, b, c, ring in islice(every, n)]
    rng.shuffle(smiles)
    noise = rng.standard_normal((2, n))
    size = np.array([len(text) for text in smiles]) / 10
    return pl.DataFrame({"SMILES": smiles, "y": size + noise[0], "z": noise[1] - size})


def retention_times(n: int) -> pl.DataFrame:
    """Return n retention times: each run measures 50 compounds."""
    rng = np.random.default_rng(0)
    run, compound = np.divmod(np.arange(n), 50)
    anchors = rng.standard_normal((n // 50 + 1, 2))[run]
    species = run % 10
    rt = 5 + 0.1 * compound + anchors @ [0.3, 0.1] + 0.05 * rng.standard_normal(n)
    columns = {"species": species, "species_cluster": species % 2, "comp_id": compound, "run": run}
    return pl.DataFrame(
        {**columns, "run_covariate_0": anchors[:, 0], "run_covariate_1": anchors[:, 1], "rt": rt}
    )


def cost(command: str) -> tuple[float, float]:
    """Run a command; return seconds of the processor and gigabytes at most."""
    app, *words = command.split()
    program = Path(sys.executable).with_name(app if app == "python" else f"molpool-{app}")
    threads = dict.fromkeys(("OMP_NUM_THREADS", "POLARS_MAX_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    process = os.posix_spawn(
        program,
        [str(program), *words],
        {**os.environ, **threads, "MOLPOOL_CACHE": "none", "CUDA_VISIBLE_DEVICES": ""},
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
    )
    _, status, used = os.wait4(process, 0)
    if status:
        raise RuntimeError(f"exit {os.waitstatus_to_exitcode(status)}: {command}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20


def run(results: Results, names: list[str], most: int) -> None:
    """Measure what is missing."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        molecules(1000).write_csv(here / "1000.csv")
        cost(f"{MODEL.format(here=here)} --save-dir {here}/model")
        for n in (n for n in SIZES if n <= most):
            there = here / f"{n}.csv"
            predicted = here / f"predicted-{n}.parquet"
            molecules(min(n, 1_000_000)).write_csv(there)
            retention_times(min(n, 1_000_000)).write_parquet(here / f"rt-{n}.parquet")
            for name in names:
                pipeline = PIPELINES[name]
                out = here / f"out-{n}-{len(results.rows)}"
                if n > pipeline.most or results.has(pipeline=name, n=n):
                    continue
                names_of = {"here": here, "table": there, "out": out, "predicted": predicted}
                if name == "score" and not predicted.exists():
                    cost(PIPELINES["predict"].command.format(**names_of))
                seconds, memory = cost(pipeline.command.format(**names_of, n=n))
                results.add(pipeline=name, n=n, seconds=seconds, memory=memory)
                sys.stdout.write(f"{name}, {n:,}: {seconds:.1f} s, {memory:.2f} GB\n")
                sys.stdout.flush()


def index(n: int) -> None:
    """Build the sampler's index of n rows, chunk by chunk, and draw a thousand of them."""
    # Not above: what torch takes would count in the memory of each command that is started.
    from sampling_core import JointSampler, LabelMask

    rng = np.random.default_rng(0)
    chunks = (rng.random((min(n, 100_000), 20)) for _ in range(0, n, 100_000))
    mask = LabelMask.from_chunks(np.where(chunk < 0.3, chunk, np.nan) for chunk in chunks)
    list(JointSampler(mask, task_alpha=0.5, num_samples=1000, seed=0))


class Fit(NamedTuple):
    """Seconds = start + rate · n^exponent."""

    start: float
    rate: float
    exponent: float

    def seconds(self, n: Any) -> Any:
        """Return the seconds of n rows."""
        return self.start + self.rate * n**self.exponent


def fit(n: Floats, seconds: Floats) -> Fit:
    """Fit the cost of a command."""

    def off(p: Floats) -> Floats:
        return np.log(Fit(np.exp(p[0]), np.exp(p[1]), p[2]).seconds(n)) - np.log(seconds)

    rise = max((seconds[-1] - seconds[0]) / n[-1], 1e-9)
    found = least_squares(off, [np.log(seconds[0]), np.log(rise), 1.0]).x
    return Fit(float(np.exp(found[0])), float(np.exp(found[1])), float(found[2]))


def measured(results: Results) -> dict[str, tuple[Floats, Floats, Floats]]:
    """Return sizes, seconds and gigabytes of each pipeline."""
    found = {}
    for name in PIPELINES:
        rows = sorted((r["n"], r["seconds"], r["memory"]) for r in results.of(pipeline=name))
        if len(rows) > 3:
            n, seconds, memory = np.array(rows, dtype=np.float64).T
            found[name] = (n, seconds, memory)
    return found


def tables(results: Results) -> str:
    """Return the fitted costs as Markdown."""
    head = (
        "command",
        "start, s",
        "at 10 000, s",
        "exponent",
        "10⁶ rows",
        "GB at 100",
        "GB at most",
    )
    body = []
    for name, (n, seconds, memory) in measured(results).items():
        found = fit(n, seconds)
        million = found.seconds(1e6)
        body.append(
            (
                name,
                f"{found.start:.1f}",
                f"{found.seconds(1e4):.1f}",
                f"{found.exponent:.2f}",
                f"{million / 60:.0f} min" if million > 120 else f"{million:.0f} s",
                f"{memory[0]:.2f}",
                f"{memory[-1]:.2f} ({int(n[-1]):,})",
            )
        )
    return table(head, body)


def figure(results: Results, path: Path) -> None:
    """Draw seconds over rows, measured and fitted."""
    with style():
        drawn = new_figure(7.2, 4.6)
        axes = drawn.subplots()
        for (name, (n, seconds, _)), colour in zip(
            measured(results).items(), OKABE_ITO, strict=False
        ):
            found = fit(n, seconds)
            grid = np.geomspace(n[0], max(1e6, n[-1]), 100)
            label = f"{name} (n^{found.exponent:.2f})"
            axes.plot(grid, found.seconds(grid), color=colour, lw=1, label=label)
            axes.plot(n, seconds, "o", color=colour, ms=4)
        axes.set(xscale="log", yscale="log", xlabel="rows", ylabel="processor seconds")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:,.8g}")
        axes.legend(loc="upper left", fontsize=8)
        drawn.savefig(path, metadata={"Date": None})


def main() -> None:
    """Measure what is missing, print the table, or draw it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["run", "table", "figure", "index"])
    parser.add_argument("results", type=Path)
    parser.add_argument("picture", type=Path, nargs="?")
    parser.add_argument("--most", type=int, default=SIZES[-1])
    parser.add_argument("--only", nargs="+", choices=PIPELINES, default=list(PIPELINES))
    options = parser.parse_args()
    if options.what == "index":  # of so many rows: a process that `run` starts
        index(int(options.results.name))
        return
    results = Results(options.results)
    if options.what == "run":
        run(results, options.only, options.most)
    elif options.what == "figure":
        figure(results, options.picture or Path("scaling.svg"))
        return
    sys.stdout.write(tables(results))


if __name__ == "__main__":
    main()
