"""Classic tables written as tables of retention times, fitted by the command, against lme4.

Numbers are of lme4 1.1-31 with bobyqa to 1e-9, which the tables' maintainers print too; standard
deviations agree to 1e-4, twice the negative log likelihood (the REML criterion) to 1e-3. Those of
MixedModels.jl are what its own tests hold it to.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from molpool_common import InputError
from molpool_pipelines.datasets import locate
from molpool_pipelines.retention import FitConfig, Fitted, fit
from molpool_pipelines.retention._training import build_estimator, read_training
from rt_ridge import Hierarchy


def number(column: str) -> pl.Expr:
    return pl.col(column).rank("dense").cast(pl.Int64) - 1


def rt_table(name: str, rt: str, species: str, **rest: pl.Expr | str) -> pl.DataFrame:
    """Return a classic table with the columns of one of retention times."""
    suffix = ".csv.gz" if name in ("Hsb82", "Chem97", "InstEval") else ".csv"
    try:
        table = pl.read_csv(locate("classic", name + suffix), null_values="NA")
    except InputError as error:
        pytest.skip(str(error))
    columns: dict[str, Any] = {"comp_id": pl.lit(0), "species_cluster": pl.lit(0), **rest}
    return table.select(rt=pl.col(rt).cast(pl.Float64), species=number(species), **columns)


def written(table: pl.DataFrame, folder: Path, method: Any, **keys: Any) -> FitConfig:
    table.write_parquet(folder / "rows.parquet")
    config: dict[str, Any] = {"structure": "fixed", "feature_center": "none", **keys}
    config |= {"flag_threshold": None, "calibrate": {"enabled": False}}
    return FitConfig(data=[str(folder / "rows.parquet")], method=method, **config)


def fitted(table: pl.DataFrame, folder: Path, method: Any, **keys: Any) -> Fitted:
    return fit(written(table, folder, method, **keys))


def check(found: Fitted, criterion: float, **scales: float) -> None:
    assert -2 * found.estimator.log_likelihood_ == pytest.approx(criterion, abs=1e-3)
    for name, value in scales.items():
        assert found.estimator.scales_[name]["mean"] == pytest.approx(value, rel=1e-4), name


CROSSED = {"intercept_prior": "comp_hier_supercat"}


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("method", "criterion", "sample", "plate", "sigma"),
    [
        ("ml", 332.188349, 1.7706464, 0.8455722, 0.5499322),
        ("reml", 330.860589, 1.9315587, 0.8467044, 0.5499231),
    ],
)
def test_penicillin_is_crossed(method, criterion, sample, plate, sigma, tmp_path):
    # diameter ~ 1 + (1 | plate) + (1 | sample): one row of each pair.
    table = rt_table("Penicillin", "diameter", "plate", comp_id=number("sample"))
    found = fitted(table, tmp_path, method, **CROSSED)
    check(found, criterion, tau_compound=sample, sigma=sigma, **{"tau_group[0]": plate})
    assert "tau_pair kept at 0: no pair has two rows to tell it from σ" in found.notes


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("method", "criterion", "cask", "batch", "sigma"),
    [
        ("ml", 247.994466, 2.9040775, 1.0950597, 0.8234076),
        ("reml", 246.990746, 2.9040776, 1.2873652, 0.8234075),
    ],
)
def test_pastes_is_nested(method, criterion, cask, batch, sigma, tmp_path):
    # strength ~ 1 + (1 | batch) + (1 | batch:cask).
    table = rt_table("Pastes", "strength", "cask", comp_id=number("batch"))
    check(
        fitted(table, tmp_path, method), criterion, tau_pair=cask, tau_compound=batch, sigma=sigma
    )


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("method", "criterion", "sigma"),
    [("ml", 162.873037, 3.6532314), ("reml", 161.828278, 3.7156843)],
)
def test_dyestuff2_is_on_the_boundary(method, criterion, sigma, tmp_path):
    found = fitted(rt_table("Dyestuff2", "Yield", "Batch"), tmp_path, method)
    check(found, criterion, sigma=sigma)
    assert found.estimator.scales_["tau_pair"]["mean"] == 0
    assert "tau_pair estimated at exactly 0" in found.metrics()["notes"]


# Precisions are estimated unless others are asked for.
SLOPES = {"slope_head_mode": "global", "correlated_slopes": True}


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "columns", "method", "criterion", "intercept", "slope", "rho", "sigma"),
    [
        # Reaction ~ Days + (Days | Subject); its reference page says 1743.628, 24.741 and 5.922.
        *(("sleepstudy", ("Reaction", "Subject", "Days"), *rest) for rest in (
            ("ml", 1751.939344, 23.7805650, 5.7168346, 0.0813200, 25.5918158),
            ("reml", 1743.628272, 24.7404476, 5.9221333, 0.0655513, 25.5918159),
        )),
        *(("Oxboys", ("height", "Subject", "age"), *rest) for rest in (
            ("ml", 725.967689, 7.9240312, 1.6467248, 0.6418188, 0.6598890),
            ("reml", 724.090951, 8.0810725, 1.6807159, 0.6412756, 0.6598890),
        )),
        *(("Hsb82", ("mAch", "school", "cses"), *rest) for rest in (
            ("ml", 46710.978856, 2.9360508, 0.8235559, 0.0192463, 6.0580561),
            ("reml", 46714.234050, 2.9463483, 0.8330600, 0.0190639, 6.0580690),
        )),
    ],
)  # fmt: skip
def test_intercepts_and_slopes_are_correlated(
    name, columns, method, criterion, intercept, slope, rho, sigma, tmp_path
):
    rt, species, x = columns
    table = rt_table(name, rt, species, IS_x=pl.col(x).cast(pl.Float64))
    found = fitted(table, tmp_path, method, **SLOPES)
    check(found, criterion, tau_pair=intercept, sigma=sigma, **{"tau_slope[IS_x]": slope})
    correlation = found.estimator.scales_["corr(tau_pair, tau_slope[IS_x])"]["mean"]
    assert correlation == pytest.approx(rho, abs=1e-3)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("method", "criterion", "school", "lea", "sigma"),
    [
        ("ml", 141685.560214, 1.0798873, 0.1165992, 2.2702583),
        ("reml", 141696.988149, 1.0799063, 0.1215139, 2.2702869),
    ],
)
def test_chem97_is_two_levels_of_many(method, criterion, school, lea, sigma, tmp_path):
    # score ~ gcsescore + (1 | lea) + (1 | school).
    x = pl.col("gcsescore").cast(pl.Float64)
    table = rt_table("Chem97", "score", "school", comp_id=number("lea"), IS_x=x)
    keys = {"slope_head_mode": "global", "lambda_slopes": "pooled"}
    found = fitted(table, tmp_path, method, **keys)
    check(found, criterion, tau_pair=school, tau_compound=lea, sigma=sigma)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("method", "criterion", "student", "lecturer", "dept", "sigma"),
    [
        # Also https://github.com/lme4/lme4/issues/460: a log likelihood of -118860.884; the
        # criterion in MixedModels.jl's test/pls.jl is 237721.7687745563.
        ("ml", 237721.768774, 0.3255344503, 0.5149800287, 0.0785359046, 1.1774924986),
        ("reml", 237733.834128, 0.3255733216, 0.5149962481, 0.0831390229, 1.1774974954),
    ],
)
def test_insteval_is_crossed_and_nested(
    method, criterion, student, lecturer, dept, sigma, tmp_path
):
    # y ~ 1 + service + (1 | s) + (1 | d) + (1 | dept): a lecturer is of one department, and no
    # student rates one twice. Fits of 20 s; here lme4's scales have its criterion, and Newton's
    # step from them is nothing.
    x = pl.col("service").cast(pl.Float64)
    parents = {"comp_id": number("s"), "species_cluster": number("dept")}
    table = rt_table("InstEval", "y", "d", **parents, IS_x=x)
    keys = {"intercept_shrinkage": "shared", "slope_head_mode": "global", "lambda_slopes": "pooled"}
    training = read_training(written(table, tmp_path, method, **CROSSED, **keys))
    model = Hierarchy(training.stats, build_estimator(training.config).ridge_config())
    scales = {
        "sigma": sigma,
        "tau_compound": student,
        "tau_group": lecturer,
        "tau_supercategory": dept,
    }
    assert set(scales) == set(model.layout.names)
    point = np.array([scales[name] for name in model.layout.names])
    found, gradient = model.log_likelihood(point, profile=method == "ml")
    assert -2 * found == pytest.approx(criterion, abs=1e-3)
    assert np.abs(gradient * model.layout.steps() ** 2).max() < 1e-4


INDEPENDENT = {"slope_head_mode": "global", "lambda_slopes": "estimate"}


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("columns", "keys", "method", "criterion", "scales"),
    [
        # https://github.com/JuliaStats/MixedModels.jl, test/pls.jl at 0222b4c7; REML:
        # test/plstwoscalar.jl and test/plsdiagnested.jl of 2014, whose optimiser stops at 1e-6.
        (
            ("Penicillin", "diameter", "plate", "sample"),
            CROSSED,
            "ml",
            332.18834867227616,
            {"tau_compound": 1.770647779277388, "tau_group[0]": 0.8455645948223015},
        ),
        (
            ("Penicillin", "diameter", "plate", "sample"),
            CROSSED,
            "reml",
            330.86058899122156,
            {"tau_compound": 1.9315555733321477, "tau_group[0]": 0.8467056820846379},
        ),
        (
            ("Pastes", "strength", "cask", "batch"),
            {},
            "ml",
            247.99446586289676,
            {"tau_pair": 2.904069002535747, "tau_compound": 1.095070371687089},
        ),
        (
            ("Pastes", "strength", "cask", "batch"),
            {},
            "reml",
            246.99074585348615,
            {"tau_pair": 2.9040776178851986, "tau_compound": 1.28736508337448},
        ),
        (("Dyestuff", "Yield", "Batch"), {}, "ml", 327.3270598811428, {"sigma": 49.5101000}),
        (("Dyestuff2", "Yield", "Batch"), {}, "ml", 162.87303665382575, {"sigma": 3.65323135137}),
        # (1 + Days | Subject), and zerocorr of it.
        (
            ("sleepstudy", "Reaction", "Subject", "Days"),
            SLOPES,
            "ml",
            1751.9393444647046,
            {"tau_pair": 23.780468100188497, "tau_slope[IS_x]": 5.716827903196682},
        ),
        (
            ("sleepstudy", "Reaction", "Subject", "Days"),
            INDEPENDENT,
            "ml",
            1752.0032551398835,
            {"tau_pair": 24.171449463289047, "tau_slope": 5.799379721123582},
        ),
    ],
)
def test_estimates_are_those_of_mixed_models_jl(columns, keys, method, criterion, scales, tmp_path):
    name, rt, species, *other = columns
    rest: dict[str, Any] = {}
    if name == "sleepstudy":
        rest["IS_x"] = pl.col("Days").cast(pl.Float64)
    elif other:
        rest["comp_id"] = number(other[0])
    found = fitted(rt_table(name, rt, species, **rest), tmp_path, method, **keys)
    check(found, criterion, **scales)
