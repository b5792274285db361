from __future__ import annotations

import logging
from copy import deepcopy

import numpy as np
import pytest
import torch
from task_affinity._config import TaskAffinityConfig
from task_affinity._errors import NoGradientStepsError, TaskAffinityError
from task_affinity._run import TaskAffinityComputer, format_matrix

KINDS = [
    {},
    {"affinity_type": "lookahead"},
    {"affinity_type": "dot_product", "normalize_gradients": False},
    {"estimator": "probe"},
    {"gradient_scope": "representation"},
    {"gradient_scope": "representation", "estimator": "probe"},
]


def measure(toy, *, names=None, **settings):
    config = TaskAffinityConfig(device="cpu", **settings)
    return TaskAffinityComputer(config).compute(
        deepcopy(toy.model), toy.batches, toy.losses, task_names=names, encoder_output="encoder"
    )


def train_only(model, batches, losses, epochs, lr):
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    model.train()
    for _ in range(epochs):
        for batch in batches:
            values, present = losses(model, batch)
            optimizer.zero_grad()
            values[present].mean().backward()
            optimizer.step()


@pytest.mark.parametrize("settings", KINDS)
def test_training_is_the_same_with_and_without_measuring(make_toy, settings):
    model, batches, losses = make_toy(dropout=0.3, batch_norm=True)
    plain = deepcopy(model)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        train_only(plain, batches, losses, epochs=2, lr=1e-3)
        after = torch.get_rng_state()
    with torch.random.fork_rng():
        torch.manual_seed(7)
        config = TaskAffinityConfig(device="cpu", affinity_epochs=2, **settings)
        TaskAffinityComputer(config).compute(model, batches, losses, encoder_output="encoder")
        assert torch.equal(torch.get_rng_state(), after)
    for name, value in plain.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name


def test_cosines_are_the_means_over_steps_of_a_plain_loop(make_toy):
    toy = make_toy()
    model = deepcopy(toy.model)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    cosines = []
    for batch in toy.batches:
        values, _ = toy.losses(model, batch)
        rows = []
        for value in values:
            grads = torch.autograd.grad(value, list(model.encoder.parameters()), retain_graph=True)
            rows.append(torch.cat([g.flatten() for g in grads]))
        unit = torch.nn.functional.normalize(torch.stack(rows), dim=1)
        cosines.append((unit @ unit.T).numpy())
        optimizer.zero_grad()
        values.mean().backward()
        optimizer.step()
    result = measure(toy)
    np.testing.assert_allclose(result.matrix, np.mean(cosines, axis=0), atol=1e-12)
    np.testing.assert_allclose(result.samples, cosines, atol=1e-6)
    assert (result.n_steps, result.n_measured, result.estimator) == (4, 4, "exact")


def test_cosine_does_not_depend_on_the_scale_of_a_loss(make_toy):
    toy = make_toy(n_batches=1)
    scaled = toy._replace(
        losses=lambda model, batch: (
            toy.losses(model, batch)[0] * torch.tensor([1.0, 50.0, 0.01]),
            toy.losses(model, batch)[1],
        )
    )
    np.testing.assert_allclose(measure(scaled).matrix, measure(toy).matrix, atol=1e-12)


@pytest.mark.parametrize("settings", [*KINDS[:3], KINDS[4]])
def test_permuting_tasks_permutes_everything(make_toy, settings):
    toy = make_toy(n_tasks=4)
    order = [2, 0, 3, 1]
    model = deepcopy(toy.model)
    with torch.no_grad():
        model.heads.weight.copy_(toy.model.heads.weight[order])
        model.heads.bias.copy_(toy.model.heads.bias[order])
    permuted = toy._replace(model=model, batches=[(x, y[:, order]) for x, y in toy.batches])
    straight, turned = measure(toy, **settings), measure(permuted, **settings)
    at = np.ix_(order, order)
    # Sums over tasks are taken in another order, and training carries that on.
    for name in ("matrix", "standard_errors"):
        np.testing.assert_allclose(
            getattr(turned, name), getattr(straight, name)[at], rtol=1e-6, atol=1e-9
        )
    assert (turned.counts == straight.counts[at]).all()


def test_a_pair_counts_only_where_both_have_labels(make_toy):
    toy = make_toy(n_batches=5)
    for k, (_, y) in enumerate(toy.batches):
        if k in (1, 2):
            y[:, 0] = torch.nan
        if k in (2, 3):
            y[:, 1] = torch.nan
    result = measure(toy)
    assert result.counts.tolist() == [[3, 2, 3], [2, 3, 3], [3, 3, 5]]


def test_a_pair_that_never_met_is_unknown(make_toy):
    toy = make_toy(n_batches=2)
    toy.batches[0][1][:, 0] = torch.nan
    toy.batches[1][1][:, 1] = torch.nan
    assert np.isnan(measure(toy).matrix).tolist() == [
        [False, True, False],
        [True, False, False],
        [False, False, False],
    ]


def test_frozen_unused_and_shared_parameters(make_toy):
    toy = make_toy()
    first, last = toy.model.encoder[0], toy.model.encoder[4]
    square = torch.nn.Linear(6, 6).double()
    toy.model.encoder.append(square)
    square.weight = last.weight  # in two places: its gradients add up
    toy.model.spare = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))  # reached by nothing
    first.requires_grad_(False)
    values, _ = toy.losses(toy.model, toy.batches[0])
    inputs = [last.weight, last.bias, square.bias]
    rows = [
        torch.cat([g.flatten() for g in torch.autograd.grad(v, inputs, retain_graph=True)])
        for v in values
    ]
    unit = torch.nn.functional.normalize(torch.stack(rows), dim=1)
    expected = (unit @ unit.T).numpy()
    one = toy._replace(batches=toy.batches[:1])
    np.testing.assert_allclose(measure(one).matrix, expected, atol=1e-12)


@pytest.mark.parametrize("settings", [{}, {"estimator": "probe", "n_probes": 16}])
def test_finds_two_planted_families(settings):
    """Tasks of a family follow one function of the inputs, those of the other its opposite part."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(640, 4, generator=generator)
    family = torch.stack([x[:, 0] + x[:, 1], x[:, 2] - x[:, 3]], dim=1)
    y = family[:, [0, 1, 0, 1, 0, 1]] + 0.1 * torch.randn(640, 6, generator=generator)
    batches = list(zip(x.split(32), y.split(32), strict=True))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = torch.nn.ModuleDict({"encoder": torch.nn.Linear(4, 16)})
        head = torch.ones(6, 16)

    def losses(model, batch):
        errors = (model["encoder"](batch[0]) @ head.T - batch[1]) ** 2
        return errors.mean(0), torch.ones(6, dtype=torch.bool)

    config = TaskAffinityConfig(device="cpu", affinity_lr=1e-5, **settings)
    matrix = TaskAffinityComputer(config).compute(model, batches, losses).matrix
    same = np.add.outer(np.arange(6), np.arange(6)) % 2 == 0
    assert matrix[same].min() > matrix[~same].max() + 0.1


def test_measures_every_nth_step(make_toy):
    result = measure(make_toy(n_batches=7), every_n_steps=3)
    assert (result.n_steps, result.n_measured) == (7, 3)
    assert len(result.samples) == 3


def test_names_the_task_without_a_label(make_toy):
    toy = make_toy()
    for _, y in toy.batches:
        y[:, 1] = torch.nan
    with pytest.raises(RuntimeError, match="No gradient steps were performed for sol:"):
        measure(toy, names=["logd", "sol", "herg"])
    with pytest.raises(NoGradientStepsError, match="found none"):
        measure(toy._replace(batches=[]))


def test_the_first_label_of_a_rare_task_is_measured_out_of_turn(make_toy):
    toy = make_toy(n_batches=7)
    for k, (_, y) in enumerate(toy.batches):
        if k not in (1, 5):
            y[:, 2] = torch.nan
    result = measure(toy, every_n_steps=3)
    assert (result.n_steps, result.n_measured) == (7, 4)  # steps 0, 1, 3 and 6
    assert result.counts[2].tolist() == [1, 1, 1]
    assert result.counts[0, 0] == 4
    whole = measure(make_toy(n_batches=7)._replace(batches=toy.batches[:2]))
    np.testing.assert_allclose(result.matrix[2], whole.matrix[2], rtol=1e-6)


def test_stops_at_a_loss_that_is_not_finite(make_toy):
    toy = make_toy()
    toy.batches[2][0][:] = torch.inf
    with pytest.raises(TaskAffinityError, match=r"at training step 3 .* task_0, task_1, task_2"):
        measure(toy)


def test_arguments_that_do_not_fit(make_toy):
    toy = make_toy()
    with pytest.raises(TaskAffinityError, match="expected 3 different names"):
        measure(toy, names=["a", "b"])
    config = TaskAffinityConfig(device="cpu", gradient_scope="representation")
    with pytest.raises(TaskAffinityError, match="encoder_output: expected"):
        TaskAffinityComputer(config).compute(toy.model, toy.batches, toy.losses)
    with pytest.raises(TaskAffinityError, match="gradient_scope: expected 'encoder'"):
        measure(toy, affinity_type="lookahead", gradient_scope="representation")


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without CUDA")
def test_a_device_that_is_not_there(make_toy):
    toy = make_toy()
    config = TaskAffinityConfig(device="cuda:1")
    with pytest.raises(TaskAffinityError, match="0 CUDA devices; found 'cuda:1'"):
        TaskAffinityComputer(config).compute(toy.model, toy.batches, toy.losses)


def test_leaves_mode_and_gradients_as_they_were(make_toy):
    toy = make_toy()
    toy.model.eval()
    TaskAffinityComputer(TaskAffinityConfig(device="cpu")).compute(*toy)
    assert not toy.model.training
    assert all(p.grad is None for p in toy.model.parameters())


def test_tells_of_each_step(make_toy):
    toy, told = make_toy(), []
    config = TaskAffinityConfig(device="cpu", affinity_epochs=2)
    TaskAffinityComputer(config).compute(
        *toy, on_step=lambda p: told.append((p.step, p.n_steps, p.pairs.matrix.shape))
    )
    assert told == [(step, 8, (3, 3)) for step in range(1, 9)]


def test_logs_the_matrix(make_toy, caplog):
    with caplog.at_level(logging.INFO, logger="task_affinity"):
        measure(make_toy(), names=["a", "b", "c"])
        measure(make_toy(), log_affinity_matrix=False)
    assert sum("Task affinity matrix computed:\n  a: [1.000 " in m for m in caplog.messages) == 1


def test_prints_the_matrix_where_nobody_listens(make_toy, capsys, monkeypatch):
    monkeypatch.setattr("task_affinity._run.logger", logging.Logger("alone"))
    measure(make_toy(), names=["a", "b", "c"])
    assert capsys.readouterr().out.startswith("Task affinity matrix computed:\n  a: [1.000 ")


def test_a_dot_product_is_a_cosine_unless_told_otherwise(make_toy):
    cosine, product, other = (
        measure(make_toy(), affinity_type=kind, normalize_gradients=unit).matrix
        for kind, unit in (("cosine", True), ("dot_product", True), ("dot_product", False))
    )
    np.testing.assert_array_equal(cosine, product)
    assert np.abs(cosine - other).max() > 1e-3


def test_formats_a_matrix_as_users_know_it():
    text = format_matrix(np.array([[1, -0.156], [0.2345, 1]]), ["LogD", "hERG"])
    assert text == ("Task affinity matrix computed:\n  LogD: [1.000 -0.156]\n  hERG: [0.234 1.000]")


class NoForward(torch.autograd.Function):
    """Doubles, and knows no forward derivative."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, grad):  # pyrefly: ignore[bad-override]
        return 2 * grad


def test_probes_go_backward_where_an_operation_has_no_forward_derivative(make_toy, caplog):
    toy = make_toy(n_batches=2)
    plain = toy._replace(losses=lambda m, b: (2 * toy.losses(m, b)[0], toy.losses(m, b)[1]))
    odd = toy._replace(
        losses=lambda m, b: (NoForward.apply(toy.losses(m, b)[0]), toy.losses(m, b)[1])
    )
    settings = {"estimator": "probe", "n_probes": 1000}
    with caplog.at_level(logging.INFO, logger="task_affinity"):
        backward = measure(odd, **settings).matrix
    assert any("two backward passes" in message for message in caplog.messages)
    # Standard errors below 1/sqrt(2000) = 0.022; six of them.
    np.testing.assert_allclose(backward, measure(plain).matrix, atol=0.14)
