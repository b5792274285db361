"""What a prediction rests on: the effect of leaving out one instance."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from mil_attn.bags import Bags
from mil_attn.data.bag_data import BagData
from mil_attn.errors import MILError
from mil_attn.training.devices import prediction_device
from mil_attn.training.loader import BagLoader
from mil_attn.training.module import MILModule

Indices = NDArray[np.int64]


def leave_one_out(
    module: MILModule, data: BagData, *, batch_size: int = 512, rows_at_once: int = 1 << 17
) -> NDArray[np.float64]:
    """Return how much of a bag's logit is owed to each instance.

    The logit of the whole bag minus that of the bag without the instance: positive where the
    instance speaks for class 1. Attention says where a model looks, this what comes of it. Each
    instance is encoded once.

    Parameters
    ----------
    module : MILModule
        Trained, with a 3D branch.
    data : BagData
        N bags with M instances, not scaled.
    batch_size : int
        Bags encoded at a time.
    rows_at_once : int
        Instances in the reduced bags that are pooled at a time.

    Returns
    -------
    ndarray [M, T]
        In units of the logit; for regression of the labels. NaN in bags of one instance, of which
        nothing would be left.

    Raises
    ------
    MILError
        If the model has no 3D branch, or the features are others.
    """
    if module.network.in_3d is None:
        raise MILError("model: expected one with a 3D branch; found one of 2D features alone.")
    scaled = module.prepare(data, with_labels=False)
    with prediction_device(module) as device:
        parts = [
            _effects(module, bags.to(device), rows_at_once)
            for bags in BagLoader(scaled, batch_size)
        ]
    found = np.concatenate(parts) if parts else np.empty((0, len(module.task_names)))
    if module.is_classifier:
        return found
    scale: NDArray[np.float64] = module.label_scale.cpu().double().numpy()
    return found * scale


def _effects(module: MILModule, bags: Bags, rows_at_once: int) -> NDArray[np.float64]:
    network = module.network
    molecules, instances = network.encode(bags)
    assert instances is not None
    whole = network.mix(molecules, instances, bags.offsets).logits
    effects = whole.new_full((len(instances), whole.shape[1]), torch.nan)
    offsets = bags.offsets.cpu().numpy()
    for left_out, bag, rows, bounds in _reduced(offsets, rows_at_once):
        at = torch.from_numpy(bag).to(whole.device)
        reduced = network.mix(
            None if molecules is None else molecules[at],
            instances[torch.from_numpy(rows).to(whole.device)],
            torch.from_numpy(bounds).to(whole.device),
        ).logits
        effects[torch.from_numpy(left_out).to(whole.device)] = whole[at] - reduced
    result: NDArray[np.float64] = effects.cpu().double().numpy()
    return result


def _reduced(
    offsets: Indices, rows_at_once: int
) -> Iterator[tuple[Indices, Indices, Indices, Indices]]:
    """Yield chunks of bags less one instance.

    Each is what was left out [R], its bag [R], the instances that remain, and their bounds [R + 1].
    """
    sizes = np.diff(offsets)
    bag_of = np.repeat(np.arange(len(sizes)), sizes)
    left_out = np.flatnonzero(sizes[bag_of] > 1)
    chunk = (np.cumsum(sizes[bag_of[left_out]] - 1) - 1) // rows_at_once
    for number in np.unique(chunk):
        some = left_out[chunk == number]
        bag = bag_of[some]
        bounds = np.concatenate([[0], np.cumsum(sizes[bag] - 1)]).astype(np.int64)
        position = np.arange(bounds[-1]) - np.repeat(bounds[:-1], sizes[bag] - 1)
        gap = np.repeat(some - offsets[bag], sizes[bag] - 1)
        rows = np.repeat(offsets[bag], sizes[bag] - 1) + position + (position >= gap)
        yield some, bag, rows, bounds
