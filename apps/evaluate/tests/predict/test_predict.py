"""`molpool-evaluate predict` on small saved models."""

from __future__ import annotations

import gzip
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from chemprop_multitask import ChempropModel, Ensemble
from molpool_common import table_metadata
from molpool_pipelines.runs import in_memory, read_run_predictions
from numpy.testing import assert_allclose
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator

Disk = SimpleNamespace


def frame_of(disk: Disk, model: Path, data: Path, *more: object) -> pl.DataFrame:
    output = data.parent / f"out-{len(list(data.parent.iterdir()))}.parquet"
    ended = disk.run(
        "predict", "--model-dir", model, "--data-path", data, "--output", output, *more
    )
    assert ended.code == 0, ended.err
    return read_run_predictions(output.parent, output.name)


def test_the_input_stands_before_the_predictions(disk: Disk, single: Path, tmp_path: Path) -> None:
    measured = [str(i) for i in range(30)]
    bounds = ["<3", *measured[1:]]
    more = dict(zip(disk.tasks, (measured, bounds), strict=False))
    more |= {"similarity": measured, "row": measured}
    data = disk.table(tmp_path / "t.csv", disk.smiles, **more)
    frame = frame_of(disk, single, data)
    file = next(p for p in tmp_path.glob("out-*.parquet"))
    first, second = (f"{task}_measured" for task in disk.tasks[:2])
    assert list(pl.read_parquet_schema(file)) == [
        *("Name", "Structure", first, second, "similarity (input)", "row"),
        *(*disk.tasks, "similarity", "nearest", "outside_domain", "error"),
    ]
    assert frame["Name"].to_list() == [f"m{i}" for i in range(30)]
    assert frame[disk.tasks[0]].to_list() == [*range(30)], "numbers where all of it is"
    assert pl.read_parquet(file)[second].to_list() == bounds
    assert frame["outside_domain"].to_list() == (frame["similarity"] < 0.3).to_list()
    assert frame["error"].null_count() == 30
    model = ChempropModel.load(single / "model.pt")
    # Single precision; the loader's batches are of another size.
    assert_allclose(disk.predicted(frame), model.predict(disk.smiles), rtol=1e-6, atol=1e-5)


def test_an_ensemble_has_mean_and_spread(disk: Disk, ensemble: Path, tmp_path: Path) -> None:
    data = disk.table(tmp_path / "t.parquet", disk.smiles)
    frame = frame_of(disk, ensemble, data)
    mean, sd = Ensemble.load(ensemble).predict(disk.smiles)
    assert_allclose(disk.predicted(frame), mean, rtol=1e-6, atol=1e-5)
    assert_allclose(frame.select(f"{t}_sd" for t in disk.tasks).to_numpy(), sd, atol=1e-5)
    bare = frame_of(
        disk, ensemble / "models", data, "--smiles-column", "Structure", "--id-column", "Name"
    )
    assert "similarity" not in bare.columns  # a bare folder names no training molecules
    assert_allclose(disk.predicted(bare), mean, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("ending", ["csv", "parquet", "tsv", "csv.gz"])
def test_numbers_depend_on_no_batch_no_chunk_and_no_format(
    disk: Disk, ensemble: Path, tmp_path: Path, ending: str
) -> None:
    smiles: list[str | None] = [*disk.smiles, None, "C1CC", *disk.smiles[::-1]]
    path = disk.table(tmp_path / f"t.{ending.removesuffix('.gz')}", smiles)
    if ending.endswith("gz"):
        zipped = path.with_name("t.csv.gz")
        zipped.write_bytes(gzip.compress(path.read_bytes()))
        path = zipped
    whole = frame_of(disk, ensemble, path)
    for batch, chunk in ((1, 7), (7, 5), (512, 64)):
        frame = frame_of(disk, ensemble, path, "--batch-size", batch, "--chunk-rows", chunk)
        exact = ["id", "SMILES", "similarity", "nearest", "outside_domain", "error"]
        assert frame.select(exact).equals(whole.select(exact))
        # Sums of other lengths round otherwise; values are of size 20, float32 has 1e-7 of that.
        assert_allclose(disk.predicted(frame), disk.predicted(whole), rtol=1e-6, atol=2e-5)


def test_csv_holds_what_parquet_does(disk: Disk, single: Path, tmp_path: Path) -> None:
    data = disk.table(tmp_path / "t.csv", [*disk.smiles, "no molecule"])
    whole = frame_of(disk, single, data, "--chunk-rows", 4)
    output = tmp_path / "out.csv"
    ended = disk.run(
        "predict", "--model-dir", single, "--data-path", data, "--output", output,
        "--chunk-rows", 4,
    )  # fmt: skip
    assert ended.code == 0
    read = pl.read_csv(output, infer_schema_length=None, schema_overrides={"error": pl.String})
    read = in_memory(read, table_metadata(output))
    assert read.columns == whole.columns
    assert_allclose(disk.predicted(read), disk.predicted(whole), rtol=1e-12)
    assert read["nearest"].to_list() == whole["nearest"].to_list()


def test_molecules_that_do_not_parse_stay_without_predictions(
    disk: Disk, single: Path, tmp_path: Path
) -> None:
    smiles: list[str | None] = ["CCO", "C1CC", None, "CCN", "c1cccc1", "  "]
    data = disk.table(tmp_path / "t.csv", smiles)
    for applicability in ("true", "false"):
        frame = frame_of(
            disk, single, data, "--applicability.enabled", applicability, "--chunk-rows", 2
        )
        assert frame["id"].to_list() == [f"m{i}" for i in range(6)]
        bad = frame["error"].is_not_null().to_list()
        assert bad == [False, True, True, False, True, True]
        assert np.isnan(disk.predicted(frame)).all(axis=1).tolist() == bad
        expected = ChempropModel.load(single / "model.pt").predict(["CCO", "CCN"])
        assert_allclose(disk.predicted(frame)[[0, 3]], expected, rtol=1e-6, atol=1e-5)
    ended = disk.run(
        "predict", "--model-dir", single, "--data-path", data, "--output", tmp_path / "x.csv"
    )
    words = " ".join(ended.out.split())
    assert "2 of 6 molecules predicted" in words
    assert "4 rows without a prediction, x_rejected.csv says why: rows 2 (" in words
    assert "3 (empty)" in words


def test_molecules_that_do_not_parse_may_stop_it(disk: Disk, single: Path, tmp_path: Path) -> None:
    data = disk.table(tmp_path / "t.csv", ["CCO", "C1CC", "CCN", "c1cccc1"])
    output = tmp_path / "x.parquet"
    ended = disk.run(
        "predict", "--model-dir", single, "--data-path", data, "--output", output,
        "--on-bad-smiles", "error",
    )  # fmt: skip
    assert ended.code == 2
    assert "found 'C1CC' in row 2" in ended.err
    assert "Rows: 2, 4." in ended.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.csv"]


def test_similarity_is_rdkits(disk: Disk, single: Path, tmp_path: Path) -> None:
    frame = frame_of(disk, single, disk.table(tmp_path / "t.csv", disk.smiles))
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    prints = [generator.GetFingerprint(Chem.MolFromSmiles(s)) for s in disk.smiles]
    each = np.array([DataStructs.BulkTanimotoSimilarity(p, prints[:12]) for p in prints])
    assert_allclose(frame["similarity"].to_numpy(), each.max(axis=1), rtol=1e-12)
    assert frame["nearest"].to_list() == [f"train-{i}" for i in each.argmax(axis=1)]
    assert frame["similarity"][:12].to_list() == [1.0] * 12


def test_duplicated_ids_are_refused_where_they_are_to_name_rows(
    disk: Disk, single: Path, tmp_path: Path
) -> None:
    data = tmp_path / "t.csv"
    disk.table(data, disk.smiles)
    text = data.read_text().replace("m7,", "m3,").replace("m9,", "m3,").replace("m20,", "m21,")
    data.write_text(text)
    frame = frame_of(disk, single, data)
    # The column is that of the run, whose table had other rows: all are kept, and numbered.
    assert frame["id"].to_list() == list(range(1, 31))
    assert frame["Name"][7] == "m3"
    named = ("--id-column", "Name")
    ended = disk.run("predict", "--model-dir", single, "--data-path", data, *named)
    assert ended.code == 2
    assert (
        "column 'Name' (t.csv): expected each id once; found 2 ids more than once: "
        "'m3' (3 times), 'm21' (2 times)" in ended.err
    )
    data.write_text(text.replace("m5,", ","))
    ended = disk.run("predict", "--model-dir", single, "--data-path", data, *named)
    assert "expected an id in every row; found none in 1 rows: 6" in ended.err


def _faults(disk: Disk, single: Path, folder: Path) -> dict[str, tuple[list[Any], str]]:
    good = disk.table(folder / "t.csv", disk.smiles)
    ragged = folder / "ragged.csv"
    ragged.write_text("Name,Structure\na,CCO\nb,CCN,1,2\n")
    (folder / "empty.csv").write_text("Name,Structure\n")
    (folder / "damaged.parquet").write_bytes(b"PAR1 and no more")
    (folder / "twice.csv").write_text("Structure,Structure\nC,C\n")
    (folder / "there.csv").write_text("mine")
    model, data = ["--model-dir", single], ["--data-path", good]
    return {
        "no model": ([*data], "--model-dir: expected a saved model; found none"),
        "no data": ([*model], "--data-path: expected a table of molecules; found none"),
        "no such model": (["--model-dir", folder / "no", *data], "model_dir: expected a run"),
        "folder without a model": (["--model-dir", folder, *data], "expected model.pt or member"),
        "no such table": ([*model, "--data-path", folder / "tt.csv"], "Did you mean 't.csv'?"),
        "no such column": ([*model, *data, "--smiles-column", "Struct"], "you mean 'Structure'?"),
        "no such id": ([*model, *data, "--id-column", "Nam"], "Did you mean 'Name'?"),
        "ragged": (
            [*model, "--data-path", ragged],
            "ragged.csv): expected as many fields in each line",
        ),
        "empty": ([*model, "--data-path", folder / "empty.csv"], "expected at least one row"),
        "damaged": ([*model, "--data-path", folder / "damaged.parquet"], "a Parquet file"),
        "twice": ([*model, "--data-path", folder / "twice.csv"], "distinct names; found twice"),
        "ending": ([*model, *data, "--output", folder / "x.xslx"], "Did you mean '.xlsx'?"),
        "folder": ([*model, *data, "--output", folder / "no" / "x.csv"], "an existing folder"),
        "there": ([*model, *data, "--output", folder / "there.csv"], "--overwrite true"),
        "itself": ([*model, *data, "--output", good, "--overwrite", "true"], "another file"),
        "flag": ([*model, *data, "--batch-siz", "3"], "Did you mean '--batch-size'?"),
    }


def test_what_is_wrong_is_said_and_nothing_is_written(
    disk: Disk, single: Path, tmp_path: Path
) -> None:
    faults = _faults(disk, single, tmp_path)
    before = sorted(p.name for p in tmp_path.iterdir())
    for name, (arguments, message) in faults.items():
        ended = disk.run("predict", *arguments)
        assert ended.code == 2, (name, ended.err)
        assert message in ended.err, (name, ended.err)
        assert "Traceback" not in ended.err
    assert sorted(p.name for p in tmp_path.iterdir()) == before
    assert (tmp_path / "there.csv").read_text() == "mine"


def test_a_table_without_ids_is_numbered(disk: Disk, single: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    pl.DataFrame({"Structure": disk.smiles}).write_csv(path)
    frame = frame_of(disk, single, path, "--chunk-rows", 11)
    assert frame["id"].to_list() == list(range(1, 31))


@pytest.mark.slow
def test_numbers_are_those_of_chemprop_predict(disk: Disk, ensemble: Path, tmp_path: Path) -> None:
    data = disk.table(tmp_path / "t.csv", disk.smiles)
    ours = frame_of(disk, ensemble, data)
    program = Path(sys.executable).with_name("chemprop")
    output = tmp_path / "theirs.csv"
    command = [
        program, "predict", "-i", data, "-o", output, "--model-paths", ensemble / "models",
        "-s", "Structure", "--accelerator", "cpu", "--drop-extra-columns",
        "--uncertainty-method", "ensemble",
    ]  # fmt: skip
    subprocess.run([str(c) for c in command], check=True, capture_output=True, cwd=tmp_path)
    theirs = pl.read_csv(output)
    # Values are of size 20: 1e-5 of that.
    assert_allclose(
        disk.predicted(ours), theirs.select(disk.tasks).to_numpy(), rtol=1e-5, atol=1e-4
    )
    variance = theirs.select(pl.col(f"{t}_unc") for t in disk.tasks).to_numpy()
    sd = ours.select(f"{t}_sd" for t in disk.tasks).to_numpy()
    # Chemprop divides by the number of members, we by one less.
    assert_allclose(sd**2 * 2 / 3, variance, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing(
    disk: Disk, single: Path, tmp_path: Path, sent: signal.Signals
) -> None:
    data = disk.table(tmp_path / "t.csv", disk.smiles * 20_000)
    output = tmp_path / "out"
    output.mkdir()
    command = [sys.executable, "-c", _AS_USER, "predict", "--model-dir", single]
    command += ["--data-path", data, "--output", output / "x.csv", "--chunk-rows", 50]
    started = subprocess.Popen(
        [str(c) for c in command], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not any(output.iterdir()) and started.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert started.poll() is None, started.communicate()
    os.kill(started.pid, sent)
    _, err = started.communicate(timeout=120)
    assert started.returncode == 130, err
    assert not any(output.iterdir())


_AS_USER = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
from molpool_evaluate.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_file_of_one_model_is_read(disk: Disk, single: Path, tmp_path: Path) -> None:
    shutil.copy(single / "model.pt", tmp_path / "mine.pt")
    data = disk.table(tmp_path / "t.csv", disk.smiles)
    names = ("--smiles-column", "Structure", "--id-column", "Name")
    frame = frame_of(disk, tmp_path / "mine.pt", data, *names)
    assert_allclose(disk.predicted(frame), disk.predicted(frame_of(disk, single, data)))
