"""The command from table to files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from molpool_common import read_table
from task_affinity import AffinityResult, Grouping

pytestmark = pytest.mark.slow
Run = Callable[..., Any]
WriteTable = Callable[..., Path]
TASKS = ("LogD", "KSOL", "hERG", "CLint")


def test_seed_command_writes_matrix_groups_and_words(run: Run, small: list[str]) -> None:
    outcome = run(
        *small,
        *("--smiles-column", "SMILES", "--affinity-epochs", "2", "--n-groups", "2"),
        *("--save-path", "results/task_affinity.npz", "--save-groups", "results/groups.json"),
    )
    assert (outcome.code, outcome.err) == (0, "")
    result = AffinityResult.load("results/task_affinity.npz")
    assert result.task_names == TASKS
    assert result.n_steps == 8  # 20 molecules in batches of 5, twice
    table = pl.read_csv("results/task_affinity.csv")
    assert table.columns == ["", *TASKS]
    np.testing.assert_allclose(table.drop("").to_numpy(), result.matrix, rtol=1e-12)
    groups = json.loads(Path("results/groups.json").read_text())
    assert sorted(t for group in groups["groups"] for t in group) == sorted(TASKS)
    assert len(groups["groups"]) == 2
    assert {t: t in groups["groups"][k] for t, k in groups["assignment"].items()} == dict.fromkeys(
        TASKS, True
    )
    row = " ".join(f"{v:.3f}" for v in result.matrix[0])
    assert f"Task affinity matrix computed:\n  LogD: [{row}]\n" in outcome.out
    assert re.search(r"1 │ \w+ +│ \w+ +│ +[+-]0\.\d{3} │ +0\.\d{3} │ +8 │", outcome.out)
    assert "molpool-train chemprop --groups results/groups.json" in outcome.out
    assert "Wrote results/task_affinity.npz, results/task_affinity.csv, results/groups.json" in (
        outcome.out.replace("\n", " ").replace("  ", " ")
    )


def test_pictures_and_page_stand_alone(run: Run, small: list[str]) -> None:
    outcome = run(
        *small,
        *("--n-groups", "2", "--plot-heatmap", "out/heat.png", "--plot-dendrogram", "out/tree.svg"),
        *("--report", "out/report.html", "--output", "out/matrix.xlsx"),
    )
    assert outcome.code == 0, outcome.err
    matrix = read_table(Path("out/matrix.xlsx"))
    assert matrix["task"].to_list() == list(TASKS)
    stored = AffinityResult.load("task_affinity.npz").matrix
    np.testing.assert_allclose(matrix.select(TASKS).cast(pl.Float64).to_numpy(), stored)
    assert Path("out/heat.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in Path("out/tree.svg").read_text()
    page = Path("out/report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert page.count("<svg") == 3
    assert not re.search(r'(src|href)="(?!#|data:)', page), "the page needs another file"
    for text in (
        *TASKS,
        "Go by rank and by error bar",
        "± s.e.",
        "of the resamples",
        "n_groups: 2",
    ):
        assert text in page
    written = sorted(p.name for p in Path("out").iterdir())
    assert written == ["heat.png", "matrix.xlsx", "report.html", "tree.svg"]


def test_the_same_seed_measures_the_same(run: Run, small: list[str]) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert run(*small, "--save-path", f"{name}.npz", "--seed", seed).code == 0
    a, b, c = (AffinityResult.load(f"{name}.npz").matrix for name in "abc")
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).max() > 1e-3


def test_a_training_configuration_says_what_to_measure(
    run: Run, write_table: WriteTable, tmp_path: Path
) -> None:
    table = write_table()
    path = tmp_path / "train.yaml"
    path.write_text(
        f"data_path: {table}\nmodel: {{type: chemprop}}\ntraining: {{epochs: 3}}\nseed: 7\n"
        "task_affinity: {enabled: false, n_groups: auto, affinity_batch_size: 4, n_bootstrap: 0}\n"
        "data:\n  target_columns: [LogD, KSOL]\n  split_ratios: [0.6, 0.2, 0.2]\n"
    )
    outcome = run("--config", path, "--save-groups", "groups.json", "--device", "cpu")
    assert outcome.code == 0, outcome.err
    assert outcome.err == "train.yaml: a training configuration; not read: model, training\n"
    assert "Measured on the training split of split_type random, 12 of 20 rows." in outcome.out
    result = AffinityResult.load("task_affinity.npz")
    assert result.n_steps == 3
    assert Grouping.load("groups.json").n_groups == 1  # ceil(2 / 2.5)


def test_asymmetric_affinities_tell_who_receives(run: Run, small: list[str]) -> None:
    outcome = run(
        *small, "--affinity-type", "lookahead", "--clustering-method", "tag", "--n-groups", "2"
    )
    assert outcome.code == 0, outcome.err
    assert "receives" in outcome.out
    assert "By tag (exact): a task receives " in outcome.out


def test_bounds_and_rows_without_labels_are_left_out(run: Run, write_table: WriteTable) -> None:
    signs = ["<", *[""] * 19]
    table = write_table(LogD_sign=signs, CLint=["", *(str(i % 7) for i in range(19))])
    outcome = run(
        *("--data-path", table, "--target-columns", "LogD", "CLint", "--n-groups", "1"),
        *("--data.modifier-suffix", "_sign", "--affinity-batch-size", "19", "--device", "cpu"),
    )
    assert outcome.code == 0, outcome.err
    assert "Labels that are bounds are left out: LogD 1 <." in outcome.out
    assert AffinityResult.load("task_affinity.npz").n_steps == 1  # 19 of 20 rows have a label


def test_pairs_that_no_batch_has_keep_the_matrix_but_make_no_groups(
    run: Run, write_table: WriteTable
) -> None:
    first = [str(i) if i < 10 else "" for i in range(20)]
    second = ["" if i < 10 else str(i) for i in range(20)]
    table = write_table(LogD=first, KSOL=second)
    outcome = run(
        *("--data-path", table, "--target-columns", "LogD", "KSOL", "--n-groups", "2"),
        *("--affinity-batch-size", "1", "--save-groups", "groups.json", "--device", "cpu"),
    )
    assert outcome.code == 2
    assert "found NaN or infinity between LogD and KSOL" in outcome.err
    assert outcome.err.endswith("The matrix is kept in task_affinity.npz.\n")
    assert np.isnan(AffinityResult.load("task_affinity.npz").matrix[0, 1])
    assert not Path("groups.json").exists()
