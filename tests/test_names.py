"""Tasks whose names mean something to one of our tools: printed, drawn, logged, stored as they are.

Every command is run on them. What a name could break, such as MLflow or a figure, comes after the
model is saved, and breaking is a warning.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from molpool_pipelines.demo import build_demo
from molpool_pipelines.runs import OWN_COLUMNS, read_run_predictions, truth_column
from molpool_pipelines.scores import read_predictions

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # mlflow's own of its dependencies
]

LONG = "y" * 300
FORMULA = "=cmd|' /C calc'!A0"
NAMES = [
    # columns of ours, and their endings
    *("row", "split", "error", "fold", "id", "source", "quality", "a", "a predicted", "a_sd"),
    # rich's markup and emoji, matplotlib's mathematics, paths
    *("[/red]", ":x:", "$x$", r"$\frac{$", "a/b", "../../x"),
    # length, spreadsheets and look-alikes
    *(LONG, FORMULA, "LogD", "Log\u200bD", "\u041bogD", "smiles"),
]
TINY = [
    *("--model.message-passing.depth", "2", "--model.message-passing.hidden-size", "8"),
    *("--model.ffn.num-layers", "1", "--model.ffn.hidden-size", "8"),
    *("--training.accelerator", "cpu", "--training.epochs", "1"),
    *("--data.split-ratios", "0.6", "0.2", "0.2", "--data.id-column", "molecule"),
]
MIL = [
    *("--models", "attention"),
    *("--data.kind", "bags", "--data.id-column", "bag", "--model.use-2d", "false"),
    *("--model.inst-hidden", "8", "--model.inst-layers", "1", "--model.attn-heads", "2"),
    *("--model.mixer-hidden", "8", "--model.mixer-layers", "1", "--model.proj-dim", "8"),
    *("--training.accelerator", "cpu", "--training.epochs", "1", "--task-kind", "regression"),
]


def call(main: Callable[[Sequence[str]], int], *arguments: object) -> str:
    """Run a command in this process and return what it printed."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([str(a) for a in arguments])
    assert code == 0, err.getvalue()
    assert "Traceback" not in err.getvalue()
    return out.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("names")


@pytest.fixture(scope="module")
def table(folder: Path) -> Path:
    demo, rng = build_demo(100, seed=1), np.random.default_rng(0)
    logp = demo["LogP"].fill_null(0).to_numpy()
    columns = [pl.Series(name, logp + rng.normal(size=len(logp))) for name in NAMES]
    frame = demo.select(molecule="Molecule Name", SMILES="SMILES").with_columns(columns)
    frame.write_parquet(folder / "table.parquet")
    return folder / "table.parquet"


@pytest.fixture(scope="module")
def trained(folder: Path, table: Path) -> tuple[Path, str]:
    from molpool_train.cli import main

    run = folder / "run"
    printed = call(
        *(main, "chemprop", "--data-path", table, "--target-columns", *NAMES, *TINY),
        *("--save-dir", run, "--tracking.enabled", "true", "--joint-sampling.enabled", "true"),
        *("--data.predict-path", table),
    )
    return run, printed


@pytest.fixture(scope="module")
def run(trained: tuple[Path, str]) -> Path:
    return trained[0]


def test_training_prints_and_keeps_every_name(trained: tuple[Path, str]) -> None:
    run, printed = trained
    for name in NAMES:
        assert name in printed or name == LONG
    assert list(json.loads((run / "metrics.json").read_text())["splits"]["test"]["tasks"]) == NAMES
    page = (run / "report.html").read_text()
    assert "$\\frac{$" in page
    assert "[/red]" in page


def test_truth_and_predictions_have_columns_of_their_own(run: Path, table: Path) -> None:
    truth = pl.read_parquet(table)
    written = read_run_predictions(run)
    found = read_predictions(run)
    assert list(found.tasks) == NAMES
    assert found.split is not None
    assert set(found.split) == {"train", "val", "test"}
    assert set(written["id"]) == set(truth["molecule"])
    joined = truth.join(written, left_on="molecule", right_on="id", suffix=" of the run")
    for t, name in enumerate(NAMES):
        column = truth_column(name)
        right = column if column != name else f"{name} of the run"
        assert joined[name].to_list() == joined[right].to_list(), name
        assert np.array_equal(found.y_pred[:, t], written[f"{name} predicted"].to_numpy())


def test_the_leaderboard_table(run: Path) -> None:
    frame = pl.read_parquet(run / "predictions_table.parquet")
    assert frame.height == 100
    for name in NAMES:
        column = f"{name} predicted" if name in OWN_COLUMNS else name
        assert frame[column].dtype == pl.Float64


def test_mlflow_has_every_task(run: Path, folder: Path) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    (logged,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    labels = [k for k in logged.data.metrics if k.startswith("sampling/labels: ")]
    assert len(labels) == len(NAMES)
    assert max(map(len, labels)) == 250
    assert {f.path for f in client.list_artifacts(logged.info.run_id)} >= {"model.pt"}


def test_predict_score_compare_report(run: Path, table: Path, folder: Path) -> None:
    from molpool_evaluate.cli import main

    predicted = folder / "predicted.parquet"
    call(main, "predict", "--model-dir", run, "--data-path", table, "--output", predicted)
    truth = ("--data-path", table, "--columns.truth-id", "molecule")
    for where, extra in ((run, ()), (predicted, truth)):
        scores = folder / f"scores of {where.stem}"
        flags = ("--predictions", where, *extra, "--save-dir", scores, "--n-bootstrap", 20)
        printed = call(main, "score", *flags)
        assert all(name in printed for name in NAMES if name != LONG)
    call(
        *(main, "compare", "--predictions", run, run, "--names", "[/x]", "$y$"),
        *("--output", folder / "comparison.csv", "--n-bootstrap", 100),
    )
    again = folder / "again.html"
    call(main, "report", "--run", run, "--output", again, "--n-bootstrap", 100)
    assert "$x$" in again.read_text()


def test_affinity(table: Path, folder: Path) -> None:
    from molpool_affinity.cli import main

    printed = call(
        *(main, "--data-path", table, "--target-columns", *NAMES, "--n-bootstrap", 2),
        *("--every-n-steps", 3, "--save-path", folder / "affinity.npz"),
        *("--plot-heatmap", folder / "heatmap.png", "--plot-dendrogram", folder / "tree.svg"),
        *("--report", folder / "affinity.html"),
    )
    assert "[/red]" in printed
    assert r"$\frac{$" in (folder / "tree.svg").read_text()


def test_a_study(table: Path, folder: Path) -> None:
    from molpool_hpo.cli import main

    fixed = ("--n-trials", 1, "--n-folds", 2, "--study.default-space", "false")
    call(
        *(main, "chemprop", "--data-path", table, "--target-columns", *NAMES, *TINY, *fixed),
        *("--save-dir", folder / "study", "--tracking.enabled", "true"),
    )
    assert (folder / "study" / "report.html").is_file()


def test_bags(folder: Path) -> None:
    from molpool_evaluate.cli import main as evaluate
    from molpool_train.cli import main

    rng = np.random.default_rng(0)
    bag = np.repeat(np.arange(40), 2)
    tasks = {name: rng.normal(size=40)[bag] for name in NAMES}
    features = {f"f{j}": rng.normal(size=80) for j in range(4)}
    frame = pl.DataFrame({"bag": [f"b{i}" for i in bag], **tasks, **features})
    frame.write_parquet(folder / "bags.parquet")
    run = folder / "bags"
    call(
        *(main, "mil", "--data-path", folder / "bags.parquet", "--save-dir", run, *MIL),
        *("--data.target-columns", *NAMES),
    )
    assert list(read_predictions(run).tasks) == NAMES
    call(
        *(evaluate, "predict", "--model-dir", run, "--data-path", folder / "bags.parquet"),
        *("--output", folder / "bags predicted.csv"),
    )
    flags = ("--save-dir", folder / "scores of bags", "--n-bootstrap", 20)
    call(evaluate, "score", "--predictions", run, *flags)


@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_name_is_refused_at_once(
    name: str, table: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from molpool_train.cli import main

    for kind in ("chemprop", "mil"):
        flags = ("--data-path", str(table), "--data.target-columns", "row", name)
        assert main([kind, *flags, "--save-dir", str(folder / "empty")]) == 2
        message = capsys.readouterr().err
        assert "target_columns" in message
        assert "empty" in message
    assert not (folder / "empty").exists()


def test_a_page_that_cannot_be_drawn_is_a_warning(
    table: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from molpool_train.cli import main

    def broken(*_: object) -> str:
        raise RuntimeError("no such glyph")

    monkeypatch.setattr("molpool_pipelines.fitting._results.run_page", broken)
    run = folder / "no page"
    with pytest.warns(UserWarning, match=r"report\.html: not written .*no such glyph"):
        call(
            *(main, "chemprop", "--data-path", table, "--target-columns", "row", *TINY),
            *("--save-dir", run, "--baselines", "none"),
        )
    assert {"model.pt", "metrics.json", "predictions.parquet"} <= {p.name for p in run.iterdir()}


def test_no_csv_holds_a_formula(folder: Path, trained: tuple[Path, str]) -> None:
    """Of all that the tests above left; by itself, of the training alone."""
    files = sorted(folder.rglob("*.csv"))
    marked = 0
    for file in files:
        with file.open(newline="", encoding="utf-8") as handle:
            cells = [cell for row in csv.reader(handle) for cell in row]
        assert not [cell for cell in cells if cell.startswith(("=", "@"))], file
        marked += sum(cell.startswith(f"'{FORMULA}") for cell in cells)
    assert marked
