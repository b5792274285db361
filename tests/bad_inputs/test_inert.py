"""Names, ids and SMILES that mean something to a terminal, a page, a spreadsheet or an SDF reader.

They are text everywhere: nothing of them takes effect, and they come back as they were.
"""

from __future__ import annotations

import io
import re
import tarfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import polars as pl
import pytest
from molpool_common import console, open_table, printable
from molpool_evaluate.cli import main

ARCHIVE = Path(__file__).parents[1] / "fixtures" / "runs_2026_11.tar.xz"

IDS = [
    *("\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\u202egnp.exe", "\u2066x\u2069"),
    *("</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "&amp;", "--><svg>"),
    *("[/]", "[bold]", ":smile:", "$\\frac{$", "{{ 7 * 7 }}", "{% raw %}", "${x}", "%s", "{0}"),
    *("=cmd|' /C calc'!A0", "@SUM(1+1)", "+1+1", "-1+1", "'; DROP TABLE runs; --", '"quoted"'),
    *("$$$$", "> <LogP>", "M  END", "007", "1e5", "NaN-1", "null ", "https://a.b", "../../etc"),
    *("Log\u200bD", "\u041bogD", "\ufeffx", "y" * 300, "a,b;c\td", "\N{GRINNING FACE}"),
]
"""One on a line: what has several is tried below."""

CONTROLS = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model, and a table of molecules with these ids."""
    folder = tmp_path_factory.mktemp("inert")
    with tarfile.open(ARCHIVE) as tar:
        members = [m for m in tar.getmembers() if m.name.startswith("runs/single/")]
        tar.extractall(folder, members, filter="data")
    smiles = ["C" * (1 + i % 9) + "ON"[i % 2] for i in range(len(IDS))]
    # Neither of these is a molecule, and both are shown as they are.
    smiles[:2] = ["\x1b[31mC", "<b>C</b>"]
    frame = pl.DataFrame({"SMILES": smiles, "name": IDS})
    frame.write_parquet(folder / "table.parquet")
    return folder


def call(*arguments: object) -> str:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([str(a) for a in arguments])
    said = out.getvalue() + err.getvalue()
    assert code == 0, said
    return said


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".parquet", ".xlsx", ".sdf"])
def test_ids_come_back_as_they_were(folder: Path, ending: str) -> None:
    output = folder / f"out{ending}"
    said = call(
        *("predict", "--model-dir", folder / "runs" / "single", "--output", output),
        *("--data-path", folder / "table.parquet", "--id-column", "name"),
    )
    assert not CONTROLS.search(said)
    if ending in (".csv", ".tsv"):
        text = output.read_text()
        assert not re.search('(^|[,\t"])[=@]', text, re.MULTILINE), "a formula"
    found, _ = open_table(output)
    assert found["name"].to_list() == IDS
    assert found.height == len(IDS)


def test_messages_show_what_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    name = "\x1b[31mred \u202eevil\r"
    assert main(["predict", "--model-dir", name]) == 2
    screen = console()
    screen.print(f"task {name}")
    said = capsys.readouterr()
    assert not CONTROLS.search(said.out + said.err)
    assert r"\x1b[31mred \u202eevil\r" in said.out
    assert printable("µ Å é β 中\n\t") == "µ Å é β 中\n\t"
