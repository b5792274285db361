from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from molpool_common import compact_molecules
from molpool_common._report import (
    _ON_PAPER,
    Card,
    Cards,
    Cell,
    Code,
    Facts,
    Figure,
    HoverPanel,
    HoverRows,
    Lines,
    Part,
    Section,
    Table,
    Text,
    Widget,
    render_report,
)

HOSTILE = '<script>alert("x")</script> & \'"><img src=x onerror=y>'
SVG = '<svg viewBox="0 0 1 1"><path d="M0 0"/></svg>'
VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """Elements in order, each with its attributes, parents and text; refuses wrong nesting."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == [], "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts.setdefault(self._open[-1], []).append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def render(
    *parts: Part, title: str = "T", subtitle: str = "S", rows: HoverRows | None = None
) -> str:
    return render_report(title, subtitle, [Section("One", list(parts))], rows=rows)


EVERYTHING: tuple[Part, ...] = (
    Text("plain"),
    Text("beware", note=True),
    Facts({"rows": 1234, "share": 0.5, "none": None}),
    Table(["task", "MAE"], [["a", 0.25], ["mean", None]], caption="Errors", totals=1),
    Figure(SVG, alt="A line", caption="How to read", data=Table(["x"], [[1]])),
    Code("config", "a: 1"),
)


class TestPage:
    def test_is_a_document_with_language_one_heading_and_landmarks(self) -> None:
        html = render(*EVERYTHING)
        page = Page(html)
        assert html.startswith("<!doctype html>")
        assert page.all("html") == [{"lang": "en"}]
        assert page.texts["title"] == ["T"]
        assert page.texts["h1"] == ["T"]
        assert len(page.all("main")) == 1
        assert page.all("nav")[0]["aria-label"] == "Sections"
        assert {"charset": "utf-8"} in page.all("meta")
        assert any(m.get("name") == "viewport" for m in page.all("meta"))

    def test_needs_nothing_from_elsewhere(self) -> None:
        html = render(*EVERYTHING)
        page = Page(html)
        assert not page.all("link")
        assert all("src" not in attributes for _, attributes in page.elements)
        assert all(a["href"].startswith("#") for a in page.all("a") if a["href"])
        assert "@import" not in html
        assert not re.search(r"url\(|https?://|//cdn", html)

    def test_links_lead_to_the_sections(self) -> None:
        page = Page(render_report("T", "S", [Section("One"), Section("Two")]))
        ids = [h["id"] for h in page.all("h2")]
        assert [a["href"] for a in page.all("a")] == [f"#{i}" for i in ids]
        assert [s["aria-labelledby"] for s in page.all("section")] == ids
        assert page.texts["h2"] == ["One", "Two"]

    def test_looks_right_in_the_dark_and_on_paper(self) -> None:
        html = render()
        assert "color-scheme: light dark" in html
        assert "prefers-color-scheme: dark" in html
        assert "@media print" in html

    def test_every_name_is_escaped(self) -> None:
        parts: list[Part] = [
            Text(HOSTILE),
            Facts({HOSTILE: HOSTILE}),
            Table([HOSTILE], [[HOSTILE]], caption=HOSTILE),
            Figure(SVG, alt=HOSTILE, caption=HOSTILE, data=Table([HOSTILE], [[HOSTILE]])),
            Code(HOSTILE, HOSTILE),
        ]
        html = render_report(HOSTILE, HOSTILE, [Section(HOSTILE, parts)])
        page = Page(html)
        assert len(page.all("script")) == 1, "ours"
        assert not page.all("img")
        assert "<script>alert" not in html
        assert page.texts["h1"] == [HOSTILE], "and reads as it was written"
        (plot,) = (d for d in page.all("div") if d.get("role") == "img")
        assert plot["aria-label"] == HOSTILE

    @given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(str.strip))
    def test_any_name_reads_as_it_was_written(self, name: str) -> None:
        page = Page(render(Table([name], [[name]])))
        assert "".join(page.texts["td"]) == name
        assert "".join(page.texts["button"]) == name


class TestTable:
    def test_heads_are_buttons_that_sort(self) -> None:
        page = Page(render(Table(["task", "MAE"], [["a", 0.25]])))
        assert page.all("button") == [{"type": "button"}] * 2
        assert page.all("th") == [{"scope": "col"}] * 2
        assert page.texts["button"] == ["task", "MAE"]

    def test_numbers_sort_by_their_exact_value(self) -> None:
        page = Page(render(Table(["x"], [[0.123456789], [1_234_567], ["text"], [None]])))
        assert [td.get("data-value") for td in page.all("td")] == [
            "0.123456789", "1234567", None, None,
        ]  # fmt: skip

    def test_totals_are_marked(self) -> None:
        page = Page(render(Table(["x"], [[1], [2], [3]], totals=2)))
        assert [tr.get("class") for tr in page.all("tr")] == [None, None, "total", "total"]

    def test_scrolls_by_keyboard_below_its_caption(self) -> None:
        page = Page(render(Table(["x"], [[1]], caption="What")))
        names = [name for name, _ in page.elements]
        scroll = page.elements.index(("div", {"class": "scroll", "tabindex": "0"}))
        assert names.index("figcaption") < scroll < names.index("table")
        assert page.texts["figcaption"] == ["What"]

    def test_a_sheet_holds_some_columns_and_says_how_many_more_there_are(self) -> None:
        page = Page(render(Table([str(i) for i in range(14)], [list(range(14))])))
        assert ("div", {"class": "scroll broad", "tabindex": "0"}) in page.elements
        (said,) = [text for text in page.texts["p"] if "columns" in text]
        assert said == "2 more columns are on the screen."
        assert f".broad tr > :nth-child(n + {_ON_PAPER + 1})" in render(Table(["x"], [[1]]))

    def test_without_caption(self) -> None:
        assert not Page(render(Table(["x"], [[1]]))).all("figure")

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (None, "–"),
            ("word", "word"),
            (0, "0"),
            (1234567, "1,234,567"),
            (1.0, "1.000"),
            (0.25, "0.250"),
            (-0.5, "-0.500"),
            (40.9, "40.900"),
            (123456.789, "123456.789"),
            (1.5e7, "1.500e+07"),
            (2.75e-7, "2.8e-07"),
            (-0.0004, "-4.0e-04"),
            (0.0005, "0.001"),
            (1e-17, "0.000"),
            (0.0, "0.000"),
        ],
    )
    def test_cells(self, value: Cell, text: str) -> None:
        assert Page(render(Table(["x"], [[value]]))).texts["td"] == [text]

    def test_digits(self) -> None:
        assert Page(render(Table(["x", "n"], [[1.0, 7]], digits=1))).texts["td"] == ["1.0", "7"]

    def test_words_begin_where_they_are_read_from(self) -> None:
        html = render(Table(["id", "SMILES", "x"], [["a", "CC", 1.0], ["b", None, None]]))
        assert html.count('class="words"') == 3, "a head and two cells, the first column apart"
        assert Page(render(Facts({"s": 40.87}, digits=1))).texts["dd"] == ["40.9"]


class TestFigure:
    def test_has_words_caption_and_numbers(self) -> None:
        page = Page(render(EVERYTHING[4]))
        plot = next(d for d in page.all("div") if d.get("class") == "plot")
        assert plot == {"class": "plot", "role": "img", "tabindex": "0", "aria-label": "A line"}
        assert page.texts["figcaption"] == ["How to read"]
        assert page.texts["summary"] == ["Numbers"]

    def test_drawing_is_kept_as_it_is(self) -> None:
        html = render(Figure(SVG, alt="a", caption="c"))
        assert SVG in html
        ElementTree.fromstring(SVG)


class TestWidget:
    def test_has_style_in_the_head_and_scripts_after_all_else(self) -> None:
        widget = Widget("<p id=here></p>", ".x { color: red }", ["let a = 1 < 2;", "a = 3;"])
        html = render(widget, Text("after"))
        assert html.index(".x { color: red }") < html.index("</style>") < html.index("<p id=here>")
        assert html.index("</main>") < html.index("let a = 1 < 2;") < html.index("a = 3;")
        assert len(Page(html).all("script")) == 3

    def test_values_come_out_as_they_went_in(self) -> None:
        values = {"name": HOSTILE + "</script><!--", "numbers": [1, 0.5, None]}
        page = Page(render(Widget("", data={"it": values})))
        assert {"type": "application/json", "id": "it"} in page.all("script")
        assert json.loads(page.texts["script"][0]) == values


def test_a_page_may_load_nothing() -> None:
    (policy,) = (
        m["content"] or ""
        for m in Page(render(*EVERYTHING)).all("meta")
        if m.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy


def policy_of(html: str) -> str:
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy is not None
    return policy[1]


def test_scripts_run_by_their_digest_alone() -> None:
    widget = Widget("<p>w</p>", scripts=["let x = 1;"], data={"d": [1]})
    html = render(widget, hovered(), rows=ROWS)
    allowed = re.search(r"script-src ([^;]*)", policy_of(html))
    assert allowed is not None
    assert "unsafe-inline" not in allowed[1]
    run = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    assert len(run) == 3, "sorting, points, and the widget's own"
    for script in run:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in allowed[1]


ROWS = HoverRows(
    ["M1", HOSTILE],
    {HOSTILE: [np.array([1.0, 2.0]), np.array([1.5, np.nan])]},
    {HOSTILE: np.array([0.0, 1.0])},
    compact_molecules(["CCO", None]),
)


def hovered() -> Figure:
    panel = HoverPanel(HOSTILE, (0, 0, 1, 1), (0, 1), (0, 1), x=HOSTILE)
    return Figure(SVG, alt="Points", caption="Read", hover=[panel])


class TestHover:
    def test_points_and_rows_are_plain_values(self) -> None:
        html = render(hovered(), rows=ROWS)
        stored = re.search(r'id="hover-rows">(.*?)</script>', html)
        points = re.search(r'class="points">(.*?)</script>', html)
        assert stored is not None
        assert points is not None
        rows = json.loads(stored[1])
        assert rows["ids"] == ["M1", HOSTILE]
        truth = np.frombuffer(base64.b64decode(rows["values"][0][0]), "<f4")
        assert truth.tolist() == [1, 2]
        (panel,) = json.loads(points[1])
        assert panel["task"] == 0
        assert (panel["x"], panel["y"]) == (HOSTILE, "predicted")
        column = np.frombuffer(base64.b64decode(rows["columns"][HOSTILE]), "<f4")
        assert column.tolist() == [0, 1]

    def test_names_are_inert(self) -> None:
        assert "<script>alert" not in render(hovered(), rows=ROWS)

    def test_is_reached_by_keys_and_says_so(self) -> None:
        page = Page(render(hovered(), rows=ROWS))
        (plot,) = (d for d in page.all("div") if d.get("role") == "application")
        assert plot["tabindex"] == "0"
        assert "arrow keys" in str(plot["aria-label"])

    def test_without_rows_it_is_a_picture(self) -> None:
        html = render(hovered())
        assert 'role="img"' in html
        assert "hover-rows" not in html
        assert html.count("<script>") == 1


def test_cards_have_pictures_words_and_facts() -> None:
    cards = Cards([Card(HOSTILE, [SVG, SVG], HOSTILE, {HOSTILE: 0.5}), Card("none", [], "")])
    html = render(cards)
    page = Page(html)
    (picture,) = (d for d in page.all("div") if d.get("class") == "pictures")
    assert picture["aria-label"] == HOSTILE
    assert picture["role"] == "img"
    assert len(page.all("svg")) == 2
    assert page.texts["strong"] == [HOSTILE, "none"]
    assert "0.50" in page.texts["dd"]
    assert "<script>alert" not in html


def test_lines_are_a_list() -> None:
    assert Page(render(Lines(["one", HOSTILE]))).texts["li"] == ["one", HOSTILE]


def test_note_is_set_off() -> None:
    assert Page(render(Text("x", note=True))).all("p")[-1] == {"class": "note"}
