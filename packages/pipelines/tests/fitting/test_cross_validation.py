"""Folds of a cross-validation, with a model that needs no training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from molpool_common import InputError, task_metrics
from molpool_pipelines.fitting import (
    TrainChempropCommand,
    TrainChempropConfig,
    TrainMILCommand,
    read_inputs,
)
from molpool_pipelines.fitting import _cross_validation as module
from molpool_pipelines.fitting._cross_validation import cross_validate
from molpool_pipelines.runs import (
    METRICS,
    PREDICTIONS,
    REPORT,
    Metrics,
    SplitMetrics,
    member_metrics,
    open_folder,
    read_metrics,
    read_run_predictions,
)
from molpool_pipelines.scores import read_predictions
from molpool_pipelines.scores.comparison._paired import pair_rows

BASES = [f"{'C' * n}{ring}" for n in range(1, 9) for ring in ("N", "c1ccccc1", "C1CCNC1")]
SMILES = [*BASES, "C1CC", *(f"{base}.Cl" for base in BASES)]


def table(folder: Path) -> Path:
    rows = [f"m{k},{s},{k / 7:.3f},{k % 2}" for k, s in enumerate(SMILES)]
    path = folder / "table.csv"
    path.write_text("\n".join(["name,SMILES,y,c", *rows]) + "\n")
    return path


def command(folder: Path, name: str, **values: Any) -> TrainChempropCommand:
    data = {
        "target_columns": ["y", "c"],
        "id_column": "name",
        "cache_dir": "none",
        **values.pop("data", {}),
    }
    return TrainChempropCommand.model_validate(
        {
            "data_path": str(table(folder)),
            "on_bad_smiles": "drop",
            "save_dir": str(folder / name),
            "cv": {"folds": 4, "repeats": 2},
            "data": data,
            **values,
        }
    )


class Mean:
    """Predicts what it is told, or the training mean; counts its runs."""

    def __init__(self, value: float | None = None) -> None:
        self.value = value
        self.runs: list[TrainChempropConfig] = []

    def __call__(self, config: TrainChempropConfig) -> Path:
        self.runs.append(config)
        inputs = read_inputs(config)
        frames, metrics = [], {}
        for split in ("train", "val", "test"):
            part = getattr(inputs.tables, split)
            mean = np.nanmean(inputs.tables.train.targets, axis=0)
            guess = mean if self.value is None else np.full(2, self.value)
            predicted = np.tile(guess, (len(part), 1)) + 1e-3 * part.targets
            frames.append(
                part.origin.with_columns(
                    pl.Series("SMILES", part.smiles),
                    pl.lit(split).alias("split"),
                    *(pl.Series(t, part.targets[:, k]) for k, t in enumerate(("y", "c"))),
                    *(pl.Series(f"{t} predicted", predicted[:, k]) for k, t in enumerate("yc")),
                )
            )
            metrics[split] = task_metrics(part.targets, predicted, ("y", "c"), inputs.task_types)  # type: ignore[arg-type]  # a tuple of kinds
        assert config.save_dir is not None
        run = open_folder(config, Path(config.save_dir), [])
        run.write_frame(PREDICTIONS, pl.concat(frames))
        splits = {name: SplitMetrics(**dict(member_metrics(m))) for name, m in metrics.items()}
        run.write_json(METRICS, Metrics(kind="chemprop", splits=splits).to_dict())
        return run.write_text(REPORT, "").parent


@pytest.fixture
def no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures take longer than all the rest."""
    monkeypatch.setattr(module, "write_page", lambda *_: None)


@pytest.mark.usefixtures("no_page")
def test_every_molecule_tests_once_a_repeat_and_its_salt_with_it(tmp_path: Path) -> None:
    model = Mean()
    path = cross_validate(command(tmp_path, "cv"), model, name="chemprop")
    assert len(model.runs) == 8
    frame = read_run_predictions(path)
    for repeat, rows in frame.group_by("repeat"):
        assert sorted(rows["id"]) == sorted(f"m{k}" for k, s in enumerate(SMILES) if s != "C1CC")
        base = rows.with_columns(pl.col("SMILES").str.split(".").list.first().alias("base"))
        assert base.group_by("base").agg(pl.col("fold").n_unique())["fold"].to_list() == [1] * 24
        assert repeat[0] in (0, 1)
    folds = frame.pivot("repeat", index="id", values="fold")
    assert (folds["0"] != folds["1"]).any(), "the second repeat draws other folds"


def test_the_folder_is_what_compare_takes(tmp_path: Path) -> None:
    two = {"folds": 2, "repeats": 2}
    paths = [
        cross_validate(command(tmp_path, name, cv=two), Mean(value), name="chemprop")
        for name, value in (("a", None), ("b", 0.3))
    ]
    paired = pair_rows([read_predictions(p) for p in paths], ["a", "b"])
    assert len(paired.cells) == 4
    assert len(paired) == 2 * (len(SMILES) - 1)
    assert (paths[0] / "report.html").is_file()
    scores = pl.read_csv(paths[0] / "folds.csv")
    of = read_metrics(paths[0]).splits["test"]
    one = scores.filter(pl.col("task") == "y", pl.col("metric") == "mae")["value"]
    assert of.tasks["y"].metrics["mae"].value == pytest.approx(one.mean())
    assert len(one) == 4
    assert of.n == 2 * (len(SMILES) - 1)
    assert of.tasks["c"].type == "classification"


BAGS = {
    "task_kind": "regression",
    "split": {"split_type": "random"},
    "data": {
        "target_columns": ["y"], "id_column": "name", "cache_dir": "none",
        "features": {
            "descriptors_3d": [], "descriptors_2d": {"descriptors": False, "morgan_bits": 8},
        },
    },
}  # fmt: skip


class MeanOfBags(Mean):
    """The same of bags."""

    def __call__(self, config: Any) -> Path:
        from molpool_pipelines.fitting._mil_run import read_inputs as read_bags

        self.runs.append(config)
        inputs = read_bags(config)
        assert inputs.data.labels is not None
        tested = inputs.of("test")
        mean = np.full((len(tested), 1), inputs.data.labels[inputs.split.train].mean())
        truth = np.asarray(tested.labels)
        run = open_folder(config, Path(config.save_dir), [])
        columns = {"id": tested.ids, "split": ["test"] * len(tested), "y": truth[:, 0]}
        run.write_frame(PREDICTIONS, pl.DataFrame({**columns, "y predicted": mean[:, 0]}))
        table = member_metrics(task_metrics(truth, mean, ("y",), ("regression",)))
        metrics = Metrics(kind="mil", splits={"test": SplitMetrics(**dict(table))})
        run.write_json(METRICS, metrics.to_dict())
        return run.write_text(REPORT, "").parent


def of_bags(folder: Path, name: str, **values: Any) -> TrainMILCommand:
    cv = values.pop("cv", {"folds": 3, "repeats": 2})
    split = {**BAGS["split"], **values.pop("split", {})}  # type: ignore[dict-item]
    paths = {"data_path": str(table(folder)), "save_dir": str(folder / name)}
    return TrainMILCommand.model_validate({**BAGS, **paths, "cv": cv, "split": split, **values})


@pytest.mark.usefixtures("no_page")
def test_bags_are_divided_as_molecules_are(tmp_path: Path) -> None:
    path = cross_validate(of_bags(tmp_path, "cv"), MeanOfBags(), name="mil")
    frame = pl.read_parquet(path / PREDICTIONS)
    names = sorted(f"m{k}" for k, s in enumerate(SMILES) if s != "C1CC")
    for _, rows in frame.group_by("repeat"):
        assert sorted(rows["id"]) == names
    folds = frame.pivot("repeat", index="id", values="fold")
    assert (folds["0"] != folds["1"]).any()
    other = cross_validate(of_bags(tmp_path, "other"), MeanOfBags(), name="mil")
    assert len(pair_rows([read_predictions(p) for p in (path, other)], ["a", "b"]).cells) == 6


@pytest.mark.usefixtures("no_page")
def test_bags_take_the_splits_of_a_file_each_once(tmp_path: Path) -> None:
    entries = [
        {"train": [f"m{k}" for k in range(20)], "val": [], "test": [f"m{20 + e}"]} for e in range(4)
    ]
    file = tmp_path / "splits.json"
    file.write_text(json.dumps(entries))
    split = {"split_file": str(file), "val_ratio": 0}
    two = {"folds": 2, "repeats": 2}
    path = cross_validate(of_bags(tmp_path, "cv", split=split, cv=two), MeanOfBags(), name="mil")
    assert pl.read_parquet(path / PREDICTIONS)["id"].to_list() == ["m20", "m21", "m22", "m23"]
    with pytest.raises(InputError, match=r"folds times repeats 4, as many as split\.split_file"):
        cross_validate(of_bags(tmp_path, "x", split=split), MeanOfBags(), name="mil")
    stored = {"split_type": "stored", "fold_column": "c"}
    with pytest.raises(InputError, match=r"folds times repeats 4, as many as split\.fold_column"):
        cross_validate(of_bags(tmp_path, "x", split=stored), MeanOfBags(), name="mil")
    assert not (tmp_path / "x").exists()


@pytest.mark.usefixtures("no_page")
def test_bags_of_a_changed_table_are_refused(tmp_path: Path) -> None:
    config = of_bags(tmp_path, "cv")
    path = cross_validate(config, MeanOfBags(), name="mil")
    again = config.model_copy(update={"resume": True})
    assert cross_validate(again, MeanOfBags(), name="mil") == path
    rows = Path(config.data_path or "").read_text().replace("m3,", "other,")
    Path(config.data_path or "").write_text(rows)
    with pytest.raises(InputError, match="the table that the folds were drawn of; found 1 rows"):
        cross_validate(again, MeanOfBags(), name="mil")


@pytest.mark.usefixtures("no_page")
def test_folds_are_written_as_chemprop_reads_them(tmp_path: Path) -> None:
    path = cross_validate(command(tmp_path, "cv"), Mean(), name="chemprop")
    entries = json.loads((path / "splits.json").read_text())
    assert len(entries) == 8
    for entry in entries:
        rows = [row for part in ("train", "val", "test") for row in entry[part]]
        # Rows of the file from 0, the one that does not parse left out.
        assert sorted(rows) == [k for k, s in enumerate(SMILES) if s != "C1CC"]
    again = command(tmp_path, "again", data={"split_file": str(path / "splits.json")})
    other = cross_validate(again, Mean(), name="chemprop")
    columns = ["id", "repeat", "fold"]
    first, second = (read_run_predictions(p).select(columns).sort(columns) for p in (path, other))
    assert first.equals(second)


@pytest.mark.usefixtures("no_page")
def test_a_stopped_one_goes_on_with_the_fold_it_was_at(tmp_path: Path) -> None:
    model = Mean()

    def stopping(config: TrainChempropConfig) -> Path:
        if len(model.runs) == 3:
            raise KeyboardInterrupt
        return model(config)

    config = command(tmp_path, "cv")
    with pytest.raises(KeyboardInterrupt, match=r"molpool-train chemprop --resume --save-dir .*cv"):
        cross_validate(config, stopping, name="chemprop")
    assert not (tmp_path / "cv" / PREDICTIONS).exists()
    # As of a fold that was killed while its page was drawn.
    (tmp_path / "cv/folds/repeat-0-fold-1" / REPORT).unlink()
    cross_validate(config.model_copy(update={"resume": True}), model, name="chemprop")
    assert len(model.runs) == 9
    whole = cross_validate(command(tmp_path, "whole"), Mean(), name="chemprop")
    first, second = (read_run_predictions(p) for p in (tmp_path / "cv", whole))
    assert first.equals(second)


@pytest.mark.usefixtures("no_page")
def test_one_that_is_replaced_leaves_no_fold_behind(tmp_path: Path) -> None:
    cross_validate(command(tmp_path, "cv"), Mean(), name="chemprop")
    model = Mean()
    config = command(tmp_path, "cv", overwrite=True, cv={"folds": 3})
    path = cross_validate(config, model, name="chemprop")
    assert len(model.runs) == 3
    assert len(list((path / "folds").iterdir())) == 3


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"split_column": "c"}, "split_column: expected none with cv.folds"),
        ({"test_path": "x.csv"}, "test_path: expected none with cv.folds"),
        ({"predict_path": "x.csv"}, "data.predict_path: expected none with cv.folds"),
    ],
)
def test_what_contradicts_the_folds_is_refused(
    tmp_path: Path, data: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        cross_validate(command(tmp_path, "cv", data=data), Mean(), name="chemprop")
    assert not (tmp_path / "cv").exists()


def test_a_file_with_another_number_of_splits_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text('[{"train": [0], "test": [1]}]')
    config = command(tmp_path, "cv", data={"split_file": str(tmp_path / "s.json")})
    with pytest.raises(InputError, match=r"folds times repeats 1, as many as.*; found 8"):
        cross_validate(config, Mean(), name="chemprop")


def test_repeats_need_folds(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="folds: expected a number with repeats"):
        command(tmp_path, "cv", cv={"repeats": 5})
