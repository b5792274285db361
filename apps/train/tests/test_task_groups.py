"""Runs whose groups are measured: what they leave behind, and that measuring changes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from chemprop_multitask import ChempropModel, Ensemble
from molpool_common import load_config
from molpool_pipelines.fitting import TrainChempropConfig
from molpool_pipelines.runs import read_run_predictions

TASKS = ("LogP", "LogS", "QED")
MEASURED = (
    *("--task-affinity.enabled", "true"),
    *("--task-affinity.n-groups", "2"),
    *("--task-affinity.affinity-batch-size", "16"),
    *("--task-affinity.n-bootstrap", "20"),
)
FILES = {
    "affinity.csv",
    "affinity.npz",
    "affinity_dendrogram.png",
    "affinity_heatmap.png",
    "groups.json",
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def outcome(run: Any, small: list[str], tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("runs") / "measured"
    result = run(*small, *MEASURED, "--page", "true", "--save-dir", folder)
    assert result.code == 0, result.err
    return result, folder


@pytest.fixture(scope="module")
def folder(outcome: Any) -> Path:
    return Path(outcome[1])


@pytest.fixture(scope="module")
def groups(folder: Path) -> Any:
    return json.loads((folder / "groups.json").read_text())


def states(folder: Path) -> list[dict[str, Any]]:
    models = sorted((folder / "models").glob("*.pt")) or [folder / "model.pt"]
    return [ChempropModel.load(path).module.state_dict() for path in models]


def same_weights(one: Path, other: Path) -> bool:
    pairs = zip(states(one), states(other), strict=True)
    return all(list(a) == list(b) and all(torch.equal(a[k], b[k]) for k in a) for a, b in pairs)


class TestHeads:
    def test_files(self, folder: Path, groups: Any) -> None:
        from task_affinity import AffinityResult

        assert {path.name for path in folder.iterdir()} >= FILES
        result = AffinityResult.load(folder / "affinity.npz")
        assert result.task_names == TASKS
        assert result.n_measured == result.n_steps == 6  # 90 training rows, 16 a batch
        table = pl.read_csv(folder / "affinity.csv")
        np.testing.assert_allclose(table.select(TASKS).to_numpy(), result.matrix)
        assert sorted(task for group in groups["groups"] for task in group) == sorted(TASKS)

    def test_a_head_a_group(self, folder: Path, groups: Any) -> None:
        served: Any = ChempropModel.load(folder / "model.pt").module.predictor.groups
        assert [[TASKS[t] for t in group] for group in served] == groups["groups"]

    def test_matrix_and_groups_are_told(self, outcome: Any, folder: Path, groups: Any) -> None:
        out = outcome[0].out
        matrix = pl.read_csv(folder / "affinity.csv").select(TASKS).to_numpy()
        # The seed's format: three decimals, a row a task.
        rows = [
            f"  {n}: [{' '.join(f'{v:.3f}' for v in r)}]"
            for n, r in zip(TASKS, matrix, strict=True)
        ]
        assert "Task affinity matrix computed:\n" + "\n".join(rows) in out
        assert f"  0: {', '.join(groups['groups'][0])}\n" in out
        events = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        (event,) = [e for e in events if e["event"] == "task_affinity"]
        assert event["groups"] == groups["groups"]
        np.testing.assert_allclose([event["matrix"][n] for n in TASKS], matrix, atol=1e-6)

    def test_report(self, folder: Path) -> None:
        page = (folder / "report.html").read_text()
        for text in ("Groups are measured", "Dendrogram of 3 tasks", "resamples in one group, %"):
            assert text in page

    def test_groups_given_by_hand_end_at_the_same_weights(
        self, run: Any, small: list[str], folder: Path, tmp_path: Path
    ) -> None:
        config = tmp_path / "by_hand.yaml"
        config.write_text(f"groups: {folder / 'groups.json'}\n")
        by_hand = tmp_path / "by_hand"
        assert run("--config", config, *small, "--save-dir", by_hand).code == 0
        assert same_weights(by_hand, folder)
        assert not FILES & {path.name for path in by_hand.iterdir()}

    def test_resume_does_not_measure_again(
        self, run: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:

        monkeypatch.setattr("molpool_pipelines.fitting._affinity.measure_run", None)
        before = (folder / "affinity.npz").stat().st_mtime_ns
        outcome = run("--resume", "--save-dir", folder)
        assert outcome.code == 0, outcome.err
        assert "from the run folder, not measured again" in outcome.out
        assert (folder / "affinity.npz").stat().st_mtime_ns == before
        assert "Dendrogram of 3 tasks" in (folder / "report.html").read_text()


LISTS = [["LogP", "LogS"], ["LogS", "QED"]]
OVERLAPPING = {"groups": [["LogP", "LogS"], ["QED", "LogS"]], "assignment": {"LogS": 1}}


@pytest.fixture(scope="module")
def separate_flags(small: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A model a group, LogS in both groups, two seeds; what is drawn and weighted is by task."""
    given = tmp_path_factory.mktemp("given")
    (given / "groups.json").write_text(json.dumps(OVERLAPPING))
    config = given / "separate.yaml"
    config.write_text(
        f"groups: {given / 'groups.json'}\n"
        "sharing: separate\n"
        "ensemble: {n_seeds: 2}\n"
        "joint_sampling: {enabled: true}\n"
        "training: {task_weights: {LogP: 2.0}}\n"
    )
    return ["--config", str(config), *small, "--page", "true"]


@pytest.fixture(scope="module")
def separate(run: Any, separate_flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "separate"
    result = run(*separate_flags, "--save-dir", folder)
    assert result.code == 0, result.err
    assert "Member 1 (2 in all): seed 1, fold 0; Group 1 (2 in all): QED, LogS" in result.out
    return folder


class TestSeparate:
    def test_each_group_trains_all_its_tasks_and_predicts_those_it_serves(
        self, separate: Path
    ) -> None:
        names = [f"member-00{m}-group-00{g}" for m in (0, 1) for g in (0, 1)]
        assert [path.stem for path in sorted((separate / "models").iterdir())] == names
        loaded = Ensemble.load(separate)
        assert loaded.task_names == TASKS
        first, second = (ChempropModel.load(separate / "models" / f"{n}.pt") for n in names[:2])
        assert (first.task_names, first.serves) == (("LogP", "LogS"), {"LogP": 0})
        assert (second.task_names, second.serves) == (("QED", "LogS"), {"LogS": 1, "QED": 2})

    def test_predictions_are_the_means_over_members_of_the_serving_groups(
        self, separate: Path
    ) -> None:
        said = read_run_predictions(separate)
        models = [ChempropModel.load(path) for path in sorted((separate / "models").iterdir())]
        smiles = said["SMILES"].to_list()
        for task, group, column in (("LogP", 0, 0), ("LogS", 1, 1), ("QED", 1, 0)):
            each = np.stack([models[2 * m + group].predict(smiles)[:, column] for m in (0, 1)])
            # Batches are cut elsewhere, so sums of single precision round differently.
            close = {"rtol": 1e-4, "atol": 1e-4}
            np.testing.assert_allclose(said[f"{task} predicted"], each.mean(axis=0), **close)
            np.testing.assert_allclose(said[f"{task}_sd"], each.std(axis=0, ddof=1), **close)

    def test_a_group_draws_rows_of_its_own_tasks(self, separate: Path, demo_csv: Path) -> None:
        drawn = pl.read_parquet(separate / "sampling.parquet")
        rows = [(m, g, e) for m in (0, 1) for g in (0, 1) for e in (0, 1)]
        assert drawn.select("member", "group", "epoch").rows() == rows
        assert drawn.filter(group=0)["labels: QED"].null_count() == 4
        # Rows without a label of the group would train nothing.
        smallest = drawn.filter(group=1).select(
            pl.sum_horizontal("labels: QED", "labels: LogS") - pl.col("distinct_rows")
        )
        assert smallest.min().item() >= 0

    def test_report_has_a_line_a_model(self, separate: Path) -> None:
        page = (separate / "report.html").read_text()
        for text in (
            "Groups are given by hand",
            "a line for each of 4 models",
            "member 1, group 1",
            "Models</dt>",
        ):
            assert text in page

    def test_an_interrupted_run_goes_on_with_the_same_group(
        self, run: Any, separate_flags: list[str], separate: Path, tmp_path: Path
    ) -> None:
        from molpool_pipelines.fitting import TrainingScreen

        stopped = tmp_path / "stopped"
        start = TrainingScreen.on_train_start
        started: list[None] = []

        def stop(self: Any, *arguments: Any, **named: Any) -> None:
            start(self, *arguments, **named)
            started.append(None)
            if len(started) == 3:
                raise KeyboardInterrupt

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(TrainingScreen, "on_train_start", stop)
            assert run(*separate_flags, "--save-dir", stopped).code == 130
        assert not (stopped / "models").exists()
        resumed = run("--resume", "--save-dir", stopped)
        assert resumed.code == 0, resumed.err
        assert same_weights(stopped, separate)

    def test_measured_and_given_groups_end_at_the_same_weights(
        self, run: Any, small: list[str], tmp_path: Path
    ) -> None:
        measured, by_hand = tmp_path / "measured", tmp_path / "by_hand"
        flags = (*small, "--training.epochs", 1, "--sharing", "separate")
        tag = ("--task-affinity.clustering-method", "tag", "--task-affinity.n-bootstrap", 5)
        outcome = run(*flags, *MEASURED, *tag, "--save-dir", measured)
        assert outcome.code == 0, outcome.err
        config = tmp_path / "by_hand.yaml"
        config.write_text(f"groups: {measured / 'groups.json'}\n")
        assert run("--config", config, *flags, "--save-dir", by_hand).code == 0
        assert same_weights(by_hand, measured)
        # Replaced by a run without affinities, none of its files stay.
        flags = (*small, "--training.epochs", 1, "--overwrite", "--save-dir", measured)
        assert run(*flags).code == 0
        left = {path.name for path in measured.rglob("*")}
        assert not left & FILES
        assert not any("group" in name for name in left)


def test_groups_of_one_kind_have_losses_of_their_kind(
    run: Any, write_table: Any, tmp_path: Path
) -> None:
    path = write_table(Toxic=[str(i % 2) for i in range(24)])
    config = tmp_path / "kinds.yaml"
    config.write_text(
        "groups: [[Toxic], [LogD, KSOL]]\nsharing: separate\n"
        "data: {target_columns: [LogD, KSOL, Toxic], split_type: random}\n"
        "model: {message_passing: {hidden_size: 8}, ffn: {hidden_size: 8}}\n"
        "training: {epochs: 1, loss: huber, accelerator: cpu}\n"
    )
    folder = tmp_path / "run"
    outcome = run("--config", config, "--data-path", path, "--save-dir", folder)
    assert outcome.code == 0, outcome.err
    assert "Loss: BCE, mean over tasks" in outcome.out
    assert "; HUBER, mean over tasks" in outcome.out
    (member,) = Ensemble.load(folder).members
    assert member.task_types == ("regression", "regression", "classification")


def test_interrupted_while_measuring_nothing_is_written(
    run: Any, small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("molpool_pipelines.fitting._affinity.measure_affinity", interrupt)
    outcome = run(*small, *MEASURED, "--save-dir", tmp_path / "run")
    assert outcome.code == 130
    assert "Interrupted while task affinity was measured; nothing was written." in outcome.err
    assert not (tmp_path / "run").exists()


def test_a_run_has_a_head_a_group(run: Any, small: list[str], tmp_path: Path) -> None:
    path = tmp_path / "groups.json"
    path.write_text(json.dumps({"groups": LISTS, "assignment": {"LogS": 1}}))
    config = tmp_path / "grouped.yaml"
    config.write_text(f"groups: {path}\n")
    folder = tmp_path / "run"
    outcome = run("--config", config, *small, "--training.epochs", 1, "--save-dir", folder)
    assert outcome.code == 0, outcome.err
    model = ChempropModel.load(folder / "model.pt")
    assert model.module.predictor.groups == ((0,), (1, 2))
    # The run folder stands alone: the file may change or go.
    assert load_config(TrainChempropConfig, folder / "config.resolved.yaml").groups == LISTS
