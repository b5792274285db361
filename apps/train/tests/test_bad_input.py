"""Whatever is wrong with what the user gave: exit code 2, one message, nothing written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

TASKS = ("--target-columns", "LogD", "KSOL")
CURRICULUM = (
    *("--joint-sampling.enabled", "true"),
    *("--joint-sampling.curriculum.enabled", "true"),
)


def check_contains(message: str, *parts: str) -> None:
    for part in parts:
        assert part in message


class TestFile:
    def test_missing_file_names_a_similar_one(self, refused: Any, write_table: Any) -> None:
        path = write_table()
        message = refused("--data-path", path.with_name("tabel.csv"), *TASKS)
        check_contains(message, "data_path: expected an existing file", "tabel.csv", "'table.csv'?")

    def test_folder(self, refused: Any, tmp_path: Path) -> None:
        check_contains(refused("--data-path", tmp_path, *TASKS), "data_path", "found the folder")

    @pytest.mark.parametrize(
        ("name", "content", "parts"),
        [
            ("t.csv", b"\x89PNG\r\n\x1a\n\x00\xff" * 9, ("expected text", "bytes of no text")),
            (
                "t.csv",
                b'[{"SMILES": "CCO", "LogD": 1}]',
                ("CSV, Excel, Parquet, SDF", "found JSON"),
            ),
            ("t.csv", b'{"SMILES": ["CCO"],\n"LogD": [1]}', ("found JSON",)),
            ("t.parquet", b"SMILES,LogD\nCCO,1\n", ("expected a Parquet file",)),
            ("t.csv", b"", ("expected a header and rows", "found an empty file")),
            ("t.csv", b"SMILES,LogD,KSOL\n", ("at least one row", "a table without rows")),
            ("t.csv", b"SMILES,LogD\nCCO,1\nCCN,2,3\n", ("found 3 in line 3, 2 in the header",)),
            ("t.csv", b"SMILES,LogD,LogD\nCCO,1,2\n", ("distinct names", "twice 'LogD'")),
        ],
        ids=[
            "binary",
            "json",
            "object",
            "parquet",
            "zero",
            "header",
            "ragged",
            "twice",
        ],
    )
    def test_not_a_table(
        self, refused: Any, tmp_path: Path, name: str, content: bytes, parts: tuple[str, ...]
    ) -> None:
        path = tmp_path / name
        path.write_bytes(content)
        check_contains(refused("--data-path", path, *TASKS), f"({name}): expected", *parts)

    def test_no_table_named(self, refused: Any) -> None:
        check_contains(refused(*TASKS), "data_path: expected one of", "--data-path", "none of them")

    def test_two_tables_named(self, refused: Any, write_table: Any) -> None:
        message = refused("--data-path", write_table(), "--data.dataset", "demo", *TASKS)
        check_contains(message, "found data_path and data.dataset")

    def test_unknown_data_set(self, refused: Any) -> None:
        check_contains(
            refused("--data.dataset", "expansionrxx", *TASKS), "Did you mean 'expansionrx'?"
        )


class TestColumns:
    def test_missing_target(self, refused: Any, write_table: Any) -> None:
        message = refused("--data-path", write_table(), "--target-columns", "LogD", "KSLO")
        check_contains(message, "data.target_columns (table.csv)", "'KSLO'", "Did you mean 'KSOL'?")

    def test_missing_smiles_column(self, refused: Any, write_table: Any) -> None:
        message = refused("--data-path", write_table(), *TASKS, "--smiles-column", "smile")
        check_contains(message, "data.smiles_column", "found 'smile'", "Did you mean 'SMILES'?")

    def test_missing_id_column(self, refused: Any, write_table: Any) -> None:
        message = refused("--data-path", write_table(), *TASKS, "--data.id-column", "Name")
        check_contains(message, "data.id_column", "found 'Name'")

    def test_no_target(self, refused: Any, tmp_path: Path) -> None:
        path = tmp_path / "table.csv"
        path.write_text("SMILES,comment\nCCO,good\nCCN,bad\n", encoding="utf-8")
        check_contains(refused("--data-path", path), "table.csv", "numbers")

    def test_target_given_twice(self, refused: Any, write_table: Any) -> None:
        message = refused("--data-path", write_table(), "--target-columns", "LogD", "LogD")
        check_contains(message, "data.target_columns: expected distinct names; found twice LogD")


class TestSmiles:
    def test_unparsable_rows_are_numbered(self, refused: Any, write_table: Any) -> None:
        path = write_table({("SMILES", 4): "nonsense", ("SMILES", 6): "C1CC"})
        message = refused("--data-path", path, *TASKS)
        check_contains(
            message, "column 'SMILES' (table.csv)", "'nonsense' in row 4", "Rows: 4, 6 (2 of"
        )
        check_contains(message, "--on-bad-smiles drop")

    def test_missing_smiles(self, refused: Any, write_table: Any) -> None:
        message = refused("--data-path", write_table({("SMILES", 3): ""}), *TASKS)
        check_contains(message, "found nothing in row 3")

    def test_none_parses(self, refused: Any, write_table: Any) -> None:
        path = write_table(SMILES=["xx"] * 24)
        message = refused("--data-path", path, *TASKS, "--on-bad-smiles", "drop")
        check_contains(message, "column 'SMILES'", "no row that parses")


class TestTargets:
    def test_no_label(self, refused: Any, write_table: Any) -> None:
        message = refused("--data-path", write_table(KSOL=[""] * 24), *TASKS)
        check_contains(message, "task 'KSOL': expected at least two labels; found no label at all")

    def test_one_label(self, refused: Any, write_table: Any) -> None:
        message = refused("--data-path", write_table(KSOL=["1"] + [""] * 23), *TASKS)
        check_contains(message, "task 'KSOL': expected at least two labels; found one label")

    @pytest.mark.parametrize("value", ["inf", "-inf", "Infinity"])
    def test_infinity(self, refused: Any, write_table: Any, value: str) -> None:
        message = refused("--data-path", write_table({("LogD", 3): value}), *TASKS)
        check_contains(
            message, "column 'LogD' (table.csv)", "a finite number", f"'{value}' in row 3"
        )

    def test_text(self, refused: Any, write_table: Any) -> None:
        path = write_table({("LogD", 3): "five", ("LogD", 8): "1.2.3"})
        message = refused("--data-path", path, *TASKS)
        check_contains(message, "column 'LogD'", "a number or nothing", "'five'", "3, 8")

    def test_rows_are_those_of_the_file_after_others_were_dropped(
        self, refused: Any, write_table: Any
    ) -> None:
        path = write_table({("SMILES", 1): "xx", ("LogD", 8): "five"})
        message = refused("--data-path", path, *TASKS, "--on-bad-smiles", "drop")
        check_contains(message, "'five' in row 8")

    def test_numbers_for_classes(self, refused: Any, write_table: Any) -> None:
        path = write_table(KSOL=["0", "1"] * 12, LogD=["0", "1"] * 11 + ["0.5", "1"])
        message = refused("--data-path", path, *TASKS, "--task-type", "classification")
        check_contains(message, "task 'LogD' (table.csv)", "classes 0 and 1", "found 0.5 in row 23")


class TestQuality:
    def test_unknown_label(self, refused: Any, write_table: Any) -> None:
        path = write_table({("Quality", 5): "hihg"})
        message = refused("--data-path", path, *TASKS, *CURRICULUM)
        check_contains(message, "column 'Quality' (table.csv)", "curriculum.qualities")
        check_contains(message, "'hihg' in row 5", "Did you mean 'high'?")

    def test_missing_label(self, refused: Any, write_table: Any) -> None:
        path = write_table({("Quality", 5): "", ("Quality", 9): "NA"})
        message = refused("--data-path", path, *TASKS, *CURRICULUM)
        check_contains(message, "column 'Quality'", "found none in row 5", "Rows: 5, 9.")

    def test_missing_column(self, refused: Any, write_table: Any) -> None:
        flag = "--joint-sampling.curriculum.quality-col"
        message = refused("--data-path", write_table(), *TASKS, *CURRICULUM, flag, "quality")
        check_contains(
            message, "curriculum.quality_col", "found 'quality'", "Did you mean 'Quality'?"
        )

    def test_phase_that_draws_nothing(self, refused: Any, write_table: Any) -> None:
        path = write_table(Quality=["low"] * 24)
        message = refused("--data-path", path, *TASKS, *CURRICULUM)
        check_contains(message, "'warmup'", "'low': 0.0", "{'low': ")


class TestConfiguration:
    @pytest.fixture
    def refused_yaml(self, refused: Any, write_table: Any, tmp_path: Path) -> Any:
        path = write_table()

        def call(text: str) -> str:
            config = tmp_path / "config.yaml"
            head = f"data_path: {path}\ndata: {{target_columns: [LogD, KSOL]}}\n"
            config.write_text(head + text)
            return str(refused("--config", config))

        return call

    def test_alpha_in_yaml(self, refused_yaml: Any) -> None:
        message = refused_yaml("joint_sampling:\n  task_oversampling:\n    alpha: x\n")
        check_contains(message, "joint_sampling.task_oversampling.alpha (config.yaml, line 5)")
        check_contains(message, "expected a number; found 'x'")

    def test_alpha_as_flag(self, refused: Any, write_table: Any) -> None:
        flag = "--joint-sampling.task-oversampling.alpha"
        message = refused("--data-path", write_table(), *TASKS, flag, "x")
        check_contains(
            message, "joint_sampling.task_oversampling.alpha: expected a number; found 'x'"
        )

    def test_phase_weights_that_sum_to_zero(self, refused_yaml: Any) -> None:
        message = refused_yaml(
            "joint_sampling:\n  curriculum:\n    phase_weights:\n"
            "      warmup: {high: 0, medium: 0, low: 0}\n"
        )
        check_contains(message, "curriculum.phase_weights['warmup'] (config.yaml, line 4)")
        check_contains(message, "expected a weight above 0; found {'high': 0.0")

    def test_unknown_key(self, refused_yaml: Any) -> None:
        message = refused_yaml("training:\n  epoch: 3\n")
        check_contains(message, "training.epoch (config.yaml, line 4)", "Did you mean 'epochs'?")

    def test_unknown_section(self, refused_yaml: Any) -> None:
        message = refused_yaml("trainings: {epochs: 3}\n")
        check_contains(message, "trainings (config.yaml, line 3)", "Did you mean 'training'?")

    def test_unknown_flag(self, refused: Any, write_table: Any) -> None:
        message = refused("--data-path", write_table(), *TASKS, "--training.epoch", 3)
        check_contains(message, "'--training.epoch'", "Did you mean '--training.epochs'?")

    def test_unknown_choice(self, refused: Any, write_table: Any) -> None:
        message = refused("--data-path", write_table(), *TASKS, "--data.split-type", "scafold")
        check_contains(
            message, "data.split_type: expected 'random', 'scaffold'", "mean 'scaffold'?"
        )

    def test_missing_file(self, refused: Any, tmp_path: Path) -> None:
        message = refused("--config", tmp_path / "nowhere.yaml")
        check_contains(message, "--config: expected an existing file; found no file")

    def test_legacy_and_new_keys(self, refused_yaml: Any) -> None:
        message = refused_yaml(
            "optimization: {task_sampling_alpha: 0.5}\njoint_sampling: {enabled: true}\n"
        )
        check_contains(message, "joint_sampling", "optimization.task_sampling_alpha")


class TestFolder:
    def test_not_a_run(self, refused: Any, write_table: Any, tmp_path: Path) -> None:
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "thesis.txt").write_text("precious")
        for more in ([], ["--overwrite"]):
            arguments = ["--data-path", write_table(), *TASKS, *more]
            message = refused(*arguments, save_dir=tmp_path / "mine")
            check_contains(message, "save_dir: expected a new or empty folder", "other files")

    @pytest.mark.parametrize("below", ["", "run"])
    def test_file(self, refused: Any, write_table: Any, tmp_path: Path, below: str) -> None:
        (tmp_path / "file").write_text("x")
        message = refused("--data-path", write_table(), *TASKS, save_dir=tmp_path / "file" / below)
        check_contains(message, "save_dir: expected a folder; found the file")

    def test_resume_without_a_run(self, refused: Any, write_table: Any) -> None:
        message = refused("--data-path", write_table(), *TASKS, "--resume")
        check_contains(message, "--resume: expected the folder of a run; found no such folder")

    def test_resume_without_a_folder(self, run: Any, write_table: Any) -> None:
        outcome = run("--data-path", write_table(), *TASKS, "--resume")
        assert outcome.code == 2
        check_contains(outcome.err, "--resume: expected --save-dir")


def test_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    from molpool_train.cli import main

    assert main(["chempro"]) == 2
    message = capsys.readouterr().err
    check_contains(message, "expected one of auto, chemprop", "Did you mean 'chemprop'?")
