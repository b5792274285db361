from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from chemprop import nn
from chemprop_multitask import ChempropError, ChempropModel

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
