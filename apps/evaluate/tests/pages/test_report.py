"""`report` over folders as runs and studies leave them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from evaluate_tables import frame, predictions, three
from molpool_common import METRICS
from molpool_evaluate.cli import main
from molpool_pipelines.scores import CompareConfig, compare_models, pair_rows


def make_run(folder: Path) -> Path:
    """Write what `molpool-train chemprop` leaves behind, in small."""
    folder.mkdir()
    parts = [("train", 60), ("val", 40), ("test", 50)]
    rows = [
        frame(predictions("good", n=n, seed=seed), side) for seed, (side, n) in enumerate(parts)
    ]
    table = pl.concat(rows).with_columns(
        id=pl.Series([f"M<{i}>" for i in range(150)]), SMILES=pl.lit("C#N")
    )
    table.write_parquet(folder / "predictions.parquet")
    (folder / "config.resolved.yaml").write_text("seed: 7\n")
    lines = [{"event": "started"}]
    lines += [
        {"event": "epoch", "epoch": e, "train_loss": 1 / (e + 1), "val_loss": 1.1 / (e + 1)}
        for e in (0, 1, 1, 2)
    ]
    (folder / "log.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    said = {"time": "2026-01-01", "python": "3.11", "arguments": ["molpool-train", "chemprop"]}
    (folder / "environment.json").write_text(json.dumps(said))
    return folder


def make_study(folder: Path, direction: str = "minimize") -> Path:
    """Write what `molpool-hpo` leaves behind, in small, and a score on the outer test."""
    folder.mkdir()
    study = {"name": "toy", "n_trials": 6, "direction": direction, "journal": "journal.log"}
    (folder / "study.json").write_text(json.dumps(study))
    pl.DataFrame(
        {
            "number": [0, 1, 2, 3, 4, 5],
            "state": ["complete", "complete", "pruned", "failed", "complete", "complete"],
            "value": [1.0, 0.6, None, None, 0.9, 0.75],
            "seconds": [1.0] * 6,
            "source": ["defaults", *["sampler"] * 5],
            "error": [None, None, None, "ValueError: <b>bad</b>", None, None],
            "fold_0": [1.1, 0.5, 2.0, None, 0.9, 0.7],
            "fold_1": [0.9, 0.7, None, None, 0.9, 0.8],
            "param: training.lr": [1e-3, 5e-6, 1e-2, 1e-1, 2e-3, 3e-3],
            "param: model.act": ["relu", "gelu", "relu", "relu", "relu", "gelu"],
            "param: deep": [True, False, True, True, False, True],
            "param: same": [1, 1, 1, 1, 1, 1],
        }
    ).write_parquet(folder / "trials.parquet")
    (folder / "best.yaml").write_text("training: {lr: 5.0e-06}\n")
    retrained = folder / "retrained" / "trial-1"
    retrained.mkdir(parents=True)
    outer = {
        "name": "best", "inner": 0.6, "folds": [0.5, 0.7], "outer": 0.8,
        "interval": [0.7, 0.9], "by_task": {}, "optimism": 0.2,
    }  # fmt: skip
    said = {"direction": direction, "outer_test_scored_before": 2, "models": [outer]}
    (retrained / "metrics.json").write_text(json.dumps(said))
    return folder


def make_comparison(file: Path) -> Path:
    data = pair_rows(three(), ("good", "alike", "poor"))
    config = CompareConfig(n_bootstrap=200, practical={"ma_rae": 0.05})
    file.write_text(compare_models(data, config).to_json())
    return file


def report(tmp_path: Path, *arguments: object) -> str:
    output = tmp_path / "page.html"
    code = main(["report", *(str(a) for a in arguments), "--output", str(output)])
    assert code == 0
    return output.read_text(encoding="utf-8")


def plain(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


class TestRun:
    def test_metrics_are_of_the_side_that_counts(self, tmp_path: Path) -> None:
        page = report(tmp_path, "--run", make_run(tmp_path / "run"))
        rows = predictions("good", n=50, seed=2)
        labelled = np.isfinite(rows.y_true[:, 0])
        value = METRICS["ma_rae"](rows.y_true[labelled, 0], rows.y_pred[labelled, 0])
        text = plain(page)
        error = METRICS["mae"](rows.y_true[labelled, 0], rows.y_pred[labelled, 0])
        # Each value is followed by the two ends of its interval.
        assert re.search(rf"LogD {labelled.sum()} – {error:.3f} \S+ \S+ {value:.3f} \S+ \S+ ", text)
        assert text.index("Test rows. A dash") < text.index("Validation rows. A dash")
        assert "Training rows. A dash" in text

    def test_all_parts_and_no_markup_of_names(self, tmp_path: Path) -> None:
        page = report(tmp_path, "--run", make_run(tmp_path / "run"))
        for title in ("Largest errors", "Training", "Metrics by task", "Configuration"):
            assert f">{title}</h2>" in page
        assert "M&lt;" in page
        assert "M<1" not in page
        assert "seed: 7" in page
        assert not re.search(r"(?:src|href)=.?https?:", page)
        # An epoch that a resumed run trained again is listed once.
        assert plain(page).count("the one 2 ") == 1

    def test_every_figure_has_words_and_numbers_or_a_table_below(self, tmp_path: Path) -> None:
        page = report(tmp_path, "--run", make_run(tmp_path / "run"))
        alts = re.findall(r'role="(?:img|application)" tabindex="0" aria-label="([^"]*)"', page)
        assert len(alts) == page.count('class="plot"') > 4
        assert all(alts)
        assert page.count("<summary>Numbers</summary>") == 3

    def test_runs_without_test_rows_warn(self, tmp_path: Path) -> None:
        run = make_run(tmp_path / "run")
        file = run / "predictions.parquet"
        pl.read_parquet(file).filter(pl.col("split") != "test").write_parquet(file)
        assert "No row was kept for test." in report(tmp_path, "--run", run)
        pl.read_parquet(file).filter(pl.col("split") == "train").write_parquet(file)
        page = report(tmp_path, "--run", run, "--overwrite", "true")
        assert "All rows were trained on" in page


class TestStudy:
    @pytest.mark.parametrize(("direction", "best"), [("minimize", "1"), ("maximize", "0")])
    def test_best_trial_by_direction(self, tmp_path: Path, direction: str, best: str) -> None:
        text = plain(report(tmp_path, "--study", make_study(tmp_path / "study", direction)))
        assert f"Best trial {best} " in text
        assert "Trials complete 4" in text
        assert "Trials pruned 1" in text

    def test_outer_test_beside_inner_score(self, tmp_path: Path) -> None:
        text = plain(report(tmp_path, "--study", make_study(tmp_path / "study")))
        assert "best 0.6000 0.8000 0.7000 0.9000 0.2000" in text
        assert "trial-1: the outer test had been scored 2 times before." in text

    def test_parameters_errors_and_small_numbers(self, tmp_path: Path) -> None:
        page = report(tmp_path, "--study", make_study(tmp_path / "study"))
        text = plain(page)
        assert "training.lr 5.0e-06 0.0010" in text
        assert "deep false true" in text
        assert "ValueError: &lt;b&gt;bad&lt;/b&gt;" in page

    def test_a_study_that_does_not_say_what_is_better(self, tmp_path: Path) -> None:
        study = make_study(tmp_path / "study")
        (study / "study.json").write_text(json.dumps({"name": "toy", "n_trials": 6}))
        text = plain(report(tmp_path, "--study", study))
        assert "no trial is called the best" in text
        assert "Best trial" not in text

    def test_a_study_without_a_score(self, tmp_path: Path) -> None:
        study = make_study(tmp_path / "study")
        file = study / "trials.parquet"
        pl.read_parquet(file).filter(pl.col("value").is_null()).write_parquet(file)
        assert "No trial has a score yet." in report(tmp_path, "--study", study)


def test_comparison(tmp_path: Path) -> None:
    page = report(tmp_path, "--comparison", make_comparison(tmp_path / "c.json"))
    text = plain(page)
    assert (
        "MA-RAE, mean over tasks: good over poor, alike over poor; 1 pair is indistinguishable."
        in text
    )
    assert page.count('role="img"') == page.count("<summary>Numbers</summary>") == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "one of --run, --study and --comparison; found none of them"),
        (("--run", "run", "--study", "run"), "found --run and --study"),
        (("--run", "nowhere"), "found no 'nowhere'"),
        (("--run", "empty"), "without it"),
        (("--run", "file.json"), "found the file"),
        (("--study", "run"), "without study.json and trials.parquet"),
        (("--comparison", "run"), "found none"),
        (("--comparison", "file.json"), "the JSON of molpool-evaluate compare"),
        (("--run", "run", "--output", "x.pdf"), "the name of an .html file"),
        (("--run", "run", "--output", "no/x.html"), "an existing folder"),
        (("--run", "run", "--output", "there.html"), "--overwrite true"),
    ],
)
def test_bad_input_ends_with_one_message(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "run")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.json").write_text("{}")
    (tmp_path / "there.html").write_text("mine")
    before = sorted(p.name for p in tmp_path.iterdir())
    assert main(["report", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert sorted(p.name for p in tmp_path.iterdir()) == before
    assert (tmp_path / "there.html").read_text() == "mine"


def test_a_comparison_that_is_not_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = make_comparison(tmp_path / "c.json")
    stored = json.loads(file.read_text())
    del stored["models"]
    file.write_text(json.dumps(stored))
    assert main(["report", "--comparison", str(file)]) == 2
    assert "models: " in capsys.readouterr().err
