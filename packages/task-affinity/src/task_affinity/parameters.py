"""Which parameters the tasks share."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from task_affinity.config import DEFAULT_EXCLUSIONS
from task_affinity.errors import TaskAffinityError, listed


def encoder_parameters(model: nn.Module, patterns: Sequence[str] = ()) -> dict[str, nn.Parameter]:
    """Return the trained parameters of the shared encoder by name.

    Parameters
    ----------
    model : Module
        The model; a parameter under two names is given once, under the first.
    patterns : sequence of str
        Parts of names. With any, the parameters that contain one of them; without, those that
        contain none of `DEFAULT_EXCLUSIONS`. Case does not matter.

    Raises
    ------
    TaskAffinityError
        If there is none, or none that is trained.
    """
    named = dict(model.named_parameters())
    chosen = {name: p for name, p in named.items() if _is_encoder(name, patterns)}
    if not chosen:
        found = (
            f"{listed([repr(p) for p in patterns])}, which match none"
            if patterns
            else f"no patterns, which leaves out every name with {listed(DEFAULT_EXCLUSIONS)}"
        )
        raise TaskAffinityError(
            "encoder_param_patterns: expected parts of the names of shared parameters; found "
            f"{found}. The model has {listed(list(named), limit=6) or 'no parameter'}."
        )
    trained = {name: p for name, p in chosen.items() if p.requires_grad}
    if not trained:
        raise TaskAffinityError(
            "encoder_param_patterns: expected an encoder with a parameter that is trained; found "
            f"requires_grad = False for {listed(list(chosen), limit=6)}"
        )
    return trained


def _is_encoder(name: str, patterns: Sequence[str]) -> bool:
    lower = name.lower()
    if patterns:
        return any(pattern.lower() in lower for pattern in patterns)
    return not any(pattern in lower for pattern in DEFAULT_EXCLUSIONS)
