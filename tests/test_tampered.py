"""Files that are not what was written: refused by name in every command that reads them.

The folders are those of earlier versions, with the digests that every run leaves today.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from chemprop_multitask import ChempropError, ChempropModel
from mil_attn import MILError, MILModule
from molpool_common import MARKER, DamagedFileError, RunFolder

ARCHIVE = Path(__file__).parent / "fixtures" / "runs_2026_11.tar.xz"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("earlier")
    with tarfile.open(ARCHIVE) as tar:
        tar.extractall(folder, filter="data")
    config = (folder / "configs/chemprop.yaml").read_text()
    (folder / "grouped.yaml").write_text(f"{config}groups: runs/grouped/groups.json\n")
    # From within: a run in the folder of another has digests of its own.
    for marker in sorted(folder.rglob(MARKER), key=lambda path: -len(path.parts)):
        with RunFolder.resume(marker.parent):
            pass
    return folder


@pytest.fixture(autouse=True)
def work(archive: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in the archive itself: what is refused leaves nothing behind."""
    monkeypatch.chdir(archive)
    before = {path for path in archive.rglob("*") if ".lock" not in path.name}
    yield archive
    assert {path for path in archive.rglob("*") if ".lock" not in path.name} == before


def refused(command: str) -> str:
    """Run ``molpool-COMMAND``, which must refuse; return what it said."""
    app, *words = command.split()
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = import_module(f"molpool_{app}.cli").main(words)
    assert code == 2, (code, out.getvalue(), err.getvalue())
    return err.getvalue()


@pytest.fixture
def flip() -> Iterator[Callable[[str], None]]:
    """Change a bit in the middle of a file, and put it back afterwards."""
    sound: dict[Path, bytes] = {}

    def change(name: str) -> None:
        path = Path(name).absolute()
        sound[path] = path.read_bytes()
        content = bytearray(sound[path])
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    yield change
    for path, content in sound.items():
        path.write_bytes(content)


PREDICT = "evaluate predict --data-path unseen.csv --output o.parquet --model-dir "
BAGS = "evaluate predict --data-path unseen_bags.csv --output o.parquet --model-dir "
REPORT = "evaluate report --output o.html --"
FIT = "rt fit --save-dir o --data rt/prepared/lib0.parquet"
RT = "rt predict --data rt/test/rows.parquet --output o.parquet --artefact "
READ = {
    "runs/single/model.pt": PREDICT + "runs/single",
    "runs/single/config.resolved.yaml": PREDICT + "runs/single",
    "runs/ensemble/models/member-002.pt": PREDICT + "runs/ensemble",
    "runs/separate/models/member-000-group-001.pt": PREDICT + "runs/separate",
    "studies/chemprop/retrained/best-2/models/member-000.pt": PREDICT
    + "studies/chemprop/retrained/best-2",
    "runs/bags/model.pt": BAGS + "runs/bags",
    "runs/bags/predictions.parquet": "evaluate score --save-dir o --predictions runs/bags",
    "runs/ensemble/predictions.parquet": "evaluate compare --output o.csv --predictions "
    "runs/single runs/ensemble",
    "runs/ensemble/predictions_unseen.csv": "evaluate score --save-dir o --data-path unseen.csv "
    "--predictions runs/ensemble/predictions_unseen.csv",
    "expected/score/single/metrics.json": "evaluate compare --output o.csv --result-files "
    "expected/score/single/metrics.json expected/score/grouped/metrics.json",
    "runs/single/metrics.json": REPORT + "run runs/single",
    "runs/single/sampling.parquet": REPORT + "run runs/single",
    "runs/grouped/affinity.npz": REPORT + "run runs/grouped",
    "runs/grouped/groups.json": "train chemprop --config grouped.yaml --save-dir o",
    "runs/halted/checkpoints/last.ckpt": "train chemprop --resume --save-dir runs/halted",
    "runs/bags_halted/checkpoints/last.ckpt": "train mil --resume --save-dir runs/bags_halted",
    "studies/chemprop/study.json": REPORT + "study studies/chemprop",
    "studies/chemprop/trials.parquet": REPORT + "study studies/chemprop",
    "studies/bags/study.json": "hpo show --study-dir studies/bags",
    "rt/ridge/coefficients.npz": RT + "rt/ridge",
    "rt/ridge/metrics.json": RT + "rt/ridge",
    "rt/ridge/statistics.npz": "rt plot --save-dir o --runs rt/ridge",
    "rt/prepared/lib0.parquet": FIT,
    "rt/prepared/prepared.json": FIT,
    "rt/prepared/mapping.csv": "rt prepare --data rt/lab/test.parquet --like rt/prepared "
    "--species-raw species --cluster-raw species_cluster --save-dir o",
    "rt/prepared/compounds.csv": "rt prepare --data rt/lab/test.parquet --like rt/prepared "
    "--species-raw species --cluster-raw species_cluster --save-dir o",
    "expected/rt/evaluation/evaluation.json": "rt report --output o.html "
    "--evaluation expected/rt/evaluation",
}
"""A command that reads it, by file."""


@pytest.mark.parametrize("name", READ)
def test_a_changed_file_is_refused_by_name(name: str, flip: Callable[[str], None]) -> None:
    flip(name)
    said = refused(READ[name])
    assert Path(name).name in said
    assert "SHA-256" in said
    assert "Traceback" not in said


def states(path: Path) -> Any:
    of_bags = "bags" in str(path)
    loaded: Any = MILModule.load(path) if of_bags else ChempropModel.load(path).module
    return loaded.state_dict()


@pytest.mark.parametrize("name", ["runs/single/model.pt", "runs/bags/model.pt"])
def test_a_model_from_elsewhere_is_refused_or_the_same(name: str, tmp_path: Path) -> None:
    """Without digests, of a place that only the checksums within the file know."""
    sound, path = Path(name).read_bytes(), tmp_path / Path(name).parent.name
    path.write_bytes(sound)
    expected, passed, places = states(path), 0, range(7, len(sound), len(sound) // 12)
    for place in places:
        path.write_bytes(sound[:place])
        with pytest.raises(ValueError, match=r"damaged|complete|cut|program"):
            states(path)
        content = bytearray(sound)
        content[place] ^= 16
        path.write_bytes(content)
        with suppress(DamagedFileError, ChempropError, MILError):
            found = states(path)  # of a byte that fills a gap
            assert all(torch.equal(found[k], expected[k]) for k in expected)
            passed += 1
    assert passed < len(places) // 2
