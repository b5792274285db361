"""Which instance a prediction rests on, by four accounts, and which of them finds the truth.

Attention is where the model looks. What comes of it say the effect of leaving an instance out, its
Shapley value, and the gradient, which is the cheapest and the roughest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from molpool_common import BoolArray, FloatArray, IntArray, roc_auc
from torch import Tensor

from mil_attn._attention import attention_and_values, leave_one_out
from mil_attn._bags import Bags
from mil_attn._errors import MILError
from mil_attn.data._bag_data import BagData
from mil_attn.models._model import MILTaskAttnMixerWithAux
from mil_attn.training._loop import BagLoader
from mil_attn.training._module import MILModule, prediction_device


def gradient_effects(module: MILModule, data: BagData, *, batch_size: int = 512) -> FloatArray:
    """Return the gradient of a bag's logit by each instance, times the instance.

    To first order what the logit would lose if the instance were the mean of the training bags.

    Parameters
    ----------
    module : MILModule
        Trained, with a 3D branch.
    data : BagData
        N bags with M instances, not scaled.
    batch_size : int
        Bags at a time.

    Returns
    -------
    ndarray [M, T]
        In units of the logit; for regression of the labels.

    Raises
    ------
    MILError
        If the model has no 3D branch, or the features are others.
    """

    def of(bags: Bags) -> Tensor:
        assert bags.instances is not None
        # Outside of inference mode, in which nothing is recorded for a gradient.
        with torch.inference_mode(False), torch.enable_grad():
            rows = bags.instances.clone().requires_grad_()
            rest = Bags(
                rows, bags.offsets.clone(), x2d=None if bags.x2d is None else bags.x2d.clone()
            )
            logits = module(rest).logits
            found = [
                (torch.autograd.grad(logits[:, t].sum(), rows, retain_graph=True)[0] * rows).sum(1)
                for t in range(logits.shape[1])
            ]
        return torch.stack(found, dim=1).detach()

    return _by_batch(module, data, batch_size, of)


def shapley_values(
    module: MILModule,
    data: BagData,
    *,
    permutations: int = 64,
    seed: int = 0,
    batch_size: int = 64,
    rows_at_once: int = 1 << 17,
) -> FloatArray:
    """Return the Shapley value of each instance for its bag's logit.

    The mean over random orders of what an instance adds to those before it, so that two instances
    of which either would do share what leave-one-out says of neither. An empty bag counts as the
    mean of the bags of one instance each; values of a bag sum to its logit minus that.

    Parameters
    ----------
    module : MILModule
        Trained, with a 3D branch.
    data : BagData
        N bags with M instances, not scaled.
    permutations : int
        Orders a bag; the error falls with its square root.
    seed : int
        Of the orders.
    batch_size : int
        Bags encoded at a time.
    rows_at_once : int
        Instances in the reduced bags that are pooled at a time.

    Returns
    -------
    ndarray [M, T]
        In units of the logit; for regression of the labels.

    Raises
    ------
    MILError
        If the model has no 3D branch, or the features are others.

    References
    ----------
    Castro, Gómez and Tejada, Computers & Operations Research 36 (2009) 1726–1730.
    """
    rng = np.random.default_rng(seed)

    def of(bags: Bags) -> Tensor:
        orders = _orders(bags.offsets.cpu().numpy(), permutations, rng)
        each = [_shapley(member, bags, orders, rows_at_once) for member in module.members]
        return torch.stack(each).mean(0)

    return _by_batch(module, data, batch_size, of)


def _by_batch(
    module: MILModule, data: BagData, batch_size: int, of: Callable[[Bags], Tensor]
) -> FloatArray:
    if module.network.in_3d is None:
        raise MILError("model: expected one with a 3D branch; found one of 2D features alone.")
    scaled = module.prepare(data, with_labels=False)
    with prediction_device(module) as device:
        parts = [
            of(bags.to(device)).cpu().double().numpy() for bags in BagLoader(scaled, batch_size)
        ]
    found: FloatArray = np.concatenate(parts)
    return found if module.is_classifier else found * module.units[1]


def _orders(offsets: IntArray, permutations: int, rng: np.random.Generator) -> list[IntArray]:
    """Return random orders of the instances of each bag, each [M], bag after bag."""
    bag_of = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    return [np.lexsort((rng.random(len(bag_of)), bag_of)) for _ in range(permutations)]


def _shapley(
    network: MILTaskAttnMixerWithAux, bags: Bags, orders: list[IntArray], rows_at_once: int
) -> Tensor:
    molecules, instances = network.encode(bags)
    assert instances is not None
    device, offsets = instances.device, bags.offsets.cpu().numpy()
    bag_of = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    place = np.arange(len(bag_of)) - offsets[:-1][bag_of]

    def value(rows: IntArray, bag: IntArray, bounds: IntArray) -> Tensor:
        at, picked, ends = (torch.from_numpy(a).to(device) for a in (bag, rows, bounds))
        of_bag = None if molecules is None else molecules[at]
        return network.mix(of_bag, instances[picked], ends).logits

    alone = value(np.arange(len(bag_of)), bag_of, np.arange(len(bag_of) + 1))
    sizes = bags.sizes[:, None].to(alone.dtype)
    at = torch.from_numpy(bag_of).to(device)
    empty = torch.zeros(len(bags), network.n_tasks, device=device).index_add_(0, at, alone) / sizes
    first = torch.from_numpy(place == 0).to(device)[:, None]
    total = torch.zeros_like(alone)
    for order in orders:
        # Row k: of the first instances of its bag, in this order, as many as its place says.
        so_far = torch.cat([value(*part) for part in _growing(order, bag_of, place, rows_at_once)])
        before = torch.where(first, empty[at], so_far.roll(1, 0))
        total[torch.from_numpy(order).to(device)] += so_far - before
    return total / len(orders)


def _growing(
    order: IntArray, bag_of: IntArray, place: IntArray, rows_at_once: int
) -> Iterator[tuple[IntArray, IntArray, IntArray]]:
    """Yield chunks of bags that grow by an instance: their rows, their bags, their bounds."""
    sizes = place + 1
    start = np.arange(len(order)) - place
    chunk = (np.cumsum(sizes) - 1) // rows_at_once
    for number in np.unique(chunk):
        some = np.flatnonzero(chunk == number)
        bounds = np.concatenate([[0], np.cumsum(sizes[some])]).astype(np.int64)
        within = np.arange(bounds[-1]) - np.repeat(bounds[:-1], sizes[some])
        yield order[np.repeat(start[some], sizes[some]) + within], bag_of[some], bounds


@dataclass(frozen=True)
class Found:
    """How well one account of instances finds those that make a bag positive.

    Attributes
    ----------
    task, account : str
        What is explained, and how.
    bags : int
        Positive bags with a witness and an instance that is none.
    top : float
        Share of them in which the instance that comes first is a witness.
    chance : float
        The same of an instance drawn at random.
    auc : float
        Mean over bags of the area under the curve, witnesses against the others.
    """

    task: str
    account: str
    bags: int
    top: float
    chance: float
    auc: float


def explanations(
    module: MILModule, data: BagData, *, permutations: int = 64
) -> dict[str, FloatArray]:
    """Return four accounts [M, T] of what each instance has to do with a prediction, by name."""
    return {
        "attention": attention_and_values(module, data)[0],
        "leave-one-out": leave_one_out(module, data),
        "Shapley": shapley_values(module, data, permutations=permutations),
        "gradient": gradient_effects(module, data),
    }


def find_witnesses(
    accounts: Mapping[str, FloatArray], data: BagData, witness: BoolArray
) -> list[Found]:
    """Hold accounts against the instances that are known to make bags positive.

    Parameters
    ----------
    accounts : mapping of str to ndarray [M, T]
        Of `explanations`. Where one is NaN, in bags of one instance, nothing is counted.
    data : BagData
        The same N bags, with classes as labels.
    witness : ndarray of bool [M]
        Which instances do.

    Returns
    -------
    list of Found
        By task and account; tasks without a bag to judge by are left out.
    """
    assert data.labels is not None
    bounds = data.bounds
    share = np.add.reduceat(witness.astype(np.float64), bounds[:-1]) / data.sizes
    found = []
    for t, task in enumerate(data.task_names):
        judged = np.flatnonzero((data.labels[:, t] == 1) & (share > 0) & (share < 1))
        for name, values in accounts.items() if judged.size else ():
            parts = [
                (witness[s], values[s, t]) for s in (slice(*bounds[b : b + 2]) for b in judged)
            ]
            top = float(np.mean([w[int(np.argmax(v))] for w, v in parts]))
            auc = float(np.mean([roc_auc(w.astype(np.float64), v) for w, v in parts]))
            found.append(Found(task, name, len(judged), top, float(share[judged].mean()), auc))
    return found


@dataclass(frozen=True)
class Agreement:
    """Whether attention points to the instance whose removal changes a prediction most.

    Attributes
    ----------
    task : str
        The task.
    bags : int
        Those of two instances and more.
    share : float
        Of them, where the instance of most attention is that of the largest effect.
    chance : float
        The same of an instance drawn at random.
    """

    task: str
    bags: int
    share: float
    chance: float

    @property
    def holds(self) -> bool:
        """Whether the share is more than two standard errors above chance, and at least a half."""
        error = (self.share * (1 - self.share) / max(self.bags, 1)) ** 0.5
        return self.share - 2 * error > self.chance and self.share >= 0.5

    @property
    def sentence(self) -> str:
        """What a reader of the attention should know."""
        verdict = (
            "attention points to what counts"
            if self.holds
            else "read the effects; attention does not say what counts"
        )
        return (
            f"{self.task}: the instance of most attention is that of the largest effect in "
            f"{self.share:.0%} of {self.bags} bags (by chance {self.chance:.0%}): {verdict}."
        )


def attention_agreement(frame: pl.DataFrame) -> list[Agreement]:
    """Return for each task how often attention and effects name the same instance.

    Parameters
    ----------
    frame : DataFrame
        Of `attention_frame`, with effects.
    """
    size = pl.len().alias("size")
    same = (pl.col("attention").arg_max() == pl.col("effect").abs().arg_max()).alias("same")
    of_bags = frame.group_by("task", "molecule_id", maintain_order=True).agg(size, same)
    of_bags = of_bags.filter(pl.col("size") > 1)
    parts = of_bags.group_by("task", maintain_order=True).agg(
        bags=pl.len(), share=pl.col("same").mean(), chance=(1 / pl.col("size")).mean()
    )
    return [Agreement(**row) for row in parts.iter_rows(named=True)]
