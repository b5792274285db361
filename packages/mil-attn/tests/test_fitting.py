"""Training from data to a model: learning, resuming, refusing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mil_attn._config import MILConfig, MILRunConfig
from mil_attn._errors import MILError
from mil_attn._fitting import encode, fit, predict
from mil_attn.data._bag_data import BagData
from mil_attn.training._module import MILModule
from mil_attn.training._score import macro_ma_rae
from sklearn.metrics import roc_auc_score

Settings = Callable[..., MILConfig]
MakeData = Callable[..., BagData]
NO_DROPOUT = {f"{part}_dropout": 0.0 for part in ("mol", "inst", "attn", "mixer")} | {
    "drop_path": 0.0
}


@pytest.mark.slow
@pytest.mark.parametrize("branches", [(True, True), (False, True), (True, False)])
def test_it_overfits_32_bags(
    branches: tuple[bool, bool], settings: Settings, make_data: MakeData
) -> None:
    use_2d, use_3d = branches
    data = make_data()
    if not use_3d:  # what instances decide has to be learned by heart
        data = data.replace(x2d=np.random.default_rng(0).normal(size=(32, 20)), feature_names_2d=())
    model = {"use_2d": use_2d, "use_3d": use_3d, **NO_DROPOUT}
    config = settings(model, epochs=100, batch_size=32, accumulate_grad_batches=1, lr=1e-2)
    result = fit(config, data)
    assert result.records[-1].train_loss < 0.01
    assert result.best_epoch == 99
    p = predict(result.module, data)
    assert data.labels is not None
    there = ~np.isnan(data.labels)
    assert ((p > 0.5) == (data.labels == 1))[there].all()


@pytest.mark.slow
def test_it_learns_what_it_was_not_shown(settings: Settings, make_data: MakeData) -> None:
    config = settings(epochs=20, patience=5, batch_size=16, accumulate_grad_batches=1)
    result = fit(config, make_data(200), make_data(100, seed=1))
    test = make_data(200, seed=2)
    assert test.labels is not None
    p = predict(result.module, test)
    for t in range(2):
        there = ~np.isnan(test.labels[:, t])
        assert roc_auc_score(test.labels[there, t], p[there, t]) > 0.75
    best = max(result.records, key=lambda r: r.val_macro_ap or 0)
    assert best.epoch == result.best_epoch


@pytest.mark.slow
def test_values_are_learned_in_their_own_units(settings: Settings, make_data: MakeData) -> None:
    config = settings(
        NO_DROPOUT,
        task_kind="regression",
        epochs=40,
        patience=10,
        batch_size=16,
        accumulate_grad_batches=1,
    )
    train, val = (make_data(n, seed=s, task_kind="regression") for n, s in ((200, 0), (100, 1)))
    result = fit(config, train, val)
    p = predict(result.module, val)
    assert val.labels is not None
    residual = np.nanmean((p - val.labels) ** 2, axis=0) / np.nanvar(val.labels, axis=0)
    assert (residual < 0.6).all()
    best = result.records[result.best_epoch]
    assert best.val_macro_ap is None
    # Network in single precision, scaled there and back.
    assert best.val_macro_ma_rae == pytest.approx(macro_ma_rae(val.labels, p), rel=1e-5)
    assert (result.module.thresholds == 0.5).all()


@pytest.mark.slow
def test_fault_missing_labels_turned_into_negatives(
    settings: Settings, make_data: MakeData
) -> None:
    data = make_data(16)
    assert data.labels is not None
    unlabelled = make_data(16, seed=1)
    labels = np.full((16, 2), np.nan)
    both = BagData(
        [*data.ids, *unlabelled.ids],
        np.concatenate([data.instances, unlabelled.instances]),  # type: ignore[list-item]
        np.concatenate([data.bounds, unlabelled.bounds[1:] + data.bounds[-1]]),
        np.concatenate([data.x2d, unlabelled.x2d]),  # type: ignore[list-item]
        labels=np.concatenate([data.labels, labels]),
        task_names=("a", "b"),
    )
    # One step on one batch, without scaling by the features of the unlabelled.
    config = settings(NO_DROPOUT, epochs=1, batch_size=32)
    states = []
    for part in (data, both):
        module = MILModule(config, ("a", "b"), in_2d=12, in_3d=12)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            for p in module.network.parameters():
                torch.nn.init.normal_(p, std=0.1)
        loss = module._loss(module(part.batch(range(len(part)))), part.batch(range(len(part))), "t")
        loss.backward()
        states.append([p.grad for p in module.network.parameters() if p.grad is not None])
    for one, other in zip(*states, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)  # float32 sums in two orders


@pytest.mark.slow
def test_auxiliary_targets_are_learned_and_may_be_missing(
    settings: Settings, make_data: MakeData
) -> None:
    plain = make_data()
    assert plain.x2d is not None
    values = plain.x2d.astype(float)[:, :1] * 1000
    values[::3] = np.nan
    data = make_data(aux={"abs": values})
    aux = {"abs": {"columns": ["A"], "weight": 1.0}}
    config = settings(NO_DROPOUT, aux=aux, epochs=60, batch_size=32, lr=1e-2)
    result = fit(config, data)
    module = result.module.eval()
    scaled = module.prepare(data)
    with torch.inference_mode():
        found = module(scaled.batch(range(len(data)))).aux["abs"].numpy()
    there = ~np.isnan(values)
    assert np.corrcoef(found[there], values[there])[0, 1] > 0.8
    with pytest.raises(MILError, match="group 'abs' in the training data; found none"):
        fit(config, plain)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_model_and_leaves_the_generators_alone(
    settings: Settings, make_data: MakeData
) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second, other = (
        predict(fit(settings(), make_data(), seed=seed).module, make_data(seed=1))
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, second)
    assert not np.allclose(first, other)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.slow
def test_a_saved_model_predicts_the_same(
    settings: Settings, make_data: MakeData, tmp_path: Path
) -> None:
    train, val = make_data(), make_data(seed=1)
    module = fit(settings(), train, val, checkpoint_dir=tmp_path).module
    module.save(tmp_path / "model.pt")
    expected = predict(module, val)
    for name in ("model.pt", "best.ckpt"):
        again = MILModule.load(tmp_path / name)
        np.testing.assert_array_equal(predict(again, val), expected)
    again = MILModule.load(tmp_path / "model.pt")
    np.testing.assert_array_equal(again.thresholds, module.thresholds)
    assert again.task_names == ("a", "b")


@pytest.mark.slow
def test_thresholds_do_not_depend_on_anything_but_validation(
    settings: Settings, make_data: MakeData
) -> None:
    train, val = make_data(), make_data(seed=1)
    module = fit(settings(), train, val).module
    from mil_attn.training._score import decision_thresholds

    assert val.labels is not None
    expected = decision_thresholds(val.labels, predict(module, val))
    np.testing.assert_array_equal(module.thresholds, expected)


def test_members_are_networks_of_their_own_whose_mean_logit_predicts(
    settings: Settings, make_data: MakeData, tmp_path: Path
) -> None:
    data = make_data(24)
    training = {"epochs": 1, "members": 3, "instance_dropout": 0.4, "mixup": 0.4}
    module = fit(settings(aux={}, **training), data).module.eval()
    bags = module.prepare(data).batch(range(24))
    with torch.inference_mode():
        each = [member(bags) for member in module.members]
        whole = module(bags)
    logits = torch.stack([output.logits for output in each])
    assert (logits.std(0) > 0).all()
    torch.testing.assert_close(whole.logits, logits.mean(0))
    torch.testing.assert_close(whole.attention, sum(o.attention for o in each) / 3)
    np.testing.assert_allclose(predict(module, data), logits.mean(0).sigmoid(), rtol=1e-5)
    # What the heads of each network read.
    encoded = torch.from_numpy(encode(module, data, batch_size=7)).view(24, 3, 2, -1)
    with torch.inference_mode():
        read = [m.heads(encoded[:, i]) for i, m in enumerate(module.members)]
    torch.testing.assert_close(torch.stack(read), logits)
    module.save(tmp_path / "model.pt")
    again = MILModule.load(tmp_path / "model.pt")
    np.testing.assert_array_equal(predict(again, data), predict(module, data))


@pytest.mark.parametrize("keep", ["best", "last"])
def test_the_best_epoch_or_the_last_is_kept(
    keep: str, settings: Settings, make_data: MakeData
) -> None:
    config = settings(epochs=3, patience=1, keep=keep, lr=0.3)
    result = fit(config, make_data(), make_data(seed=1))
    best = max(result.records, key=lambda r: r.val_macro_ap or 0)
    if keep == "best":
        assert result.best_epoch == best.epoch
    else:
        assert result.best_epoch == len(result.records) - 1 == 2


def test_what_does_not_fit_is_named(
    settings: Settings, make_data: MakeData, tmp_path: Path
) -> None:
    data = make_data()
    assert data.labels is not None
    nothing = np.where([True, False], np.nan, data.labels)
    no_positive = np.where(np.isnan(data.labels), np.nan, 0.0)
    cases: list[tuple[Any, str]] = [
        ((data.replace(labels=None, task_names=()),), "labels: expected a column for each task"),
        ((data.replace(labels=nothing),), "task 'a': expected a label in the training data"),
        ((data, data.replace(task_names=("a", "c"))), r"validation data: .*\['a', 'c'\]"),
        ((data, data.replace(labels=no_positive)), "positive label of at least one task"),
    ]
    for given, message in cases:
        with pytest.raises(MILError, match=message):
            fit(settings(), *given)
    with pytest.raises(MILError, match="task_kind: expected that of the data, 'classification'"):
        fit(settings(task_kind="regression"), data)
    with pytest.raises(MILError, match=r"resume_from: .* found no file"):
        fit(settings(), data, resume_from=tmp_path / "last.ckpt")


def test_fault_average_precision_of_a_fold_without_positives_is_left_out(
    settings: Settings, make_data: MakeData
) -> None:
    val = make_data(seed=1)
    assert val.labels is not None
    labels = val.labels.copy()
    labels[labels[:, 1] == 1, 1] = 0
    with pytest.warns(UserWarning, match="no positive label of 'b': left out of val_macro_ap"):
        result = fit(settings(epochs=1), make_data(), val.replace(labels=labels))
    record = result.records[0]
    assert record.val_macro_ap == record.val_min_ap
    assert record.val_min_ap is not None
    assert record.val_min_ap > 0


def test_fault_a_model_of_a_run_that_cannot_be_read_again(
    settings: Settings, make_data: MakeData, tmp_path: Path
) -> None:
    data = make_data(16)
    run = MILRunConfig.model_validate({**settings().model_dump(), "data_path": "bags.csv"})
    module = MILModule.from_data(run, data)
    module.save(tmp_path / "model.pt")
    again = MILModule.load(tmp_path / "model.pt")
    assert again.config.model_dump() == settings().model_dump()
    np.testing.assert_array_equal(predict(again, data), predict(module, data))


def test_a_batch_without_a_finite_loss_is_skipped_and_counted(
    settings: Settings, make_data: MakeData, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = MILModule._loss
    taken = 0

    def infinite_at_third(self: MILModule, output: Any, batch: Any, stage: str) -> torch.Tensor:
        nonlocal taken
        taken += stage == "training"
        if taken in bad and stage == "training":
            output = replace(output, logits=output.logits * torch.inf)
        return step(self, output, batch, stage)

    monkeypatch.setattr(MILModule, "_loss", infinite_at_third)
    options = {"epochs": 2, "batch_size": 8, "accumulate_grad_batches": 1, "non_finite": "skip"}
    bad = {3}
    with pytest.warns(UserWarning, match=r"1 training batches were skipped .* in epoch 1: "):
        result = fit(settings(**options), make_data())
    assert np.isfinite([r.train_loss for r in result.records]).all()
    taken, bad = 0, set(range(100))
    with pytest.raises(MILError, match="training loss in epoch 1"):
        fit(settings(**options), make_data())
