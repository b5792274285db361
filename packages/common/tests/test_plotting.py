from __future__ import annotations

import re
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from molpool_common._plotting import OKABE_ITO, axes_box, figure_svg, new_figure, style


def draw(text: str = "label") -> str:
    with style():
        figure = new_figure(4, 3)
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], label=text)
        axes.legend()
        return figure_svg(figure)


def test_style_ends_with_its_block() -> None:
    before = dict(mpl.rcParams)
    with style():
        assert mpl.rcParams["axes.spines.top"] is False
        assert mpl.rcParams["axes.prop_cycle"].by_key()["color"] == list(OKABE_ITO)
    assert dict(mpl.rcParams) == before


def test_style_ends_with_an_error_too() -> None:
    before = dict(mpl.rcParams)
    with pytest.raises(RuntimeError), style():
        raise RuntimeError
    assert dict(mpl.rcParams) == before


def test_legends_have_a_place_of_their_own() -> None:
    # The search for the "best" one takes long beside many points, and warns by the clock.
    with style():
        assert mpl.rcParams["legend.loc"] != "best"


def test_figures_leave_no_global_state() -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    before = pyplot.get_fignums()
    draw()
    assert pyplot.get_fignums() == before


def test_svg_is_one_element_that_scales() -> None:
    svg = draw()
    root = ElementTree.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "viewBox" in root.attrib
    assert "width" not in root.attrib
    assert "height" not in root.attrib


def test_inner_sizes_are_kept() -> None:
    with style():
        figure = new_figure(4, 3)
        figure.subplots().imshow([[0, 1], [1, 0]])
        root = ElementTree.fromstring(figure_svg(figure))
    images = root.findall(".//{http://www.w3.org/2000/svg}image")
    assert images
    assert all("width" in image.attrib and "height" in image.attrib for image in images)


def test_text_stays_text() -> None:
    assert "<text" in draw("Löslichkeit")
    assert "Löslichkeit" in draw("Löslichkeit")


def test_same_figure_same_bytes() -> None:
    assert draw() == draw()


def test_no_date_and_no_program_inside() -> None:
    assert not re.search(r"dc:date|Matplotlib v", draw())


def test_hostile_label_is_escaped() -> None:
    assert "<script>" not in draw("<script>alert(1)</script>")


def test_colours_are_distinct() -> None:
    assert len(set(OKABE_ITO)) == 8
    assert all(re.fullmatch("#[0-9A-F]{6}", colour) for colour in OKABE_ITO)


def test_box_of_axes_is_where_they_are_drawn() -> None:
    with style():
        figure = new_figure(4, 3)
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1])
        svg = figure_svg(figure, whole=True)
    left, top, right, bottom = axes_box(axes)
    assert 'viewBox="0 0 288 216"' in svg
    # The patch of the axes is a path around their four corners.
    path = re.search(r'id="patch_2">\s*<path d="([^"]*)"', svg)
    assert path is not None
    numbers = np.array(re.findall(r"[-\d.]+", path[1]), dtype=float).reshape(-1, 2)
    np.testing.assert_allclose(numbers.min(axis=0), [left, top], atol=0.01)
    np.testing.assert_allclose(numbers.max(axis=0), [right, bottom], atol=0.01)


def test_titles_of_square_axes_are_inside() -> None:
    with style():
        figure = new_figure(9, 3.1)
        panels = figure.subplots(1, 3)
        for axes in panels:
            axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="x", ylabel="y")
            axes.set_title("task $\\frac{$\n30 labels", fontsize=9)
        figure_svg(figure, whole=True)
        tops = [axes.title.get_window_extent().y1 / figure.dpi for axes in panels]
    assert max(tops) < 3.1
