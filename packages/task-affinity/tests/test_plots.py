from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from task_affinity import TaskAffinityError, plot_task_affinity_heatmap, plot_task_dendrogram

LONG = "Caco-2 Permeability Papp A>B"


def affinity(n_tasks: int) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng(0)
    family = np.arange(n_tasks) % 2
    matrix = np.where(family[:, None] == family, 0.25, 0.02) + 0.02 * rng.normal(
        size=(n_tasks,) * 2
    )
    return (matrix + matrix.T) / 2, [LONG, *(f"task {i}" for i in range(1, n_tasks))]


def drawn(figure: Figure) -> Figure:
    FigureCanvasAgg(figure).draw()  # places the labels
    return figure


def labels_that_are_cut_off_or_overlap(figure: Figure, axis: str) -> list[str]:
    axes = figure.axes[0]
    bounds = figure.bbox
    texts = [t for t in getattr(axes, f"get_{axis}ticklabels")() if t.get_text()]
    boxes = [t.get_window_extent() for t in texts]
    bad = [
        t.get_text()
        for t, b in zip(texts, boxes, strict=True)
        if b.x0 < bounds.x0 or b.x1 > bounds.x1 or b.y0 < bounds.y0 or b.y1 > bounds.y1
    ]
    low, high = ("x0", "x1") if axis == "x" else ("y0", "y1")
    spans = sorted((getattr(b, low), getattr(b, high)) for b in boxes)
    bad += ["overlap" for a, b in pairwise(spans) if a[1] > b[0] + 0.5]
    return bad


@pytest.mark.parametrize("n_tasks", [1, 2, 5, 9, 12, 100])
def test_labels_of_the_heatmap_are_whole_and_apart(n_tasks: int) -> None:
    matrix, names = affinity(n_tasks)
    figure = drawn(plot_task_affinity_heatmap(matrix, names, standard_errors=0.02 + 0 * matrix))
    assert not labels_that_are_cut_off_or_overlap(figure, "x")
    assert not labels_that_are_cut_off_or_overlap(figure, "y")
    entries = [t for t in figure.axes[0].texts if t.get_text()]
    assert len(entries) == (n_tasks * (n_tasks - 1) if n_tasks <= 20 else 0)
    assert all("±0.02" in t.get_text() for t in entries)


def test_a_heatmap_of_hundreds_of_tasks_fits_into_a_picture() -> None:
    matrix, names = affinity(201)
    figure = plot_task_affinity_heatmap(matrix, names)
    assert max(figure.get_size_inches()) <= 14
    axes = figure.axes[0]
    assert not [t for t in axes.get_yticklabels() if t.get_text()]
    assert "201 tasks, in the order of the dendrogram" in axes.get_xlabel()


@pytest.mark.parametrize("n_tasks", [2, 5, 9, 12, 100])
def test_labels_of_the_dendrogram_are_whole_and_apart(n_tasks: int) -> None:
    matrix, names = affinity(n_tasks)
    figure = drawn(plot_task_dendrogram(matrix, names, n_groups=2))
    assert not labels_that_are_cut_off_or_overlap(figure, "y")


def test_colours_are_centred_and_tasks_ordered_by_the_dendrogram() -> None:
    matrix, names = affinity(9)
    figure = plot_task_affinity_heatmap(matrix, names)
    (image,) = figure.axes[0].images
    off = matrix[~np.eye(9, dtype=bool)]
    low, high = image.get_clim()
    assert low is not None
    assert high == -low == np.abs(off).max()
    order = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    at = [names.index(n) for n in order]
    np.testing.assert_array_equal(np.asarray(image.get_array())[0, 1:], matrix[at[0], at[1:]])
    leaves = plot_task_dendrogram(matrix, names).axes[0].get_yticklabels()
    from_top = sorted(leaves, key=lambda t: t.get_position()[1])
    assert order == [t.get_text() for t in from_top]
    # The two planted families stand together.
    assert len({i % 2 for i in at[:5]}) == 1 or len({i % 2 for i in at[:4]}) == 1


def test_asymmetric_says_which_way_it_reads() -> None:
    matrix, names = affinity(5)
    matrix[0, 1] += 0.2
    bar = plot_task_affinity_heatmap(matrix, names).axes[1]
    assert bar.get_ylabel() == "affinity that the row receives from the column"


def test_the_seeds_arguments(tmp_path: Path) -> None:
    matrix, names = affinity(5)
    path = tmp_path / "heatmap.png"
    figure = plot_task_affinity_heatmap(
        matrix,
        names,
        title="ADMET Task Affinity Matrix",
        figsize=(10, 8),
        cmap="RdBu_r",
        save_path=path,
    )
    assert figure.axes[0].get_title() == "ADMET Task Affinity Matrix"
    assert figure.get_size_inches().tolist() == [10, 8]
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in tmp_path.iterdir()] == ["heatmap.png"]
    plot_task_dendrogram(matrix, names, "Tree", (6, 4), tmp_path / "tree.svg")
    assert b"<svg" in (tmp_path / "tree.svg").read_bytes()


def test_bad_input(tmp_path: Path) -> None:
    matrix, names = affinity(5)
    with pytest.raises(TaskAffinityError, match="existing folder"):
        plot_task_affinity_heatmap(matrix, names, save_path=tmp_path / "none" / "h.png")
    with pytest.raises(TaskAffinityError, match=r"standard_errors: expected shape \(5, 5\)"):
        plot_task_affinity_heatmap(matrix, names, standard_errors=np.zeros(5))
    with pytest.raises(TaskAffinityError, match="two tasks or more"):
        plot_task_dendrogram(np.ones((1, 1)), ["a"])
    with pytest.raises(TaskAffinityError, match="n_groups"):
        plot_task_dendrogram(matrix, names, n_groups=6)


@pytest.mark.parametrize(
    ("draw", "name"),
    [
        (plot_task_affinity_heatmap, "task_affinity_heatmap.png"),
        (plot_task_dendrogram, "task_affinity_dendrogram.png"),
    ],
)
def test_a_folder_takes_a_figure_under_its_usual_name(draw, name, tmp_path: Path) -> None:
    draw(*affinity(3), save_path=tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [name]
