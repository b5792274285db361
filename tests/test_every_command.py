"""Options that every command which reads molecules has, and what they do in each of them.

An option that works in one command and is forgotten in the next is the fault that this holds off.
"""

from __future__ import annotations

import io
import json
import shlex
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
import yaml
from chemprop_multitask import ChempropConfig, ChempropModel
from molpool.cli import PROGRAM as MOLPOOL
from molpool.cli import SUMMARIES
from molpool_common import MARKER, Command, Program, ReadConfig, dump_config, flag_names, flags_of
from molpool_data.cli import DescribeOptions
from molpool_pipelines.affinity import AffinityCommandConfig
from molpool_pipelines.fitting import (
    TrainAutoCommand,
    TrainBlendCommand,
    TrainChempropCommand,
    TrainMILCommand,
    TrainTabularCommand,
)
from molpool_pipelines.models import PredictConfig
from molpool_pipelines.retention import EvaluateConfig, RunConfig
from molpool_pipelines.runs import TABLE_ROWS, read_rejected, read_run_predictions
from molpool_pipelines.scores import CompareConfig, ScoreConfig
from molpool_pipelines.studies import (
    HPOChempropConfig,
    HPOMILConfig,
    HPOTabularConfig,
    RetrainConfig,
)
from molpool_pipelines.tables import TableConfig

TRAINING = {
    "chemprop": TrainChempropCommand,
    "tabular": TrainTabularCommand,
    "blend": TrainBlendCommand,
    "auto": TrainAutoCommand,
    "mil": TrainMILCommand,
}
STUDIES = {"chemprop": HPOChempropConfig, "tabular": HPOTabularConfig, "mil": HPOMILConfig}
OTHERS = (AffinityCommandConfig, PredictConfig, ScoreConfig, CompareConfig)
BAD = {3: "nonsense", 8: ""}
"""SMILES that do not parse, by row from 1."""


class Outcome(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def run(command: str, *arguments: object) -> Outcome:
    """Run ``molpool-COMMAND ARGUMENTS``."""
    app, *words = command.split()
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        main = import_module(f"molpool_{app}.cli").main
        code = main([*words, *(str(a) for a in arguments)])
    return Outcome(code, out.getvalue(), err.getvalue())


def molecules(n: int = 12) -> list[str]:
    return ["C" * (1 + i // 2) + ("O" if i % 2 else "N") for i in range(n)]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Twelve molecules, two of which do not parse."""
    smiles = [BAD.get(row, text) for row, text in enumerate(molecules(), 1)]
    y = np.arange(12.0)
    path = tmp_path / "t.csv"
    pl.DataFrame({"SMILES": smiles, "LogD": y, "KSOL": y[::-1] % 5}).write_csv(path)
    return path


@pytest.fixture
def models(tmp_path: Path) -> list[Path]:
    """Two untrained models, as runs on a table without names leave them."""
    folders = []
    for seed in range(2):
        folder = tmp_path / f"run{seed}"
        folder.mkdir()
        config = ChempropConfig.model_validate(
            {"model": {"message_passing": {"hidden_size": 8}, "ffn": {"hidden_size": 8}}}
        )
        model = ChempropModel.from_config(config, task_names=["LogD", "KSOL"], seed=seed)
        model.save(folder / "model.pt")
        data = {"target_columns": ["LogD", "KSOL"], "cache_dir": "none"}
        whole = TableConfig.model_validate({"data": data})
        (folder / "config.resolved.yaml").write_text(dump_config(whole))
        folders.append(folder)
    return folders


def test_every_command_that_reads_molecules_says_what_becomes_of_bad_smiles() -> None:
    for config in (*TRAINING.values(), *STUDIES.values(), *OTHERS):
        assert "--on-bad-smiles" in flag_names(config), config.__name__
        field = config.model_fields["on_bad_smiles"]
        described = field.description or ""
        assert all(word in described for word in ("error", "drop", "keep", "rejected.csv"))
    assert "--on-bad-smiles" in flag_names(DescribeOptions)


def test_every_command_that_goes_on_with_a_run_may_accept_a_changed_table() -> None:
    for config in (*TRAINING.values(), *STUDIES.values(), RetrainConfig, ScoreConfig):
        assert "--accept-changed-table" in flag_names(config), config.__name__


def test_every_command_that_loads_models_of_others_may_be_told_to_trust_them() -> None:
    for config in (
        *TRAINING.values(),
        *STUDIES.values(),
        PredictConfig,
        ScoreConfig,
        CompareConfig,
    ):
        assert "--trust-checkpoint" in flag_names(config), config.__name__
        assert "any code" in (config.model_fields["trust_checkpoint"].description or "")


PROGRAMS: tuple[Program, ...] = (
    MOLPOOL,
    *(import_module(f"molpool_{name}.cli").PROGRAM for name in SUMMARIES),
)
EVERY = [(p.name, name, command) for p in PROGRAMS for name, command in p.commands.items()]


@pytest.mark.parametrize(
    ("program", "name", "command"), EVERY, ids=[f"{p} {n}".strip() for p, n, _ in EVERY]
)
def test_every_command_explains_itself_in_one_screen_or_two(
    program: str, name: str, command: Command
) -> None:
    prog = f"{program} {name}".strip()
    words = shlex.split(command.example.partition(" > ")[0])
    assert command.parse(prog, [word for word in words if word != "--json"])
    flags = {flag for one in flags_of(command.model()) for flag in one.names}
    assert set(command.first) <= flags
    assert len(command.first) <= 10
    assert command.first or len(flags) <= 20, "what matters first, where there are many"
    page = command.help(prog, ["first"])
    assert f"  {prog} {command.example[:20]}" in page
    assert max(map(len, page.splitlines())) <= 80
    assert len(page.splitlines()) <= 75
    for text in ("--quiet", "--json", "--version"):
        assert text in page
    assert all(one.text for one in flags_of(command.model())), "each says what it means"


TABLE = {
    *("--data-path", "--smiles-column", "--target-columns", "--id-column", "--on-bad-smiles"),
    *("--standardize", "--structure", "--split-type", "--split-column", "--split-file"),
    *("--test-path", "--group-column", "--predict-path", "--seed"),
    *(f"--read.{key}" for key in ReadConfig.model_fields),
}
"""Flags of tables and splits, by the same short names wherever a model is trained or tuned."""

RUN = {
    *("--save-dir", "--resume", "--overwrite", "--accept-changed-table"),
    *("--cv.folds", "--cv.repeats"),
}


def test_every_command_that_trains_reads_and_divides_tables_by_the_same_flags() -> None:
    for config in (*TRAINING.values(), *STUDIES.values(), AffinityCommandConfig):
        assert set(flag_names(config)) >= TABLE, config.__name__
    for config in TRAINING.values():
        assert set(flag_names(config)) >= RUN, config.__name__


@pytest.mark.parametrize(
    "command",
    [*(f"train {name}" for name in TRAINING), *(f"hpo {name}" for name in STUDIES), "affinity"],
)
def test_every_command_finds_the_tasks_that_are_not_named_or_asks(
    command: str, table: Path, tmp_path: Path
) -> None:
    out = ("--save-path" if command == "affinity" else "--save-dir", tmp_path / "out.npz")
    pl.read_csv(table).with_columns(pl.col("LogD") / 3, pl.lit(0.1).alias("LogD SD")).write_csv(
        tmp_path / "sd.csv"
    )
    code, _, err = run(command, "--data-path", tmp_path / "sd.csv", *out)
    assert code == 2
    assert "LogD SD" in err
    assert "--target-columns LogD KSOL" in err
    # Without it the tasks are found: what stops the command is a SMILES that does not parse.
    code, _, err = run(command, "--data-path", table, *out, "--on-bad-smiles", "error")
    assert code == 2
    assert "nonsense" in err
    assert not (tmp_path / "out.npz").exists()


def test_every_command_that_compares_molecules_says_by_which_structure() -> None:
    for config in (*TRAINING.values(), *STUDIES.values(), AffinityCommandConfig, ScoreConfig):
        assert "--standardize" in flag_names(config), config.__name__
    assert "--standardize" in flag_names(DescribeOptions)


def test_every_command_that_gives_intervals_takes_the_same_flags() -> None:
    for config in (*TRAINING.values(), PredictConfig):
        flags = flag_names(config)
        assert {"--level", "--strata-column", "--shift"} <= set(flags), config.__name__
        for name in ("strata_column", "shift"):
            # Off unless asked for; predict does as the run did.
            assert config.model_fields[name].default in (None, "none"), config.__name__


def test_every_command_that_scores_does_so_by_strata() -> None:
    for config in (ScoreConfig, EvaluateConfig, RunConfig):
        assert "--strata-column" in flag_names(config), config.__name__


def commands(folder: Path, table: Path, models: Sequence[Path]) -> dict[str, Sequence[object]]:
    """Return every command that reads a table of molecules, with the flags that it needs."""
    data = ["--data-path", table]
    targets = [*data, "--target-columns", "LogD", "KSOL", "--data.cache-dir", "none"]
    out = ["--save-dir", folder / "out"]
    bags = [*targets, "--task-kind", "regression", *out]
    output = ["--output", folder / "out.csv"]
    return {
        "train chemprop": [*targets, *out],
        "train tabular": [*targets, *out],
        "train blend": [*targets, *out],
        "train auto": [*data, "--data.cache-dir", "none", *out],
        "train mil": bags,
        "hpo chemprop": [*targets, *out],
        "hpo tabular": [*targets, *out],
        "hpo mil": bags,
        "affinity": [*targets, "--n-groups", 2, "--save-path", folder / "out.npz"],
        "evaluate predict": ["--model-dir", models[0], *data, *output],
        "evaluate score": ["--model-dir", models[0], *data, *out],
        "evaluate compare": ["--model-dirs", *models, "--test-data", table, *output],
        "data describe": [table, "--output", folder / "profile.html"],
    }


@pytest.mark.parametrize("name", list(commands(Path(), Path(), ["", ""])))  # type: ignore[list-item]
def test_error_refuses_the_table_and_names_the_rows(
    name: str, table: Path, models: list[Path], tmp_path: Path
) -> None:
    before = set(tmp_path.iterdir())
    flags = commands(tmp_path, table, models)[name]
    ended = run(name, *flags, "--on-bad-smiles", "error", "--json")
    assert ended.code == 2, ended.out
    said = json.loads(ended.out)
    assert said == {"command": f"molpool-{name}", "exit_code": 2, "error": said["error"]}
    assert said["error"] in ended.err
    assert "'nonsense' in row 3" in ended.err, ended.err
    assert "--on-bad-smiles" in ended.err
    assert set(tmp_path.iterdir()) == before, "nothing is written"


@pytest.mark.parametrize("on_bad", ["drop", "keep"])
def test_predictions_have_a_row_for_every_row_or_list_it(
    on_bad: str, table: Path, models: list[Path], tmp_path: Path
) -> None:
    flags = commands(tmp_path, table, models)["evaluate predict"]
    ended = run("evaluate predict", *flags, "--on-bad-smiles", on_bad, "--json")
    assert ended.code == 0, ended.err
    answered = json.loads(ended.out)
    assert (answered["rows"], answered["not_predicted"]) == (12, 2)
    assert answered["files"] == [str(tmp_path / n) for n in ("out.csv", "out_rejected.csv")]
    said = pl.read_csv(tmp_path / "out.csv")
    lost = pl.read_csv(tmp_path / "out_rejected.csv")
    assert lost["row"].to_list() == list(BAD)
    assert lost.columns == ["row", "id", "source", "SMILES", "reason"]
    wrong = said.filter(pl.col("error").is_not_null())
    if on_bad == "keep":
        assert said["row"].to_list() == list(range(1, 13))
        assert wrong["row"].to_list() == list(BAD)
        assert wrong["LogD"].null_count() == 2
    else:
        assert said["row"].to_list() == [r for r in range(1, 13) if r not in BAD]


def test_null_is_the_earlier_name_of_keep() -> None:
    assert PredictConfig(on_bad_smiles="null").on_bad_smiles == "keep"  # type: ignore[arg-type]


@pytest.mark.parametrize("on_bad", ["drop", "keep"])
def test_scores_are_of_the_rows_that_parse_and_list_the_others(
    on_bad: str, table: Path, models: list[Path], tmp_path: Path
) -> None:
    flags = commands(tmp_path, table, models)["evaluate score"]
    ended = run("evaluate score", *flags, "--on-bad-smiles", on_bad, "--n-bootstrap", 0, "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["metrics"]["splits"]["all"]["tasks"].keys() == {"LogD", "KSOL"}
    lost = read_rejected(tmp_path / "out")
    said = read_run_predictions(tmp_path / "out")
    assert lost["row"].to_list() == list(BAD)
    assert len(said) == (12 if on_bad == "keep" else 10)
    if on_bad == "keep":
        wrong = said.filter(pl.col("error").is_not_null())
        assert wrong["id"].to_list() == ["3", "8"]
        assert wrong["LogD"].null_count() == wrong["LogD predicted"].null_count() == 2


@pytest.mark.parametrize("on_bad", ["drop", "keep"])
def test_comparisons_and_profiles_list_them_beside_their_files(
    on_bad: str, table: Path, models: list[Path], tmp_path: Path
) -> None:
    every = commands(tmp_path, table, models)
    few = ["--n-bootstrap", 100, "--min-labels", 2]
    for name, file, more in (
        ("evaluate compare", "out_rejected.csv", few),
        ("data describe", "profile_rejected.csv", []),
    ):
        ended = run(name, *every[name], *more, "--on-bad-smiles", on_bad, "--json")
        assert ended.code == 0, ended.err
        assert str(tmp_path / file) in json.loads(ended.out)["files"]
        assert pl.read_csv(tmp_path / file)["row"].to_list() == list(BAD), name


SMALL = (
    *("--model.message-passing.depth", "2", "--model.message-passing.hidden-size", "8"),
    *("--model.ffn.num-layers", "1", "--model.ffn.hidden-size", "8"),
    *("--training.epochs", "1", "--training.accelerator", "cpu", "--data.cache-dir", "none"),
    *("--target-columns", "LogD", "--data.split-ratios", "0.6", "0.2", "0.2"),
)


@pytest.fixture
def grown(tmp_path: Path) -> tuple[Path, Any]:
    """Forty molecules, and a function that changes the table."""
    path = tmp_path / "t.csv"
    smiles = [a + "C" * n for a in ("C", "O", "N", "Cl") for n in range(1, 11)]
    frame = pl.DataFrame({"SMILES": smiles, "LogD": np.linspace(0.3, 4.7, len(smiles))})
    frame.write_csv(path)

    def grow() -> None:
        more = pl.DataFrame({"SMILES": ["c1ccccc1", "c1ccncc1"], "LogD": [2.0, 1.0]})
        changed = frame.with_columns(
            pl.when(pl.col("SMILES") == "CCC").then(9.0).otherwise("LogD").alias("LogD")
        )
        pl.concat([changed, more]).write_csv(path)

    return path, grow


WHAT = "2 rows added (row 41, row 42); 1 labels of 'LogD' changed (row 2)"


@pytest.mark.slow
def test_training_goes_on_only_with_the_table_that_it_was_started_with(
    grown: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, grow = grown
    monkeypatch.chdir(tmp_path)
    assert run("train chemprop", "--data-path", path.name, *SMALL, "--save-dir", "run").code == 0
    assert (tmp_path / "run" / TABLE_ROWS).is_file()
    # From another folder it is the same table all the same, and so is one in another order.
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    pl.read_csv(path).reverse().write_csv(path)
    resume = ("train chemprop", "--save-dir", tmp_path / "run", "--resume")
    ended = run(*resume)
    assert ended.code == 0, ended.err
    grow()
    ended = run(*resume)
    assert ended.code == 2
    assert WHAT in ended.err
    assert "--accept-changed-table true" in ended.err
    scored = run(
        "evaluate score", "--predictions", tmp_path / "run", "--data-path", path,
        "--save-dir", tmp_path / "scores", "--n-bootstrap", 0,
    )  # fmt: skip
    assert scored.code == 2
    assert WHAT in scored.err
    ended = run(*resume, "--accept-changed-table")
    assert ended.code == 0, ended.err
    assert "The table has changed since the run was started" in ended.out
    # What it went on with is now its table.
    assert run(*resume).code == 0


@pytest.mark.slow
def test_studies_and_their_retraining_know_their_table(
    grown: tuple[Path, Any], tmp_path: Path
) -> None:
    path, grow = grown
    study = (
        "hpo chemprop", "--data-path", path, *SMALL, "--save-dir", tmp_path / "study",
        "--study.n-folds", 2,
    )  # fmt: skip
    ended = run(*study, "--n-trials", 1, "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["best"]["trial"] == 0
    best = yaml.safe_load((tmp_path / "study" / "best.yaml").read_text())
    assert Path(best["data_path"]) == path
    grow()
    retrain = ("hpo retrain", "--study-dir", tmp_path / "study")
    for ended in (run(*study, "--n-trials", 2), run(*retrain)):
        assert ended.code == 2
        assert WHAT in ended.err
        assert "--accept-changed-table true" in ended.err
    assert not (tmp_path / "study" / "retrained").exists()
    ended = run(*retrain, "--accept-changed-table")
    assert ended.code == 0, ended.err
    ended = run(*study, "--n-trials", 2, "--accept-changed-table")
    assert ended.code == 0, ended.err
    assert run(*study, "--n-trials", 2).code == 0


BAGS = (
    *("--data.kind", "bags", "--model.use-2d", "false", "--task-kind", "regression"),
    *("--model.inst-hidden", "8", "--model.inst-layers", "1", "--model.attn-heads", "2"),
    *("--model.mixer-hidden", "8", "--model.mixer-layers", "1", "--model.proj-dim", "8"),
    *("--training.accelerator", "cpu", "--training.epochs", "1", "--split-type", "random"),
    *("--target-columns", "y", "--export.attention", "test"),
)


@pytest.mark.slow
def test_runs_and_studies_of_bags_know_their_table(tmp_path: Path) -> None:
    path = tmp_path / "bags.csv"
    rng = np.random.default_rng(0)
    ids = [f"b{i}" for i in range(30) for _ in range(2)]
    labels = np.repeat(rng.normal(size=30), 2)
    frame = pl.DataFrame({"bag_id": ids, "y": labels, "f1": rng.normal(size=60)})
    frame.write_csv(path)
    training = ("train mil", "--data-path", path, *BAGS, "--save-dir", tmp_path / "run")
    assert run(*training).code == 0
    study = (
        "hpo mil", "--data-path", path, *BAGS, "--save-dir", tmp_path / "study",
        "--study.n-folds", 2, "--fold-type", "random",
    )  # fmt: skip
    ended = run(*study, "--n-trials", 1)
    assert ended.code == 0, ended.err
    frame.reverse().write_csv(path)
    resume = ("train mil", "--save-dir", tmp_path / "run", "--resume")
    ended = run(*resume)
    assert ended.code == 0, "in another order it is the same table: " + ended.err
    changed = pl.when(pl.col("bag_id") == "b7").then(9.0).otherwise("y").alias("y")
    frame.filter(pl.col("bag_id") != "b3").with_columns(changed).write_csv(path)
    retrain = ("hpo retrain", "--study-dir", tmp_path / "study")
    # A bag that is gone has the number that it had when it was last read: of the run in reverse.
    for words, row in ((resume, 27), ((*study, "--n-trials", 2), 4), (retrain, 4)):
        command, *arguments = words
        ended = run(str(command), *arguments)
        assert ended.code == 2, words
        assert f"1 rows gone (row {row} 'b3'); 1 labels of 'y' changed" in ended.err
        assert "--accept-changed-table true" in ended.err
    assert not (tmp_path / "study" / "retrained").exists()
    ended = run(*resume, "--accept-changed-table")
    assert ended.code == 0, ended.err
    assert "The table has changed since the run was started" in ended.out


@pytest.mark.slow
@pytest.mark.parametrize("on_bad", ["drop", "keep"])
def test_training_uses_or_lists_every_row(table: Path, tmp_path: Path, on_bad: str) -> None:
    whole = pl.read_csv(table)
    more = pl.DataFrame({"SMILES": ["S" + s for s in molecules(20)], "LogD": np.arange(20.0)})
    pl.concat([whole.select("SMILES", "LogD"), more]).write_csv(table)
    ended = run(
        "train chemprop", "--data-path", table, *SMALL, "--save-dir", tmp_path / "run",
        "--on-bad-smiles", on_bad, "--predict-path", table, "--json",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    answered = json.loads(ended.out)
    assert answered["run"] == str(tmp_path / "run")
    assert answered["metrics"]["kind"] == "chemprop"
    assert answered["next"][0].startswith("molpool-evaluate predict --run ")
    lost = read_rejected(tmp_path / "run")
    assert lost["row"].to_list() == [*BAD, *BAD], "of the table and of the one to predict"
    used = read_run_predictions(tmp_path / "run")
    assert sorted([*used["row"], *BAD]) == list(range(1, 33))
    said = pl.read_parquet(tmp_path / "run" / "predictions_t.parquet")
    assert len(said) == (32 if on_bad == "keep" else 30)


@pytest.mark.parametrize(
    ("command", "file"),
    [
        ("evaluate score --predictions", "predictions.parquet"),
        ("evaluate report --run", "predictions.parquet"),
        ("evaluate predict --data-path t.csv --model-dir", "config.resolved.yaml"),
        ("train reproduce", "config.resolved.yaml"),
        ("train tabular --resume --save-dir", MARKER),
        ("hpo retrain --study-dir", "study.json"),
        ("hpo show --study-dir", "study.json"),
        ("rt coefficients --artefact", "coefficients.npz"),
        ("rt windows --artefact", "coefficients.npz"),
    ],
)
def test_the_folder_of_runs_given_for_one_names_them(
    command: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("SMILES\nCCO\n")
    Path("runs/a").mkdir(parents=True)
    Path("runs/a", file).touch()
    ended = run(command, "runs")
    assert ended.code == 2
    assert f"Did you mean {Path('runs/a')}?" in ended.err


@pytest.mark.parametrize(
    ("command", "flag"),
    [
        ("train auto", "--data-path"),
        ("affinity", "--data-path"),
        ("rt prepare", "--data"),
        ("evaluate score", "--predictions"),
        ("evaluate report", "--run"),
    ],
)
def test_a_path_without_a_flag_names_the_flag(command: str, flag: str, table: Path) -> None:
    ended = run(command, table)
    assert ended.code == 2
    assert f"Did you mean {flag} {table}?" in " ".join(ended.err.split())
