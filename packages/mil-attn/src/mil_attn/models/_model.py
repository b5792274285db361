"""The model: molecule and instance branches, attention per task, mixer and heads."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self, cast

import torch
from torch import Tensor, nn

from mil_attn._bags import Bags
from mil_attn._config import MILConfig, MILModelConfig
from mil_attn._errors import MILError
from mil_attn.models._embedder import MLPEmbedderV3Like, make_residual_mlp_embedder_v3
from mil_attn.models._pool import TaskAttentionPool


class TaskHeads(nn.Module):
    """One linear head per task, on that task's own embedding.

    Parameters
    ----------
    n_tasks : int
        Number of tasks T.
    width : int
        Width of an embedding.
    """

    def __init__(self, n_tasks: int, width: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(width)
        self.weight = nn.Parameter(torch.empty(n_tasks, width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(n_tasks))

    def forward(self, z_tasks: Tensor) -> Tensor:
        """Return [B, T] of embeddings [B, T, width]."""
        return torch.einsum("btw,tw->bt", z_tasks, self.weight) + self.bias


class AuxHeads(nn.ModuleDict):
    """Shared linear heads, one per group, on the mean of the task embeddings.

    Parameters
    ----------
    groups : mapping of str to int
        Outputs of each group.
    width : int
        Width of an embedding.
    """

    def __init__(self, groups: Mapping[str, int], width: int) -> None:
        super().__init__({name: nn.Linear(width, n) for name, n in groups.items()})

    def forward(self, z_tasks: Tensor) -> dict[str, Tensor]:
        """Return [B, outputs] of each group, of embeddings [B, T, width]."""
        z_aux = z_tasks.mean(1)
        return {name: head(z_aux) for name, head in self.items()}


@dataclass(frozen=True, eq=False)
class MILOutput:
    """What the model says of B bags.

    Attributes
    ----------
    logits : Tensor [B, T]
        Logits of classes, or values.
    aux : dict of str to Tensor [B, A]
        Values of the auxiliary groups.
    attention : Tensor [M, T] or None
        Of each instance; sums to 1 over each bag. None without a 3D branch.
    z_tasks : Tensor [B, T, mixer_hidden]
        Embeddings of the tasks.
    """

    logits: Tensor
    aux: dict[str, Tensor]
    attention: Tensor | None
    z_tasks: Tensor


@dataclass(frozen=True, eq=False)
class Mixing:
    """With which other of its batch each bag is mixed (Zhang et al. 2018, arXiv:1710.09412).

    Attributes
    ----------
    share : float
        What stays of a bag, 0 to 1.
    partner : LongTensor [B]
        The bag that makes up the rest.
    """

    share: float
    partner: Tensor


class MILTaskAttnMixerWithAux(nn.Module):
    """Predict tasks of a molecule from its own features and those of its conformers.

    Molecule features are encoded and shared by the tasks; conformers are encoded one by one and
    pooled by attention, once per task; a mixer joins the two.

    Parameters
    ----------
    config : MILModelConfig
        Architecture.
    n_tasks : int
        Number of tasks T.
    in_2d, in_3d : int or None
        Features of a molecule and of an instance; of a branch in use only.
    aux : mapping of str to int
        Outputs of each auxiliary group.

    Raises
    ------
    MILError
        If a branch in use has no features, or a width does not fit.
    """

    def __init__(
        self,
        config: MILModelConfig,
        *,
        n_tasks: int,
        in_2d: int | None = None,
        in_3d: int | None = None,
        aux: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        self.n_tasks = n_tasks
        self.in_2d = _features("2d", config.use_2d, in_2d)
        self.in_3d = _features("3d", config.use_3d, in_3d)
        width = config.proj_dim
        if self.in_2d is not None:
            self.mol_enc = _encoder(config, self.in_2d, "mol")
            self.proj2d = nn.Sequential(nn.Linear(config.mol_hidden, width), nn.LayerNorm(width))
        if self.in_3d is not None:
            self.inst_enc = _encoder(config, self.in_3d, "inst")
            self.pool = TaskAttentionPool(
                config.inst_hidden,
                n_tasks,
                config.attn_heads,
                dropout=config.attn_dropout,
                temperature=config.attn_temperature,
                source=config.pool_source,
                tie_mha_v=config.tie_mha_v,
                top_k=config.top_k,
                mean_residual=config.mean_residual,
            )
            self.proj3d = nn.Sequential(nn.Linear(config.inst_hidden, width), nn.LayerNorm(width))
        self.mixer = _encoder(config, width * (config.use_2d + config.use_3d), "mixer")
        self.heads = TaskHeads(n_tasks, config.mixer_hidden)
        self.aux_heads = AuxHeads(aux or {}, config.mixer_hidden)

    @classmethod
    def from_config(
        cls,
        config: MILConfig,
        *,
        in_2d: int | None = None,
        in_3d: int | None = None,
        n_tasks: int | None = None,
    ) -> Self:
        """Return the model of a configuration.

        Parameters
        ----------
        config : MILConfig
            Its tasks and auxiliary groups give the heads.
        in_2d, in_3d : int, optional
            Features of a molecule and of an instance.
        n_tasks : int, optional
            Number of tasks, where the configuration names none.
        """
        return cls(
            config.model,
            n_tasks=len(config.tasks) or n_tasks or 1,
            in_2d=in_2d,
            in_3d=in_3d,
            aux={name: len(group.columns) for name, group in config.aux.items()},
        )

    def forward(self, bags: Bags, mixing: Mixing | None = None) -> MILOutput:
        """Predict a batch.

        Parameters
        ----------
        bags : Bags
            With `x2d` and `instances` as far as their branches are in use.
        mixing : Mixing, optional
            With which bags these are mixed, in training.

        Returns
        -------
        MILOutput

        Raises
        ------
        MILError
            If features that a branch needs are missing or of another width.
        """
        return self.mix(*self.encode(bags), bags.offsets, mixing)

    def encode(self, bags: Bags) -> tuple[Tensor | None, Tensor | None]:
        """Return molecules [B, proj_dim] and instances [M, inst_hidden]; None without a branch."""
        molecules = instances = None
        if self.in_2d is not None:
            molecules = self.proj2d(self.mol_enc(_present("x2d", bags.x2d, self.in_2d)))
        if self.in_3d is not None:
            instances = self.inst_enc(_present("instances", bags.instances, self.in_3d))
        return molecules, instances

    def mix(
        self,
        molecules: Tensor | None,
        instances: Tensor | None,
        offsets: Tensor,
        mixing: Mixing | None = None,
    ) -> MILOutput:
        """Predict from what `encode` returned; bags may have lost or gained instances since."""
        branches, attention = [], None
        if molecules is not None:
            branches.append(molecules[:, None])
        if instances is not None:
            pooled, attention = self.pool(instances, offsets)
            branches.append(self.proj3d(pooled))
            branches = [branch.expand(-1, self.n_tasks, -1) for branch in branches]
        # Without instances nothing differs between tasks before the heads: mixed once.
        joined = torch.cat(branches, -1)
        if mixing is not None:
            joined = torch.lerp(joined[mixing.partner], joined, mixing.share)
        z_tasks = self.mixer(joined).expand(-1, self.n_tasks, -1)
        return MILOutput(self.heads(z_tasks), self.aux_heads(z_tasks), attention, z_tasks)


class MILEnsemble(nn.Module):
    """Networks of one architecture that are trained side by side, each with weights of its own.

    Parameters
    ----------
    members : sequence of MILTaskAttnMixerWithAux
        At least one.
    """

    def __init__(self, members: Sequence[MILTaskAttnMixerWithAux]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.n_tasks = members[0].n_tasks
        self.in_2d, self.in_3d = members[0].in_2d, members[0].in_3d

    @property
    def each(self) -> tuple[MILTaskAttnMixerWithAux, ...]:
        """The members."""
        return tuple(cast("MILTaskAttnMixerWithAux", member) for member in self.members)

    def forward(self, bags: Bags) -> MILOutput:
        """Return the means over members of what they say of a batch."""
        return mean_output([member(bags) for member in self.each])


def mean_output(outputs: Sequence[MILOutput]) -> MILOutput:
    """Return the mean of outputs for the same bags: of logits, so that effects add up too."""

    def mean(values: Iterable[Tensor | None]) -> Tensor:
        return torch.stack([value for value in values if value is not None]).mean(0)

    return MILOutput(
        mean(o.logits for o in outputs),
        {name: mean(o.aux[name] for o in outputs) for name in outputs[0].aux},
        None if outputs[0].attention is None else mean(o.attention for o in outputs),
        mean(o.z_tasks for o in outputs),
    )


def _encoder(config: MILModelConfig, in_dim: int, part: str) -> MLPEmbedderV3Like:
    return make_residual_mlp_embedder_v3(
        in_dim,
        getattr(config, f"{part}_hidden"),
        getattr(config, f"{part}_layers"),
        dropout=getattr(config, f"{part}_dropout"),
        activation=config.activation,
        gated=config.gated and part != "mixer",
        expansion=config.expansion,
        drop_path=config.drop_path,
        residual_scale=config.residual_scale,
        scale_warmup=config.scale_warmup,
    )


def _features(branch: str, used: bool, found: int | None) -> int | None:
    if used and found is None:
        raise MILError(
            f"in_{branch}: expected the number of features, as use_{branch} is true; found None."
        )
    return found if used else None


def _present(name: str, rows: Tensor | None, width: int) -> Tensor:
    found = "None" if rows is None else f"{rows.shape[1]}"
    if rows is None or rows.shape[1] != width:
        raise MILError(f"{name}: expected {width} features, as the model has; found {found}.")
    return rows
