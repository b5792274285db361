"""Knobs of the synthetic laboratory."""

from __future__ import annotations

from typing import Annotated, Self

from molpool_common import ConfigModel
from pydantic import Field, model_validator

Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Spread = Annotated[float, Field(ge=0)]


class SimulateConfig(ConfigModel):
    """A synthetic laboratory: species in clusters, compounds in classes, runs with standards.

    Retention times are minutes; covariates and descriptors have no unit.
    """

    seed: int = Field(0, ge=0, description="of every random draw")
    n_clusters: Positive = Field(4, description="supercategories")
    n_species: Positive = Field(20, description="species, spread evenly over the clusters")
    n_compounds: Positive = Field(60, description="compounds")
    n_classes: Positive = Field(6, description="chemical classes of the compounds")
    n_descriptors: Count = Field(4, description="descriptors of a compound")
    n_covariates: Positive = Field(4, description="run covariates: readings of the standards")
    runs_per_species: Positive = Field(8, description="training runs of a species")
    test_runs_per_species: Count = Field(8, description="test runs of a species")
    fixed_runs_per_species_compound: Positive | None = Field(
        10, description="training rows of every pair, K; none: log-uniform, 1 to max_rows_per_pair"
    )
    max_rows_per_pair: Positive = Field(100, description="most training rows, where K is not fixed")
    anchors: Count = Field(
        3, description="compounds with all their rows everywhere, test runs included in training"
    )
    rare_pairs: Count = Field(100, description="pairs with rare_rows training rows")
    rare_rows: Positive = Field(2, description="training rows of a rare pair")
    unseen_pairs: Count = Field(100, description="pairs without any training row")
    unseen_species: Count = Field(0, description="species without training rows but of anchors")
    cluster_covariate_sd: Spread = Field(
        1.0, description="spread of the clusters' mean readings: their structure in the standards"
    )
    species_covariate_sd: Spread = Field(0.3, description="of species within a cluster")
    run_covariate_sd: Spread = Field(0.5, description="of runs within a species")
    test_run_stretch: Spread = Field(
        2.0, description="factor of run_covariate_sd in test runs; above 1 they lie farther out"
    )
    mean_rt: float = Field(8.0, description="grand mean, min")
    class_sd: Spread = Field(1.0, description="of classes about it, min")
    descriptor_sd: Spread = Field(0.8, description="share of descriptors in the intercept, min")
    compound_sd: Spread = Field(0.5, description="of compounds beyond class and descriptors, min")
    cluster_sd: Spread = Field(0.3, description="of clusters, min")
    species_sd: Spread = Field(0.2, description="of species within a cluster, min")
    species_sd_ratio: float = Field(
        3.0, gt=0, description="species_sd of the most over that of the least diverse cluster"
    )
    pair_sd: Spread = Field(0.1, description="of pairs about species and compound, min")
    gamma_sd: Spread = Field(0.3, description="of compounds' slopes about a common slope")
    cluster_gamma_sd: Spread = Field(0.2, description="of clusters' deviations of slope")
    species_gamma_sd: Spread = Field(0.1, description="of species' deviations of slope")
    class_gamma_sd: Spread = Field(0.0, description="of classes' slopes")
    cluster_class_gamma_sd: Spread = Field(0.0, description="of slopes of classes within a cluster")
    species_theta_sd: Spread = Field(
        0.0, description="share of species' own coefficients of descriptors in the intercept, min"
    )
    species_theta_gamma_sd: Spread = Field(
        0.0, description="share of species' own coefficients of descriptors in the slopes"
    )
    noise_sd: float = Field(0.1, gt=0, description="σ, min")
    noise_spread: Spread = Field(0.0, description="of log σ between species")
    curvature_sd: Spread = Field(0.0, description="of compounds' coefficients of squared readings")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.n_species < self.n_clusters:
            raise ValueError(f"n_species: expected >= n_clusters {self.n_clusters}")
        if self.anchors > self.n_compounds:
            raise ValueError(f"anchors: expected <= n_compounds {self.n_compounds}")
        if self.unseen_species >= self.n_species:
            raise ValueError(f"unseen_species: expected < n_species {self.n_species}")
        pairs = (self.n_species - self.unseen_species) * (self.n_compounds - self.anchors)
        if self.rare_pairs + self.unseen_pairs > pairs:
            raise ValueError(
                f"rare_pairs, unseen_pairs: expected at most {pairs} together,"
                " the pairs of seen species without an anchor"
            )
        return self

    @property
    def covariates(self) -> tuple[str, ...]:
        """Columns of the run covariates."""
        return tuple(f"run_covariate_{j}" for j in range(self.n_covariates))

    @property
    def descriptors(self) -> tuple[str, ...]:
        """Columns of the compound descriptors."""
        return tuple(f"descriptor_{j}" for j in range(self.n_descriptors))
