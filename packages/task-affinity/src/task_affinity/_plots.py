"""Heatmap and dendrogram of affinities.

Both are read by rank and by error bar: on real assays, cosines lie between about 0 and 0.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from molpool_common import OKABE_ITO, FloatArray, atomic_path, new_figure, style

from task_affinity._clustering import cut, tree
from task_affinity._errors import TaskAffinityError
from task_affinity._grouping import checked_affinity, checked_n_groups

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ENTRIES_UP_TO = 20
"""Tasks up to which the heatmap's entries are written into it."""
NAMED_UP_TO = 200
"""Tasks up to which the heatmap names its rows; with more it would not fit into a picture."""
UNNAMED_INCHES = 12.0
POINTS_PER_INCH = 72
DIAGONAL = "#d9d9d9"
BRANCH = "#666666"
LARGEST, SMALLEST = 9.0, 3.5
SHORTEST = 1e-3
"""Tree of which all merges are closer than this is drawn down to zero."""


def plot_task_affinity_heatmap(
    affinity: Any,
    task_names: Sequence[str],
    title: str = "Task affinity",
    figsize: tuple[float, float] | None = None,
    cmap: str = "RdBu",
    save_path: str | Path | None = None,
    *,
    standard_errors: Any = None,
) -> Figure:
    """Draw the affinities as a matrix of colours, similar tasks side by side.

    Parameters
    ----------
    affinity : array_like [T, T]
        Row i receives from column j. The diagonal is left grey.
    task_names : sequence of str
        The tasks, in the order of rows and columns.
    title : str
        Title of the figure.
    figsize : tuple of float or None
        Width and height in inches; by the number of tasks if left out. Type shrinks to fit.
    cmap : str
        A diverging colour map of matplotlib's; its middle stands for 0. In the default, red is
        negative and blue positive.
    save_path : str, Path or None
        Where to write the figure: a file, in the format of its name's ending, or a folder.
    standard_errors : array_like [T, T] or None
        Written behind the entries.

    Returns
    -------
    Figure
        Tasks are in the order of the dendrogram's leaves. Up to 20 tasks the entries are written
        out; above 200 rows have no names, which the dendrogram then gives.

    Raises
    ------
    TaskAffinityError
        If the matrix is not square or not finite off its diagonal, or the names do not fit it.
    """
    matrix, names = checked_affinity(affinity, task_names)
    errors = None if standard_errors is None else np.asarray(standard_errors, dtype=float)
    if errors is not None and errors.shape != matrix.shape:
        raise TaskAffinityError(
            f"standard_errors: expected shape {matrix.shape}; found {errors.shape}"
        )
    cell = 0.75 if len(names) <= ENTRIES_UP_TO else 0.17
    named = len(names) <= NAMED_UP_TO
    side = cell * len(names) + _label_inches(names) if named else UNNAMED_INCHES
    with style():
        figure = new_figure(*(figsize or (max(side + 1.0, 4.5), max(side + 0.4, 3.5))))
        axes = figure.add_subplot()
        order = leaf_order(matrix)
        if errors is not None:
            errors = errors[np.ix_(order, order)]
        names = [names[i] for i in order]
        _draw_matrix(axes, matrix[np.ix_(order, order)], errors, names, cmap)
        axes.set_title(title)
    _save(figure, save_path, "task_affinity_heatmap.png")
    return figure


def plot_task_dendrogram(
    affinity: Any,
    task_names: Sequence[str],
    title: str = "Task dendrogram",
    figsize: tuple[float, float] | None = None,
    save_path: str | Path | None = None,
    *,
    n_groups: int | None = None,
) -> Figure:
    """Draw the tree of average linkage on 1 - affinity, one line per task.

    Parameters
    ----------
    affinity : array_like [T, T]
        Row i receives from column j; an asymmetric one counts as the mean of both directions.
    task_names : sequence of str
        The tasks, in the order of rows and columns.
    title : str
        Title of the figure.
    figsize : tuple of float or None
        Width and height in inches; by the number of tasks if left out.
    save_path : str, Path or None
        Where to write the figure: a file, in the format of its name's ending, or a folder.
    n_groups : int or None
        Colour as many groups as the tree is cut into.

    Returns
    -------
    Figure
        Leaves are in the heatmap's order.

    Raises
    ------
    TaskAffinityError
        If the matrix or the names do not fit, there is a single task, or `n_groups` is not from 1
        to T.
    """
    matrix, names = checked_affinity(affinity, task_names)
    if len(names) == 1:
        raise TaskAffinityError("task_names: expected two tasks or more for a tree; found 1")
    n_groups = None if n_groups is None else checked_n_groups(n_groups, len(names))
    height = (0.3 if len(names) <= ENTRIES_UP_TO else 0.15) * len(names) + 1.1
    with style():
        figure = new_figure(*(figsize or (5.5 + _label_inches(names), max(height, 2.2))))
        axes = figure.add_subplot()
        _draw_tree(axes, matrix, names, n_groups)
        axes.set_title(title)
    _save(figure, save_path, "task_affinity_dendrogram.png")
    return figure


def leaf_order(affinity: FloatArray) -> list[int]:
    """Return the tasks in an order in which neighbours are alike: the leaves of the tree."""
    from scipy.cluster.hierarchy import leaves_list

    if len(affinity) < 3:
        return list(range(len(affinity)))
    return [int(i) for i in leaves_list(tree(affinity, ordered=True))]


def _draw_matrix(
    axes: Axes, matrix: FloatArray, errors: FloatArray | None, names: list[str], cmap: str
) -> None:
    n_tasks = len(names)
    off_diagonal = np.where(np.eye(n_tasks, dtype=bool), np.nan, matrix)
    limit = float(np.nanmax(np.abs(off_diagonal))) if n_tasks > 1 else 1.0
    limit = limit or 1.0
    axes.set_facecolor(DIAGONAL)
    image = axes.imshow(off_diagonal, cmap=cmap, vmin=-limit, vmax=limit)
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.8, aspect=25)
    bar.outline.set_visible(False)
    symmetric = np.allclose(matrix, matrix.T, atol=1e-6 * limit)
    bar.set_label("affinity" if symmetric else "affinity that the row receives from the column")
    size = _type_size(0.75 * min(_inches(axes)) / n_tasks)
    _name_rows(axes, names, size)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    if n_tasks <= ENTRIES_UP_TO:
        _write_entries(axes, image, off_diagonal, errors, size)


def _name_rows(axes: Axes, names: list[str], size: float) -> None:
    if len(names) > NAMED_UP_TO:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_xlabel(f"{len(names)} tasks, in the order of the dendrogram")
        return
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=size)
    axes.set_yticks(range(len(names)), names, fontsize=size)


def _write_entries(
    axes: Axes, image: Any, off_diagonal: FloatArray, errors: FloatArray | None, size: float
) -> None:
    decimals = 2 if np.nanmax(np.abs(off_diagonal), initial=1e-300) >= 0.1 else 3
    for (i, j), value in np.ndenumerate(off_diagonal):
        if i == j:
            continue
        # Adding zero turns -0.0 into 0.0.
        text = f"{round(value, decimals) + 0.0:.{decimals}f}".replace("-", "\N{MINUS SIGN}")
        if errors is not None and np.isfinite(errors[i, j]):
            text += f"\n±{errors[i, j]:.{decimals}f}"
        red, green, blue, _ = image.cmap(image.norm(value))
        # Perceived lightness decides between black and white type.
        dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
        colour = "white" if dark else "black"
        axes.text(j, i, text, ha="center", va="center", fontsize=size - 1, color=colour)


def _draw_tree(axes: Axes, matrix: FloatArray, names: list[str], n_groups: int | None) -> None:
    from scipy.cluster.hierarchy import dendrogram

    merges = tree(matrix, ordered=len(names) > 2)
    colour = _branch_colours(merges, n_groups)
    dendrogram(
        merges,
        ax=axes,
        labels=np.array(names),
        orientation="left",
        link_color_func=colour,
        leaf_font_size=_type_size(0.9 * _inches(axes)[1] / len(names)),
    )
    # Affinities of real assays are small: the axis begins a little below the first merge.
    first, last = merges[0, 2], merges[-1, 2]
    span = last - first if last - first > SHORTEST else max(last, SHORTEST)
    axes.set_xlim(last + 0.03 * span, max(first - 0.25 * span, 0.0))
    # The heatmap reads from the top.
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("1 \N{MINUS SIGN} affinity, mean over pairs")


def _branch_colours(merges: FloatArray, n_groups: int | None) -> Any:
    """Return the colour of each merge, by SciPy's number of it; groups of two or more have one."""
    from scipy.cluster.hierarchy import leaves_list

    n_tasks = len(merges) + 1
    if n_groups is None:
        return lambda _: BRANCH
    labels = cut(merges, n_groups)
    # Colours go round in the order of the leaves, so that neighbours differ.
    from_top = dict.fromkeys(labels[leaves_list(merges)].tolist())
    kinds = [label for label in from_top if label >= n_tasks]
    palette = {label: OKABE_ITO[k % len(OKABE_ITO)] for k, label in enumerate(kinds)}
    group = dict(enumerate(labels.tolist()))
    for step, (left, right) in enumerate(merges[:, :2].astype(int)):
        same = group[left] == group[right]
        group[n_tasks + step] = group[left] if same else -1
    return lambda node: palette.get(group[node], BRANCH)


def _type_size(inches: float) -> float:
    """Return the size in points of type that fits a line of this height."""
    return float(np.clip(0.85 * POINTS_PER_INCH * inches, SMALLEST, LARGEST))


def _inches(axes: Axes) -> tuple[float, float]:
    """Return width and height of the figure."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    width, height = figure.get_size_inches()
    return float(width), float(height)


def _label_inches(names: list[str]) -> float:
    """Return about the width of the longest label."""
    return 0.08 * min(40, max(map(len, names)))  # longer ones are shortened


def _save(figure: Figure, path: str | Path | None, name: str) -> None:
    if path is None:
        return
    path = Path(path)
    if path.is_dir():
        path /= name
    if not path.parent.is_dir():
        raise TaskAffinityError(
            f"save_path: expected a file in an existing folder; found {str(path)!r}"
        )
    with style(), atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix.lstrip(".") or "png", dpi=150)
