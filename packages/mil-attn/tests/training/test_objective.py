from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from mil_attn._bags import Bags
from mil_attn._config import MILConfig, MILLossConfig
from mil_attn._errors import MILError
from mil_attn._losses import MultiTaskFocal
from mil_attn.models._model import MILOutput
from mil_attn.training._objective import Objective, positive_weights

Settings = Callable[..., MILConfig]


def batch(aux: dict[str, Any]) -> tuple[MILOutput, Bags]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 2, generator=generator)
    labels = torch.tensor([[0.0, 1], [1, torch.nan], [0, 0], [torch.nan, 1], [1, 1], [0, 0]])
    bags = Bags(None, torch.zeros(7, dtype=torch.int64), labels=labels, aux=aux)
    values = {name: torch.zeros_like(v) for name, v in aux.items()}
    return MILOutput(logits, values, None, torch.empty(0)), bags


def test_the_total_by_hand(settings: Settings) -> None:
    aux = {"abs": torch.tensor([[1.0], [3], [torch.nan], [1], [1], [1]])}
    config = settings(
        loss={"gamma": [0.0, 2.0], "lam": [1.0, 3.0], "lam_floor": 0.25, "lam_ceil": 3.0},
        aux={"abs": {"columns": ["A"], "weight": 0.25}},
    )
    output, bags = batch(aux)
    terms = Objective(config, 2, [4.0, 1.5])(output, bags)
    assert bags.labels is not None
    by_task = MultiTaskFocal([4.0, 1.5], [0.0, 2.0])(output.logits, bags.labels)
    torch.testing.assert_close(terms.by_task, by_task)
    # lam 1 and 3 over their mean are 0.5 and 1.5; the squares 1, 9, 1, 1, 1 have mean 2.6
    expected = (0.5 * by_task[0] + 1.5 * by_task[1]) / 2 + 0.25 * 2.6
    torch.testing.assert_close(terms.total, expected)


def test_an_auxiliary_group_without_a_value_in_the_batch_adds_nothing(settings: Settings) -> None:
    config = settings(aux={"abs": {"columns": ["A"], "weight": 0.5}})
    output, bags = batch({"abs": torch.full((6, 1), torch.nan)})
    plain, bags_alone = batch({})
    with_aux = Objective(config, 2)(output, bags).total
    torch.testing.assert_close(with_aux, Objective(config, 2)(plain, bags_alone).total)


def test_weights_of_positives_are_ratios_up_to_the_clip() -> None:
    labels = np.full((111, 4), np.nan)
    labels[:11, 0], labels[:10, 0] = 0, 1  # one negative to ten positives
    labels[:, 1], labels[0, 1] = 0, 1  # 110 negatives to one positive
    labels[:5, 2] = 0  # no positive
    labels[:5, 3] = 1  # no negative
    clipped = MILLossConfig(posw_clip=[50.0, 50, 30, 20])
    assert positive_weights(labels, clipped) == [pytest.approx(0.1), 50, 30, 1]
    given = MILLossConfig(pos_weight=[3.0, 1, 7, 200], posw_clip=2.0)
    assert positive_weights(labels, given) == [3, 1, 7, 200]
    assert positive_weights(labels, MILLossConfig(pos_weight=5.0)) == [5.0] * 4
    with pytest.raises(MILError, match=r"loss\.pos_weight: expected one number, or one per task"):
        positive_weights(labels, MILLossConfig(pos_weight=[1.0, 2.0]))


def test_numbers_for_other_tasks_are_refused(settings: Settings) -> None:
    with pytest.raises(MILError, match=r"loss\.gamma: .*one per task \(2\); found \[1\.0, 2\.0, 3"):
        Objective(settings(loss={"gamma": [1.0, 2, 3]}), 2)
