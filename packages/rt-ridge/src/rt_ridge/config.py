"""What a partially pooled ridge is made of and how its scales are found."""

from __future__ import annotations

from typing import Annotated, Literal

from molpool_common import ConfigModel
from pydantic import Field, model_validator

from rt_ridge.priors import ScalePriors

Method = Literal["map", "ml", "reml", "laplace", "nuts", "advi"]
InterceptPrior = Literal["flat", "comp_hier", "comp_hier_supercat"]
InterceptMode = Literal["explicit", "collapsed"]
SlopeHeadMode = Literal["none", "global", "cluster_supercat"]
SlopePooling = Literal["estimate", "pooled"]
Heads = Literal["none", "cluster", "species"]
Precision = Annotated[float, Field(gt=0)]


class SamplingConfig(ConfigModel):
    """Effort of the methods that sample or integrate over the scales."""

    draws: int = Field(750, ge=10, description="nuts: draws a chain; laplace, advi: points")
    tune: int = Field(150, ge=10, description="nuts: warm-up draws a chain")
    chains: int = Field(2, ge=1, description="nuts: chains, run side by side")
    target_accept: float = Field(0.65, gt=0.5, lt=1, description="nuts: acceptance aimed at")
    max_depth: int | None = Field(
        None,
        ge=1,
        le=12,
        description="nuts: doublings of a trajectory; None: 2, which is enough in whitened "
        "coordinates, or 8 where there are too many of them to whiten",
    )
    advi_steps: int = Field(2_000, ge=100, description="advi: steps of the optimiser")
    location_draws: int = Field(
        64, ge=1, description="draws of the scales at which the locations are averaged exactly"
    )


class RidgeConfig(ConfigModel):
    """A partially pooled ridge regression; see the package's README for the model."""

    intercept_mode: InterceptMode = Field(
        "explicit", description="collapsed: flat intercepts, integrated out; needs the flat prior"
    )
    intercept_prior: InterceptPrior = Field(
        "comp_hier", description="what the intercepts of pairs are pooled towards"
    )
    slope_head_mode: SlopeHeadMode = Field(
        "none", description="what the slopes of pairs are pooled towards; none: 0"
    )
    lambda_slopes: Precision | list[Precision] | SlopePooling = Field(
        1.0,
        description="ridge precision of slopes over σ⁻², one or one a regressor; estimate: found "
        "with the scales; pooled: pairs do not differ from their head",
    )
    sigma: Literal["global", "group"] = Field(
        "global", description="one σ, or one a group, their logarithms pooled"
    )
    compound_slopes: bool = Field(False, description="slope head: deviations by compound")
    cluster_slopes: bool = Field(False, description="slope head: deviations by supercategory")
    species_slopes: bool = Field(False, description="slope head: deviations by group")
    class_slopes: Literal["none", "global", "cluster"] = Field(
        "none",
        description="slope head: deviations by class of compound; cluster: also by class within "
        "each supercategory",
    )
    slope_shrinkage: Literal["shared", "supercat"] = Field(
        "shared",
        description="slopes of groups: one spread, or one for each supercategory, so that "
        "homogeneous ones pool hard",
    )
    descriptor_heads: Heads = Field(
        "none",
        description="descriptor coefficients that deviate by supercategory, and by group within it",
    )
    descriptor_slopes: Literal["none", "global", "cluster", "species"] = Field(
        "none",
        description="slopes regressed on descriptors: once, or with coefficients that deviate by "
        "supercategory, and by group within it",
    )
    descriptor_components: int | None = Field(
        None, ge=1, description="principal axes of the descriptors to keep; None: all as they are"
    )
    location_mean: float = Field(0.0, description="mean of the grand intercept's normal prior")
    location_sd: float | None = Field(
        None, gt=0, description="its standard deviation; None: flat, as are the global slopes"
    )
    sigma_fixed: float | None = Field(None, gt=0, description="σ where it is known")
    priors: ScalePriors = Field(default_factory=ScalePriors, description="priors of the scales")
    method: Method = Field("map", description="how the scales are found")
    sampling: SamplingConfig = Field(default_factory=SamplingConfig)
    seed: int = Field(0, ge=0, description="of every random draw")

    @model_validator(mode="after")
    def _agree(self) -> RidgeConfig:
        if self.intercept_mode == "collapsed" and self.intercept_prior != "flat":
            raise ValueError(
                "intercept_mode: collapsed integrates flat intercepts out, so expected "
                f"intercept_prior flat; found {self.intercept_prior}"
            )
        if self.sigma == "group" and self.method in ("ml", "reml"):
            raise ValueError(
                f"sigma: one a group needs a prior of their spread; method {self.method} has "
                "none, expected map, laplace, nuts or advi"
            )
        if self.sigma == "group" and self.sigma_fixed is not None:
            raise ValueError("sigma_fixed: expected sigma global; found group")
        if self.slope_shrinkage == "supercat" and "group" not in self.slope_effects:
            raise ValueError(
                "slope_shrinkage: supercat is of the slopes of groups; expected slope_head_mode "
                "cluster_supercat or species_slopes; found neither"
            )
        if self.lambda_slopes == "pooled" and not self.slope_effects:
            raise ValueError(
                "lambda_slopes: pooled slopes need a slope head; expected slope_head_mode global "
                "or cluster_supercat; found none"
            )
        return self

    @property
    def slope_effects(self) -> tuple[str, ...]:
        """Levels that the slope head has effects of, the widest first."""
        tree = self.slope_head_mode == "cluster_supercat"
        deviations = {
            "parent": tree or self.cluster_slopes,
            "group": tree or self.species_slopes,
            "compound": self.compound_slopes,
            "class": self.class_slopes != "none",
            "parent_class": self.class_slopes == "cluster",
        }
        present = tuple(level for level, there in deviations.items() if there)
        there = present or self.slope_head_mode != "none" or self.descriptor_slopes != "none"
        return ("global", *present) if there else ()
