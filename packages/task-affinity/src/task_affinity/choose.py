"""From a configuration to what is measured."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from task_affinity.config import TaskAffinityConfig
from task_affinity.errors import TaskAffinityError
from task_affinity.last_layer import LastLayer, OutputLayer
from task_affinity.losses import TaskLosses
from task_affinity.measures import (
    EncoderGradients,
    Lookahead,
    Measure,
    RepresentationGradients,
)
from task_affinity.probed import ProbedGradients
from task_affinity.representation import EncoderOutput

PROBE_ABOVE = 100
"""Number of tasks above which ``auto`` estimates encoder gradients with probes."""


def measures_products(config: TaskAffinityConfig) -> bool:
    """Return whether products are measured: those of unit gradients are cosines."""
    return config.affinity_type == "dot_product" and not config.normalize_gradients


def build_measure(
    config: TaskAffinityConfig,
    estimator: str,
    model: nn.Module,
    losses: TaskLosses,
    parameters: Mapping[str, Tensor],
    output: EncoderOutput | None,
    output_layer: OutputLayer | None = None,
) -> Measure:
    """Return the measure of a configuration for a model on its device."""
    cosine = not measures_products(config)
    if config.affinity_type == "lookahead":
        return Lookahead(model, losses, parameters, step=config.affinity_lr)
    if estimator == "probe":
        device = next(iter(parameters.values())).device
        last = None
        if output_layer is not None and output is None:
            last = LastLayer(model, losses, parameters, output_layer)
        return ProbedGradients(
            model,
            losses,
            parameters,
            output,
            n_probes=config.n_probes,
            generator=torch.Generator(device).manual_seed(config.seed),
            cosine=cosine,
            last=last,
        )
    if output is not None:
        return RepresentationGradients(output, cosine=cosine)
    return EncoderGradients(model, losses, parameters, cosine=cosine)


def choose_estimator(config: TaskAffinityConfig, n_tasks: int) -> str:
    """Return ``exact`` or ``probe``; heads alone go back quickly for any number of tasks."""
    if config.estimator != "auto":
        return config.estimator
    products = config.affinity_type != "lookahead" and config.gradient_scope == "encoder"
    return "probe" if products and n_tasks > PROBE_ABOVE else "exact"


def choose_output(
    config: TaskAffinityConfig, model: nn.Module, encoder_output: str | nn.Module | None
) -> EncoderOutput | None:
    """Return what catches the encoder's output, None for encoder gradients.

    Raises
    ------
    TaskAffinityError
        If the scope and the type do not fit, or it was not said where the encoder ends.
    """
    if config.gradient_scope == "encoder":
        return None
    if config.affinity_type == "lookahead":
        raise TaskAffinityError(
            "gradient_scope: expected 'encoder' with affinity_type = 'lookahead', which steps the "
            "encoder's parameters; found 'representation'"
        )
    if encoder_output is None:
        raise TaskAffinityError(
            "encoder_output: expected the encoder's last module or its name, as gradient_scope is "
            "'representation'; found none"
        )
    return EncoderOutput(model, encoder_output)
