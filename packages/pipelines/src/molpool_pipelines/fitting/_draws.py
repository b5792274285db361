"""How rows are drawn for a network on features, which trains a fixed number of epochs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from molpool_common import FloatArray, InputError
from sampling_core import CurriculumState, JointSampler, JointSamplingConfig, sampler_from_config


class EpochSampler:
    """Draws of `sampling_core` whose curriculum follows the number of the epoch.

    Parameters
    ----------
    sampler : JointSampler
        Draws rows.
    state : CurriculumState or None
        Its phase, which `set_epoch` sets.
    epochs : int
        Of a network; those of an ensemble's i-th are numbered from i times these.
    """

    def __init__(self, sampler: JointSampler, state: CurriculumState | None, epochs: int) -> None:
        self._sampler, self._state = sampler, state
        self._states = []
        if state is not None:
            for _ in range(epochs):
                self._states.append(state.state_dict())
                state.end_epoch()

    def set_epoch(self, epoch: int) -> None:
        """Choose the draws of an epoch, and its phase."""
        if self._state is not None:
            self._state.load_state_dict(self._states[epoch % len(self._states)])
        self._sampler.set_epoch(epoch)

    def __iter__(self) -> Iterator[int]:
        return iter(self._sampler)


def epoch_sampler(
    config: JointSamplingConfig,
    targets: FloatArray,
    quality: Sequence[str] | None,
    *,
    epochs: int,
) -> EpochSampler | None:
    """Return what draws the rows of a network; None: each once an epoch.

    Parameters
    ----------
    config : JointSamplingConfig
        What is asked for.
    targets : ndarray [N, T]
        Labels of the rows that train, NaN for none.
    quality : sequence of str, length N, or None
        Their quality labels.
    epochs : int
        Of the network.

    Raises
    ------
    SamplingError
        If the configuration does not fit the rows.
    """
    if not config.enabled:
        return None
    state = CurriculumState.from_config(config.curriculum) if config.curriculum.enabled else None
    sampler = sampler_from_config(config, targets, quality, state)
    return None if sampler is None else EpochSampler(sampler, state, epochs)


def check_draws(config: JointSamplingConfig, models: Sequence[str]) -> None:
    """Refuse what networks on features cannot do.

    Raises
    ------
    InputError
        If no model draws rows, or a curriculum waits for a validation loss or weighs the loss.
    """
    if not config.enabled:
        return
    curriculum = config.curriculum
    for wrong, key, expected, found in (
        ("mlp" not in models, "joint_sampling", "mlp among model, which draws rows", str(models)),
        (
            config.num_samples is not None,
            "joint_sampling.num_samples",
            "none: a network sees as many rows as there are, mlp.epochs times",
            str(config.num_samples),
        ),
        (
            curriculum.enabled and curriculum.phase_epochs is None,
            "joint_sampling.curriculum.phase_epochs",
            "epochs of each phase: nothing validates a network while it trains",
            "none",
        ),
        (
            curriculum.enabled and curriculum.strategy != "sampled",
            "joint_sampling.curriculum.strategy",
            "sampled, for models on features",
            repr(curriculum.strategy),
        ),
    ):
        if wrong:
            raise InputError(key, expected=expected, found=found)
