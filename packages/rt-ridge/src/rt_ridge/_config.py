"""Configuration of fits, of the simulated laboratory and of the covariate-shift study.

Priors are those of standard deviations: half-normal, half-t and exponential.
"""

from __future__ import annotations

from math import lgamma
from typing import Annotated, Any, Literal, Self

import numpy as np
from molpool_common import ConfigModel, FloatArray, Seed, listed
from pydantic import Field, model_validator

Family = Literal["half_normal", "half_t", "exponential"]
Method = Literal["map", "ml", "reml", "laplace", "nuts", "advi"]
InterceptPrior = Literal["flat", "comp_hier", "comp_hier_supercat"]
InterceptMode = Literal["explicit", "collapsed"]
SlopeHeadMode = Literal["none", "global", "cluster_supercat"]
SlopePooling = Literal["estimate", "pooled", "zero"]
Likelihood = Literal["gaussian", "student_t", "contaminated"]
LikelihoodKey = Literal["auto", "gaussian", "student_t", "contaminated"]
RunPrior = Literal["independent", "random_walk", "spline"]
RunEffects = Literal["none", "independent", "random_walk", "spline"]
Heads = Literal["none", "cluster", "species"]
Precision = Annotated[float, Field(gt=0)]
# Of what a simulated laboratory has, which stands in memory.
Positive = Annotated[int, Field(ge=1, le=1_000_000)]
Count = Annotated[int, Field(ge=0, le=1_000_000)]
Spread = Annotated[float, Field(ge=0)]


class ScalePrior(ConfigModel):
    """Prior of one standard deviation (Gelman 2006, doi:10.1214/06-BA117A)."""

    family: Family = Field("half_normal", description="shape of the prior")
    scale: float = Field(1.0, gt=0, description="its scale; the mean, for exponential")
    nu: float = Field(4.0, gt=0, description="degrees of freedom of half_t; 1 is half-Cauchy")
    relative: bool = Field(
        True,
        description="the scale is in units of the data's own spread (of rt, or of rt over "
        "covariate for slopes); false: in the unit of rt itself",
    )

    def log_density(self, value: FloatArray, unit: float = 1.0) -> tuple[FloatArray, FloatArray]:
        """Return the log density at `value` and its derivative by log(value).

        Parameters
        ----------
        value : ndarray
            Standard deviations, positive.
        unit : float
            What a scale of 1 stands for, if `relative`.

        Returns
        -------
        log_density, by_log : ndarray
            Normalised on (0, inf).
        """
        scale = self.scale * unit if self.relative else self.scale
        x = value / scale
        if self.family == "half_normal":
            constant = 0.5 * np.log(2 / np.pi) - np.log(scale)
            return constant - x**2 / 2, -(x**2)
        if self.family == "exponential":
            return -np.log(scale) - x, -x
        nu = self.nu
        constant = np.log(2) + lgamma((nu + 1) / 2) - lgamma(nu / 2)
        constant -= 0.5 * np.log(nu * np.pi) + np.log(scale)
        log_density = constant - (nu + 1) / 2 * np.log1p(x**2 / nu)
        return log_density, -(nu + 1) * x**2 / (nu + x**2)


class ScalePriors(ConfigModel):
    """Priors of all scales; `ml` and `reml` do without them."""

    sigma: ScalePrior = Field(
        default_factory=lambda: ScalePrior(family="half_t"), description="of σ, the noise"
    )
    sigma_spread: ScalePrior = Field(
        default_factory=lambda: ScalePrior(scale=0.5, relative=False),
        description="of the standard deviation of log σ between groups",
    )
    intercept: ScalePrior = Field(
        default_factory=ScalePrior, description="of the spread of intercepts, at each level"
    )
    slope: ScalePrior = Field(
        default_factory=ScalePrior, description="of the spread of slopes, at each level"
    )
    descriptor: ScalePrior = Field(
        default_factory=ScalePrior, description="of descriptor coefficients, at each level"
    )


class SamplingConfig(ConfigModel):
    """Effort of the methods that sample or integrate over the scales."""

    draws: int = Field(600, ge=10, description="nuts: draws per chain; laplace, advi: points")
    tune: int = Field(100, ge=10, description="nuts: warm-up draws per chain")
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
        description="ridge precision of slopes over σ⁻², one or one per regressor; estimate: found "
        "with the scales; pooled: pairs do not differ from their head; zero: no slopes at all",
    )
    slope_scales: Literal["shared", "covariate"] = Field(
        "shared",
        description="spread of slopes at each level: one of all covariates, or one for each",
    )
    standardise: bool = Field(
        False,
        description="divide covariates by their standard deviation inside, so that priors, "
        "lambda_slopes and intervals do not depend on their units; coefficients stay in these",
    )
    sigma: Literal["global", "group"] = Field(
        "global", description="one σ, or one per group, their logarithms pooled"
    )
    compound_slopes: bool = Field(False, description="slope head: deviations by compound")
    cluster_slopes: bool = Field(False, description="slope head: deviations by supercategory")
    species_slopes: bool = Field(False, description="slope head: deviations by group")
    correlated_slopes: bool = Field(
        False,
        description="intercepts and slopes of pairs may be correlated, with a spread for each "
        "covariate; needs pooled intercepts, lambda_slopes estimate and no slope head but global",
    )
    class_slopes: Literal["none", "global", "cluster"] = Field(
        "none",
        description="slope head: deviations by class of compound; cluster: also by class within "
        "each supercategory",
    )
    intercept_shrinkage: Literal["supercat", "shared"] = Field(
        "supercat",
        description="intercepts of groups: one spread for each supercategory, so that homogeneous "
        "ones pool hard, or one shared by all",
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
    run_effects: RunEffects = Field(
        "none",
        description="a shift that all compounds of a run share: (1|run), independent from run to "
        "run, or in their order a random walk or a cubic spline; by map or reml",
    )
    location_mean: float = Field(0.0, description="mean of the grand intercept's normal prior")
    location_sd: float | None = Field(
        None, gt=0, description="its standard deviation; None: flat, as are the global slopes"
    )
    sigma_fixed: float | None = Field(None, gt=0, description="σ where it is known")
    likelihood: LikelihoodKey = Field(
        "auto",
        description="distribution of errors: student_t and contaminated (a share of rows with a "
        "larger σ) weigh rows that are far off less, which takes some passes over the rows; auto: "
        "student_t where a structure is chosen and runs left out are predicted better so, else "
        "gaussian",
    )
    nu: float | None = Field(
        None, gt=2, description="degrees of freedom of student_t; None: estimated"
    )
    leave_out: float | None = Field(
        None,
        gt=2,
        description="leave out rows that differ from what all others lead to expect by more than "
        "so many σ, and count them; None: none",
    )
    priors: ScalePriors = Field(default_factory=ScalePriors, description="priors of the scales")
    method: Method = Field(
        "map", description="how the scales are found; nuts, advi: need rt-ridge[sampling]"
    )
    sampling: SamplingConfig = Field(default_factory=SamplingConfig)
    seed: Seed = Field(0, description="of every random draw")

    @model_validator(mode="after")
    def _agree(self) -> RidgeConfig:
        if self.correlated_slopes and not self.is_given("lambda_slopes"):
            # The default follows. Not assigned: that would check everything again.
            self.__dict__["lambda_slopes"] = "estimate"
        if self.intercept_mode == "collapsed" and self.intercept_prior != "flat":
            raise ValueError(
                "intercept_mode: collapsed integrates flat intercepts out, so expected "
                f"intercept_prior flat; found {self.intercept_prior}"
            )
        if self.sigma == "group" and self.method in ("ml", "reml"):
            raise ValueError(
                f"sigma: one per group needs a prior of their spread; method {self.method} has "
                "none, expected map, laplace, nuts or advi"
            )
        self._errors_agree()
        if self.sigma == "group" and self.sigma_fixed is not None:
            raise ValueError("sigma_fixed: expected sigma global; found group")
        if self.intercept_shrinkage == "shared" and self.intercept_prior != "comp_hier_supercat":
            raise ValueError(
                "intercept_shrinkage: shared is of the intercepts of groups; expected "
                f"intercept_prior comp_hier_supercat; found {self.intercept_prior}"
            )
        if self.slope_shrinkage == "supercat" and "group" not in self.slope_effects:
            raise ValueError(
                "slope_shrinkage: supercat is of the slopes of groups; expected slope_head_mode "
                "cluster_supercat or species_slopes; found neither"
            )
        if self.lambda_slopes == "zero" and self.slope_effects:
            raise ValueError(
                "lambda_slopes: zero leaves slopes out; expected no slope head, found "
                f"{', '.join(self.slope_effects)}"
            )
        if self.lambda_slopes == "pooled" and not self.slope_effects:
            raise ValueError(
                "lambda_slopes: pooled slopes need a slope head; expected slope_head_mode global "
                "or cluster_supercat; found none"
            )
        self._check_correlated()
        return self

    def _check_correlated(self) -> None:
        if not self.correlated_slopes:
            return
        found = {
            "intercept_prior": self.intercept_prior if self.intercept_prior == "flat" else None,
            "lambda_slopes": None if self.lambda_slopes == "estimate" else self.lambda_slopes,
            "slope head": ", ".join(e for e in self.slope_effects if e != "global") or None,
            "descriptor_slopes": None if self.descriptor_slopes == "none" else "some",
            "method": None if self.method in ("map", "ml", "reml") else self.method,
        }
        wrong = [f"{key} {value}" for key, value in found.items() if value is not None]
        if wrong:
            raise ValueError(
                "correlated_slopes: expected pooled intercepts, lambda_slopes estimate, no slope "
                f"head but global and method map, ml or reml; found {', '.join(wrong)}"
            )

    def _errors_agree(self) -> None:
        """Raise `ValueError` for what heavy tails and effects of runs do not go with."""
        if self.weighs_rows and self.method not in ("map", "ml", "reml"):
            raise ValueError(
                "likelihood: rows are weighted at one point of the scales; expected method map, "
                f"ml or reml beside {self.errors} or leave_out, found {self.method}"
            )
        if self.nu is not None and self.likelihood != "student_t":
            raise ValueError(f"nu: expected likelihood student_t; found {self.likelihood}")
        if self.weighs_rows and self.correlated_slopes:
            raise ValueError("correlated_slopes: expected likelihood gaussian and no leave_out")
        if self.run_effects == "none":
            return
        if self.method not in ("map", "reml"):
            raise ValueError(f"run_effects: expected method map or reml; found {self.method}")
        others = {
            f"likelihood {self.likelihood}": self.errors != "gaussian",
            f"leave_out {self.leave_out}": self.leave_out is not None,
            "correlated_slopes": self.correlated_slopes,
        }
        if any(others.values()):
            raise ValueError(
                "run_effects: expected likelihood gaussian, no leave_out and no correlated_slopes; "
                f"found {listed([name for name, given in others.items() if given])}"
            )

    @property
    def errors(self) -> Likelihood:
        """Distribution of errors where none is chosen."""
        return "gaussian" if self.likelihood == "auto" else self.likelihood

    @property
    def weighs_rows(self) -> bool:
        """Whether rows differ in weight, so that they are gone through more than once."""
        return self.errors != "gaussian" or self.leave_out is not None

    @property
    def tries_tails(self) -> bool:
        """Whether heavy tails of errors may be tried where a structure is chosen."""
        plain = self.run_effects == "none" and not self.correlated_slopes
        of_point = self.method in ("map", "ml", "reml")
        return self.likelihood == "auto" and plain and of_point and self.leave_out is None

    @property
    def robust(self) -> dict[str, Any]:
        """The keys of the distribution of errors."""
        return {"likelihood": self.likelihood, "nu": self.nu, "leave_out": self.leave_out}

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


class SimulateConfig(ConfigModel):
    """A synthetic laboratory: species in clusters, compounds in classes, runs with standards.

    Retention times are minutes; covariates and descriptors have no unit.
    """

    seed: Seed = Field(0, description="of every random draw")
    n_clusters: Positive = Field(4, description="supercategories; at most as many as species")
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
        3,
        description="compounds with all their rows everywhere, test runs included in training; by "
        "default fewer than there are compounds",
    )
    rare_pairs: Count | None = Field(
        None, description="pairs with rare_rows training rows; none: 100, or a third where fewer"
    )
    rare_rows: Positive = Field(2, description="training rows of a rare pair")
    unseen_pairs: Count | None = Field(
        None, description="pairs without any training row; none: as for rare_pairs"
    )
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
        # Defaults follow a small laboratory. Not assigned: that would check everything again.
        most = {"n_clusters": self.n_species, "anchors": self.n_compounds - 1}
        for name in most.keys() - self.model_fields_set:
            self.__dict__[name] = min(getattr(self, name), most[name])
        if self.n_species < self.n_clusters:
            raise ValueError(f"n_species: expected >= n_clusters {self.n_clusters}")
        if self.anchors > self.n_compounds:
            raise ValueError(f"anchors: expected <= n_compounds {self.n_compounds}")
        if self.unseen_species >= self.n_species:
            raise ValueError(f"unseen_species: expected < n_species {self.n_species}")
        if self.n_rare + self.n_unseen > self._free_pairs:
            raise ValueError(
                f"rare_pairs, unseen_pairs: expected at most {self._free_pairs} together,"
                " the pairs of seen species without an anchor"
            )
        return self

    @property
    def n_rare(self) -> int:
        """Pairs with `rare_rows` training rows."""
        return self._some_pairs(self.rare_pairs, beside=self.unseen_pairs)

    @property
    def n_unseen(self) -> int:
        """Pairs without any, of species that have some."""
        return self._some_pairs(self.unseen_pairs, beside=self.rare_pairs)

    def _some_pairs(self, given: int | None, beside: int | None) -> int:
        if given is not None:
            return given
        return max(0, min(100, self._free_pairs // 3, self._free_pairs - (beside or 0)))

    @property
    def _free_pairs(self) -> int:
        """Pairs of seen species without an anchor."""
        return (self.n_species - self.unseen_species) * (self.n_compounds - self.anchors)

    @property
    def covariates(self) -> tuple[str, ...]:
        """Columns of the run covariates."""
        return tuple(f"run_covariate_{j}" for j in range(self.n_covariates))

    @property
    def descriptors(self) -> tuple[str, ...]:
        """Columns of the compound descriptors."""
        return tuple(f"descriptor_{j}" for j in range(self.n_descriptors))


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
    seed: Seed = Field(0, description="of the first laboratory; the next have the next seeds")

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
