"""The page of a comparison."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from molpool_common import (
    LABELS,
    METRICS,
    Cell,
    Facts,
    Figure,
    Part,
    Section,
    Table,
    Text,
    render_report,
)

from molpool_pipelines.reports._comparison_figures import (
    differences_figure,
    shown_metrics,
    similarity_figure,
    values_figure,
)
from molpool_pipelines.reports._parts import page_figure
from molpool_pipelines.reports._structures import disagreements
from molpool_pipelines.runs import MACRO
from molpool_pipelines.scores import (
    NOT_SIGNIFICANT,
    Comparison,
    Pair,
    families,
    headline,
    method,
    verdict,
)


def comparison_page(found: Comparison, name: str) -> str:
    """Return the page as self-contained HTML."""
    sections = [
        Section("Summary", _summary(found)),
        Section("Values", [_values(found, metric) for metric in found.metrics]),
    ]
    if found.design != "values":
        sections.append(Section("Differences", _figures(found)))
    sections += disagreements(found.disagreements)
    sections.append(Section("All pairs", [_pairs(found, metric) for metric in found.metrics]))
    if found.checks:
        sections.append(Section("Assumptions", _assumptions(found)))
    subtitle = (
        f"{len(found.models)} models, {len(found.tasks)} tasks, "
        + {
            "test_set": f"{found.n_rows:,} molecules of one test set",
            "folds": f"{found.n_folds} folds",
            "values": "values alone",
        }[found.design]
    )
    return render_report(name, subtitle, sections)


def _summary(found: Comparison) -> list[Part]:
    facts: dict[str, Cell] = {
        "Models": ", ".join(found.models),
        "Tasks": ", ".join(found.tasks),
        "Rows": found.n_rows or None,
        "Practical thresholds": ", ".join(f"{LABELS[m]} {t:g}" for m, t in found.practical.items())
        or "none given",
    }
    return [
        Text(headline(found)),
        *(Text(note, note=True) for note in found.notes),
        _records(found),
        Facts(facts),
        Text(method(found)),
        Text(families(found)),
    ]


def _records(found: Comparison) -> Table:
    rows: list[list[Cell]] = []
    for model in found.models:
        records = [found.record(model, metric) for metric in found.metrics]
        rows.append([model, *(f"{won} – {lost} – {rest}" for won, lost, rest in records)])
    return Table(
        ["model", *(LABELS[metric] for metric in found.metrics)],
        rows,
        caption=f"Wins – losses – {NOT_SIGNIFICANT}, over tasks and opponents; the mean over tasks "
        "is not counted.",
    )


def _values(found: Comparison, metric: str) -> Table:
    tasks = list(dict.fromkeys(t for t, m in found.places if m == metric))
    # Comparisons by values alone have none; two empty columns per model would be noise.
    intervals = any(v.low is not None for v in found.values if v.metric == metric)
    heads = ["task", "folds" if found.design == "folds" else "labels"]
    for model in found.models:
        heads += [model, "from", "to"] if intervals else [model]
    rows: list[list[Cell]] = []
    for task in tasks:
        values = found.values_of(task, metric)
        row: list[Cell] = [task, values[0].n]
        for v in values:
            row += [v.value, v.low, v.high] if intervals else [v.value]
        rows.append(row)
    # Said in each caption: readers know MAE, not every metric's direction.
    better = "higher" if METRICS[metric].higher_is_better else "lower"
    return Table(
        heads, rows, caption=f"{LABELS[metric]} ({better} is better){_interval_words(found)}.",
        totals=int(MACRO in tasks),
    )  # fmt: skip


def _interval_words(found: Comparison) -> str:
    percent = f"{100 * found.level:g} %"
    return {
        "test_set": f", with {percent} intervals over molecules, of each model alone",
        "folds": ", mean over folds, with intervals that are apart where two models differ by "
        f"Tukey's test ({percent})",
        "values": "",
    }[found.design]


def _figures(found: Comparison) -> list[Part]:
    parts: list[Part] = []
    for metric in shown_metrics(found):
        parts += [
            _figure(
                found,
                metric,
                differences_figure,
                "Differences of {0} between models with their intervals, a panel per task.",
                "Blue: the first model wins; orange: the second; grey: not significant. A grey "
                "band: differences below the practical threshold.",
            ),
            _figure(
                found,
                metric,
                similarity_figure,
                "Differences of {0} between all models as a matrix of colours, a panel per task.",
                "{0} of the row less that of the column. Blue: the row is better; stars: the "
                "difference is significant (p below 0.05, 0.01, 0.001 or the level asked for); a "
                "dot: not significant.",
            ),
            _figure(
                found,
                metric,
                values_figure,
                "{0} of each model with its interval, a panel per task.",
                "Blue: the best value; orange: significantly worse; grey: not distinguishable."
                + (
                    " Intervals are simultaneous: two are apart where Tukey's test says so."
                    if found.design == "folds"
                    else " Intervals of each model alone may overlap though the paired difference "
                    "is significant."
                ),
            ),
        ]
    return parts


def _figure(
    found: Comparison, metric: str, draw: Callable[..., object], alt: str, caption: str
) -> Figure:
    label = LABELS[metric]
    data = _values(found, metric) if draw is values_figure else _pairs(found, metric)
    return page_figure(
        partial(draw, found, metric),  # type: ignore[arg-type]  # any of the three above
        alt=f"{alt.format(label)} {headline(found)}",
        caption=caption.format(label),
        data=data,
    )


def _pairs(found: Comparison, metric: str) -> Table:
    folds = found.design == "folds"
    heads = ["task", "model", "other", "difference", "from", "to"]
    heads += ["p (Tukey)", "p (corrected t, Holm)"] if folds else ["p (Holm)"]
    heads += ["folds" if folds else "labels", "verdict"]
    if metric in found.practical:
        heads.append("practical")
    pairs = [p for p in found.pairs if p.metric == metric]
    rows = [_pair_row(p, folds, metric in found.practical) for p in pairs]
    return Table(heads, rows, caption=f"{LABELS[metric]}: model less other.", digits=4)


def _pair_row(pair: Pair, folds: bool, practical: bool) -> list[Cell]:
    row: list[Cell] = [pair.task, pair.a, pair.b, pair.difference, pair.low, pair.high]
    row += [pair.p_adjusted, pair.p_guard] if folds else [pair.p_adjusted]
    text = verdict(pair) + (f" ({pair.reason})" if pair.reason else "")
    row += [pair.n, text]
    return [*row, pair.practical] if practical else row


def _assumptions(found: Comparison) -> list[Part]:
    rows: list[list[Cell]] = [
        [
            c.task,
            LABELS[c.metric],
            c.normality_p,
            c.variance_ratio,
            c.epsilon,
            c.friedman_p,
            "; ".join(c.doubts) or "none",
        ]
        for c in found.checks
    ]
    heads = "task,metric,normality p,variance ratio,sphericity epsilon,Friedman p,doubts"
    return [
        Text(
            "Tukey's test takes the residuals for normal and of one variance, the differences "
            "between models for equally variable (sphericity), and folds for independent. The last "
            "never holds where folds share training rows: the corrected t-test is there for that. "
            "Friedman's test of ranks needs only independence; where it and Tukey's disagree, "
            "believe neither before there are more folds."
        ),
        Table(
            heads.split(","),
            rows,
            caption="Shapiro-Wilk on the residuals; largest over smallest variance of a model; "
            "Greenhouse and Geisser's epsilon (1: spherical).",
        ),
    ]
