"""The page and the screen, from the command line."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from molpool_data.cli import main

Run = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)

    def runner(*argv: str) -> tuple[int, str, str]:
        code = main(["describe", *argv])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return runner


class Page(HTMLParser):
    """Headings, table cells and addresses of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.rows: list[list[str]] = []
        self.addresses: list[str] = []
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open = tag
        self.addresses += [v for k, v in attrs if k in ("src", "href") and v and v[0] != "#"]
        if tag == "tr":
            self.rows.append([])

    def handle_data(self, data: str) -> None:
        if self._open == "h2":
            self.headings.append(data)
        if self._open == "td":
            self.rows[-1].append(data)

    def handle_endtag(self, tag: str) -> None:
        self._open = ""


TABLE = """\
SMILES,pIC50,active,Quality
CCO,1.0,1,high
OCC,3.0,0,high
CCC,1.0,0,low
CCCC,1.0,1,low
c1ccccc1,2.0,,low
Cc1ccccc1,5.5,1,low
<b>,2,1,low
"""


def test_the_page_says_what_is_in_the_table(run: Run, tmp_path: Path) -> None:
    Path("t.csv").write_text(TABLE)
    code, out, err = run("t.csv")
    assert (code, err) == (0, "")
    assert re.search(r"Duplicate labels +2, 2 of them differ", out)
    text = (tmp_path / "profile.html").read_text()
    page = Page(text)
    assert [h.strip() for h in page.headings if h.strip()] == [
        "Summary",
        "How it was read",
        "Labels",
        "Values",
        "Task overlap",
        "Quality mix",
        "Scaffolds",
        "Duplicates",
        "Joint sampling",
    ]
    assert ["pIC50", "1", "50.0", "floor", "–"] in page.rows
    assert ["pIC50", "6", "5", "100.0"] in page.rows
    assert ["active", "5", "3", "60.00"] in page.rows
    assert ["pIC50", "2", "4", "6"] in page.rows  # quality: high, low, all
    assert ["c1ccccc1", "2", "40.0"] in page.rows
    worst = next(row for row in page.rows if "CCO" in row and row[0] == "pIC50")
    assert worst[2:] == ["1, 3", "CCO", "1, 2"]
    assert any(row[0] == "plain shuffling" for row in page.rows if row)


def test_the_page_needs_nothing_else_and_escapes_the_table(run: Run, tmp_path: Path) -> None:
    Path("t.csv").write_text(TABLE)
    run("t.csv")
    text = (tmp_path / "profile.html").read_text()
    assert Page(text).addresses == []
    assert "&lt;b&gt;" in text
    assert "<b>" not in text


def test_many_tasks_stay_legible(run: Run, tmp_path: Path) -> None:
    names = [f"assay_{i:03d}" for i in range(60)]
    lines = [",".join(["SMILES", *names])]
    for row in range(60):
        values = [f"{(row * 7 + t) % 5}.5" if row <= t else "" for t in range(60)]
        lines.append(",".join(["C" * (row + 1), *values]))
    Path("wide.csv").write_text("\n".join(lines))
    code, out, _ = run("wide.csv")
    assert code == 0
    assert "Of 60 tasks, the 8 with the most and the 8 with the fewest labels." in out
    text = (tmp_path / "profile.html").read_text()
    figures = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    assert max(len(set(re.findall(r"assay_\d+", svg))) for svg in figures) == 24
    counts = {row[0]: row[1] for row in Page(text).rows if len(row) == 4}
    assert {name: counts[name] for name in names} == {
        name: str(i + 1) for i, name in enumerate(names)
    }


def test_one_task_and_no_quality(run: Run, tmp_path: Path) -> None:
    Path("t.csv").write_text("SMILES,y\nC,1.5\nCC,2.5\nCCC,\n")
    assert run("t.csv", "--output", "p.html")[0] == 0
    headings = Page((tmp_path / "p.html").read_text()).headings
    assert "Task overlap" not in headings
    assert "Quality mix" not in headings


def test_a_table_without_labels_among_the_named_columns(run: Run) -> None:
    Path("t.csv").write_text("SMILES,y\nC,\nCC,\n")
    assert run("t.csv", "--target-columns", "y")[0] == 0


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "TABLE: expected a table or --config; found neither"),
        (["t.csv", "--config", "c.yaml"], "found both"),
        (["none.csv"], "no file 'none.csv'"),
        (["t.csv", "--target-columns", "pIC5"], "'pIC50'"),
        (["t.csv", "--output", "no/p.html"], "--output: expected a folder that exists"),
        (["t.csv", "--output", "t.csv"], "Give --overwrite"),
    ],
)
def test_wrong_input_is_one_message(run: Run, argv: list[str], message: str) -> None:
    Path("t.csv").write_text(TABLE)
    code, out, err = run(*argv)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    assert Path("t.csv").read_text() == TABLE
    assert os.listdir() == ["t.csv"]


def test_the_page_is_replaced_where_it_may(run: Run) -> None:
    Path("t.csv").write_text(TABLE)
    Path("profile.html").write_text("old")
    assert run("t.csv", "--output", "profile.html")[0] == 2
    # One that nobody named is beside it, as each run has a folder of its own.
    assert run("t.csv")[0] == 0
    assert run("t.csv")[0] == 0
    assert {p.name for p in Path().glob("*.html")} == {
        *("profile.html", "profile-2.html", "profile-3.html")
    }
    assert Path("profile.html").read_text() == "old"
    assert run("t.csv", "--overwrite")[0] == 0
    assert Path("profile.html").read_text() != "old"


def test_targets_may_be_named_one_by_one(run: Run) -> None:
    Path("t.csv").write_text("SMILES,a,b,c\nCO,1.5,2,3\nCC,2,3,4\nCN,1,1.5,2\n")
    code, out, _ = run("t.csv", "--target-columns", "a", "--target-columns", "c")
    assert code == 0
    assert "a" in out
    assert "training" not in out.split("--target-columns", 1)[1].split("\n")[0]
    assert "--target-columns a c" in out


def test_rows_are_one_molecule_by_the_structure_that_is_named(run: Run) -> None:
    Path("t.csv").write_text("SMILES,y\nCCN,1.5\nCCN.Cl,2\nCO,3\n")
    texts = []
    for how in ("parent", "none"):
        assert run("t.csv", "--standardize", how, "--output", f"{how}.html")[0] == 0
        texts.append(Path(f"{how}.html").read_text())
    assert texts[0] != texts[1]


@pytest.mark.realdata
def test_tox21_by_name(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    if not os.environ.get("MOLPOOL_DATA"):
        folder = ROOT.parent / "shared" / "data"
        if not folder.is_dir():
            pytest.skip("no data folder: set MOLPOOL_DATA")
        monkeypatch.setenv("MOLPOOL_DATA", str(folder))
    code, out, _ = run("tox21")
    assert code == 0
    # The publisher's table: 8 014 rows, eight of which RDKit refuses.
    assert re.search(r"Rows +8,006", out)
    assert re.search(r"do not parse +8\b", out)
