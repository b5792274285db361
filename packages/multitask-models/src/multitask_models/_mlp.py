"""Multi-task network on features: an ensemble trained as one batched product."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
import torch
from molpool_common import Float32Array, FloatArray
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from multitask_models._errors import ModelError
from multitask_models._labels import Labels, TaskKind
from multitask_models._mlp_inputs import InputScaling
from multitask_models._mlp_network import (
    PREDICTED_ROWS,
    Recipe,
    TrainingRows,
    Weights,
    hidden_of,
    outputs_of,
    residual_deviation,
    train,
)
from multitask_models._protocol import Latent, Limits, MultitaskModel, RowSampler, State


class MultitaskMLP(MultitaskModel):
    """Ensemble of multi-task networks on features.

    Each of `members` networks has a layer of `hidden` units, a residual block of the same width
    and a linear head of all tasks; LayerNorm and SiLU after the first two. It learns labels
    standardised per task with AdamW on a one-cycle schedule; a label weighs (most labels of a task
    / labels of its task)^`task_power`. A bound costs what lies outside it. `return_std` gives the
    spread of the members, which says how far they agree and not how far a measurement scatters.

    Parameters
    ----------
    blocks : sequence of int or None
        Widths of the blocks that the features consist of, in order (see `InputScaling`); None:
        one block.
    members : int
        Networks, trained at once.
    hidden : int
        Units of a layer.
    dropout, input_dropout : float
        Share of units and of inputs left out in training.
    epochs : int
        Passes over the rows.
    batch_size : int
        Rows of a step.
    learning_rate : float
        The highest of the schedule.
    weight_decay : float
        Of AdamW.
    beta : float
        Standardised error beyond which the loss is linear.
    task_power : float
        0: all labels weigh the same; 1: all tasks do.
    censored_loss : {"one_sided", "tobit"}
        "tobit" learns the standard deviation of each task's labels too, and a bound costs the
        probability beyond it; then exact labels cost their squared error.
    time_limit : float or None
        Seconds that the steps may take; one is always taken. Where all would take longer, the
        schedule passes over some and ends in time, so that the networks follow from how quick the
        machine is and not from the seed alone. None: no limit.
    warm_start : bool
        Whether `fit` keeps the networks of an earlier `fit` to the same rows, and trains those that
        `members` has more, so that an ensemble can grow one by one.
    task_kinds, limits
        As for every model.
    random_state : int
        Seed. Member i of any ensemble with this seed is the same network, whenever it was trained.

    Attributes
    ----------
    epochs_ : float
        Passes over the rows that `fit` made: `epochs`, or as many as `time_limit` allowed.
    """

    _scaling: InputScaling
    _weights: Weights
    _start: MultitaskMLP | None = None

    def __init__(
        self,
        *,
        blocks: Sequence[int] | None = None,
        members: int = 4,
        hidden: int = 512,
        dropout: float = 0.3,
        input_dropout: float = 0.1,
        epochs: int = 40,
        batch_size: int = 128,
        learning_rate: float = 2e-3,
        weight_decay: float = 0.01,
        beta: float = 0.25,
        task_power: float = 0.5,
        censored_loss: Literal["one_sided", "tobit"] = "one_sided",
        time_limit: float | None = None,
        warm_start: bool = False,
        task_kinds: TaskKind | Sequence[TaskKind] = "regression",
        limits: Limits = "auto",
        random_state: int = 0,
    ) -> None:
        self.blocks = blocks
        self.members = members
        self.hidden = hidden
        self.dropout = dropout
        self.input_dropout = input_dropout
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.beta = beta
        self.task_power = task_power
        self.censored_loss = censored_loss
        self.time_limit = time_limit
        self.warm_start = warm_start
        self.task_kinds = task_kinds
        self.limits = limits
        self.random_state = random_state

    def _recipe(self) -> Recipe:
        if self.censored_loss not in ("one_sided", "tobit"):
            raise ModelError(
                f"censored_loss: expected 'one_sided' or 'tobit'; found {self.censored_loss!r}."
            )
        for name in ("members", "hidden", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ModelError(f"{name}: expected 1 or more; found {getattr(self, name)}.")
        if self.time_limit is not None and not self.time_limit > 0:
            raise ModelError(f"time_limit: expected seconds above 0; found {self.time_limit}.")
        for name in ("dropout", "input_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ModelError(f"{name}: expected 0 to below 1; found {getattr(self, name)}.")
        return Recipe(
            hidden=self.hidden,
            dropout=self.dropout,
            input_dropout=self.input_dropout,
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            beta=self.beta,
            task_power=self.task_power,
            tobit=self.censored_loss == "tobit",
            time_limit=self.time_limit,
        )

    def starting_from(self, other: MultitaskMLP) -> Self:
        """Have `fit` begin with the layers of a network that has learned other tasks.

        Parameters
        ----------
        other : MultitaskMLP
            Fitted to the same features; of one member, or of as many as this.

        Returns
        -------
        self

        Raises
        ------
        ModelError
            If it has other features, layers or members.
        """
        ours = (tuple(self.blocks or ()), self.hidden)
        theirs = (tuple(other.blocks or ()), other.hidden)
        if ours != theirs or other.members not in (1, self.members):
            raise ModelError(
                f"starting_from: expected blocks {ours[0]}, hidden {ours[1]} and 1 or "
                f"{self.members} members; found {theirs[0]}, {theirs[1]} and {other.members}."
            )
        self._start = other
        return self

    def _fit(self, X: NDArray[Any], labels: Labels, sampler: RowSampler | None) -> None:
        recipe = self._recipe()
        start = self._start
        # Layers mean what they meant of inputs that are scaled alike.
        self._scaling = InputScaling.fitted(X, self.blocks) if start is None else start._scaling
        self._centre, self._spread = labels.centre_and_spread()
        self._classification = labels.classification
        seeds = np.random.SeedSequence(self.random_state).spawn(self.members)
        n_sparse = int(self._scaling.sparse.sum())
        inputs = self._scaling.transform(X)
        rows = TrainingRows.of(inputs, labels, recipe.task_power, n_sparse)
        # The rows have what they need of them.
        del inputs
        before = None if start is None else start._weights
        kept = self._kept(len(self._scaling.columns), labels.values.shape[1])
        self._weights, self.epochs_ = train(rows, recipe, seeds, sampler, before, kept)
        deviation = residual_deviation(self._weights, rows, recipe, seeds)
        self._noise = np.where(self._classification, 0.0, self._spread * deviation)

    def _kept(self, n_inputs: int, n_tasks: int) -> Weights | None:
        """Return the networks of an earlier fit, where `warm_start` keeps them."""
        if not self.warm_start or not hasattr(self, "_weights"):
            return None
        k, hidden, tasks = self._weights["head.weight"].shape
        inputs = sum(self._weights[f"{name}.weight"].shape[1] for name in ("input", "sparse"))
        if k > self.members or (inputs, hidden, tasks) != (n_inputs, self.hidden, n_tasks):
            raise ModelError(
                f"warm_start: expected rows and layers of the earlier fit ({inputs} inputs, "
                f"{hidden} units, {tasks} tasks) and {k} members or more; found {n_inputs}, "
                f"{self.hidden}, {n_tasks} and {self.members}."
            )
        return self._weights

    def encode(self, X: ArrayLike) -> Float32Array:
        """Return what the heads see of molecules [N, F]: the last hidden units of all members.

        Returns
        -------
        ndarray of float32 [N, members * hidden]
            NaN for rows without any feature.

        Raises
        ------
        ModelError
            If no task had labels that differ, so that nothing was learned.
        """
        features, featured = self._features(X)
        if not self._varying.any():
            raise ModelError("encode: expected a task with labels that differ; found none.")
        units = np.full((len(features), self.members * self.hidden), np.nan, dtype=np.float32)
        hidden = hidden_of(self._weights, self._scaling.transform(features[featured]))
        units[featured] = hidden.swapaxes(0, 1).reshape(-1, units.shape[1])
        return units

    def _member_means(self, X: NDArray[Any]) -> FloatArray:
        """Return each network's predictions, [k, N, T]."""
        parts = [X[at : at + PREDICTED_ROWS] for at in range(0, len(X), PREDICTED_ROWS)] or [X]
        outputs: FloatArray = np.concatenate(
            [outputs_of(self._weights, self._scaling.transform(part)) for part in parts], axis=1
        )
        means = self._centre + self._spread * outputs
        # The logistic function only where it is meant: elsewhere it would be thrown away.
        means[:, :, self._classification] = expit(outputs[:, :, self._classification])
        return means

    def _latent(self, X: NDArray[Any]) -> Latent:
        means = self._member_means(X)
        spread = means.std(axis=0, ddof=1) if self.members > 1 else None
        return Latent(means.mean(axis=0), spread, self._noise)

    def _state(self) -> State:
        return {
            "centre": self._centre,
            "spread": self._spread,
            "noise": self._noise,
            "classification": self._classification,
            **{f"inputs.{name}": value for name, value in vars(self._scaling).items()},
            **{f"weights.{name}": value.numpy() for name, value in self._weights.items()},
        }

    def _restore(self, state: State) -> None:
        def under(prefix: str) -> State:
            return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}

        self._centre, self._spread, self._noise = (
            state[name] for name in ("centre", "spread", "noise")
        )
        self._classification = state["classification"]
        self._scaling = InputScaling(**under("inputs."))
        self._weights = {name: torch.from_numpy(v) for name, v in under("weights.").items()}
