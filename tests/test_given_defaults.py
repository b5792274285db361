"""Settings whose defaults adapt to the table: what a user gives is taken or refused, never changed.

That a value is the default does not mean that nobody gave it.
"""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path

import polars as pl
import pytest
from molpool_common import dump_config, load_config, parse_config
from molpool_pipelines.fitting import TrainChempropConfig, TrainTabularConfig
from molpool_pipelines.retention import FitConfig
from molpool_pipelines.runs import open_folder
from molpool_train.cli import PROGRAM as TRAIN

ARCHIVE = Path(__file__).parent / "fixtures" / "runs_2026_11.tar.xz"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("earlier")
    with tarfile.open(ARCHIVE) as tar:
        tar.extractall(folder, filter="data")
    frame = pl.read_csv(folder / "demo.csv")
    frame.rename({"SMILES": "smiles"}).write_csv(folder / "small.csv")
    pl.read_csv(folder / "unseen.csv").rename({"SMILES": "Smiles"}).write_csv(
        folder / "unseen_small.csv"
    )
    tiny = ["C" * n + end for n in range(1, 11) for end in ("O", "N", "F", "S")]
    measured = pl.DataFrame({"smiles": tiny, "y": [n / 7 for n in range(len(tiny))]})
    measured.write_csv(folder / "tiny.csv")
    lab = pl.read_parquet(folder / "rt/lab/train.parquet").rename({"rt": "time"})
    lab.write_parquet(folder / "lab.parquet")
    return folder


@pytest.fixture(autouse=True)
def work(archive: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(archive)
    yield
    for made in ("o", "prepared", "cache"):
        shutil.rmtree(made, ignore_errors=True)


def call(command: str) -> tuple[int, str]:
    """Run ``molpool-COMMAND``; return its exit code and what it said."""
    app, *words = command.split()
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = import_module(f"molpool_{app}.cli").main(words)
    return code, out.getvalue() + err.getvalue()


TWO = "--data-path demo.csv --target-columns LogP LogS"
TINY = "--training.epochs 1 --model.message-passing.hidden-size 8 --model.ffn.hidden-size 8"
FOUNDED = "--data-path demo.csv --target-columns LogP --model.from-foundation runs/single/model.pt"
LIKE = "--species-raw species --cluster-raw species_cluster"
GIVEN = {
    # A command that takes a default as given, and what it must say.
    f"affinity {TWO} --n-groups 3 --save-path o.npz": "n_groups: expected 1 to 2",
    f"train chemprop {TWO} {TINY} --task-affinity.enabled true --task-affinity.n-groups 3 "
    "--save-dir o": "n_groups: expected 1 to 2",
    f"hpo chemprop {TWO} {TINY} --task-affinity.enabled true --task-affinity.n-groups 3 "
    "--study.n-folds 2 --study.default-space false --save-dir o": "n_groups: expected 1 to 2",
    "affinity --data-path few.csv --target-columns LogP LogS --affinity-batch-size 64 "
    "--save-path o.npz": "affinity_batch_size: expected at most the 40",
    f"train chemprop {FOUNDED} --model.message-passing.hidden-size 300 --save-dir o": (
        "hidden_size: expected 8"
    ),
    f"hpo chemprop {FOUNDED} --model.message-passing.depth 3 --save-dir o": "depth: expected 2",
    f"rt prepare --data lab.parquet {LIKE} --target-col rt --save-dir o": "target_col",
    "rt fit --data rt/prepared/lib0.parquet --structure auto --lambda-slopes 1.0 --save-dir o": (
        "lambda_slopes: expected another value"
    ),
    "train tabular --data-path small.csv --target-columns LogP --smiles-column SMILES "
    "--save-dir o": "'smiles'",
    "train auto --data-path small.csv --smiles-column SMILES --save-dir o": "'smiles'",
    "hpo tabular --data-path small.csv --target-columns LogP --smiles-column SMILES --save-dir o": (
        "'smiles'"
    ),
    "evaluate predict --model-dir runs/single --data-path unseen_small.csv --smiles-column SMILES "
    "--output o.csv": "'Smiles'",
}


@pytest.mark.parametrize("command", GIVEN)
def test_a_default_that_is_given_is_refused_where_it_does_not_fit(command: str) -> None:
    pl.read_csv("demo.csv").drop_nulls(["LogP"]).head(40).write_csv("few.csv")
    code, said = call(command)
    assert code == 2, said
    assert GIVEN[command] in said


def test_of_a_prepared_table_columns_that_are_not_given_are_known() -> None:
    code, said = call(f"rt prepare --data lab.parquet {LIKE} --target-col time --save-dir prepared")
    assert code == 0, said
    code, said = call("rt fit --data prepared/rows.parquet --target-col rt --save-dir o")
    assert code == 2, said
    assert "target_col" in said
    code, said = call("rt fit --data prepared/rows.parquet --structure fixed --save-dir o")
    assert code == 0, said


def test_a_structure_key_that_is_given_keeps_the_structure() -> None:
    free = parse_config(FitConfig, ["--data", "x"], prog="p", description="d")
    kept = parse_config(
        FitConfig, ["--data", "x", "--intercept-prior", "comp_hier"], prog="p", description="d"
    )
    assert free.intercept_prior == kept.intercept_prior
    assert free.chooses
    assert not kept.chooses
    assert (free.as_begun().structure, kept.as_begun().structure) == ("auto", "fixed")


def test_what_is_given_is_known_from_flags_files_and_what_runs_wrote(tmp_path: Path) -> None:
    def parsed(*words: str) -> TrainChempropConfig:
        return parse_config(TrainChempropConfig, list(words), prog="p", description="d")

    assert not parsed().task_affinity.is_given("n_groups")
    assert parsed("--task-affinity.n-groups", "3").task_affinity.is_given("n_groups")
    file = tmp_path / "c.yaml"
    file.write_text("task_affinity: {n_groups: 3}\n")
    assert parsed("--config", str(file)).task_affinity.is_given("n_groups")
    # All keys stand there, given or not.
    written = tmp_path / "config.resolved.yaml"
    written.write_text("task_affinity: {n_groups: 3, affinity_batch_size: 32}\n")
    section = load_config(TrainChempropConfig, written).task_affinity
    assert section.model_fields_set == {"affinity_batch_size"}


MODELS = "--model forest lightgbm --features morgan_count --data.cache-dir none --baselines none"
FINDS = {
    "tabular": f"train tabular --data-path small.csv --target-columns LogP {MODELS} --save-dir o",
    "auto": f"train auto --data-path small.csv {MODELS} --folds 2 --save-dir o",
    "chemprop": f"train chemprop --data-path small.csv --target-columns LogP {TINY} "
    "--baselines none --save-dir o",
    "affinity": "affinity --data-path small.csv --target-columns LogP LogS --n-bootstrap 0 "
    "--save-path o/a.npz",
    "describe": "data describe small.csv --output o/d.html",
    "mil": "train mil --data-path tiny.csv --target-columns y --data.kind smiles "
    "--models attention --data.cache-dir none --training.epochs 1 --task-kind regression "
    "--save-dir o",
    "hpo": "hpo tabular --data-path small.csv --target-columns LogP --model forest --features "
    "morgan_count --data.cache-dir none --study.n-trials 1 --study.n-folds 2 "
    "--study.baselines false --save-dir o",
    "predict": "evaluate predict --model-dir runs/single --data-path unseen_small.csv "
    "--output o/p.csv",
    "test": "evaluate compare --model-dirs runs/single runs/grouped --test-data unseen_small.csv "
    "--n-bootstrap 100 --output o/c.csv",
}


@pytest.mark.slow
@pytest.mark.parametrize("given", ["", "--folds 5 "])
def test_folds_that_are_given_are_predicted_whatever_the_budget(given: str) -> None:
    code, said = call(
        f"train auto --data-path small.csv {MODELS} {given}--time-budget 3s --save-dir o"
    )
    assert code == 0, said
    assert ("of 5 folds" in said) != bool(given)


@pytest.mark.slow
@pytest.mark.parametrize("name", FINDS)
def test_every_command_finds_smiles_however_spelt(name: str) -> None:
    Path("o").mkdir()
    code, said = call(FINDS[name])
    assert code == 0, said
    if name in ("tabular", "auto", "chemprop"):
        assert "structure smiles" in said


TYPED = {
    "auto": ["--folds", "5"],
    "blend": ["--folds", "5"],
    "tabular": ["--folds", "5", "--features", TrainTabularConfig().features],
    "chemprop": ["--task-affinity.n-groups", "3", "--data.id-column", "x"],
    "mil": ["--split.n-folds", "5"],
}
"""Defaults that a user types, by command of molpool-train."""


@pytest.mark.parametrize("name", TYPED)
def test_a_resumed_run_knows_which_defaults_were_typed(name: str, tmp_path: Path) -> None:
    command, folder = TRAIN.commands[name], tmp_path / "run"
    flags = ["--data-path", "small.csv", "--smiles-column", "SMILES", *TYPED[name]]
    typed = command.parse(name, [*flags, "--save-dir", str(folder)])
    open_folder(typed, folder, []).close()
    # As the command does with --resume.
    stored_file = str(folder / "config.resolved.yaml")
    again = ["--config", stored_file, "--resume", "--save-dir", str(folder)]
    resumed = command.parse(name, again)
    key = TYPED[name][0].removeprefix("--").replace("-", "_")
    section = resumed
    for part in key.split(".")[:-1]:
        section = getattr(section, part)
    assert section.is_given(key.split(".")[-1])
    assert resumed.data.is_given("smiles_column")
    # What nobody typed is not given, although the file holds all keys; nor is what of one command.
    assert not resumed.is_given("seed")
    assert not resumed.is_given("overwrite")
    stored = load_config(type(typed), folder / "config.resolved.yaml")
    assert stored.data.is_given("smiles_column")
    assert not stored.is_given("resume")


def test_given_defaults_of_a_file_survive_its_rewriting(tmp_path: Path) -> None:
    config = load_config(TrainTabularConfig, _written(tmp_path / "a.yaml", "folds: 5\nseed: 3\n"))
    text = dump_config(config)
    assert text.startswith("# Given, at their defaults: folds\n")
    once = load_config(TrainTabularConfig, _written(tmp_path / "config.resolved.yaml", text))
    assert once == config
    assert once.model_fields_set == {"folds", "seed"}
    assert dump_config(once) == text
    # A key of another version is passed over.
    other = text.replace("folds\n", "folds gone data.gone.too\n", 1)
    again = load_config(TrainTabularConfig, _written(tmp_path / "config.resolved.yaml", other))
    assert again.is_given("folds")


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
