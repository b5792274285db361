"""Pictures of a study: history, importances, slices, parallel coordinates, timeline."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from molpool_common import OKABE_ITO, Cell, Figure, Table, figure_svg, new_figure, style
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from molpool_pipelines.studies.queue import OWNER, retried
from molpool_pipelines.studies.stored import StoredStudy, score
from molpool_pipelines.studies.table import seconds_of, state_of
from molpool_pipelines.studies.trials import as_text

MOST_SLICES, MOST_AXES, MOST_WORKERS = 12, 8, 30
_COLOURS = {
    "complete": OKABE_ITO[0],
    "pruned": OKABE_ITO[1],
    "failed": OKABE_ITO[5],
    "tried again": OKABE_ITO[3],
    "running": OKABE_ITO[4],
}


def history(stored: StoredStudy) -> Figure:
    """Draw the score of each complete trial, and the best so far."""
    done = sorted(stored.complete(), key=lambda t: t.number)
    best = _best_so_far(stored, done)
    with style():
        figure = new_figure(8, 3.6)
        axes = figure.subplots()
        pruned = [
            t for t in stored.trials if t.state == TrialState.PRUNED and t.intermediate_values
        ]
        told = [t.intermediate_values[t.last_step] for t in pruned]
        numbers = [t.number for t in done]
        axes.plot(numbers, [score(t) for t in done], "o", ms=5, label="complete")
        if pruned:
            where = [t.number for t in pruned]
            axes.plot(where, told, "x", ms=5, color=OKABE_ITO[1], label="pruned, as told last")
        axes.step(numbers, best, where="post", color="black", lw=1.2, label="best so far")
        _focus(axes, [score(t) for t in done])
        axes.set(xlabel="trial", ylabel=stored.metric)
        _whole_numbers(axes)
        figure.legend(loc="outside upper right", ncols=3)
        svg = figure_svg(figure)
    rows: list[list[Cell]] = [[t.number, score(t), b] for t, b in zip(done, best, strict=True)]
    return Figure(
        svg,
        alt=f"{stored.metric} of {len(done)} complete trials; the best falls from {best[0]:.4f} to "
        f"{best[-1]:.4f}."
        if stored.direction == "minimize"
        else f"{stored.metric} of {len(done)} complete trials; the best rises from {best[0]:.4f} "
        f"to {best[-1]:.4f}.",
        caption="Each point is the mean over the inner folds. Crosses: what a pruned trial had "
        "when it was given up, over fewer folds and epochs."
        if pruned
        else "Each point is the mean over the inner folds.",
        data=Table(["trial", stored.metric, "best so far"], rows, digits=4),
    )


def importance(shares: Mapping[str, float]) -> Figure:
    """Draw the share of variance that each parameter explains."""
    names = list(shares)
    with style():
        figure = new_figure(8, 0.8 + 0.28 * len(names))
        axes = figure.subplots()
        axes.barh(range(len(names)), [shares[n] for n in names], height=0.7)
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("share of the variance of scores")
        svg = figure_svg(figure)
    return Figure(
        svg,
        alt="Bars of importance: " + ", ".join(f"{n} {shares[n]:.2f}" for n in names[:5]) + ".",
        caption="Functional ANOVA over complete trials. With few trials it is a hint, no more: it "
        "says what mattered within this space, where the sampler looked.",
        data=Table(["parameter", "share"], [[n, shares[n]] for n in names]),
    )


def slices(stored: StoredStudy, names: Sequence[str]) -> Figure:
    """Draw the score against each parameter."""
    shown = list(names[:MOST_SLICES])
    columns = min(3, len(shown))
    lines = math.ceil(len(shown) / columns)
    done = sorted(stored.complete(), key=lambda t: t.number)
    with style():
        figure = new_figure(8, 2.5 * lines + 0.4)
        grid = figure.subplots(lines, columns, sharey=True, squeeze=False)
        dots: Any = None
        for i, axes in enumerate(grid.flat):
            if i >= len(shown):
                axes.set_visible(False)
                continue
            having = [t for t in done if shown[i] in t.params]
            places = _place(axes.xaxis, having, shown[i])
            order = [t.number for t in having]
            dots = axes.scatter(places, [score(t) for t in having], c=order, s=18, cmap="viridis")
            dots.set_clim(0, max(t.number for t in done))
            axes.set_title(_short(shown[i]), fontsize=9)
            _focus(axes, [score(t) for t in done])
            if i % columns == 0:
                axes.set_ylabel(stored.metric)
        figure.colorbar(dots, ax=list(grid.flat), label="trial", shrink=0.6, aspect=30)
        svg = figure_svg(figure)
    left = f" The {len(shown)} most important of {len(names)}." if len(names) > len(shown) else ""
    return Figure(
        svg,
        alt=f"{stored.metric} of complete trials against each of {len(shown)} parameters.",
        caption=f"A point a complete trial; later ones are lighter.{left} The numbers are in the "
        "table of trials.",
        data=_parameters(stored, done, shown),
    )


def parallel(stored: StoredStudy, names: Sequence[str]) -> Figure:
    """Draw each complete trial as a line over its parameters."""
    done = sorted(stored.complete(), key=lambda t: t.number)
    shown = [n for n in names if all(n in t.params for t in done)][:MOST_AXES]
    values = np.array([score(t) for t in done])
    sign = 1 if stored.direction == "minimize" else -1
    ranks = np.argsort(np.argsort(sign * values)) / max(1, len(done) - 1)
    with style():
        from matplotlib import colormaps

        figure = new_figure(8, 4.2)
        axes = figure.subplots()
        heights = np.array([_heights(done, name) for name in shown]).T
        heights = np.column_stack([_unit(values), heights])
        for i in np.argsort(-ranks):
            colour = colormaps["viridis"](float(ranks[i]) * 0.9)
            axes.plot(heights[i], color=colour, lw=1.0 + (ranks[i] == 0), alpha=0.85)
        _ends(axes, done, shown, values)
        svg = figure_svg(figure)
    return Figure(
        svg,
        alt=f"Parallel coordinates of {len(done)} complete trials over {', '.join(shown)}.",
        caption="A line a complete trial, dark and thick for the best, light for the worst. Above "
        "and below each axis stand the largest and the smallest value that was tried; axes on a "
        "log scale are drawn so.",
        data=_parameters(stored, done, shown),
    )


def timeline(stored: StoredStudy) -> Figure:
    """Draw when each worker ran which trial."""
    again = retried(stored.trials)
    ran = [t for t in stored.trials if t.datetime_start is not None and t.datetime_complete]
    begun = min(t.datetime_start for t in ran if t.datetime_start)
    workers = list(dict.fromkeys(_worker(t) for t in ran))
    shown = workers[-MOST_WORKERS:]
    rows: list[list[Cell]] = []
    with style():
        figure = new_figure(8, 1.3 + 0.28 * len(shown))
        axes = figure.subplots()
        used: list[str] = []
        for trial in ran:
            state, seconds = state_of(trial, again), seconds_of(trial) or 0.0
            start = (trial.datetime_start - begun).total_seconds() if trial.datetime_start else 0.0
            rows.append([trial.number, state, _worker(trial), start, seconds])
            if _worker(trial) not in shown:
                continue
            label = None if state in used else state
            used.append(state)
            axes.barh(
                shown.index(_worker(trial)),
                seconds,
                left=start,
                height=0.7,
                color=_COLOURS[state],
                edgecolor="white",
                lw=0.8,
                label=label,
            )
        axes.set_yticks(range(len(shown)), shown)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("seconds since the first trial")
        figure.legend(loc="outside upper right", ncols=5)
        svg = figure_svg(figure)
    counts = ", ".join(f"{used.count(s)} {s}" for s in dict.fromkeys(used))
    return Figure(
        svg,
        alt=f"Timeline of {len(ran)} trials over {len(workers)} processes: {counts}.",
        caption="A row a process, a bar a trial.",
        data=Table(["trial", "state", "process", "start, s", "seconds"], rows, digits=1),
    )


def _best_so_far(stored: StoredStudy, done: Sequence[FrozenTrial]) -> list[float]:
    best = np.minimum if stored.direction == "minimize" else np.maximum
    return [float(v) for v in best.accumulate([score(t) for t in done])]


def _focus(axes: Any, values: Sequence[float]) -> None:
    """Keep a few disastrous scores from flattening all others."""
    low, middle, high = np.quantile(values, [0, 0.5, 1])
    q1, q3 = np.quantile(values, [0.25, 0.75])
    reach = 4 * max(q3 - q1, 1e-12)
    bottom, top = max(low, q1 - reach), min(high, q3 + reach)
    margin = 0.06 * (top - bottom) or 0.05 * abs(middle) or 0.05
    axes.set_ylim(bottom - margin, top + margin)


def _whole_numbers(axes: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _worker(trial: FrozenTrial) -> str:
    owner = trial.user_attrs.get(OWNER)
    return f"{owner['host']}, {owner['pid']}" if owner else "unknown"


def _place(axis: Any, trials: Sequence[FrozenTrial], name: str) -> list[float]:
    """Return where values stand on an axis, and set its scale and ticks."""
    distribution = trials[-1].distributions[name] if trials else None
    if isinstance(distribution, CategoricalDistribution):
        choices = list(distribution.choices)
        axis.set_ticks(range(len(choices)), [as_text(c)[:14] for c in choices])
        axis.axes.set_xlim(-0.5, len(choices) - 0.5)
        if len(choices) > 3:
            axis.set_tick_params(rotation=30)
        return [float(choices.index(t.params[name])) for t in trials]
    if isinstance(distribution, FloatDistribution | IntDistribution) and distribution.log:
        axis._set_axes_scale("log")
    return [float(t.params[name]) for t in trials]


def _heights(trials: Sequence[FrozenTrial], name: str) -> Any:
    distribution = trials[-1].distributions[name]
    values = [t.params[name] for t in trials]
    if isinstance(distribution, CategoricalDistribution):
        choices = list(distribution.choices)
        return np.array([choices.index(v) for v in values]) / max(1, len(choices) - 1)
    log = getattr(distribution, "log", False)
    return _unit(np.log(values) if log else np.array(values, dtype=float))


def _unit(values: Any) -> Any:
    spread = float(np.ptp(values))
    return (values - np.min(values)) / spread if spread else np.full(len(values), 0.5)


def _ends(axes: Any, done: Sequence[FrozenTrial], names: Sequence[str], values: Any) -> None:
    """Write name, smallest and largest value at each axis."""
    ends = [(as_text(float(values.min())), as_text(float(values.max())))]
    for name in names:
        distribution = done[-1].distributions[name]
        if isinstance(distribution, CategoricalDistribution):
            ends.append((as_text(distribution.choices[0]), as_text(distribution.choices[-1])))
        else:
            tried = [t.params[name] for t in done]
            ends.append((as_text(min(tried)), as_text(max(tried))))
    for x, (low, high) in enumerate(ends):
        axes.axvline(x, color="#888888", lw=0.8, zorder=0)
        axes.text(x, -0.03, low[:12], ha="center", va="top", fontsize=8)
        axes.text(x, 1.03, high[:12], ha="center", va="bottom", fontsize=8)
    axes.set_xticks(range(len(ends)), ["score", *map(_short, names)], rotation=25, ha="right")
    axes.set_yticks([])
    axes.set_ylim(-0.12, 1.12)
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)


def _short(name: str) -> str:
    """Return the end of a dotted name, as much as a small axis has room for."""
    parts = name.split(".")
    kept = parts[-1]
    for part in reversed(parts[:-1]):
        if len(part) + len(kept) > 26:
            return f"…{kept}"
        kept = f"{part}.{kept}"
    return kept


def _parameters(stored: StoredStudy, done: Sequence[FrozenTrial], names: Sequence[str]) -> Table:
    rows: list[list[Cell]] = [
        [t.number, score(t), *(as_text(t.params[n]) if n in t.params else None for n in names)]
        for t in done
    ]
    return Table(["trial", stored.metric, *names], rows, digits=4)
