from __future__ import annotations

import csv
import logging
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chemprop import nn
from chemprop.featurizers import MultiHotAtomFeaturizer
from chemprop.models import MPNN
from chemprop.models.utils import load_model, save_model
from chemprop_multitask import (
    ChempropConfig,
    ChempropError,
    ChempropModel,
    GroupedPredictor,
    ModelConfig,
    MoleculeData,
)
from numpy.typing import NDArray

TASKS = ("a", "b", "c")


def run_chemprop(monkeypatch: pytest.MonkeyPatch, folder: Path, *args: str) -> None:
    """Run Chemprop's command in this process: starting another costs 16 s of imports."""
    from chemprop.cli.main import main

    monkeypatch.setattr(sys, "argv", ["chemprop", *args, "--logfile", str(folder / "log")])
    root = logging.getLogger()
    handlers = list(root.handlers)
    try:
        main()
    finally:
        for handler in [h for h in root.handlers if h not in handlers]:
            root.removeHandler(handler)
            handler.close()


def write_table(path: Path, columns: dict[str, Any]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def read_columns(path: Path, names: Any) -> NDArray[np.float64]:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return np.array([[float(row[name]) for name in names] for row in rows])


@pytest.fixture
def regression(data: MoleculeData, settings: Any) -> ChempropModel:
    model = ChempropModel.from_config(
        settings(loss="mae", task_weights={"b": 2.0}, model={"batch_norm": True}),
        task_names=TASKS,
    )
    model.fit(data)
    return model


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Chemprop's command warns of what is not ours
@pytest.mark.parametrize("kind", ["regression", "classification"])
def test_chemprop_predict_gives_the_same_numbers(
    kind: Any,
    regression: ChempropModel,
    smiles: list[str],
    classes: NDArray[np.float64],
    settings: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = regression
    if kind == "classification":
        model = ChempropModel.from_config(settings(), task_names="ab", task_type=kind)
        model.fit(MoleculeData(smiles, classes, task_names="ab"))
    model.save(tmp_path / "model.pt")
    table = write_table(tmp_path / "in.csv", {"smiles": smiles})
    run_chemprop(
        monkeypatch, tmp_path, "predict", "-i", str(table), "--model-path",
        str(tmp_path / "model.pt"), "-o", str(tmp_path / "out.csv"), "--accelerator", "cpu",
    )  # fmt: skip
    found = read_columns(tmp_path / "out.csv", model.task_names)
    np.testing.assert_allclose(found, model.predict(smiles), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_model_of_chemprop_train_predicts(
    smiles: list[str], table: NDArray[np.float64], tmp_path: Path, monkeypatch: Any
) -> None:
    filled = np.where(np.isnan(table), 0.0, table)
    columns = {"smiles": smiles, "x": filled[:, 0], "y": filled[:, 1]}
    run_chemprop(
        monkeypatch, tmp_path, "train", "-i", str(write_table(tmp_path / "in.csv", columns)),
        "--output-dir", str(tmp_path), "--epochs", "3", "--accelerator", "cpu",
        "--message-hidden-dim", "16", "--ffn-hidden-dim", "8", "--aggregation", "sum",
    )  # fmt: skip
    path = tmp_path / "model_0" / "best.pt"
    model = ChempropModel.load(path)
    assert model.task_names == ("x", "y")
    assert model.task_types == ("regression",) * 2
    assert model.config.model.message_passing.hidden_size == 16
    assert (model.config.model.aggregation, model.config.model.ffn.hidden_size) == ("sum", 8)
    run_chemprop(
        monkeypatch, tmp_path, "predict", "-i", str(tmp_path / "in.csv"), "--model-path",
        str(path), "-o", str(tmp_path / "out.csv"), "--accelerator", "cpu", "--drop-extra-columns",
    )  # fmt: skip
    found = read_columns(tmp_path / "out.csv", ["x", "y"])
    np.testing.assert_allclose(model.predict(smiles), found, rtol=1e-5, atol=1e-5)


def test_a_file_names_chemprops_own_classes(regression: ChempropModel, tmp_path: Path) -> None:
    regression.save(tmp_path / "model.pt")
    content = torch.load(tmp_path / "model.pt", weights_only=False)
    hparams = content["hyper_parameters"]
    for part in ("message_passing", "agg", "predictor"):
        assert hparams[part]["cls"].__module__.startswith("chemprop.nn")
    assert b"GroupedPredictor" not in (tmp_path / "model.pt").read_bytes()
    theirs = load_model(tmp_path / "model.pt")
    assert type(theirs) is MPNN
    assert theirs.state_dict().keys() == regression.module.state_dict().keys()


def test_a_loaded_model_is_the_saved_one(
    regression: ChempropModel, smiles: list[str], data: MoleculeData, tmp_path: Path
) -> None:
    regression.save(tmp_path / "model.pt")
    loaded = ChempropModel.load(tmp_path / "model.pt")
    assert loaded.config == regression.config
    assert loaded.task_names == TASKS
    assert loaded.loss_description == regression.loss_description
    assert loaded.module.criterion.task_weights.tolist() == [[1.0, 2.0, 1.0]]
    np.testing.assert_array_equal(loaded.predict(smiles), regression.predict(smiles))
    first, second = (model.fit(data)[-1].train_loss for model in (loaded, regression))
    assert first == second


def test_a_grouped_model_of_both_kinds_comes_back(
    smiles: list[str],
    table: NDArray[np.float64],
    classes: NDArray[np.float64],
    settings: Any,
    tmp_path: Path,
) -> None:
    names = ("x", "Cl", "y")
    targets = np.column_stack([table[:, 0], classes[:, 0], table[:, 1]])
    model = ChempropModel.from_config(
        settings(groups=[["y", "x"], ["Cl"]]),
        task_names=names,
        task_types=("regression", "classification", "regression"),
    )
    model.fit(MoleculeData(smiles, targets, task_names=names))
    model.save(tmp_path / "model.pt")
    loaded = ChempropModel.load(tmp_path / "model.pt")
    assert loaded.task_types == model.task_types
    np.testing.assert_array_equal(loaded.predict(smiles), model.predict(smiles))
    # With this package installed, Chemprop opens such a file too.
    assert load_model(tmp_path / "model.pt").n_tasks == 3


@pytest.mark.parametrize("path", ["chemprop_multitask", "chemprop_multitask.predictor"])
def test_files_of_several_heads_name_a_path_that_stays(
    path: str, settings: Any, smiles: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The public one today, that of the module it once stood in before."""
    assert GroupedPredictor.__module__ == "chemprop_multitask"
    model = ChempropModel.from_config(settings(groups=[["a"], ["b", "c"]]), task_names=TASKS)
    import_module("chemprop_multitask.predictor")
    monkeypatch.setattr(GroupedPredictor, "__module__", path)
    model.save(tmp_path / "model.pt")
    assert f"c{path}\nGroupedPredictor\n".encode() in (tmp_path / "model.pt").read_bytes()
    loaded = ChempropModel.load(tmp_path / "model.pt")
    np.testing.assert_array_equal(loaded.predict(smiles), model.predict(smiles))


def test_the_file_keeps_our_part_of_an_applications_configuration(
    settings: Any, tmp_path: Path
) -> None:
    base = settings()
    wider = type("AppConfig", (type(base),), {"__annotations__": {"seed": int}})
    model = ChempropModel.from_config(
        wider(model=base.model, training=base.training, seed=3), task_names=TASKS
    )
    model.save(tmp_path / "model.pt")
    assert ChempropModel.load(tmp_path / "model.pt").config == base


class TestBadFiles:
    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(ChempropError, match=r"found no file .*model\.pt"):
            ChempropModel.load(tmp_path / "model.pt")

    @pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
    def test_cut_off(self, share: float, settings: Any, tmp_path: Path) -> None:
        path = tmp_path / "model.pt"
        ChempropModel.from_config(settings(), task_names=TASKS).save(path)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(ChempropError, match="is cut off, damaged or of another program"):
            ChempropModel.load(path)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ([1, 2], "holds a list"),
            ({"model": 1}, "has no 'hyper_parameters'"),
            ({"hyper_parameters": {}, "state_dict": {}}, "has no message passing"),
        ],
    )
    def test_of_another_program(self, content: Any, message: str, tmp_path: Path) -> None:
        torch.save(content, tmp_path / "model.pt")
        with pytest.raises(ChempropError, match=message):
            ChempropModel.load(tmp_path / "model.pt")

    def test_of_another_featuriser(self, tmp_path: Path) -> None:
        width = len(MultiHotAtomFeaturizer.v1())
        block = nn.BondMessagePassing(d_v=width, d_h=8)
        save_model(
            tmp_path / "model.pt",
            MPNN(block, nn.MeanAggregation(), nn.RegressionFFN(input_dim=8, hidden_dim=8)),
        )
        with pytest.raises(ChempropError, match=rf"72 and 14 wide; .* with {width} and 14"):
            ChempropModel.load(tmp_path / "model.pt")

    @pytest.mark.parametrize(
        ("predictor", "d_vd", "message"),
        [
            (nn.MveFFN(input_dim=8), None, "as predictor; found MveFFN"),
            (nn.RegressionFFN(input_dim=10), 2, "takes descriptors of atoms too"),
        ],
    )
    def test_of_what_is_not_supported(
        self, predictor: Any, d_vd: Any, message: str, tmp_path: Path
    ) -> None:
        block = nn.BondMessagePassing(d_h=8, d_vd=d_vd)
        model = MPNN(block, nn.MeanAggregation(), predictor)
        save_model(tmp_path / "model.pt", model)
        with pytest.raises(ChempropError, match=message):
            ChempropModel.load(tmp_path / "model.pt")


PREFIX = "message_passing."


def encoder(model: ChempropModel) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = model.module.message_passing.state_dict()
    return state


@pytest.mark.parametrize("layout", ["model", "encoder"])
def test_the_encoder_is_the_foundations(layout: str, settings: Any, tmp_path: Path) -> None:
    path = tmp_path / "foundation.pt"
    if layout == "model":
        source = ChempropModel.from_config(settings(), task_names="xyz", seed=1)
        wanted = encoder(source)
        source.save(path)
    else:
        block = nn.BondMessagePassing(d_h=16)
        wanted = block.state_dict()
        torch.save({"hyper_parameters": block.hparams, "state_dict": wanted}, path)
    config = settings(model={"from_foundation": str(path)})
    plain = ChempropModel.from_config(settings(), task_names="ab", seed=2)
    tuned = ChempropModel.from_config(config, task_names="ab", seed=2)
    assert all(torch.equal(encoder(tuned)[name], wanted[name]) for name in wanted)
    assert not torch.equal(encoder(plain)["W_i.weight"], wanted["W_i.weight"])
    head = "predictor.ffn.0.0.weight"
    assert torch.equal(plain.module.state_dict()[head], tuned.module.state_dict()[head])


def test_the_architecture_is_the_foundations_where_none_is_named(
    settings: Any, tmp_path: Path
) -> None:
    path = tmp_path / "foundation.pt"
    block = nn.BondMessagePassing(d_h=24, depth=4, bias=True, activation="elu")
    # As CheMeleon's file: plain values, which torch reads without running code.
    plain = {name: value for name, value in block.hparams.items() if name != "cls"}
    torch.save({"hyper_parameters": plain, "state_dict": block.state_dict()}, path)
    torch.load(path, weights_only=True)
    config = ChempropConfig(model=ModelConfig(from_foundation=str(path)))
    model = ChempropModel.from_config(config, task_names=TASKS)
    mp = model.config.model.message_passing
    assert (mp.hidden_size, mp.depth, mp.bias, mp.activation) == (24, 4, True, "elu")
    assert model.module.message_passing.hparams["d_h"] == 24  # pyrefly: ignore[bad-typed-dict-key]
    # The model's own file is a foundation as well.
    model.save(tmp_path / "model.pt")
    again = ChempropConfig(model=ModelConfig(from_foundation=str(tmp_path / "model.pt")))
    assert ChempropModel.from_config(again, task_names="x").config.model.message_passing == mp


def test_another_shape_names_the_parameter(settings: Any, tmp_path: Path) -> None:
    path = tmp_path / "foundation.pt"
    ChempropModel.from_config(settings(width=8), task_names="x").save(path)
    config = settings(model={"from_foundation": str(path)})
    with pytest.raises(
        ChempropError, match=r"'W_i.weight' of shape \(16, 86\); found \(8, 86\) in .*foundation"
    ):
        ChempropModel.from_config(config, task_names="x")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "found no file"),
        ({"weights": 1}, "has no state_dict"),
        ({"state_dict": {"W_i.weight": torch.zeros(16, 86)}}, r"'W_h.weight' .*found none"),
    ],
)
def test_another_file_is_named(content: Any, message: str, settings: Any, tmp_path: Path) -> None:
    path = tmp_path / "foundation.pt"
    if content is not None:
        torch.save(content, path)
    with pytest.raises(ChempropError, match=f"model.from_foundation: .*{message}"):
        ChempropModel.from_config(settings(model={"from_foundation": str(path)}), task_names="x")


def test_another_featuriser_is_named_as_such(settings: Any, tmp_path: Path) -> None:
    path = tmp_path / "foundation.pt"
    block = nn.BondMessagePassing(d_v=133, d_h=16)
    torch.save({"hyper_parameters": block.hparams, "state_dict": block.state_dict()}, path)
    with pytest.raises(ChempropError, match=r"found \(16, 147\) in .* of another featuriser"):
        ChempropModel.from_config(settings(model={"from_foundation": str(path)}), task_names="x")


class TestFrozen:
    def test_only_the_rest_is_trained(self, settings: Any, data: Any, tmp_path: Path) -> None:
        path = tmp_path / "foundation.pt"
        source = ChempropModel.from_config(settings(), task_names="x", seed=1)
        source.save(path)
        frozen = {"from_foundation": str(path), "freeze_encoder": True}
        model = ChempropModel.from_config(settings(model=frozen), task_names=data.task_names)
        head = model.module.state_dict()["predictor.ffn.0.0.weight"].clone()
        model.fit(data)
        wanted = encoder(source)
        assert all(torch.equal(encoder(model)[name], wanted[name]) for name in wanted)
        assert not torch.equal(model.module.state_dict()["predictor.ffn.0.0.weight"], head)

    def test_random_weights_are_not_frozen(self, settings: Any) -> None:
        with pytest.raises(ChempropError, match=r"freeze_encoder: expected model\.from_foundation"):
            ChempropModel.from_config(settings(model={"freeze_encoder": True}), task_names="x")
