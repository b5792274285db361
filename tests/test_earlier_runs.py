"""What earlier commands left behind is read by today's, with equal numbers.

`fixtures/make.sh` says how the archive was made. Commands are found by the names of their scripts,
not of their modules, and files are compared by what they held then: more keys and columns are fine.
"""

from __future__ import annotations

import io
import json
import math
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
import torch
from molpool_common import table_metadata
from molpool_pipelines.runs import in_memory, read_metrics

ARCHIVE = Path(__file__).parent / "fixtures" / "runs_2026_11.tar.xz"

RENAMED = {"side": "split", "last_told": "last_value", "tries_again": "retry_of"}
"""What columns and keys were called, and what they may be called today."""

UNTOLD = {"time", "seconds", "arguments", "packages", "python", "platform", "cpus"}
"""Keys that tell of the machine and the day."""

ENDS = ("low", "high")
"""Of intervals, of other resamples than earlier: rows are drawn in the order of their ids.
Those of comparisons were so already."""


class Tolerance(NamedTuple):
    rtol: float
    atol: float


PREDICTED = Tolerance(1e-5, 1e-6)
"""Float32 models, in batches and on processors of any kind."""
TRAINED = Tolerance(1e-4, 1e-5)
"""Likewise, after some epochs of float32 steps."""
ROUNDED = Tolerance(1e-4, 2e-4)
"""Correlations of predictions that were in single precision, and are in double now: those of QED on
seven rows spread by 1.7e-4 about 0.87, and rounding them to float32 moves their correlation by
4e-5 (a standard deviation; at most 1.1e-4 in 2000 tries)."""
EXACT = Tolerance(1e-8, 1e-8)
"""Retention times are computed in float64."""

pytestmark = pytest.mark.slow


def command(script: str) -> Callable[[Sequence[str]], int]:
    """Return ``main(argv)`` behind a console script, wherever it lies."""
    # The umbrella declares the scripts of the commands too: the same entry, twice.
    (entry,) = {e.value: e for e in entry_points(group="console_scripts", name=script)}.values()
    start = entry.load()
    modules: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        # The script would end this process; it names the module that it would run.
        patch.setitem(start.__globals__, "run_script", modules.append)
        assert "run_script" in start.__code__.co_names, "the script starts its module otherwise"
        start()
    main: Callable[[Sequence[str]], int] = import_module(modules[0]).main
    return main


def run(script: str, *arguments: object) -> str:
    """Run a command, which must succeed; return what it said."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = command(script)([str(a) for a in arguments])
    assert code == 0, err.getvalue()
    return out.getvalue()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("earlier")
    with tarfile.open(ARCHIVE) as tar:
        tar.extractall(folder, filter="data")
    return folder


@pytest.fixture(autouse=True)
def folder(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a copy of the archive, since its paths are relative and some tests write there."""
    copy = tmp_path / "work"
    shutil.copytree(archive, copy)
    monkeypatch.chdir(copy)
    return copy


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # as when the archive was made: the order of sums
    yield
    torch.set_num_threads(before)


def today(name: str, names: Sequence[str] | Mapping[str, Any]) -> str:
    """Return what a column or key of the archive is called today; it must not be lost."""
    # Tables of data.predict_path had the bare name of a task for its predictions.
    possible = (name, RENAMED.get(name, name), f"{name} predicted")
    found = next((n for n in possible if n in names), None)
    assert found is not None, f"{name} is not among {list(names)}"
    return found


def read(path: str | Path) -> pl.DataFrame:
    path = Path(path)
    frame = pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path)
    # Files of predictions say today what their columns are.
    return in_memory(frame, table_metadata(path))


def assert_same_table(
    found: str | Path, expected: str | Path, tolerance: Tolerance, without: Sequence[str] = ()
) -> None:
    """Compare each column of the earlier table, numbers within the tolerance."""
    new, old = read(found), read(expected)
    assert new.height == old.height > 0
    for name in (c for c in old.columns if c not in without):
        column, wanted = new[today(name, new.columns)], old[name]
        if wanted.dtype.is_float():
            a, b = (c.cast(pl.Float64).fill_null(np.nan).to_numpy() for c in (column, wanted))
            np.testing.assert_allclose(a, b, *tolerance, err_msg=name)
        else:
            assert column.to_list() == wanted.to_list(), name


def same_values(found: Any, expected: Any, tolerance: Tolerance, at: str = "") -> int:
    """Compare each number of the earlier JSON; return how many there were."""
    if isinstance(expected, dict):
        # An interval of a value, not one of a difference between models.
        ends = ENDS if "value" in expected and "model" not in expected else ()
        keys = [k for k in expected if k not in (*UNTOLD, *ends, "intervals")]
        return sum(
            same_values(found[today(k, found)], expected[k], tolerance, f"{at}.{k}") for k in keys
        )
    if isinstance(expected, list):
        assert len(found) == len(expected), at
        pairs = enumerate(zip(found, expected, strict=True))
        return sum(same_values(new, old, tolerance, f"{at}[{i}]") for i, (new, old) in pairs)
    if isinstance(expected, str):  # names and notes; words may change
        return 0
    if isinstance(expected, float) and not math.isnan(expected):
        np.testing.assert_allclose(found, expected, *tolerance, err_msg=at)
    elif not isinstance(expected, float):
        assert found == expected, at
    return 1


def told(path: Path) -> Any:
    """Return what a JSON file says; metrics as today's reader understands them."""
    if path.name != "metrics.json":
        return json.loads(path.read_text())
    metrics = read_metrics(path)
    if metrics.kind != "score":
        # Training drew resamples of its own; its intervals are now those of `score`.
        for split in metrics.splits.values():
            for of in split.tasks.values():
                for metric in of.metrics.values():
                    metric.low = metric.high = None
    return metrics.to_dict()


def assert_same_json(found: str | Path, expected: str | Path, tolerance: Tolerance) -> None:
    new, old = (told(Path(p)) for p in (found, expected))
    assert same_values(new, old, tolerance) > 0


def is_page(path: str) -> bool:
    page = Path(path).read_text().rstrip()
    return page.startswith("<!doctype html>") and page.endswith("</html>")


MODELS = {
    "single": ("runs/single", "unseen.csv"),
    "ensemble": ("runs/ensemble", "unseen.csv"),
    "grouped": ("runs/grouped", "unseen.csv"),
    "separate": ("runs/separate", "unseen.csv"),
    "best-2": ("studies/chemprop/retrained/best-2", "unseen.csv"),
    "bags": ("runs/bags", "unseen_bags.csv"),
    "bags_more": ("runs/bags_more", "unseen_bags.csv"),
    "retrained_bags": ("studies/bags/retrained/best", "unseen_bags.csv"),
    "conformers": ("runs/conformers", "molecules.csv"),
}


@pytest.mark.parametrize("name", MODELS)
def test_models_predict_what_they_did(name: str) -> None:
    model, table = MODELS[name]
    (expected,) = Path("expected/predict").glob(f"{name}.*")
    output = f"out{expected.suffix}"
    flags = ("--model-dir", model, "--data-path", table, "--output", output)
    run("molpool-evaluate", "predict", *flags)
    # Rows that have names are no longer numbered too.
    without = ("row",) if "row" not in read(output).columns else ()
    assert_same_table(output, expected, PREDICTED, without=without)


UNSEEN = ("expected/predict/ensemble.parquet", "--data-path", "unseen.csv")
SCORED = {name: (f"runs/{name}",) for name in ("single", "ensemble", "grouped", "bags")} | {
    "bags_more": ("runs/bags_more",),
    "conformers": ("runs/conformers",),
    "unseen": (*UNSEEN, "--columns.truth-id", "Molecule Name"),
}


@pytest.mark.parametrize("name", SCORED)
def test_scores_are_what_they_were(name: str) -> None:
    flags = ("--predictions", *SCORED[name], "--n-bootstrap", 100, "--save-dir", "scores")
    run("molpool-evaluate", "score", *flags)
    expected = f"expected/score/{name}"
    new, old = (read_metrics(folder).to_dict() for folder in ("scores", expected))
    assert same_values(new, old, PREDICTED) > 0
    table, before = (read(f"{folder}/metrics.csv") for folder in ("scores", expected))
    # There are more metrics today.
    of = ["stratum_of", "stratum", "task", "metric"]
    table = table.join(before.select(of), on=of, nulls_equal=True, maintain_order="right")
    table.write_csv("scores/of-then.csv")
    assert_same_table("scores/of-then.csv", f"{expected}/metrics.csv", PREDICTED, without=ENDS)
    for end in ENDS:
        assert table[end].is_null().to_list() == before[end].is_null().to_list()


TWO = ("single", "grouped")
REGRESSION = ("--metrics", "mae", "spearman")
COMMON = ("--common-rows", "true")
COMPARED = {
    "models": (
        *("--model-dirs", "runs/single", "runs/ensemble", "runs/grouped"),
        *("--test-data", "unseen.csv", *REGRESSION),
    ),
    "runs": ("--predictions", *(f"runs/{n}" for n in TWO), *COMMON, *REGRESSION),
    "results": (
        *("--result-files", *(f"expected/score/{n}/metrics.json" for n in TWO)),
        *("--names", "one", "two", *COMMON, *REGRESSION),
    ),
    "bags": (
        *("--predictions", "runs/bags", "runs/bags_more", *COMMON),
        *("--metrics", "roc_auc", "average_precision"),
    ),
}


@pytest.mark.parametrize("name", COMPARED)
def test_comparisons_say_what_they_said(name: str) -> None:
    flags = ("--n-bootstrap", 200, "--min-labels", 5, "--output", "now/comparison.csv")
    run("molpool-evaluate", "compare", *COMPARED[name], *flags)
    for path in (Path("now/comparison.json"), Path("now/comparison.csv")):
        # What is open was called otherwise; `load_comparison` reads the earlier word too.
        text = path.read_text().replace("not significant", "cannot tell")
        # Earlier commands did not decline it.
        text = text.replace("1 label,", "1 labels,")
        path.write_text(text.replace("inconclusive", "cannot tell"))
    for file, assert_same in (
        ("comparison.json", assert_same_json),
        ("comparison.csv", assert_same_table),
    ):
        assert_same(f"now/{file}", f"expected/compare/{name}/{file}", PREDICTED)
    assert is_page("now/comparison.html")


@pytest.mark.parametrize(
    ("what", "path"),
    [
        ("run", "runs/single"),
        ("run", "runs/ensemble"),
        ("run", "runs/bags"),
        ("study", "studies/chemprop"),
        ("study", "studies/bags"),
        ("comparison", "expected/compare/models"),
        ("comparison", "expected/compare/bags"),
    ],
)
def test_pages_are_written_of_them(what: str, path: str) -> None:
    flags = () if what != "run" else ("--n-bootstrap", 100)
    run("molpool-evaluate", "report", f"--{what}", path, "--output", "page.html", *flags)
    assert is_page("page.html")


@pytest.mark.parametrize(("kind", "name"), [("chemprop", "halted"), ("mil", "bags_halted")])
def test_interrupted_runs_come_to_the_end_of_undisturbed_ones(kind: str, name: str) -> None:
    path = f"runs/{name}"
    run("molpool-train", kind, "--resume", "true", "--save-dir", path)
    for file, assert_same, tolerance in (
        ("metrics.json", assert_same_json, ROUNDED if kind == "chemprop" else TRAINED),
        ("predictions.parquet", assert_same_table, TRAINED),
    ):
        assert_same(f"{path}/{file}", f"expected/resumed/{name}/{file}", tolerance)
    events = [json.loads(line) for line in Path(path, "log.jsonl").read_text().splitlines()]
    # Runs of bags say their features today, and all runs keep their notes.
    told = [e["event"] for e in events if e["event"] not in ("epoch", "features", "note")]
    assert told == ["started", "interrupted", "resumed", "finished"]
    assert {e["epoch"] for e in events if e["event"] == "epoch"} == set(range(12))


def test_a_finished_ensemble_predicts_other_molecules() -> None:
    shutil.copy("unseen.csv", "more.csv")
    flags = ("--save-dir", "runs/ensemble", "--predict-path", "more.csv")
    run("molpool-train", "chemprop", "--resume", *flags)
    earlier = "runs/ensemble/predictions_unseen.parquet"
    found = "runs/ensemble/predictions_more.parquet"
    # What was measured of them stands beside the predictions today, which had the names of tasks.
    ours = read(found)
    names = [name for name in ours.columns if f"{name} predicted" in ours.columns]
    ours.drop(names).write_parquet(found)
    assert_same_table(found, earlier, PREDICTED, without=("row",))


@pytest.mark.parametrize(
    ("kind", "name", "config", "n"),
    [
        ("chemprop", "chemprop", "configs/study.yaml", 4),
        ("mil", "bags", "configs/study_bags.yaml", 3),
    ],
)
def test_studies_go_on(kind: str, name: str, config: str, n: int) -> None:
    path, expected = f"studies/{name}", Path("expected/studies", name)
    run("molpool-hpo", kind, "--config", config, "--save-dir", path, "--n-trials", n)
    found, before = read(f"{path}/trials.parquet"), read(expected / "trials.parquet")
    assert found.height == n == before.height + 1
    assert found["state"].to_list() == ["complete"] * n
    # What was told then stands as it was told: started, by whom, drawn, found.
    names = {name: today(name, found.columns) for name in before.columns}
    assert found.head(n - 1).select(names.values()).equals(before.rename(names))
    # The last trial draws what it drew then, and comes to the same score.
    last, wanted = (f.row(-1, named=True) for f in (found, read(expected / "one_more.parquet")))
    kept = [c for c in wanted if c.startswith(("param: ", "fold_")) or c in ("number", "value")]
    assert kept
    same_values(last, {c: wanted[c] for c in kept}, TRAINED)
    assert "trial" in run("molpool-hpo", "show", "--study-dir", path)


def test_groups_of_an_earlier_measurement_are_taken() -> None:
    path = "expected/affinity/groups.json"
    groups = json.loads(Path(path).read_text())["groups"]
    config = Path("configs/chemprop.yaml").read_text() + f"groups: {path}\n"
    Path("grouped.yaml").write_text(config)
    flags = ("--config", "grouped.yaml", "--save-dir", "taken", "--training.epochs", 1)
    run("molpool-train", "chemprop", *flags)
    assert len(groups) == 2
    tasks = {t for group in groups for t in group}
    assert {f"{t} predicted" for t in tasks} <= set(read("taken/predictions.parquet").columns)


FITS = ("pooled", "calibrated", "described", "laplace", "ridge")


@pytest.mark.parametrize("name", FITS)
def test_retention_times_are_predicted_as_they_were(name: str) -> None:
    flags = ("--data", "rt/test/rows.parquet", "--keep-cols", "rt", "run", "--output", "o.parquet")
    levels = ("--level", 0.5, 0.8, 0.95)
    run("molpool-rt", "predict", "--artefact", f"rt/{name}", *flags, *levels)
    # What was measured was called rt, beside its prediction, which is rt today.
    earlier = read(f"expected/rt/predictions/{name}.parquet").rename({"rt": "rt_measured"})
    endings = {"predicted": "", "sd": "_sd", "sd_mean": "_sd_mean"}
    ends = [f"{end}_{level}" for end in ("lower", "upper") for level in (50, 80, 95)]
    endings |= {end: f"_{end}" for end in ends}
    earlier.rename({old: f"rt{new}" for old, new in endings.items()}).write_parquet("e.parquet")
    assert_same_table("o.parquet", "e.parquet", EXACT)


def test_fits_of_retention_times_are_judged_as_they_were() -> None:
    artefacts = [f"rt/{name}" for name in FITS]
    flags = ("--data", "rt/test/rows.parquet", "--save-dir", "judged")
    run("molpool-rt", "evaluate", "--artefacts", *artefacts, *flags)
    assert_same_json("judged/evaluation.json", "expected/rt/evaluation/evaluation.json", EXACT)
    for file in ("evaluation.csv", "drift.csv"):
        assert_same_table(f"judged/{file}", f"expected/rt/evaluation/{file}", EXACT)


def test_tables_are_prepared_like_earlier_ones() -> None:
    flags = ("--species-raw", "species", "--cluster-raw", "species_cluster")
    like = ("--data", "rt/lab/test.parquet", "--like", "rt/prepared", "--save-dir", "again")
    run("molpool-rt", "prepare", *flags, *like)
    assert_same_table("again/rows.parquet", "rt/test/rows.parquet", EXACT)
