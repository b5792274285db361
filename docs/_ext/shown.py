"""Runs the command lines that pages show, on small tables: ``shown.py PAGE...``.

Tutorials are typed as they stand (`typed`); READMEs and how-to pages name tables that their reader
has. Here a folder holds tables, runs and prepared retention times of all these names, and sizes of
training are lowered, so that each line runs to its end in seconds. Exits with 1 where one fails.
"""

from __future__ import annotations

import gzip
import importlib
import io
import json
import os
import re
import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

ROOT = Path(__file__).resolve().parents[2]
COMMAND = re.compile(
    r"^(?:\$ | {4})?(?:pip install uv && )?(?:uv run |torchrun .*--no-python )?"
    r"(molpool(?:-[a-z]+)?) (.*)$"
)
PASSED_OVER = (
    *("fetch ", "configs/expansionrx", "--scheduler-address", "serve "),
    *("--features rdkit2d+minimol", "runs/..."),
)
"""Asks a network, its tables, a cluster, a reader, weights of an extra, a folder without a name."""

GRAPH = {
    "--training.epochs": "1",
    "--model.message-passing.hidden-size": "8",
    "--model.ffn.hidden-size": "8",
    "--baselines": "none",
}
FEATURES = {"--model": "lightgbm", "--features": "maccs", "--folds": "2", "--baselines": "none"}
BAGS = {
    "--models": "attention minmax_kernel",
    "--training.epochs": "1",
    "--training.members": "1",
    "--blend.folds": "2",
    "--data.features.conformers.count": "2",
    "--baselines": "none",
}
SMALL: Mapping[str, Mapping[str, str]] = {
    "train chemprop": GRAPH,
    "train auto": FEATURES,
    "train mil": BAGS,
    "hpo chemprop": {
        "--training.epochs": "1",
        "--task-affinity.affinity-batch-size": "16",
    },
    "hpo mil": {
        "--task-kind": "regression",
        "--training.epochs": "1",
        "--data.features.conformers.count": "2",
    },
    "hpo tabular": {"--model": "lightgbm", "--features": "maccs", "--n-trials": "2"},
    "affinity": {"--every-n-steps": "3", "--n-bootstrap": "4"},
    "rt shift": {
        "--replicates": "1",
        "--anchors": "0",
        "--simulate.n-compounds": "8",
        "--simulate.rare-pairs": "2",
        "--simulate.unseen-pairs": "2",
    },
}
"""What a line gets that does not say it."""
LESS = {
    "--n-trials": "2", "--workers": "1", "--cv.folds": "2", "--cv.repeats": "1", "--threads": "1",
    "--ensemble.n-seeds": "2", "--data.features.conformers.count": "2", "--trainer.devices": "1",
}  # fmt: skip
"""What it has less of than it says."""


def command_lines(text: str) -> Iterator[list[str]]:
    """Yield the words of each command of ours that a page shows, lines joined."""
    is_code = False
    for line in re.sub(r" *\\\n *", " ", text).splitlines():
        is_code ^= line.startswith("```")
        found = COMMAND.match(line)
        if found is None or not (is_code or line.startswith("    ")):
            continue
        words = shlex.split(found[2], comments=True)
        cut = next((i for i, w in enumerate(words) if w in ("|", "&&", ">", ";")), len(words))
        yield [found[1], *words[:cut]]


def run(program: str, *words: str) -> str:
    """Run a command in this process; return what it said, and raise where it fails."""
    if program == "molpool" and (ROOT / "apps" / words[0]).is_dir():
        program, words = f"molpool-{words[0]}", words[1:]
    main = importlib.import_module(f"{program.replace('-', '_')}.cli").main
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        try:
            code = main(list(words))
        except Exception as error:
            raise AssertionError(f"a fault of ours: {error!r}") from error
    if code:
        raise AssertionError(f"exit code {code}: {said.getvalue().strip()[-2000:]}")
    return said.getvalue()


def understand(said: str) -> None:
    """Give what a command says comes next to the parser of its command; raise if it does not."""
    for line in said.partition("\nNext:\n")[2].splitlines():
        program, *words = shlex.split(line)
        commands = importlib.import_module(f"{program.replace('-', '_')}.cli").PROGRAM.commands
        command = commands[words.pop(0) if words[0] in commands else ""]
        command.parse(program, words)


def smaller(program: str, words: list[str]) -> list[str]:
    """Return the words of a command with less to train."""
    words = [LESS.get(before, word) for before, word in pairwise([program, *words])]
    name = " ".join([program.removeprefix("molpool-").removeprefix("molpool"), *words]).strip()
    own = next((SMALL[key] for key in SMALL if name.startswith(key)), {})
    given = set(words)
    if "--resume" in given or "--help" in given:
        return words
    return words + [w for k, v in own.items() if k not in given for w in (k, *v.split())]


def assays_of_pages() -> pl.DataFrame:
    """Return a table with the columns that pages name."""
    from molpool_pipelines.demo import build_demo

    rng = np.random.default_rng(0)
    demo = build_demo(100, seed=0)[:90]
    n, value = demo.height, demo["LogP"].fill_null(2.0).to_numpy()
    linear = {k: value + rng.normal(size=n) for k in ("LogD", "PAMPA", "hERG", "CLint", "pIC50")}
    noise = {k: 0.2 * rng.normal(size=n) for k in ("KSOL", "HLM CLint", "IC50")}
    fifths = np.array(["test", "val", "train", "train", "train"])
    return demo.select(Name="Molecule Name", SMILES="SMILES").with_columns(
        **linear,
        **{k: 10 ** (value / 3 + by) for k, by in noise.items()},
        MGMB=pl.Series([v if i % 4 == 0 else None for i, v in enumerate(value)]),
        IC50_sign=pl.Series(np.where(np.arange(n) % 9, "=", "<")),
        active=pl.Series(value > np.median(value)).cast(int),
        split=pl.Series(fifths[np.arange(n) % 5]),
    )


def write_tables(folder: Path) -> None:
    """Write the tables of molecules that pages name."""
    from molpool_pipelines.demo import build_demo

    table = assays_of_pages()
    assays = table.drop("active")
    (folder / "data").mkdir()
    for name in ("assays", "table", "small", "train", "esol", "admet_train",
                 "measured_last_week", "data/admet_test"):  # fmt: skip
        assays.write_csv(folder / f"{name}.csv")
    others = build_demo(100, seed=1)[:20].select("SMILES", Name="Molecule Name", LogD="LogP")
    others.write_csv(folder / "test.csv")
    screen = table.select("SMILES", "active", ID="Name")
    screen.write_csv(folder / "screen.csv")
    screen[:40].write_csv(folder / "molecules.csv")
    assays[:40].write_csv(folder / "measured.csv")
    assays.select("SMILES", "pIC50").write_csv(folder / "doses.csv")
    doses = pl.Series(np.arange(len(assays)) % 2 * 9e-6 + 1e-6)
    related = assays.select("SMILES", log2_fc_estimate="hERG", concentration_M=doses)
    write_packed(related, folder / "screen.csv.gz")


def write_packed(table: pl.DataFrame, path: Path) -> None:
    """Write a table as compressed CSV."""
    with gzip.open(path, "wb") as file:
        table.write_csv(file)


def write_other_inputs(folder: Path) -> None:
    """Write molecules to predict, given splits and descriptors, and bags."""
    rng = np.random.default_rng(0)
    assays = pl.read_csv(folder / "assays.csv")
    new = assays[:8].select("Name", "SMILES")
    for name in ("new", "designs"):
        new.write_csv(folder / f"{name}.csv")
    new.write_excel(folder / "new.xlsx")
    new.write_parquet(folder / "library.parquet")
    with gzip.open(folder / "library.smi.gz", "wt") as file:
        file.write("".join(f"{smiles} {name}\n" for name, smiles in new.iter_rows()))
    rows = list(range(len(assays)))
    split = {"train": rows[:60], "val": rows[60:75], "test": rows[75:]}
    (folder / "splits.json").write_text(json.dumps([split]))
    np.savez(folder / "extra.npz", rng.normal(size=(len(assays), 3)))
    bags = pl.DataFrame({"bag_id": np.arange(240) // 3}).with_columns(
        label=pl.col("bag_id") % 2, witness=(pl.col("bag_id") % 2) * (pl.int_range(240) % 3 == 0),
        crystal=pl.format("form {}", pl.col("bag_id") % 3),
        **{"yield": pl.col("bag_id") * 7 % 11 / 10},
        **{f"f{i}": pl.Series(rng.normal(size=240)) for i in (1, 2, 3)},
    )  # fmt: skip
    bags.write_csv(folder / "bags.csv")
    write_packed(bags.drop("witness"), folder / "musk1.csv.gz")


def write_retention_times(folder: Path) -> None:
    """Write a laboratory under the names of columns that pages use."""
    rng = np.random.default_rng(1)
    rows = []
    for run_number in range(24):
        group = run_number % 3
        drift = rng.normal()
        for compound in range(12):
            time_of = 3 + compound + 0.3 * group + 0.1 * drift + 0.02 * rng.normal()
            rows.append((f"run{run_number:02}", group, group // 2, compound, drift, time_of))
    names = ["run", "species", "species_cluster", "comp_id", "IS_1", "rt"]
    matrix = pl.col("species").replace_strict([0, 1, 2], ["plasma", "serum", "urine"])
    raw = pl.DataFrame(rows, schema=names, orient="row").with_columns(
        species_raw=matrix, species_group_raw="species_cluster", lib=pl.lit(208),
        species_matrix_type=matrix, group=pl.col("species_cluster"),
        is_istd=pl.lit(0), compound=pl.format("c{}", "comp_id"),
    )  # fmt: skip
    standard = raw.unique("run").with_columns(
        compound=pl.lit("IS"), comp_id=pl.lit(99, pl.Int64), is_istd=pl.lit(1, pl.Int32),
        rt=4 + 0.1 * pl.col("IS_1"),
    )  # fmt: skip
    pl.concat([raw, standard]).drop("IS_1").write_csv(folder / "raw.csv")
    for name in ("raw", "panels"):
        (folder / name).mkdir()
    other = raw.with_columns(lib=pl.lit(209))
    raw.write_csv(folder / "raw/one.csv")
    other.write_csv(folder / "raw/two.csv")
    for name in ("train", "test"):
        raw.write_csv(folder / f"panels/{name}.csv")
    ready = raw.select("run", "species", "species_cluster", "comp_id", "IS_1", "rt")
    (folder / "prepared").mkdir()
    ready.write_parquet(folder / "prepared/lib208.parquet")
    for name in ("test", "new"):
        ready.write_parquet(folder / f"{name}.parquet")


def write_runs(folder: Path) -> None:
    """Train what pages presume, and copy it under the names that they use."""
    graph = [word for pair in GRAPH.items() for word in pair]
    table = (
        "--data-path",
        "assays.csv",
        "--data.id-column",
        "Name",
        "--target-columns",
        "LogD",
        "KSOL",
    )
    run("molpool-train", "chemprop", *table, *graph, "--save-dir", "runs/assays")
    toxic = ("--data-path", "screen.csv", "--target-columns", "active")
    run("molpool-train", "chemprop", *toxic, *graph, "--save-dir", "runs/tox")
    for name in ("runs/a", "runs/b", "runs/quickstart", "runs/one", "runs/two", "runs/large",
                 "models/baseline/single_task", "models/baseline/multi_task",
                 "models/affinity/multi_head"):  # fmt: skip
        shutil.copytree(folder / "runs/assays", folder / name)
    shutil.copy(folder / "runs/assays/model.pt", folder / "theirs.pt")
    prepare = ("prepare", "--data", "panels/train.csv", "--save-dir", "named")
    run("molpool-rt", *prepare, "--covariates", "IS_1")
    for name, model in (
        ("rt", "partial_pooling"),
        ("pooled", "partial_pooling"),
        ("ridge", "ridge"),
    ):
        rows = ("--data", "named/rows.parquet", "--model", model, "--structure", "fixed")
        run("molpool-rt", "fit", *rows, "--save-dir", f"runs/{name}")
    shutil.copytree(folder / "runs/pooled", folder / "runs/other")
    for name in ("eval_n2", "eval_n3"):
        (folder / "results" / name).mkdir(parents=True)
        shutil.copy(folder / "runs/assays/metrics.json", folder / "results" / name)
    for name in ("single", "multi"):
        shutil.copy(folder / "runs/assays/predictions.parquet", folder / f"{name}.parquet")
    for name in ("run", "assays", "toxcast"):
        text = "data_path: assays.csv\ndata: {target_columns: [LogD, KSOL, hERG]}\n"
        (folder / f"{name}.yaml").write_text(text)
    (folder / "more").mkdir()
    for name in ("old.yaml", "more/one.yml"):
        (folder / name).write_text(
            "data_path: assays.csv\noptimization: {task_sampling_alpha: 0.3}\n"
        )
    (folder / "configs").mkdir()
    for path in (ROOT / "configs").glob("*.yaml"):
        shutil.copy(path, folder / "configs")


def run_page(page: Path) -> Iterator[tuple[str, str | None]]:
    """Run each line of a page in the folder of now; yield it, and what went wrong."""
    for program, *words in command_lines(page.read_text(encoding="utf-8")):
        line = shlex.join([program, *words])
        if any(part in f"{line} " for part in PASSED_OVER):
            continue
        # What a line writes where it names no file.
        for pattern in ("*_predictions*", "profile.html", "demo.csv"):
            for path in Path.cwd().glob(pattern):
                path.unlink()
        for flag, value in pairwise(words):
            # What the page writes is not there yet, but what it goes on with is.
            if flag in ("--save-dir", "--output") and "--resume" not in words:
                shutil.rmtree(value) if Path(value).is_dir() else Path(value).unlink(
                    missing_ok=True
                )
        try:
            understand(run(program, *smaller(program, words)))
        except AssertionError as error:
            yield line, str(error)
        else:
            yield line, None


def main(pages: list[str]) -> int:
    """Run the lines of every page and return the exit code."""
    os.environ["COLUMNS"] = "120"
    paths = [Path(page).resolve() for page in pages]
    failed = count = 0
    with TemporaryDirectory() as temporary:
        start = Path(temporary) / "start"
        start.mkdir()
        os.chdir(start)
        write_tables(start)
        write_other_inputs(start)
        write_retention_times(start)
        write_runs(start)
        for path in paths:
            place = Path(temporary) / "page"
            shutil.copytree(start, place)
            os.chdir(place)
            began = time.process_time()
            for line, wrong in run_page(path):
                count += 1
                took, began = time.process_time() - began, time.process_time()
                sys.stdout.write(f"{took:6.1f} s CPU  {path.relative_to(ROOT)}: {line[:90]}\n")
                sys.stdout.flush()
                if wrong is not None:
                    failed += 1
                    sys.stderr.write(f"{path.relative_to(ROOT)}: {line}\n    {wrong}\n")
            os.chdir(start)
            shutil.rmtree(place)
    sys.stdout.write(f"{count} command lines, {failed} failed\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
