"""The script that measures several tables."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "studies" / "analyze_task_affinities.sh"


@pytest.mark.slow
@pytest.mark.skipif(not SCRIPT.is_file(), reason="the app alone, without the repository's docs")
def test_script_measures_a_table(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    chains = [a + "C" * n for a in ("C", "O", "N", "S") for n in range(16)]
    rows = [f"{smiles},{len(smiles)},{i % 7},{i % 5}" for i, smiles in enumerate(chains)]
    (tmp_path / "data" / "mine.csv").write_text("SMILES,A,B,C\n" + "\n".join(rows) + "\n")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "TASKS": "A,B,C", "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        ["bash", str(SCRIPT), "mine"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    written = sorted(p.name for p in (tmp_path / "results").iterdir())
    assert written == [f"mine_affinity.{kind}" for kind in ("csv", "html", "json", "npz", "png")]
    assert "Results saved to results/mine_affinity.*" in ended.stdout
