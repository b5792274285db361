"""What the covariate-shift study runs over."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from molpool_common import ConfigModel
from pydantic import Field, model_validator

from rt_ridge.config import RidgeConfig
from rt_ridge.simulate_config import SimulateConfig


def _default_ridge() -> RidgeConfig:
    return RidgeConfig(
        intercept_prior="comp_hier_supercat",
        slope_head_mode="cluster_supercat",
        compound_slopes=True,
        lambda_slopes="estimate",
    )


class ShiftConfig(ConfigModel):
    """Covariate shift: train on runs near the usual readings, test on runs far from them."""

    simulate: SimulateConfig = Field(
        default_factory=SimulateConfig, description="the laboratory; anchors and seed are set below"
    )
    ridge: RidgeConfig = Field(default_factory=_default_ridge, description="the hierarchical model")
    alpha: float = Field(1.0, gt=0, description="ridge penalty of the baselines")
    anchors: list[Annotated[int, Field(ge=0)]] = Field(
        [0, 3, 5], min_length=1, description="numbers of anchor compounds measured in far runs too"
    )
    replicates: int = Field(5, ge=1, description="laboratories, which differ by their seed")
    bins: list[float] = Field(
        [60, 70, 80, 90, 95, 100],
        min_length=2,
        description="percentiles of the distance from training between which test rows are binned",
    )
    descriptors: bool = Field(True, description="give the compound descriptors to the model")
    inferred_clusters: bool = Field(
        True, description="k-means on the standards, for all methods; false: the true clusters"
    )
    clusters_of: Literal["species", "runs"] = Field(
        "species",
        description="what k-means groups: species' mean readings, or runs, of which the majority "
        "decides for a species, so that labels are noisier",
    )
    n_inferred_clusters: int | None = Field(
        None, ge=1, description="clusters that k-means makes; None: as many as there are"
    )
    seed: int = Field(0, ge=0, description="of the first laboratory; the next have the next seeds")

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if sorted(set(self.bins)) != self.bins or self.bins[0] < 0 or self.bins[-1] != 100:
            raise ValueError(f"bins: expected ascending percentiles up to 100, found {self.bins}")
        if max(self.anchors) >= self.simulate.n_compounds:
            raise ValueError(
                f"anchors: expected fewer than n_compounds {self.simulate.n_compounds},"
                f" found {max(self.anchors)}"
            )
        return self
