"""Several models of the same bags: weights out of fold, files, resuming, predictions."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from mil_attn import BagData, MILError
from molpool_common import Split
from molpool_pipelines.fitting import BagBlendConfig, TrainMILConfig, _bag_run, train_mil
from molpool_pipelines.fitting._bag_fits import OutOfFold, choose, out_of_fold
from molpool_pipelines.models import (
    BAG_MEMBERS,
    Calibration,
    PredictConfig,
    bag_member_words,
    predict_table,
)
from molpool_pipelines.runs import earlier_settings, read_metrics, read_run_predictions
from molpool_pipelines.scores import read_predictions, score_limits

SIMPLE = ["minmax_kernel", "set_kernel", "mean"]


def some_bags(n: int = 40, kind: str = "classification") -> BagData:
    draw = np.random.default_rng(0)
    sizes = draw.integers(1, 4, n)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    x = draw.normal(size=(offsets[-1], 3))
    y = np.maximum.reduceat(x[:, 0], offsets[:-1])
    y = (y > np.median(y)).astype(float) if kind == "classification" else y
    names = [f"b{i}" for i in range(n)]
    return BagData(names, x, offsets, labels=y[:, None], task_names=["y"], task_kind=kind)  # type: ignore[arg-type]  # a kind


def written(folder: Path, kind: str) -> Path:
    data = some_bags(kind=kind)
    assert data.instances is not None
    assert data.labels is not None
    assert data.ids is not None
    bag = np.repeat(np.arange(len(data)), data.sizes)
    columns = {f"f{j + 1}": data.instances[:, j] for j in range(3)}
    frame = pl.DataFrame({"bag_id": np.array(data.ids)[bag], "y": data.labels[bag, 0]})
    frame.with_columns(**columns).write_csv(folder / "bags.csv")
    return folder / "bags.csv"


def configured(table: Path, kind: str, **more: Any) -> TrainMILConfig:
    values: dict[str, Any] = {
        "data_path": str(table),
        "save_dir": str(table.parent / "run"),
        "task_kind": kind,
        "data": {"kind": "bags", "target_columns": ["y"]},
        "split": {"split_type": "random", "n_folds": 4},
        "blend": {"models": SIMPLE, "folds": 3},
    }
    return TrainMILConfig.model_validate(values | more)


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_a_run_blends_simple_models_and_predicts_by_them(tmp_path: Path, kind: str) -> None:
    table = written(tmp_path, kind)
    classes = kind == "classification"
    limits = ["auto"] if classes else ["none", "y=:0.8"]
    run = train_mil(configured(table, kind, limits=limits))
    frame = read_run_predictions(run)
    # All that is not tested is out of fold, and said to be validation.
    assert frame["split"].value_counts().sort("split").rows() == [("test", 10), ("val", 30)]
    notes = read_metrics(run).notes
    assert any(note.startswith("Out of fold") and "set kernel" in note for note in notes)
    described = json.loads((run / "bags" / "bags.json").read_text())
    weights = [entry["weights"]["y"] for entry in described["members"]]
    assert sum(weights) == pytest.approx(1)
    assert not (run / "model.pt").exists()
    page = (run / "report.html").read_text()
    assert "Models and their mean weight" in page
    # All bags that are not tested train in the end, though none of them stands as train alone.
    trained = re.search(r"<dt>Labels in training</dt>\s*<dd>(\d+)</dd>", page)
    assert trained is not None
    assert int(trained[1]) == 30
    output = tmp_path / "out.parquet"
    predict_table(PredictConfig(model_dir=str(run), data_path=str(table), output=str(output)))
    again = read_run_predictions(tmp_path, output.name)
    test = frame.filter(pl.col("split") == "test").join(again, on="id", suffix="_again")
    np.testing.assert_allclose(test["y predicted"], test["y predicted_again"], atol=1e-9)
    if not classes:
        (of,) = score_limits(read_predictions(run).of_split("test"))
        assert (of.side, of.limit) == ("ceiling", 0.8)
        assert of.classes.positives == (test["y"] >= 0.8).sum() > 0
        highest = frame.filter(pl.col("split") == "val")["y"].to_numpy().max()
        assert (test["y_upper"].to_numpy() <= highest).all()
        # What a model says beyond what the assay ever said ends there.
        known = Calibration.load(run / "calibration.npz")
        assert known.probabilities(np.array([[99.0]])) == highest
    else:
        cut = described["thresholds"][0]
        assert (test["y decision"] == (test["y decision_again"])).all()
        assert 0 < cut < 1


def test_a_resumed_run_keeps_what_was_said_out_of_fold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(written(tmp_path, "regression"), "regression")
    fits: list[str] = []
    real = _bag_run.fit_bag_member

    def counted(name: Any, *given: Any, **more: Any) -> Any:
        fits.append(name)
        if fits.count("set_kernel") == 2 and "stopped" not in fits:
            fits.append("stopped")
            raise KeyboardInterrupt
        return real(name, *given, **more)

    monkeypatch.setattr(_bag_run, "fit_bag_member", counted)
    with pytest.raises(KeyboardInterrupt, match="--resume"):
        train_mil(config)
    assert fits.count("minmax_kernel") == 3
    run = train_mil(config.model_copy(update={"resume": True}))
    # Three folds before the break, and then all bags.
    assert fits.count("minmax_kernel") == 4
    assert read_metrics(run).reported == "test"


def said(**models: Any) -> tuple[OutOfFold, np.ndarray]:
    labels = np.tile([0.0, 1.0], 30)[:, None]
    mean = np.stack([np.broadcast_to(p, labels.shape[0])[:, None] for p in models.values()])
    return OutOfFold(tuple(models), mean, np.full(mean.shape, np.nan)), labels  # type: ignore[arg-type]  # names


def test_attention_that_earns_nothing_is_left_out_and_that_is_said() -> None:
    right = np.tile([0.1, 0.9], 30)
    tried, labels = said(attention=0.5, set_kernel=right)
    left, weights, notes = choose(tried, labels, "classification", "fitted")
    assert left.names == ("set_kernel",)
    np.testing.assert_array_equal(weights, 1)
    assert any("Attention earns nothing" in note for note in notes)
    tried, labels = said(attention=right, set_kernel=0.5)
    left, _, notes = choose(tried, labels, "classification", "fitted")
    assert left.names == ("attention",)
    assert not any("earns nothing" in note for note in notes)
    both, weights, _ = choose(tried, labels, "classification", "equal")
    assert both.names == ("attention", "set_kernel")
    np.testing.assert_array_equal(weights, 0.5)


def test_a_model_that_cannot_be_fitted_is_left_out_and_named() -> None:
    data = some_bags()
    folds = [
        Split(np.setdiff1d(np.arange(40), test), np.arange(0), test)
        for test in (np.arange(20), np.arange(20, 40))
    ]

    class Half:
        def predict_with_sd(self, data: BagData) -> tuple[np.ndarray, np.ndarray]:
            return np.full((len(data), 1), 0.5), np.full((len(data), 1), np.nan)

        def save(self, path: Path) -> None:
            raise NotImplementedError

    def fit(name: Any, data: BagData, fold: Split) -> Any:
        if name == "set_kernel":
            raise MILError("no energies")
        return Half()

    found = out_of_fold(["set_kernel", "mean"], data, folds, fit)
    assert found.names == ("mean",)
    assert found.notes == ("Left out, set kernel: no energies",)
    with pytest.raises(MILError, match="no energies"):
        out_of_fold(["set_kernel"], data, folds, fit)


def test_defaults_follow_the_number_of_bags_and_every_model_has_words() -> None:
    config = BagBlendConfig()
    assert config.of_bags(90) == config.of_bags(1000)
    assert {"attention", "lightgbm", "mmd_kernel"} < set(config.of_bags(90))
    assert config.of_bags(50_000) == ["attention", "lightgbm"]
    assert BagBlendConfig(models=["mean"]).of_bags(90) == ["mean"]
    assert len({bag_member_words(name) for name in BAG_MEMBERS}) == len(BAG_MEMBERS)


def test_runs_of_before_there_was_a_blend_go_on_with_attention(tmp_path: Path) -> None:
    file = tmp_path / "config.resolved.yaml"
    file.write_text("seed: 3\n", encoding="utf-8")
    assert earlier_settings(TrainMILConfig, file)["blend.models"] == ["attention"]
