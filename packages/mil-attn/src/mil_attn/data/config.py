"""Settings of conformers and descriptors."""

from __future__ import annotations

from typing import Literal

from molpool_common import ConfigModel
from pydantic import Field, field_validator

DescriptorSet = Literal["usrcat", "whim", "autocorr3d", "rdf", "morse", "getaway"]
"""Families of 3D descriptors that RDKit computes."""


class ConformerConfig(ConfigModel):
    """Conformers of a molecule: ETKDGv3, then MMFF94, then pruning."""

    count: int = Field(10, ge=1, le=1000, description="conformers to embed a molecule")
    energy_window: float | None = Field(
        10.0,
        gt=0,
        description="kcal/mol above the lowest within which conformers are kept; null: all",
    )
    rmsd: float = Field(
        0.5,
        ge=0,
        description="heavy-atom RMSD in Å within which the higher of two conformers is left out; "
        "0: keep all",
    )
    mmff: bool = Field(
        True, description="relax with MMFF94 (UFF where it has no parameters) and rank by energy"
    )
    mmff_iterations: int = Field(500, ge=1, description="most steps of a relaxation")
    largest_fragment: bool = Field(
        True, description="of a salt or mixture, embed the fragment of most heavy atoms alone"
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, description="seed of the embedding of each molecule")
    max_seconds: int = Field(
        60, ge=0, description="most seconds that a molecule may embed; 0: no limit"
    )


class Descriptors2DConfig(ConfigModel):
    """Features of a molecule as a whole."""

    descriptors: bool = Field(True, description="RDKit's descriptors of the molecular graph")
    morgan_bits: int = Field(
        2048, ge=0, le=65536, description="length of the folded Morgan counts; 0: none"
    )
    morgan_radius: int = Field(2, ge=0, le=10, description="radius of the Morgan counts in bonds")


def _default_families() -> list[DescriptorSet]:
    # 254 values in 0.3 ms; the others take a millisecond each and triple what is kept.
    return ["usrcat", "whim", "autocorr3d"]


class MoleculeFeaturesConfig(ConfigModel):
    """What is computed of SMILES."""

    conformers: ConformerConfig = Field(default_factory=ConformerConfig)
    descriptors_3d: list[DescriptorSet] = Field(
        default_factory=_default_families,
        description="descriptors of each conformer, in this order; none: no conformers",
    )
    descriptors_2d: Descriptors2DConfig = Field(default_factory=Descriptors2DConfig)
    use_2d: bool = Field(True, description="whether molecules have 2D features")

    @field_validator("descriptors_3d")
    @classmethod
    def _distinct(cls, names: list[DescriptorSet]) -> list[DescriptorSet]:
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"expected distinct families, found twice {', '.join(twice)}")
        return names
