"""`molpool-train mil` on a table of bags: run folder, resume, refusals."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from molpool_common import load_config
from molpool_pipelines.fitting import TrainMILConfig
from molpool_pipelines.runs import read_run_predictions
from sklearn import metrics as peer

RunMIL = Callable[..., tuple[int, str, str]]
SMALL = [
    *("--models", "attention"),
    *("--data.kind", "bags"),
    *("--data.target-columns", "easy", "rare"),
    *("--model.inst-hidden", "16"),
    *("--model.inst-layers", "1"),
    *("--model.attn-heads", "4"),
    *("--model.mixer-hidden", "16"),
    *("--model.mixer-layers", "1"),
    *("--model.proj-dim", "16"),
    *("--training.batch-size", "16"),
    *("--training.accumulate-grad-batches", "1"),
    *("--training.lr", "0.005"),
    *("--training.accelerator", "cpu"),
    *("--sampling.rare-prev-thr", "0.2"),
]


@pytest.fixture(scope="module")
def run() -> RunMIL:
    """Run ``molpool-train mil`` in this process; give exit code, output and errors."""
    from molpool_train.cli import main

    def call(*arguments: object) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = main(["mil", *map(str, arguments)])
        return code, out.getvalue(), err.getvalue()

    return call


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 bags of 1 to 5 instances whose first feature decides two tasks, one of them rare."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 6, 80)
    bag = np.repeat(np.arange(80), sizes)
    features = rng.normal(size=(len(bag), 8))
    largest = np.array([features[bag == b, 0].max() for b in range(80)])
    frame = pl.DataFrame(
        {
            "bag_id": [f"mol{b}" for b in bag],
            "easy": (largest > 0.7).astype(int)[bag],
            "rare": (largest > np.quantile(largest, 0.87)).astype(int)[bag],
            "fold": (np.arange(80) % 4)[bag],
            "hot": (features[:, 0] > 0.7).astype(int),
            **{f"f{j + 1}": features[:, j] for j in range(8)},
        }
    )
    path = tmp_path_factory.mktemp("bags") / "bags.csv"
    frame.write_csv(path)
    return path


@pytest.fixture(scope="module")
def folder(run: RunMIL, table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "first"
    code, out, err = run(
        *("--data-path", table, "--save-dir", path, "--training.epochs", 8, *SMALL),
        *("--data.witness-column", "hot", "--training.threshold-least", 1),
    )
    assert code == 0, err
    assert "macro AP" in out
    said = " ".join(out.split())
    assert "65 training bags: what is not given of model, training and loss is as for" in said
    return path


@pytest.mark.slow
class TestFolder:
    def test_holds_what_the_design_says_and_no_temporary_file(self, folder: Path) -> None:
        names = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
        assert names == {
            ".lock",
            "SHA256SUMS",
            "attention_test.csv",
            "attention_test.parquet",
            "attention_train.csv",
            "attention_train.parquet",
            "calibration.npz",
            "checkpoints/best.ckpt",
            "checkpoints/last.ckpt",
            "config.resolved.yaml",
            "environment.json",
            "log.jsonl",
            "metrics.json",
            "model.pt",
            "predictions.parquet",
            "report.html",
            "sampling.parquet",
            "table_rows.parquet",
        }
        assert load_config(TrainMILConfig, folder / "config.resolved.yaml").seed == 42

    def test_metrics_are_those_of_the_predictions(self, folder: Path) -> None:
        frame = read_run_predictions(folder)
        stored = json.loads((folder / "metrics.json").read_text())["splits"]
        assert frame["split"].unique().sort().to_list() == ["test", "train", "val"]
        for split in ("test", "val", "train"):
            rows = frame.filter(split=split)
            auc = peer.roc_auc_score(rows["easy"], rows["easy predicted"])
            found = stored[split]["tasks"]["easy"]["metrics"]["roc_auc"]["value"]
            assert found == pytest.approx(auc, rel=1e-9)
        decided = stored["test"]["decisions"]["easy"]
        test = frame.filter(split="test")
        called = test.filter(pl.col("easy decision"))
        assert decided["true_positives"] == called["easy"].sum()
        assert (called["easy predicted"] >= decided["threshold"]).all()

    def test_thresholds_are_those_of_validation_bags(self, folder: Path) -> None:
        frame = read_run_predictions(folder).filter(split="val")
        stored = json.loads((folder / "metrics.json").read_text())["splits"]["test"]["decisions"]
        cut = stored["easy"]["threshold"]
        f1 = [
            peer.f1_score(frame["easy"], frame["easy predicted"] >= c, zero_division=0)
            for c in [cut, *frame["easy predicted"]]
        ]
        assert f1[0] == pytest.approx(max(f1))

    def test_attention_has_a_row_an_instance_and_task(self, folder: Path, table: Path) -> None:
        sides = read_run_predictions(folder).filter(split="test")
        frame = pl.read_parquet(folder / "attention_test.parquet")
        assert frame.height == 2 * sides["instances"].sum()
        sums = frame.group_by("molecule_id", "task").agg(pl.col("attention").sum())
        np.testing.assert_allclose(sums["attention"], 1, atol=1e-6)

    def test_page_is_whole_and_says_what_is_rare(self, folder: Path) -> None:
        page = (folder / "report.html").read_text()
        assert page.rstrip().endswith("</html>")
        for text in ("Rare tasks, drawn more often", "Training", "top attention ="):
            assert text in page
        assert not re.search(r"(src|href)=.http", page)

    def test_what_was_drawn_follows_the_weights(self, folder: Path, table: Path) -> None:
        drawn = pl.read_parquet(folder / "sampling.parquet")
        events = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        assert drawn["epoch"].to_list() == [e["epoch"] for e in events if e["event"] == "epoch"]
        train = read_run_predictions(folder).filter(split="train")
        assert (drawn["labels: rare"] == train.height).all(), "each draw has a label"
        # A rare positive weighs min(1 + 20, 10) = 10, all others 1.
        positives = int(train["rare"].sum())
        share = 10 * positives / (10 * positives + train.height - positives)
        assert drawn["max"][0] == pytest.approx(share / positives)
        weights = np.where(train["rare"] == 1, 10, 1)
        assert drawn["effective_samples"][0] == pytest.approx(
            weights.sum() ** 2 / (weights**2).sum()
        )
        # 8 epochs of 64 draws: 5 standard errors, missed in 1 of 10^6 runs, and the seed is fixed.
        expected, n = share * train.height, len(drawn)
        spread = np.sqrt(expected * (1 - share) / n)
        assert abs(drawn["positives: rare"].mean() - expected) < 5 * spread  # type: ignore[operator]
        assert ">Sampling<" in (folder / "report.html").read_text()

    def test_every_bag_is_predicted_and_features_are_recorded(
        self, folder: Path, table: Path
    ) -> None:
        bags = pl.read_csv(table)["bag_id"].n_unique()
        assert read_run_predictions(folder).height == bags
        assert not (folder / "rejected.csv").exists()
        events = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        named = next(e for e in events if e["event"] == "features")
        # Neither the targets nor the folds that stand beside them.
        assert named["instances"] == [f"f{j + 1}" for j in range(8)]

    def test_accounts_of_instances_are_held_against_the_truth(self, folder: Path) -> None:
        notes = json.loads((folder / "metrics.json").read_text())["notes"]
        (told,) = [note for note in notes if note.startswith("easy: the first instance of")]
        accounts = ("attention", "leave-one-out", "Shapley", "gradient")
        assert all(re.search(rf"{account} \d+%", told) for account in accounts)
        assert sum("the instance of most attention is that of" in note for note in notes) == 2

    def test_few_bags_have_defaults_of_their_own(self, folder: Path) -> None:
        config = load_config(TrainMILConfig, folder / "config.resolved.yaml")
        assert config.size == "small"
        assert config.training.members > 1
        assert (config.model.inst_hidden, config.training.lr) == (16, 0.005)  # as given

    def test_log_tells_each_epoch(self, folder: Path) -> None:
        events = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        epochs = [e for e in events if e["event"] == "epoch"]
        assert [e["epoch"] for e in epochs] == list(range(len(epochs)))
        assert {"val_macro_ap", "val_min_ap"} <= epochs[0].keys()
        assert events[-1]["event"] == "finished"


@pytest.mark.slow
def test_an_interrupted_run_goes_on_to_the_same_end(
    run: RunMIL, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from molpool_pipelines.fitting import MILScreen

    length = ("--training.epochs", 2, "--training.checkpoint-every-steps", 1)
    common = [*("--data-path", table), *length, *SMALL]
    assert run(*common, "--save-dir", tmp_path / "whole")[0] == 0

    def interrupt(self: MILScreen, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.current_epoch == 1 and batch_idx == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MILScreen, "on_train_batch_start", interrupt, raising=False)
        code, _, err = run(*common, "--save-dir", tmp_path / "broken")
    assert code == 130
    assert f"molpool-train mil --resume --save-dir {tmp_path / 'broken'}" in err
    code, _, err = run("--resume", "true", "--save-dir", tmp_path / "broken")
    assert code == 0, err
    whole, broken = (read_run_predictions(tmp_path / name) for name in ("whole", "broken"))
    assert broken.equals(whole)


@pytest.mark.slow
def test_stored_folds_decide_who_tests(run: RunMIL, table: Path, tmp_path: Path) -> None:
    flags = ("--split.split-type", "stored", "--split.fold-column", "fold", "--split.fold", 2)
    code, _, err = run(
        *("--data-path", table, "--save-dir", tmp_path / "run", "--training.epochs", 1),
        *SMALL,
        *flags,
    )
    assert code == 0, err
    frame = read_run_predictions(tmp_path / "run").filter(split="test")
    assert sorted(frame["id"]) == sorted(f"mol{b}" for b in range(80) if b % 4 == 2)


@pytest.mark.slow
def test_all_that_is_not_tested_may_train(
    run: RunMIL, folder: Path, table: Path, tmp_path: Path
) -> None:
    path = tmp_path / "run"
    config = tmp_path / "all.yaml"
    config.write_text("thresholds: {easy: 0.25}\nsplit: {val_ratio: 0}\n")
    code, _, err = run(
        *("--config", config, "--data-path", table, "--save-dir", path, "--training.epochs", 2),
        *SMALL,
    )
    assert code == 0, err
    sides = {name: read_run_predictions(p) for name, p in (("val", folder), ("all", path))}
    tested = {name: set(f.filter(split="test")["id"]) for name, f in sides.items()}
    assert tested["all"] == tested["val"]
    assert sides["all"]["split"].value_counts().height == 2
    stored = json.loads((path / "metrics.json").read_text())["splits"]
    assert "val" not in stored
    decisions = stored["test"]["decisions"]
    assert (decisions["easy"]["threshold"], decisions["rare"]["threshold"]) == (0.25, 0.5)
    assert "since no bag validates" in (path / "report.html").read_text()
    config.write_text("thresholds: {easi: 0.25}\n")
    code, _, err = run(
        "--config", config, "--data-path", table, "--save-dir", tmp_path / "x", *SMALL
    )
    assert code == 2
    assert "thresholds: found 'easi'. Did you mean 'easy'" in err


@pytest.mark.slow
def test_from_smiles_to_an_sd_file(run: RunMIL, tmp_path: Path) -> None:
    chem = pytest.importorskip("rdkit.Chem")
    ends = ("O", "N", "Cl", "OC", "C=O")
    smiles = ["C" * n + end for n in range(1, 6) for end in ends]
    frame = pl.DataFrame({"SMILES": smiles})
    frame = frame.with_columns(
        name=pl.format("m{}", pl.int_range(pl.len())), active=pl.int_range(pl.len()) % 2
    )
    frame.write_csv(tmp_path / "molecules.csv")
    start = SMALL.index("--model.inst-hidden")  # past what is of bags
    code, _, err = run(
        *("--data-path", tmp_path / "molecules.csv", "--save-dir", tmp_path / "run"),
        *("--models", "attention"),
        *SMALL[start:],
        *("--data.target-columns", "active", "--data.id-column", "name"),
        *("--data.features.conformers.count", 2, "--data.features.descriptors-2d.morgan-bits", 16),
        *("--model.mol-hidden", 16, "--model.mol-layers", 1, "--training.epochs", 1),
        *("--split.n-folds", 3, "--split.val-ratio", 0.3, "--export.sdf", 3),
        *("--predict-path", tmp_path / "molecules.csv", "--data.cache-dir", tmp_path / "cache"),
    )
    assert code == 0, err
    attention = pl.read_parquet(tmp_path / "run" / "attention_test.parquet")
    supplier = chem.SDMolSupplier(str(tmp_path / "run" / "attention_test.sdf"), removeHs=False)
    entries = {(m.GetProp("_Name"), m.GetProp("conformer_id")): m for m in supplier}
    assert len({name for name, _ in entries}) == 3
    for row in attention.iter_rows(named=True):
        entry = entries.get((row["molecule_id"], row["conformer_id"]))
        if entry is not None:
            assert float(entry.GetProp("attention active")) == pytest.approx(row["attention"], 1e-4)
            assert float(entry.GetProp("energy")) == pytest.approx(row["energy"])
    page = (tmp_path / "run" / "attention.html").read_text()
    assert "$3Dmol.createViewer" in page
    assert all(f'"id":"{name}"' in page for name, _ in entries)
    unseen = pl.read_csv(tmp_path / "run" / "predictions_unseen.csv")
    seen = read_run_predictions(tmp_path / "run")
    both = seen.join(unseen, on="id", suffix=" again")
    assert both.height == frame.height
    np.testing.assert_allclose(both["active predicted"], both["active again"], rtol=1e-6)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--data.target-columns", "easi"), "Did you mean 'easy'"),
        (("--data.kind", "smiles"), "'SMILES'"),
        (("--model.attn-heads", "5"), "divisor of inst_hidden 16; found 5"),
        (("--split.split-type", "stored"), "expected a column with split_type stored"),
        (("--split.split-type", "plate", "--split.plate-column", "p"), "plate_column.*'p'"),
        (("--split.fold", "10"), "expected 0 to 9"),
        (("--model.use-3d", "false"), "in_2d: expected the number of features"),
        (("--training.epoch", "3"), "Did you mean '--training.epochs'"),
        (("--resume", "true"), "the folder of a run"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(
    flags: tuple[str, ...], message: str, run: RunMIL, table: Path, tmp_path: Path
) -> None:
    code, _, err = run("--data-path", table, "--save-dir", tmp_path / "run", *SMALL, *flags)
    assert code == 2, err
    assert err.startswith("molpool-train: ")
    assert err.count("\n") == 1
    assert re.search(message, err), err
    assert not (tmp_path / "run").exists()
