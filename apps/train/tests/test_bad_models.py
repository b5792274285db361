"""Whatever is wrong with checkpoints, foundations, groups, signs or classes: exit code 2."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from chemprop import nn

FIRST = "message_passing.W_i.weight"
SMALL = ("--model.message-passing.hidden-size", "8", "--model.message-passing.depth", "2")


@pytest.fixture
def flags(write_table: Any) -> list[str]:
    return ["--data-path", str(write_table()), "--target-columns", "LogD", "KSOL"]


@pytest.fixture(scope="session")
def finished(plain: Any) -> Path:
    return Path(plain[1])


class TestCheckpoint:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("spoil", "parts"),
        [
            (lambda state: state.pop(FIRST), ("found None", "a checkpoint of another model")),
            (
                lambda state: state.update({FIRST: torch.zeros(9, 86)}),
                ("of shape (8, 86); found (9, 86)", "a checkpoint of another model"),
            ),
            (
                lambda state: state.update({FIRST: torch.zeros(8, 147)}),
                ("of shape (8, 86); found (8, 147)", "of another featuriser"),
            ),
            (None, ("expected a model file", "cut off")),
        ],
        ids=["without", "wider", "featuriser", "truncated"],
    )
    def test_resume(
        self, run: Any, finished: Path, tmp_path: Path, spoil: Callable[..., Any], parts: Any
    ) -> None:
        folder = tmp_path / "run"
        shutil.copytree(finished, folder)
        last = folder / "checkpoints" / "last.ckpt"
        if spoil is None:
            last.write_bytes(last.read_bytes()[: last.stat().st_size // 2])
        else:
            content = torch.load(last, weights_only=False)
            spoil(content["state_dict"])
            torch.save(content, last)
        # As of a run without digests, which would say first that the file has changed.
        (folder / "SHA256SUMS").unlink()
        before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        outcome = run("--resume", "--save-dir", folder)
        assert outcome.code == 2
        assert outcome.err.startswith("molpool-train: resume_from: ")
        assert outcome.err.count("\n") == 1
        for part in (*parts, str(last)):
            assert part in outcome.err
        assert before == {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


class TestFoundation:
    @pytest.mark.parametrize("flag", ["--from-foundation", "--model.from-foundation"])
    def test_missing(self, refused: Any, flags: list[str], tmp_path: Path, flag: str) -> None:
        message = refused(*flags, flag, tmp_path / "none.pt")
        assert "model.from_foundation: expected a model file; found no file" in message

    @pytest.mark.parametrize(
        ("block", "parts"),
        [
            ({"d_h": 16}, ("'W_i.weight' of shape (8, 86); found (16, 86)", "as the foundation")),
            ({"d_h": 8, "d_v": 133}, ("found (8, 147)", "of another featuriser")),
        ],
        ids=["shape", "featuriser"],
    )
    def test_of_another_shape(
        self, refused: Any, flags: list[str], tmp_path: Path, block: Any, parts: Any
    ) -> None:
        path = tmp_path / "foundation.pt"
        torch.save({"state_dict": nn.BondMessagePassing(**block).state_dict()}, path)
        message = refused(*flags, *SMALL, "--from-foundation", path)
        for part in ("model.from_foundation: expected parameter", *parts, str(path)):
            assert part in message

    def test_truncated(self, refused: Any, flags: list[str], tmp_path: Path) -> None:
        path = tmp_path / "foundation.pt"
        torch.save({"state_dict": nn.BondMessagePassing(d_h=8).state_dict()}, path)
        path.write_bytes(path.read_bytes()[:1000])
        assert "is cut off" in refused(*flags, *SMALL, "--from-foundation", path)

    def test_nothing_to_freeze(self, refused: Any, flags: list[str]) -> None:
        message = refused(*flags, "--model.freeze-encoder", "true")
        assert "model.freeze_encoder: expected model.from_foundation" in message


class TestSigns:
    def test_unknown_sign(self, refused: Any, write_table: Any) -> None:
        path = write_table(**{"LogD mod": ["=", "<", "~", ""] * 6})
        message = refused(
            "--data-path", path, "--target-columns", "LogD", "--data.modifier-suffix", " mod"
        )
        assert "column 'LogD mod' (table.csv): expected one of =, <, <=, >, >= or noth" in message
        assert "found '~' in row 3. Rows: 3, 7, 11, 15, 19, 23." in message

    def test_missing_column(self, refused: Any, flags: list[str]) -> None:
        message = refused(*flags, "--data.modifier-columns", "LogD", "Qualty")
        assert "data.modifier_columns (table.csv)" in message
        assert "Did you mean 'Quality'?" in message

    def test_bounds_on_classes(self, refused: Any, write_table: Any) -> None:
        path = write_table(KSOL=["0", "1"] * 12, mod=["", "<"] * 12)
        arguments = ("--data-path", path, "--target-columns", "LogD", "KSOL")
        message = refused(*arguments, "--data.modifier-columns", "KSOL", "mod")
        assert "task 'KSOL' (table.csv): expected classes without a modifier" in message
        assert "found 1 in row 2" in message


@pytest.mark.core
class TestTasks:
    def test_classes_of_a_mixed_table(self, refused: Any, write_table: Any) -> None:
        path = write_table(KSOL=["0", "1"] * 11 + ["2", "1"])
        arguments = ("--data-path", path, "--target-columns", "LogD", "KSOL")
        message = refused(*arguments, "--task-types", "KSOL", "classification")
        assert "task 'KSOL' (table.csv): expected classes 0 and 1" in message
        assert "found 2 in row 23" in message

    def test_kind_of_an_unknown_task(self, refused: Any, flags: list[str]) -> None:
        message = refused(*flags, "--task-types", "KSLO", "classification")
        assert "task_types: expected tasks" in message
        assert "Did you mean 'KSOL'?" in message

    @pytest.mark.parametrize(
        ("groups", "parts"),
        [
            ("[[LogD], [KSLO]]", ("group 1: expected tasks of the model", "Did you mean 'KSOL'?")),
            ("[[LogD]]", ("one group holds task 'KSOL'", "none does")),
            ("[[LogD], [LogD, KSOL]]", ("task 'LogD', or an assignment; groups 0, 1 do",)),
            ("nowhere.json", ("found no file 'nowhere.json'",)),
        ],
    )
    def test_groups(
        self, refused: Any, flags: list[str], tmp_path: Path, groups: str, parts: Any
    ) -> None:
        config = tmp_path / "groups.yaml"
        config.write_text(f"groups: {groups}\n")
        message = refused("--config", config, *flags)
        for part in ("groups: ", *parts):
            assert part in message


def test_conflicting_repeats_are_listed(run: Any, write_table: Any, tmp_path: Path) -> None:
    path = write_table({("SMILES", 2): "OCC", ("SMILES", 5): "C(C)C"})  # CCO again, CCC again
    arguments = ("--data-path", path, "--target-columns", "LogD", "--duplicates", "error")
    outcome = run(*arguments, "--save-dir", tmp_path / "run")
    assert outcome.code == 2
    assert not (tmp_path / "run").exists()
    assert "duplicates: expected equal values" in outcome.err
    assert "CCO, LogD: 0 (table.csv, row 1), 0.5 (table.csv, row 2)" in outcome.err
    assert "CCC, LogD: 1 (table.csv, row 3), 2 (table.csv, row 5)" in outcome.err


class TestUnseen:
    def test_missing_table(self, refused: Any, flags: list[str], tmp_path: Path) -> None:
        message = refused(*flags, "--predict-path", tmp_path / "tabel.csv")
        assert "data.predict_path: expected an existing file" in message
        assert "Did you mean 'table.csv'?" in message

    def test_what_does_not_parse_is_numbered(
        self, refused: Any, flags: list[str], tmp_path: Path
    ) -> None:
        path = tmp_path / "new.csv"
        path.write_text("SMILES\nCCO\nC1CC\n\nxx\n")
        message = refused(*flags, "--predict-path", path)
        assert "column 'SMILES' (new.csv)" in message
        assert "'C1CC' in row 2" in message
        assert "--on-bad-smiles drop leaves them out" in message
        path.write_text("smles\nCCO\n")
        message = refused(*flags, "--predict-path", path)
        assert "data.smiles_column (new.csv)" in message
        assert "Did you mean 'smles'?" in message


@pytest.mark.slow
class TestLossThatIsNotFinite:
    @pytest.mark.parametrize("with_ids", [True, False])
    def test_names_molecules_and_tasks(
        self, run: Any, write_table: Any, tmp_path: Path, with_ids: bool
    ) -> None:
        # In order of time the last tenth tests and the tenth before it validates: rows 20 to 22.
        time = [str(2000 + i) for i in range(24)]
        path = write_table(
            {("LogD", 21): "1e25"}, time=time, Name=[f"E-{i}" for i in range(1, 25)]
        )  # its square is beyond single precision
        folder = tmp_path / "run"
        outcome = run(
            "--data-path", path, "--target-columns", "LogD", "KSOL", *SMALL,
            "--data.split-type", "time", "--data.time-column", "time",
            "--training.epochs", 2, "--save-dir", folder,
            *(("--data.id-column", "Name") if with_ids else ()),
        )  # fmt: skip
        assert outcome.code == 2
        place = "row 21 of table.csv (E-21)" if with_ids else "row 21 of table.csv,"
        assert "validation loss in epoch 1: expected a finite number" in outcome.err
        assert f"in {place}" in outcome.err
        assert "tasks 'LogD'. Look for extreme labels" in outcome.err
        assert "Traceback" not in outcome.err
        assert '"event": "failed"' in (folder / "log.jsonl").read_text()
        assert not (folder / "model.pt").exists()

    def test_in_training(self, run: Any, flags: list[str], tmp_path: Path) -> None:
        outcome = run(
            *flags,
            *SMALL,
            "--training.batch-size",
            4,
            "--training.learning-rate",
            "1e30",
            "--save-dir",
            tmp_path / "run",
        )
        assert outcome.code == 2
        assert "training loss in epoch" in outcome.err
        assert "lower training.learning_rate" in outcome.err
