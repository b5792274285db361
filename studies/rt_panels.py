"""The chosen structure on public panels, beside single settings of ours and other tools.

Runs (or compounds, species, single rows) are left out whole, in five folds; every model predicts
the same rows. Rows of compounds without any training row are left out where runs are: nobody knows
them.

    python studies/rt_panels.py S9Site54 lipidr --repeats 2 --output panels.csv

prints a table per panel: RMSE and median absolute error in minutes with standard errors over the
folds, share of the rows within 95 % intervals, and their mean width. Models:

auto            `molpool-rt fit`, nothing set: structure chosen, intervals calibrated on runs
auto, LIKELIHOOD  the same with errors of that distribution (by name only)
auto, runs PRIOR  the same with effects of runs (by name only)
NAME            settings of `PartialPoolingRidge`; the best of each figure is marked with *
lme4            (1 + anchors || compound), by REML in R, where Rscript and lme4 are there
ridge           scikit-learn's RidgeCV of each compound on standardised anchors
LightGBM        trees on the residuals from each compound's mean
iRT line        in each run, a line from the anchors' mean times to their times there
mean            of the compound

Intervals of the last four are of the spread of their residuals in the training. The other models
have their own, which assume that rows of a run err independently of each other. Seconds are those
of the processor, children's (R) counted in. ``--most-runs`` takes so many runs of larger panels,
evenly spaced.

    python studies/rt_panels.py S9Site54 configs/rt_quickstart.yaml --sampled

samples the scales of the structure that is chosen for each panel, and of every model of a
configuration of `molpool-rt run`, by `nuts`: pairs, scales, the least effective number of draws,
divergences, the largest R-hat, and seconds of the whole fit.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import retention_panels as panels
from molpool_common import load_config
from molpool_pipelines.retention import FitConfig, Fitted, RunConfig, fit, run
from retention_study import N_FOLDS, ids
from rt_ridge import PartialPoolingRidge

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
WIDE = 1.959964
LONGEST = 600
"""Seconds that lme4 may take."""
DEFAULT = (
    *("S9Site54", "lipidr", "MaxQuant", "Folberth", "Kruve"),
    *("QCloud", "Stoffel", "midar-499"),
)
"""The panels of the first table, and three more."""

SETTINGS: dict[str, dict[str, Any]] = {
    "fixed default": {},
    "estimate": {"lambda_slopes": "estimate"},
    "estimate, head": {"lambda_slopes": "estimate", "slope_head_mode": "global"},
    "one slope": {"lambda_slopes": "pooled", "slope_head_mode": "global"},
    "no slopes": {"lambda_slopes": "zero"},
    "compound slopes": {
        "lambda_slopes": "pooled",
        "slope_head_mode": "global",
        "compound_slopes": True,
    },
    "compound and pair slopes": {
        "lambda_slopes": "estimate",
        "slope_head_mode": "global",
        "compound_slopes": True,
    },
    "species, no slopes": {"intercept_prior": "comp_hier_supercat", "lambda_slopes": "zero"},
    "species, estimate": {"intercept_prior": "comp_hier_supercat", "lambda_slopes": "estimate"},
    "species, tree": {
        "intercept_prior": "comp_hier_supercat",
        "lambda_slopes": "estimate",
        "slope_head_mode": "cluster_supercat",
        "compound_slopes": True,
    },
}


@dataclass(frozen=True)
class Rows:
    """Rows of a panel: anchors [N, P], ids [N, 3], runs [N] and times [N]."""

    X: Floats
    ids: Ints
    runs: Ints
    y: Floats

    @classmethod
    def of(cls, panel: panels.Panel) -> Rows:
        rows = panel.rows
        X, y = rows.select(panel.anchors).to_numpy(), rows["rt"].to_numpy()
        return cls(X, ids(rows, "species"), rows["run"].to_numpy(), y)

    def take(self, chosen: npt.NDArray[np.bool_]) -> Rows:
        return Rows(self.X[chosen], self.ids[chosen], self.runs[chosen], self.y[chosen])


Predicted = tuple[Floats, Floats]
"""Mean of each row, and half the width of its 95 % interval."""

Model = Callable[[Rows, Rows], Predicted]


def fit_by_default(train: Rows, **keys: Any) -> Fitted:
    """Fit as the command does where nothing else is set."""
    names = [f"IS_{j}" for j in range(train.X.shape[1])]
    columns = {"run": train.runs, "rt": train.y}
    columns |= dict(zip(("species", "comp_id", "species_cluster"), train.ids.T, strict=True))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        pl.DataFrame({**columns, **dict(zip(names, train.X.T, strict=True))}).write_parquet(path)
        return fit(FitConfig(data=[str(path)], flag_threshold=None, **keys))


def by_default(train: Rows, test: Rows, **keys: Any) -> Predicted:
    """Predict as the command does where nothing else is set."""
    found = fit_by_default(train, **keys)
    sys.stderr.write(f"  {'; '.join(found.notes)}\n")
    effects = {} if found.summaries.runs is None else {"runs": test.runs}
    prediction = found.summaries.predict(test.X, *test.ids.T, **effects)
    return prediction.mean, prediction.half_width(0.95)


def single(given: dict[str, Any]) -> Model:
    """Return one setting of ours."""

    def fitted(train: Rows, test: Rows) -> Predicted:
        model = PartialPoolingRidge(**given).fit(train.X, train.y, train.ids)
        prediction = model.predict_levels(test.X, test.ids)
        return prediction.mean, prediction.half_width(0.95)

    return fitted


def mean_of_compound(train: Rows, test: Rows) -> Predicted:
    """Predict the mean of the compound."""
    center = compound_means(train)
    return center[test.ids[:, 1]], spread(train.y - center[train.ids[:, 1]], len(test.y))


def compound_means(train: Rows) -> Floats:
    """Return the mean of every compound, that of all rows for those without any."""
    compound = train.ids[:, 1]
    size = 10_000
    n = np.bincount(compound, minlength=size)
    total = np.bincount(compound, train.y, size)
    return np.where(n > 0, total / np.maximum(n, 1), train.y.mean())


def spread(residuals: Floats, size: int) -> Floats:
    """Return half the width of 95 % intervals that residuals of the training stand for."""
    return np.full(size, WIDE * residuals.std())


def ridge_of_compound(train: Rows, test: Rows) -> Predicted:
    """Fit scikit-learn's RidgeCV to every compound."""
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    mean = mean_of_compound(train, test)[0].copy()
    residuals = train.y - mean_of_compound(train, train)[0]
    for compound in np.unique(train.ids[:, 1]):
        at, of = train.ids[:, 1] == compound, test.ids[:, 1] == compound
        if at.sum() < 5 or not of.any():
            continue
        model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 3, 13)))
        model.fit(train.X[at], train.y[at])
        mean[of] = np.asarray(model.predict(test.X[of]))
        residuals[at] = train.y[at] - np.asarray(model.predict(train.X[at]))
    return mean, spread(residuals, len(mean))


def trees_on_residuals(train: Rows, test: Rows) -> Predicted:
    """Fit LightGBM to the residuals from each compound's mean."""
    from lightgbm import LGBMRegressor

    center = compound_means(train)
    design = [np.column_stack([r.X, r.ids[:, 1], r.ids[:, 0]]) for r in (train, test)]
    codes = [train.X.shape[1], train.X.shape[1] + 1]
    model = LGBMRegressor(
        n_estimators=200, learning_rate=0.05, num_leaves=15, min_child_samples=5, n_jobs=1,
        random_state=0, verbose=-1,
    )  # fmt: skip
    residuals = train.y - center[train.ids[:, 1]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(design[0], residuals, categorical_feature=codes)
        mean = center[test.ids[:, 1]] + np.asarray(model.predict(design[1]))
        left = residuals - np.asarray(model.predict(design[0]))
    return mean, spread(left, len(mean))


def irt_line(train: Rows, test: Rows) -> Predicted:
    """In each run, map mean times to times by the line through its anchors."""
    center, anchors = compound_means(train), train.X.mean(axis=0)

    def mapped(rows: Rows) -> Floats:
        off = anchors - anchors.mean()
        slope = (rows.X - rows.X.mean(axis=1, keepdims=True)) @ off / (off @ off)
        return rows.X.mean(axis=1) + slope * (center[rows.ids[:, 1]] - anchors.mean())

    return mapped(test), spread(train.y - mapped(train), len(test.y))


LME4 = """
suppressMessages(library(lme4))
train <- read.csv("{0}/train.csv"); test <- read.csv("{0}/test.csv")
train$compound <- factor(train$compound)
m <- suppressWarnings(lmer(rt ~ {1} + ({1} || compound), train, REML = TRUE))
write.csv(data.frame(mean = predict(m, test, allow.new.levels = TRUE), sigma = sigma(m)),
          "{0}/out.csv", row.names = FALSE)
"""


def lme4(train: Rows, test: Rows) -> Predicted:
    """Fit independent random intercepts and slopes of compounds by lme4."""
    sd, size = train.X.std(axis=0), np.abs(train.X).max(axis=0)
    # An anchor that is constant in the training says nothing; its last digits must not.
    scale = np.where(sd > 1e-9 * size, sd, 1.0)
    names = [f"x{j}" for j in range(train.X.shape[1])]
    with tempfile.TemporaryDirectory() as folder:
        for name, rows in (("train", train), ("test", test)):
            frame = pl.DataFrame((rows.X - train.X.mean(axis=0)) / scale, schema=names)
            columns = [pl.Series("compound", rows.ids[:, 1]), pl.Series("rt", rows.y)]
            frame.with_columns(columns).write_csv(Path(folder) / f"{name}.csv")
        script = LME4.format(folder, " + ".join(["1", *names]))
        subprocess.run(["Rscript", "-e", script], check=True, capture_output=True, timeout=LONGEST)
        found = pl.read_csv(Path(folder) / "out.csv")
    return found["mean"].to_numpy(), WIDE * found["sigma"].to_numpy()


def variants() -> dict[str, Model]:
    """Return what is run where it is named."""
    found: dict[str, Model] = {}
    for likelihood in ("gaussian", "student_t", "contaminated"):
        found[f"auto, {likelihood}"] = partial(by_default, likelihood=likelihood)
    for prior in ("independent", "random_walk", "spline"):
        found[f"auto, runs {prior}"] = partial(by_default, run_effects=prior)
    return found


def models() -> dict[str, Model]:
    """Return all models by name, those of peers that are installed."""
    found: dict[str, Model] = {"auto": by_default}
    found |= {name: single(given) for name, given in SETTINGS.items()}
    if shutil.which("Rscript"):
        found["lme4"] = lme4
    peers: dict[str, Model] = {
        "ridge": ridge_of_compound,
        "LightGBM": trees_on_residuals,
        "iRT line": irt_line,
        "mean": mean_of_compound,
    }
    return found | peers


def sampled(name: str) -> Iterator[dict[str, Any]]:
    """Yield how well scales were sampled, of a panel or of each model of a configuration."""
    clock = sum(os.times()[:4])
    if not name.endswith(".yaml"):
        # Conformal quantiles would take as many fits as folds, and sample nothing else.
        off = {"enabled": False}
        rows = Rows.of(panels.PANELS[name]())
        found = fit_by_default(rows, method="nuts", calibrate=off)
        yield sampling(name, found, clock)
        return
    config = load_config(RunConfig, name)
    fits = dict[str, Fitted]()

    def keep(model: str, step: object) -> None:
        if isinstance(step, Fitted):
            fits[model] = step

    of_scales = {m: c for m, c in config.models.items() if c.model not in ("ridge", "lasso")}
    models = {m: c.model_copy(update={"method": "nuts"}) for m, c in of_scales.items()}
    with tempfile.TemporaryDirectory() as folder:
        given = {"models": models, "save_dir": str(Path(folder) / "run")}
        run(config.model_copy(update=given), on_result=keep)
    for model, found in fits.items():
        yield sampling(f"{Path(name).stem}, {model}", found, clock)


def sampling(name: str, found: Fitted, clock: float) -> dict[str, Any]:
    """Return a row of the table of sampled scales."""
    scales = found.estimator.scale_posterior_
    known: dict[str, Any] = {
        "panel": name,
        "pairs": found.training.stats.G,
        "scales": len(scales.names),
    }
    seconds = sum(os.times()[:4]) - clock
    return known | scales.diagnostics | {"seconds": seconds, "notes": "; ".join(scales.notes)}


def folds(rows: Rows, what: str, repeats: int) -> Iterator[npt.NDArray[np.bool_]]:
    """Yield the rows left out, a fifth of the runs, compounds, species or rows at a time."""
    by = {"runs": rows.runs, "compounds": rows.ids[:, 1], "species": rows.ids[:, 0]}
    units = by.get(what, np.arange(len(rows.y)))
    for seed in range(repeats):
        unique = np.random.default_rng(seed).permutation(np.unique(units))
        for part in np.array_split(unique, min(N_FOLDS, len(unique))):
            yield np.isin(units, part)


def some_runs(rows: Rows, most: int | None) -> Rows:
    """Return the rows of at most so many runs, evenly spaced in their order."""
    runs = np.unique(rows.runs)
    if most is None or len(runs) <= most:
        return rows
    return rows.take(np.isin(rows.runs, runs[np.linspace(0, len(runs) - 1, most).astype(int)]))


def study(
    name: str, what: str, repeats: int, every: dict[str, Model], most: int | None = None
) -> pl.DataFrame:
    """Return one row per model: figures and their standard errors over folds."""
    rows = some_runs(Rows.of(panels.PANELS[name]()), most)
    errors: dict[str, list[Predicted]] = {n: [] for n in every}
    seconds = dict.fromkeys(every, 0.0)
    for out in folds(rows, what, repeats):
        train, test = rows.take(~out), rows.take(out)
        if what in ("runs", "rows"):
            test = test.take(np.isin(test.ids[:, 1], train.ids[:, 1]))
        for model, model_of in every.items():
            clock = sum(os.times()[:4])
            try:
                mean, half = model_of(train, test)
            except (ValueError, subprocess.SubprocessError) as error:
                # Such as slopes of groups that no run is left of.
                sys.stderr.write(f"{name}, {model}: {str(error)[:160]}\n")
                mean, half = np.full((2, len(test.y)), np.nan)
            seconds[model] += sum(os.times()[:4]) - clock
            errors[model].append((test.y - mean, half))
    known = {"panel": name, "left_out": what, "rows": len(rows.y)}
    return pl.DataFrame(
        [{**known, "model": m, **figures(e), "seconds": seconds[m]} for m, e in errors.items()]
    )


def figures(parts: list[Predicted]) -> dict[str, float]:
    """Return RMSE, median error, coverage and width over all rows; ± over folds."""
    error, half = (np.concatenate([p[i] for p in parts]) for i in range(2))
    by_fold = np.array([[np.sqrt((e**2).mean()), np.median(np.abs(e))] for e, _ in parts])
    se = by_fold.std(axis=0, ddof=1) / np.sqrt(len(parts)) if len(parts) > 1 else (np.nan,) * 2
    return {
        "rmse": float(np.sqrt((error**2).mean())),
        "rmse_se": float(se[0]),
        "median": float(np.median(np.abs(error))),
        "median_se": float(se[1]),
        "cover95": float((np.abs(error) <= half).mean()),
        "width95": float(2 * half.mean()),
    }


def show(table: pl.DataFrame) -> None:
    """Print a panel; * marks the best single setting of ours."""
    single = table.filter(pl.col("model").is_in(list(SETTINGS)))
    best = {k: single[k].min() for k in ("rmse", "median")} if single.height else {}
    panel, what, n_rows = table.row(0)[:3]
    sys.stdout.write(f"\n{panel}, {n_rows} rows, {what} left out\n")
    for r in table.iter_rows(named=True):
        marks = {k: "*" if r["model"] in SETTINGS and r[k] == b else " " for k, b in best.items()}
        sys.stdout.write(
            f"{r['model']:26}{r['rmse']:9.4f}{marks.get('rmse', ' ')}±{r['rmse_se']:.4f}"
            f"{r['median']:9.4f}{marks.get('median', ' ')}±{r['median_se']:.4f}"
            f"{100 * r['cover95']:7.1f}{r['width95']:9.3f}{r['seconds']:7.1f} s\n"
        )
    sys.stdout.flush()


def main() -> None:
    """Read the command line and run the study."""
    parser = argparse.ArgumentParser(description="The chosen structure on public panels")
    parser.add_argument("panels", nargs="*", help=f"of {', '.join(panels.PANELS)}")
    units = ("runs", "compounds", "species", "rows")
    parser.add_argument("--left-out", default="runs", choices=units)
    parser.add_argument("--repeats", type=int, default=1, help="of the five folds")
    parser.add_argument("--models", nargs="*", help="names; all by default")
    parser.add_argument("--without", nargs="*", help="names of models that are left out")
    parser.add_argument("--sampled", action="store_true", help="how well `nuts` samples scales")
    parser.add_argument("--most-runs", type=int, help="of a panel; all by default")
    parser.add_argument("--output", type=Path, help="table to write, .csv")
    given = parser.parse_args()
    every = models() if given.models is None else models() | variants()
    chosen = given.models or [n for n in every if n not in (given.without or ())]
    tables = []
    if given.sampled:
        for name in given.panels or panels.PANELS:
            for row in sampled(name):
                tables.append(pl.DataFrame([row]))
                sys.stdout.write(f"{row}\n")
                sys.stdout.flush()
                if given.output is not None:
                    pl.concat(tables, how="diagonal").write_csv(given.output)
        return
    for name in given.panels or DEFAULT:
        taken = {n: every[n] for n in chosen}
        tables.append(study(name, given.left_out, given.repeats, taken, given.most_runs))
        show(tables[-1])
        if given.output is not None:
            pl.concat(tables).write_csv(given.output)


if __name__ == "__main__":
    main()
