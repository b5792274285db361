"""What a study of hyperparameters may draw: names, ranges and scales."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from mil_attn._errors import MILError

ACTIVATIONS = ("GELU", "SiLU", "Mish", "ReLU", "LeakyReLU")
ATTN_HEADS = (8, 16)


class Trial(Protocol):
    """What is asked of `optuna.Trial`."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Return a number between two bounds."""

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """Return an integer between two bounds."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Return one of the choices."""


def search_space(
    trial: Trial, *, n_tasks: int = 4, aux_groups: Sequence[str] = ("abs", "fluo")
) -> dict[str, Any]:
    """Draw one set of hyperparameters.

    Parameters
    ----------
    trial : optuna.Trial
        Draws, and remembers under the names of the result.
    n_tasks : int
        Classification tasks; each has a ``posw_clip_t``, ``gamma_t`` and ``lam_t`` of its own.
    aux_groups : sequence of str
        Auxiliary groups; each has a ``lambda_aux_GROUP``. By default those of the preset.

    Returns
    -------
    dict
        By name. ``attn_heads`` divides ``inst_hidden``.

    Raises
    ------
    MILError
        If there is no task.
    """
    if n_tasks < 1:
        raise MILError(f"n_tasks: expected at least 1; found {n_tasks}.")
    return {
        **_architecture(trial),
        **_optimisation(trial),
        **_imbalance(trial, n_tasks),
        **_objective(trial, aux_groups),
    }


def _architecture(trial: Trial) -> dict[str, Any]:
    inst_hidden = trial.suggest_categorical("inst_hidden", [256, 512, 1024])
    # Attention splits the width evenly among heads.
    heads = [h for h in ATTN_HEADS if inst_hidden % h == 0]
    return {
        "mol_hidden": trial.suggest_categorical("mol_hidden", [1024, 2048]),
        "mol_layers": trial.suggest_int("mol_layers", 2, 5),
        "mol_dropout": trial.suggest_float("mol_dropout", 0.10, 0.25),
        "inst_hidden": inst_hidden,
        "inst_layers": trial.suggest_int("inst_layers", 3, 5),
        "inst_dropout": trial.suggest_float("inst_dropout", 0.05, 0.15),
        "proj_dim": trial.suggest_categorical("proj_dim", [512, 1024]),
        "attn_heads": trial.suggest_categorical("attn_heads", heads),
        "attn_dropout": trial.suggest_float("attn_dropout", 0.05, 0.2),
        "mixer_hidden": trial.suggest_categorical("mixer_hidden", [512, 1024]),
        "mixer_layers": trial.suggest_int("mixer_layers", 3, 5),
        "mixer_dropout": trial.suggest_float("mixer_dropout", 0.05, 0.2),
        "activation": trial.suggest_categorical("activation", list(ACTIVATIONS)),
    }


def _optimisation(trial: Trial) -> dict[str, Any]:
    return {
        # Scale parameters are searched in the logarithm: factors matter, not differences.
        "lr": trial.suggest_float("lr", 8e-5, 8e-4, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 3e-6, 3e-4, log=True),
        "batch_size": trial.suggest_categorical("batch_size", [128, 256, 512]),
        "accumulate_grad_batches": trial.suggest_categorical("accumulate_grad_batches", [8, 16]),
    }


def _imbalance(trial: Trial, n_tasks: int) -> dict[str, Any]:
    by_task: dict[str, Any] = {}
    for t in range(n_tasks):
        by_task[f"posw_clip_t{t}"] = trial.suggest_float(f"posw_clip_t{t}", 10, 200, log=True)
        by_task[f"gamma_t{t}"] = trial.suggest_float(f"gamma_t{t}", 0, 4)
        by_task[f"lam_t{t}"] = trial.suggest_float(f"lam_t{t}", 0.25, 3.0, log=True)
    return {
        **by_task,
        "rare_oversample_mult": trial.suggest_float("rare_oversample_mult", 0, 200),
        "rare_prev_thr": trial.suggest_float("rare_prev_thr", 0.005, 0.05),
        "sample_weight_cap": trial.suggest_float("sample_weight_cap", 2.0, 20.0),
        "lam_floor": trial.suggest_float("lam_floor", 0.25, 1.0),
        "lam_ceil": trial.suggest_float("lam_ceil", 1.0, 3.5),
    }


def _objective(trial: Trial, aux_groups: Sequence[str]) -> dict[str, Any]:
    weights = [f"lambda_aux_{group}" for group in aux_groups]
    return {
        **{name: trial.suggest_float(name, 0.05, 0.5) for name in weights},
        "reg_loss_type": trial.suggest_categorical("reg_loss_type", ["mse"]),
        "objective_mode": trial.suggest_categorical("objective_mode", ["macro_plus_min"]),
        "min_w": trial.suggest_float("min_w", 0.1, 0.6),
    }
