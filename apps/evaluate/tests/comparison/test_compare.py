"""The command: files in, files out, and what it says of wrong input."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest
from evaluate_tables import frame, predictions, shuffled, three
from molpool_common import read_table
from molpool_evaluate.cli import main
from molpool_pipelines.runs import MACRO
from molpool_pipelines.scores import load_comparison


def write_models(
    folder: Path, folds: int = 0, names: Sequence[str] = ("good", "poor")
) -> list[str]:
    files = []
    for model in three(folds, names):
        file = folder / f"{model.name}.parquet"
        frame(shuffled(model), None if folds else "test").write_parquet(file)
        files.append(str(file))
    return files


def compare(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(["compare", "--n-bootstrap", "300", *(str(a) for a in arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_files_and_screen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "results" / "final.csv"
    files = write_models(tmp_path, names=("good", "alike", "poor"))
    code, out, err = compare(capsys, "--predictions", *files, "--output", output)
    assert code == 0, err
    assert sorted(p.name for p in output.parent.iterdir()) == [
        f"final.{kind}" for kind in ("csv", "html", "json", "png", "svg")
    ]
    rows = list(csv.DictReader(output.read_text(encoding="utf-8").splitlines()))
    one = next(
        r for r in rows if (r["task"], r["metric"], r["model_b"]) == (MACRO, "ma_rae", "poor")
    )
    assert one["verdict"] == "good wins"
    assert float(one["difference"]) == pytest.approx(float(one["value_a"]) - float(one["value_b"]))
    assert (
        "MA-RAE, mean over tasks: good over poor, alike over poor; 1 pair is indistinguishable."
        in (" ".join(out.split()))
    )
    assert all(len(line) <= 80 for line in out.splitlines() if "/" not in line)
    assert output.with_suffix(".png").read_bytes()[:4] == b"\x89PNG"


def test_the_table_may_be_excel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "c.xlsx"
    code, _, err = compare(capsys, "--predictions", *write_models(tmp_path), "--output", output)
    assert code == 0, err
    found = load_comparison(output)
    assert read_table(output)["verdict"].to_list() == found.to_frame()["verdict"].to_list()


def test_folds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = write_models(tmp_path, folds=2)
    output = tmp_path / "cv.csv"
    code, out, err = compare(capsys, "--predictions", *files, "--output", output)
    assert code == 0, err
    found = load_comparison(output)
    assert (found.design, found.n_folds) == ("folds", 10)
    assert found.checks
    assert "Tukey's HSD" in " ".join(out.split())


def test_json_is_read_back_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "c.csv"
    practical = ("--practical", "ma_rae", "0.05")
    compare(capsys, "--predictions", *write_models(tmp_path), "--output", output, *practical)
    found = load_comparison(tmp_path)
    assert json.loads(found.to_json()) == json.loads(output.with_suffix(".json").read_text())
    assert found.practical == {"ma_rae": 0.05}
    assert {p.practical for p in found.pairs if p.metric == "ma_rae"} == {"relevant"}
    assert load_comparison(output).to_frame().equals(found.to_frame())


def test_names_tell_models_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for folder, name in (("a", "good"), ("b", "poor")):
        frame(predictions(name)).write_csv(tmp_path / folder / "model.csv")
    paths = [tmp_path / f / "model.csv" for f in ("a", "b")]
    output = tmp_path / "c.csv"
    assert compare(capsys, "--predictions", *paths, "--output", output)[0] == 0
    assert load_comparison(output).models == ("a/model", "b/model")
    flags = ("--names", "one", "two", "--overwrite", "true")
    assert compare(capsys, "--predictions", *paths, "--output", output, *flags)[0] == 0
    assert load_comparison(output).models == ("one", "two")


def result_file(path: Path, mae: float, predictions: str | None = None) -> Path:
    metrics = {"mae": mae, "ma_rae": mae / 2}
    tasks = {t: {"type": "regression", "n": 50, "metrics": metrics, "undefined": {}} for t in "AB"}
    macro = {"ma_rae": {"mean": mae / 2, "n_tasks": 2, "left_out": 0}}
    found = {"tasks": tasks, "macro": macro} | ({"predictions": predictions} if predictions else {})
    path.write_text(json.dumps(found))
    return path


def test_values_alone_tell_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [result_file(tmp_path / f"eval_n{n}.json", 1.0 / n) for n in (2, 3)]
    output = tmp_path / "out" / "groups.csv"
    code, out, err = compare(capsys, "--result-files", *files, "--output", output)
    assert code == 0, err
    assert "Values alone" in out
    found = load_comparison(output)
    assert found.models == ("eval_n2", "eval_n3")
    assert {p.winner for p in found.pairs} == {"not significant"}
    # Files of before call an open verdict otherwise, and are read as today's.
    file = output.with_suffix(".json")
    file.write_text(file.read_text().replace('"not significant"', '"cannot tell"'))
    assert load_comparison(file) == found
    of_task = {v.model: v.value for v in found.values if (v.task, v.metric) == ("A", "mae")}
    assert of_task == {"eval_n2": 0.5, "eval_n3": pytest.approx(1 / 3)}


def test_results_are_compared_by_the_predictions_they_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = []
    for path in write_models(tmp_path):
        file = Path(path)
        files.append(result_file(tmp_path / f"{file.stem}.json", 1.0, file.name))
    output = tmp_path / "out" / "c.csv"
    assert compare(capsys, "--result-files", *files, "--output", output)[0] == 0
    assert load_comparison(output).design == "test_set"


def test_scores_are_compared_by_their_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = []
    for path in write_models(tmp_path):
        folder = tmp_path / "scores" / Path(path).stem
        flags = ["--save-dir", str(folder), "--n-bootstrap", "0"]
        assert main(["score", "--predictions", path, *flags]) == 0
        files.append(folder / "metrics.json")
    output = tmp_path / "out" / "c.csv"
    assert compare(capsys, "--result-files", *files, "--output", output)[0] == 0
    found = load_comparison(output)
    assert (found.models, found.design) == (("good", "poor"), "test_set")
    for file in files:
        (file.parent / "predictions.parquet").unlink()
    flags = ("--overwrite", "true")
    assert compare(capsys, "--result-files", *files, "--output", output, *flags)[0] == 0
    alone = load_comparison(output)
    assert alone.design == "values"
    there = {(v.task, v.metric, v.model): v.value for v in found.values}
    for v in alone.values:
        assert v.value == pytest.approx(there[v.task, v.metric, v.model])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.head(100), "poor lacks 20 of 120 rows"),
        (lambda f: pl.concat([f, f.head(2)]), "2 ids more than once"),
        (lambda f: f.drop("hERG", "hERG predicted"), "only in good: hERG"),
        (lambda f: f.with_columns(pl.col("LogD") + 1), "labels that differ"),
        (lambda f: f.with_columns(split=pl.lit("train")), "one of train; found 'test'"),
    ],
)
def test_bad_tables_end_with_one_message_and_no_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: object, message: str
) -> None:
    good, poor = write_models(tmp_path)
    frame_of_poor = pl.read_parquet(poor)
    change(frame_of_poor).write_parquet(poor)  # type: ignore[operator]
    output = tmp_path / "c.csv"
    arguments = ("--predictions", good, poor, "--output", output, "--side", "test")
    code, out, err = compare(capsys, *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    assert not list(tmp_path.glob("c.*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "at least two"),
        (("--predictions", "a.csv"), "found 1"),
        (("--predictions", "a.csv", "b.csv", "--names", "x"), "one for each of 2 models"),
        (("--predictions", "a.csv", "b.csv", "--output", "c.txt"), "name of a table, in .csv"),
        (("--predictions", "a.csv", "b.csv", "--test-data", "t.csv"), "--model-dirs"),
        (("--predictions", "a.csv", "b.csv"), "a.csv"),
        (("--metric", "mae"), "Did you mean '--metrics'?"),
        (("--metrics", "ma_rea", "--predictions", "a.csv", "b.csv"), "Did you mean 'ma_rae'?"),
    ],
)
def test_bad_flags(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: Sequence[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = compare(capsys, *arguments)
    assert code == 2
    assert message in err
    assert not list(tmp_path.iterdir())


def test_an_older_comparison_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "c.csv"
    output.with_suffix(".json").write_text("mine")
    code, _, err = compare(capsys, "--predictions", *write_models(tmp_path), "--output", output)
    assert code == 2
    assert "--overwrite true replaces it" in err
    assert output.with_suffix(".json").read_text() == "mine"


def test_too_few_resamples_for_many_pairs_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = []
    for n in range(6):
        file = tmp_path / f"m{n}.parquet"
        frame(predictions(f"m{n}", noise=0.5)).write_parquet(file)
        files.append(file)
    output = tmp_path / "c.csv"
    flags = ("--n-bootstrap", "100", "--metrics", "mae")
    assert compare(capsys, "--predictions", *files, "--output", output, *flags)[0] == 0
    (note,) = (n for n in load_comparison(output).notes if "too few" in n)
    # 15 pairs, two resamples of 101 in the best case: 15 · 2 / 101.
    assert "smallest adjusted p 0.3)" in note
