"""Figures of a study: history, importances, slices, parallel coordinates, timeline, outer test."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from molpool_common import OKABE_ITO, Cell, Figure, FloatArray, Table, new_figure

from molpool_pipelines.reports._parts import page_figure
from molpool_pipelines.runs import PARAMETER, StudyTables

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

MOST_SLICES, MOST_AXES, MOST_WORKERS = 12, 8, 30
LOG_RANGE = 50.0
"""Largest over smallest value above which an axis is logarithmic where the space is unknown."""
_COLOURS = {
    "complete": OKABE_ITO[0],
    "pruned": OKABE_ITO[1],
    "failed": OKABE_ITO[5],
    "retried": OKABE_ITO[3],
    "running": OKABE_ITO[4],
}


def history(study: StudyTables) -> Figure:
    """Draw the score of each complete trial in order, and the best so far."""
    done = study.complete().sort("number")
    values = done["value"]
    # In the order in which trials were numbered, which is not that in which parallel workers ended.
    best = values.cum_max() if study.direction == "maximize" else values.cum_min()
    pruned, failed = (study.trials.filter(pl.col("state") == s) for s in ("pruned", "failed"))
    # Studies of earlier versions did not store it.
    has_last = "last_value" in pruned.columns
    at_last = pruned.filter(pl.col("last_value").is_not_null()) if has_last else pruned.clear()

    def draw() -> Picture:
        figure = new_figure(8, 3.6)
        axes = figure.subplots()
        axes.plot(done["number"], values, "o", ms=5, label="complete")
        if len(at_last):
            label = "pruned, its last value"
            axes.plot(
                at_last["number"],
                at_last["last_value"],
                "x",
                ms=5,
                color=_COLOURS["pruned"],
                label=label,
            )
        unscored = [("failed", failed), *([] if has_last else [("pruned", pruned)])]
        for i, (state, trials) in enumerate(unscored):
            if len(trials):
                at = np.full(len(trials), -0.02 * i)
                place = axes.get_xaxis_transform()
                axes.plot(
                    trials["number"], at, "|", color=_COLOURS[state], label=state, transform=place
                )
        axes.step(done["number"], best, where="post", color="black", lw=1.2, label="best so far")
        # By complete trials alone: last values of pruned ones are over other folds and may lie far
        # off.
        _focus(axes, values.to_numpy())
        axes.set(xlabel="trial", ylabel=study.metric)
        axes.locator_params(axis="x", integer=True)
        figure.legend(loc="outside upper right", ncols=4)
        return figure

    rows: list[list[Cell]] = [list(r) for r in zip(done["number"], values, best, strict=True)]
    crosses = (
        " Crosses: what a pruned trial had when it was given up, over fewer folds and epochs."
        if len(at_last)
        else ""
    )
    return page_figure(
        draw,
        alt=f"{study.metric} of {done.height} complete trials in order; the best goes from "
        f"{best[0]:.4f} to {best[-1]:.4f}.",
        caption=f"Each point is the mean over the inner folds.{crosses} Marks on the axis: trials "
        "without a score.",
        data=Table(["trial", study.metric, "best so far"], rows, digits=4),
    )


def importance(shares: Mapping[str, float]) -> Figure:
    """Draw the share of variance that each parameter explains."""
    names = list(shares)

    def draw() -> Picture:
        figure = new_figure(8, 0.8 + 0.28 * len(names))
        axes = figure.subplots()
        axes.barh(range(len(names)), [shares[n] for n in names], height=0.7)
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("share of the variance of scores")
        return figure

    return page_figure(
        draw,
        alt="Bars of importance: " + ", ".join(f"{n} {shares[n]:.2f}" for n in names[:5]) + ".",
        caption="Functional ANOVA over complete trials. With few trials it is a hint, no more: it "
        "says what mattered within this space, where the sampler looked.",
        data=Table(["parameter", "share"], [[n, shares[n]] for n in names]),
    )


def slices(study: StudyTables, names: Sequence[str]) -> Figure:
    """Draw the score against each parameter."""
    done = study.complete().sort("number")
    shown = list(names[:MOST_SLICES])

    def draw() -> Picture:
        columns = min(3, len(shown))
        lines = math.ceil(len(shown) / columns)
        figure = new_figure(2.9 * columns, 2.5 * lines + 0.4)
        grid = figure.subplots(lines, columns, sharey=True, squeeze=False).ravel().tolist()
        for axes in grid[len(shown) :]:
            axes.set_visible(False)
        for axes, name in zip(grid, shown, strict=False):
            # A conditional parameter is not in every trial.
            having = done.filter(pl.col(PARAMETER + name).is_not_null())
            scale = _Scale.of(study, name)
            dots = axes.scatter(
                scale.places(having[PARAMETER + name]),
                having["value"],
                c=having["number"],
                s=18,
                cmap="viridis",
            )
            dots.set_clim(0, done["number"].max())
            scale.set_axis(axes)
            axes.set_title(_short(name), fontsize=9)
            _focus(axes, done["value"].to_numpy())
        figure.supylabel(study.metric, fontsize=9)
        figure.colorbar(dots, ax=grid, label="trial", shrink=0.6, aspect=30)
        return figure

    left = f" The first {len(shown)} of {len(names)}." if len(names) > len(shown) else ""
    return page_figure(
        draw,
        alt=f"{study.metric} of complete trials against each of {len(shown)} parameters.",
        caption=f"A point per complete trial; later ones are lighter.{left}",
        data=_parameters(study, done, shown),
    )


def parallel_coordinates(study: StudyTables, names: Sequence[str]) -> Figure:
    """Draw each complete trial as a line over its parameters, which all of them have."""
    done = study.complete().sort("number")
    shown = list(names[:MOST_AXES])
    values = done["value"].to_numpy()
    sign = 1 if study.direction == "minimize" else -1
    # Coloured by rank rather than by score: one disaster would take the whole scale.
    ranks = np.argsort(np.argsort(sign * values)) / max(1, len(values) - 1)
    scales = [_Scale.of(study, name) for name in shown]

    def draw() -> Picture:
        from matplotlib import colormaps

        figure = new_figure(8, 4.2)
        axes = figure.subplots()
        heights = np.column_stack(
            [
                _unit(values),
                *(s.heights(done[PARAMETER + n]) for s, n in zip(scales, shown, strict=True)),
            ]
        )
        # The best is plotted last, on top.
        for i in np.argsort(-ranks):
            colour = colormaps["viridis"](float(ranks[i]) * 0.9)
            axes.plot(heights[i], color=colour, lw=1.0 + (ranks[i] == 0), alpha=0.85)
        ends = [(as_text(float(values.min())), as_text(float(values.max())))]
        ends += [s.ends(done[PARAMETER + n]) for s, n in zip(scales, shown, strict=True)]
        _label_axes(axes, ["score", *map(_short, shown)], ends)
        return figure

    return page_figure(
        draw,
        alt=f"Parallel coordinates of {len(values)} complete trials over {', '.join(shown)}.",
        caption="A line per complete trial, dark and thick for the best, light for the worst. "
        "Above and below each axis stand the largest and the smallest value that was tried; axes "
        "on a log scale are drawn so.",
        data=_parameters(study, done, shown),
    )


def has_timeline(study: StudyTables) -> bool:
    """Return whether the table says when trials ran."""
    return "started" in study.trials.columns and not _ran(study).is_empty()


def _ran(study: StudyTables) -> pl.DataFrame:
    return study.trials.filter(
        pl.col("started").is_not_null(), pl.col("seconds").is_not_null()
    ).with_columns(
        process=pl.when(pl.col("pid").is_not_null())
        .then(pl.format("{}, {}", "host", "pid"))
        .otherwise(pl.lit("unknown")),
        # Relative to the first trial: clocks of hosts agree to seconds, and dates would not fit an
        # axis.
        begun=(pl.col("started") - pl.col("started").min()).dt.total_microseconds() / 1e6,
    )


def timeline(study: StudyTables) -> Figure:
    """Draw when each process ran which trial."""
    ran = _ran(study)
    workers = ran["process"].unique(maintain_order=True).to_list()
    # The latest: of a long study the processes that are running now.
    shown = workers[-MOST_WORKERS:]
    drawn_trials = ran.filter(pl.col("process").is_in(shown))

    def draw() -> Picture:
        figure = new_figure(8, 1.3 + 0.28 * len(shown))
        axes = figure.subplots()
        for (state,), trials in drawn_trials.group_by("state", maintain_order=True):
            axes.barh(
                [shown.index(p) for p in trials["process"]],
                trials["seconds"],
                left=trials["begun"],
                height=0.7,
                color=_COLOURS[str(state)],
                edgecolor="white",
                lw=0.8,
                label=str(state),
            )
        axes.set_yticks(range(len(shown)), shown)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("seconds since the first trial")
        figure.legend(loc="outside upper right", ncols=5)
        return figure

    states = drawn_trials["state"].value_counts(sort=True)
    counts = ", ".join(f"{n} {state}" for state, n in states.iter_rows())
    rows = [list(r) for r in ran.select("number", "state", "process", "begun", "seconds").rows()]
    return page_figure(
        draw,
        alt=f"Timeline of {ran.height} trials over {len(workers)} processes: {counts}.",
        caption="A row per process, a bar per trial.",
        data=Table(["trial", "state", "process", "start, s", "seconds"], rows, digits=1),
    )


def outer_scores(models: Sequence[Mapping[str, Any]], metric: str, direction: str | None) -> Figure:
    """Draw the score of each model on the outer test, with its interval, and on the inner folds."""
    scored = [m for m in models if m["outer"] is not None]

    def draw() -> Picture:
        figure = new_figure(7, 0.9 + 0.45 * len(scored))
        axes = figure.subplots()
        for place, m in enumerate(scored):
            if m.get("interval") is not None:
                axes.plot(m["interval"], [place, place], color=OKABE_ITO[0], lw=2)
            axes.plot(m["outer"], place, "o", color=OKABE_ITO[0], ms=7)
            if m["inner"] is not None:
                axes.plot(m["inner"], place, "D", color=OKABE_ITO[1], ms=6, mfc="none", mew=1.6)
        axes.plot([], [], "o-", color=OKABE_ITO[0], label="outer test, 95 % interval")
        axes.plot([], [], "D", color=OKABE_ITO[1], mfc="none", mew=1.6, label="inner folds")
        axes.set_yticks(range(len(scored)), [m["name"] for m in scored])
        axes.set_ylim(len(scored) - 0.5, -0.5)
        axes.set_xlabel(metric)
        figure.legend(loc="outside upper right", ncols=2)
        return figure

    values = "; ".join(f"{m['name']} {m['outer']:.4f}" for m in scored)
    better = "right" if direction == "maximize" else "left"
    return page_figure(
        draw,
        alt=f"{metric} on the outer test: {values}.",
        caption=f"Further {better} is better. The gap between diamond and dot is the optimism.",
    )


@dataclass(frozen=True)
class _Scale:
    """How values of a parameter lie on an axis.

    Parameters
    ----------
    choices : list or None
        Of a categorical parameter, which stand side by side.
    is_log : bool
        Whether a numeric one is on a log scale.
    """

    choices: list[Any] | None
    is_log: bool

    @classmethod
    def of(cls, study: StudyTables, name: str) -> _Scale:
        """Return the scale that the space declares, or that fits the values where it is unknown."""
        # Studies of earlier versions have no space in study.json.
        declared = study.facts.get("space", {}).get(name)
        values = study.trials[PARAMETER + name].drop_nulls()
        if isinstance(declared, Mapping) and "choices" in declared:
            return cls(list(declared["choices"]), False)
        if not values.dtype.is_numeric():
            return cls(sorted(values.unique().to_list()), False)
        if isinstance(declared, Mapping):
            return cls(None, bool(declared.get("log", False)))
        numbers = values.cast(pl.Float64).to_numpy()
        return cls(None, bool(numbers.min() > 0 and numbers.max() / numbers.min() > LOG_RANGE))

    def places(self, values: pl.Series) -> FloatArray:
        """Return where values stand on the axis."""
        if self.choices is None:
            return values.cast(pl.Float64).to_numpy()
        # Numbers beside text are text in the table: a choice is known by value or by its text.
        labels = [_json_text(c) for c in self.choices]
        places = [
            labels.index(_json_text(v)) if _json_text(v) in labels else self.choices.index(v)
            for v in values
        ]
        return np.array(places, dtype=float)

    def heights(self, values: pl.Series) -> FloatArray:
        """Return places from 0 to 1."""
        places = self.places(values)
        if self.choices is not None:
            return places / max(1, len(self.choices) - 1)
        return _unit(np.log(places) if self.is_log else places)

    def ends(self, values: pl.Series) -> tuple[str, str]:
        """Return what stands at the lower and at the upper end."""
        if self.choices is not None:
            return as_text(self.choices[0]), as_text(self.choices[-1])
        return as_text(values.min()), as_text(values.max())

    def set_axis(self, axes: Any) -> None:
        """Set scale and ticks of a horizontal axis."""
        if self.choices is not None:
            labels = [as_text(c)[:14] for c in self.choices]
            rotation = 30 if len(labels) > 3 else 0
            axes.set_xticks(range(len(labels)), labels, rotation=rotation)
            axes.set_xlim(-0.5, len(labels) - 0.5)
        elif self.is_log:
            axes.set_xscale("log")
            # Within a decade each minor tick would be labelled, over one another.
            axes.xaxis.set_minor_formatter("")
            # The default writes powers as mathematics, which texts here are not.
            axes.xaxis.set_major_formatter("{x:g}")


def as_text(value: Any) -> str:
    """Return a parameter's value for an axis."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return _json_text(value)


def _json_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _focus(axes: Any, values: FloatArray) -> None:
    """Keep a few disastrous scores from flattening all others."""
    low, q1, middle, q3, high = np.quantile(values, [0, 0.25, 0.5, 0.75, 1])
    # Four interquartile ranges beyond the quartiles leave all but disasters inside.
    spread = 4 * max(q3 - q1, 1e-12)
    bottom, top = max(low, q1 - spread), min(high, q3 + spread)
    margin = 0.06 * (top - bottom) or 0.05 * abs(middle) or 0.05
    axes.set_ylim(bottom - margin, top + margin)


def _unit(values: FloatArray) -> FloatArray:
    spread = float(np.ptp(values))
    return (values - np.min(values)) / spread if spread else np.full(len(values), 0.5)


def _label_axes(axes: Any, names: Sequence[str], ends: Sequence[tuple[str, str]]) -> None:
    """Write name, smallest and largest value at each axis of parallel coordinates."""
    for x, (low, high) in enumerate(ends):
        axes.axvline(x, color="#888888", lw=0.8, zorder=0)
        axes.text(x, -0.03, low[:12], ha="center", va="top", fontsize=8)
        axes.text(x, 1.03, high[:12], ha="center", va="bottom", fontsize=8)
    axes.set_xticks(range(len(ends)), names, rotation=25, ha="right")
    axes.set_yticks([])
    axes.set_ylim(-0.12, 1.12)
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)


def _short(name: str) -> str:
    """Return the end of a dotted name, as much as a small axis has room for."""
    parts = name.split(".")
    short = parts[-1]
    for part in reversed(parts[:-1]):
        if len(part) + len(short) > 26:
            return f"…{short}"
        short = f"{part}.{short}"
    return short


def _parameters(study: StudyTables, done: pl.DataFrame, names: Sequence[str]) -> Table:
    table = done.select("number", "value", *(PARAMETER + n for n in names))
    rows: list[list[Cell]] = [
        [v if v is None or isinstance(v, int | float | str) else _json_text(v) for v in row]
        for row in table.iter_rows()
    ]
    return Table(["trial", study.metric, *names], rows, digits=4)
