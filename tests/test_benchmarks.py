"""What `scripts/bench-all` makes of benchmarks, and that each of them states its claims."""

from __future__ import annotations

import importlib.util
import math
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "benchmarks"
NAMES = sorted(p.stem for p in FOLDER.glob("*.py") if p.stem != "claims")


def load(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_loader(name, SourceFileLoader(name, str(path)))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


claims = load(FOLDER / "claims.py", "claims")
bench_all = load(ROOT / "scripts" / "bench-all", "bench_all")


@pytest.mark.parametrize("name", NAMES)
def test_benchmark_states_claims_and_limit(name):
    text = (FOLDER / f"{name}.py").read_text()
    assert "return settle(" in text
    assert len(bench_all.limit(FOLDER / f"{name}.py")) > 20


@given(
    name=st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1),
    ratio=st.floats(0, 1e9),
    bar=st.floats(0, 1e9),
    at_most=st.booleans(),
    sides=st.booleans(),
)
def test_lines_of_claims_are_read_back(name, ratio, bar, at_most, sides):
    shown = {"ours": "1.2 ms", "peer": "3 molecules/s"} if sides else {}
    claim = claims.Claim(name, ratio, bar, at_most=at_most, **shown)
    found = bench_all.fields(str(claim))
    assert found[0] == name
    assert found[1:3] == (shown.get("ours", ""), shown.get("peer", ""))
    assert float(found[3]) == pytest.approx(ratio, rel=1e-3)
    assert found[5] == ("holds" if (ratio <= bar if at_most else ratio >= bar) else "FAILS")


def test_status_is_that_of_the_claims(capsys):
    good, bad = claims.Claim("a", 2.0, 1.0), claims.Claim("b", 2.0, 1.0, at_most=True)
    assert claims.settle(good) == 0
    assert claims.settle(good, bad) == 1
    assert claims.settle(claims.Claim("c", math.nan, 1.0)) == 1
    assert capsys.readouterr().out.count("FAILS") == 2


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        ("print('claim x: ratio 2 (at least 1): holds')", "holds"),
        ("raise KeyError('gone')", "BROKEN, exit 1"),
        ("print('nothing claimed')", "BROKEN, exit 0"),
        ("print('claim x: ratio 2 (at least 1): holds'); raise SystemExit(3)", "BROKEN, exit 3"),
    ],
)
def test_a_broken_benchmark_is_seen(tmp_path, code, verdict, capsys):
    path = tmp_path / "made_up.py"
    path.write_text(f'"""Claim.\n\nPhysical limit: none that is known to anybody."""\n{code}\n')
    rows = bench_all.run(path, timeout=60)
    assert rows[-1].verdict == verdict
    assert verdict in bench_all.table(rows)
    assert "made_up" in capsys.readouterr().out
