"""What models of bags are called, in configurations and on pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, cast, get_args

from molpool_pipelines.models._members import WORDS, MemberName

BagMemberName = Literal[
    "attention",
    "extra_trees",
    "forest",
    "lightgbm",
    "gp",
    "mlp",
    "mean",
    "minmax_kernel",
    "set_kernel",
    "boltzmann_kernel",
    "mi_graph",
    "mmd_kernel",
    "mean_min_kernel",
    "hausdorff_kernel",
]
BAG_MEMBERS: tuple[BagMemberName, ...] = get_args(BagMemberName)

_OWN_WORDS: Mapping[str, str] = {
    "attention": "attention",
    "minmax_kernel": "kernel of least and largest values",
    "set_kernel": "set kernel",
    "boltzmann_kernel": "set kernel by energy",
    "mi_graph": "miGraph",
    "mmd_kernel": "kernel of mean discrepancy",
    "mean_min_kernel": "kernel of mean distances",
    "hausdorff_kernel": "kernel of Hausdorff distances",
}


def bag_member_words(name: BagMemberName) -> str:
    """Return what pages call a model of bags."""
    words = _OWN_WORDS.get(name)
    return words or f"{WORDS[cast('MemberName', name)]} on statistics"
