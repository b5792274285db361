"""The table of faults that issue 21 found, once more with today's code.

    python tests/soak/found.py [--rows kill payload ...] [--seed 0]

Each row does to the commands what was done then, and counts what is wrong now: a traceback, another
exit code than the user's, a result that differs, code that ran, a word that shows. A row's figure
is "faults of tries". Each command runs in a fork of one process, which itself starts no threads.

Last figures (30 November 2026, under a load of 20, some 5 minutes of CPU): kill 0 of 21, payload 0
of 10, bits 0 of 600, journal 0 of 20, together 0 of 8, secrets 0 of 4, names 0 of 10, resources 0
of 11, inputs 4 of 1,000. Of these one was no fault (what `describe` is there to say), and three
were two kinds, mended: a link to itself among the tables of `molpool-rt`, and lists for SMILES in
`auto`.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import resource
import shlex
import shutil
import signal
import sys
import tarfile
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from importlib import import_module, util
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

HERE = Path(__file__).parent
ARCHIVE = HERE.parent / "fixtures" / "runs_2026_11.tar.xz"
GIBIBYTE = 1 << 20
"""Of `ru_maxrss`, in KiB."""


class Ended(NamedTuple):
    """How a command ended: exit code, what it said, CPU seconds, and memory beyond the start's."""

    code: int
    said: str
    seconds: float
    memory: float

    @property
    def refused(self) -> bool:
        """Whether it ended in the user's exit code and no traceback."""
        return self.code == 2 and "Traceback" not in self.said


class Row(NamedTuple):
    """What was tried, how often, what went wrong, and a remark."""

    tries: int
    faults: list[str]
    remark: str = ""


def neighbour(path: Path, name: str) -> ModuleType:
    """Return a file of the tests as a module; they see no neighbours."""
    spec = util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


KILLS = neighbour(HERE / "kills.py", "molpool_soak_kills")


# --- how commands are run ---


def started(command: str, result: Path, before: Callable[[], object] = lambda: None) -> int:
    """Start ``molpool-COMMAND`` in a fork and return its process; what it says goes to a file."""
    sys.stdout.flush()
    process = os.fork()
    if process:
        return process
    code, out = 1, io.StringIO()
    try:
        before()
        app, *words = command.split("\0") if "\0" in command else command.split()
        with redirect_stdout(out), redirect_stderr(out):
            code = import_module(f"molpool_{app}.cli").main(words)
    except BaseException:
        out.write(traceback.format_exc())
    # A full disk is among what is tried.
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    result.write_text(json.dumps({"code": code, "said": out.getvalue()}))
    os._exit(0)


def ended(process: int, result: Path) -> Ended:
    """Wait for a command that was `started`."""
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _, status, used = os.wait4(process, 0)
    said = json.loads(result.read_text()) if result.is_file() else {"code": -1, "said": ""}
    result.unlink(missing_ok=True)
    code = said["code"] if os.waitstatus_to_exitcode(status) == 0 else -1
    memory = max(0, used.ru_maxrss - base) / GIBIBYTE
    return Ended(code, said["said"], used.ru_utime + used.ru_stime, memory)


def run(command: str, before: Callable[[], object] = lambda: None) -> Ended:
    """Run a command in a fork of its own, in this folder."""
    result = Path(tempfile.mkdtemp()) / "result.json"
    return ended(started(command, result, before), result)


def apart(make: Callable[[], object]) -> None:
    """Make files in a fork: threads of what makes them would be missing in later ones."""
    process = os.fork()
    if process == 0:
        make()
        os._exit(0)
    os.waitpid(process, 0)


def fault_of(found: Ended, codes: Sequence[int], what: str) -> list[str]:
    """Return the fault of a command, if it has one."""
    if found.code in codes and "Traceback" not in found.said:
        return []
    return [f"{what}: exit {found.code}, {found.said.strip()[-300:]}"]


def clean(*names: str) -> None:
    """Remove what a command left."""
    for name in names:
        path = Path(name)
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


# --- the rows ---

TINY = "--config configs/chemprop.yaml --training.epochs 2 --baselines none"
FAST = "--features morgan_count --data.cache-dir none --baselines none --model forest"
DEMO = "--data-path demo.csv --smiles-column SMILES --target-columns LogP LogS"
SHORT = "--study.n-trials 2 --study.n-folds 2 --study.baselines false"
PREDICT = "evaluate predict --overwrite true --output o.parquet"
MOLECULES = f"{PREDICT} --data-path unseen.csv --model-dir"
OF_BAGS = f"{PREDICT} --data-path unseen_bags.csv --model-dir"


def kill(draw: random.Random) -> Row:
    """Kill commands at random moments; see kills.py, which does it to all of them."""
    root = Path(tempfile.mkdtemp())
    shutil.copytree(Path(), root / "tables")
    soak = KILLS.Soak(root, draw, ["kill"])
    names = ["rt-prepare", "rt-fit-fixed", "score", "predict", "affinity", "rt-predict", "demo"]
    for number in range(21):
        soak.kill(names[number % len(names)])
    shutil.rmtree(root)
    return Row(21, soak.faults)


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (self.folder,)


PAYLOADS = {
    # A file, and the commands that read it.
    "runs/single/model.pt": [
        f"{MOLECULES} runs/single",
        f"{MOLECULES} runs/single/model.pt",
        "evaluate compare --model-dirs runs/single runs/grouped --test-data molecules.csv "
        "--output o.csv --overwrite true",
        f"train chemprop {TINY} --model.from-foundation runs/single/model.pt --save-dir o",
        f"train tabular {DEMO} --features chemprop:runs/single/model.pt --model forest "
        "--data.cache-dir none --save-dir o",
    ],
    "runs/ensemble/models/member-002.pt": [f"{MOLECULES} runs/ensemble"],
    "runs/halted/checkpoints/last.ckpt": ["train chemprop --resume --save-dir runs/halted"],
    "runs/halted/checkpoints/best.ckpt": [
        f"train chemprop {TINY} --model.from-foundation runs/halted/checkpoints/best.ckpt "
        "--save-dir o"
    ],
    "runs/bags/model.pt": [f"{OF_BAGS} runs/bags"],
    "runs/bags_halted/checkpoints/last.ckpt": ["train mil --resume --save-dir runs/bags_halted"],
}


def payload(_: random.Random) -> Row:
    """Put code into every kind of model file, and read it in every way."""
    import torch

    tries, faults = 0, []
    for name, commands in PAYLOADS.items():
        path = Path(name)
        sound = path.read_bytes()
        content = torch.load(path, weights_only=False)
        content["extra"] = Payload(str(Path("ran").absolute()))
        for command in commands:
            torch.save(content, path)
            found, tries = run(command), tries + 1
            faults += fault_of(found, (2,), command)
            if Path("ran").exists():
                faults.append(f"{command}: the code ran")
            clean("ran", "o", "o.parquet", "o.csv")
        path.write_bytes(sound)
    return Row(tries, faults)


def bits(draw: random.Random) -> Row:
    """Change a bit of a file, with its digest in the folder and, of models, without."""
    from chemprop_multitask import ChempropModel
    from mil_attn import MILModule
    from molpool_common import RunFolder
    from molpool_pipelines.runs import read_run_predictions
    from task_affinity import AffinityResult

    def states(path: Path, kind: Any) -> Any:
        loaded = kind.load(path)
        state = getattr(loaded, "module", loaded).state_dict()
        return {name: value.numpy().tobytes() for name, value in state.items()}

    readers: dict[str, tuple[bool, Callable[[Path], Any]]] = {
        "runs/single/model.pt": (False, lambda p: states(p, ChempropModel)),
        "runs/bags/model.pt": (False, lambda p: states(p, MILModule)),
        "runs/single/predictions.parquet": (
            True,
            lambda p: read_run_predictions(p.parent).write_csv(),
        ),
        "runs/grouped/affinity.npz": (False, lambda p: AffinityResult.load(p).matrix.tobytes()),
    }
    tries, faults, counts = 0, [], []
    for name, (sums, read) in readers.items():
        path = Path(name)
        if sums:
            with RunFolder.resume(path.parent):
                pass
        sound = path.read_bytes()
        expected, refused, same = read(path), 0, 0
        for _ in range(150):
            content = bytearray(sound)
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
            path.write_bytes(content)
            tries += 1
            try:
                found = read(path)
            except Exception as error:
                if getattr(error, "exit_code", None) != 2:
                    faults.append(f"{name}: {type(error).__name__}: {str(error)[:100]}")
                refused += 1
                continue
            same += found == expected
            if found != expected:
                faults.append(f"{name}: silently another")
        path.write_bytes(sound)
        counts.append(f"{path.parent.name}/{path.name} {refused} refused, {same} the same")
    return Row(tries, faults, "; ".join(counts))


def journal(draw: random.Random) -> Row:
    """Cut the journal of a study, and show it or go on with it."""
    faults = fault_of(run(f"hpo tabular {DEMO} {FAST} {SHORT} --save-dir o"), (0,), "hpo tabular")
    path, show = Path("o/journal.log"), "hpo show --study-dir o"
    sound, whole = path.read_bytes(), run(show).said
    for _ in range(20):
        path.write_bytes(sound[: draw.randrange(len(sound))])
        found = run(show)
        if found.said != whole and not found.refused:
            faults.append(f"cut journal: exit {found.code}: {found.said[-200:]}")
    path.write_bytes(sound)
    return Row(20, faults)


def together(_: random.Random) -> Row:
    """Train twice into one new folder at once; and with two ranks of torchrun."""
    faults = []
    commands = [f"train tabular {DEMO} {FAST} --save-dir o"] * 4 + [
        f"train chemprop {TINY} --save-dir o"
    ] * 3
    for command in commands:
        results = [Path(tempfile.mkdtemp()) / "r.json" for _ in range(2)]
        processes = [started(command, result) for result in results]
        both = [ended(p, r) for p, r in zip(processes, results, strict=True)]
        codes = sorted(e.code for e in both)
        other = next((e for e in both if e.code == 2), None)
        if codes != [0, 2] or other is None or "Traceback" in both[0].said + both[1].said:
            faults.append(f"{command}: exit {codes}: {both[0].said[-150:]} {both[1].said[-150:]}")
        clean("o")
    script = Path(sys.executable).with_name("molpool-train")
    torchrun = f"{sys.executable} -m torch.distributed.run --nproc-per-node 2 {script}"
    done = os.system(f"{torchrun} chemprop {TINY} --save-dir o > torchrun.log 2>&1")
    said = Path("torchrun.log").read_text()
    written = list(Path("o").glob("model.pt")) + list(Path().glob("runs/chemprop-*"))
    if done or len(written) != 1 or "Traceback" in said:
        faults.append(f"torchrun: exit {done}, {len(written)} models: {said[-200:]}")
    clean("o")
    return Row(len(commands) + 1, faults)


def secrets(_: random.Random) -> Row:
    """Give a password in the address of tracking and in that of a study, and look for it."""
    os.environ |= {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "2"}
    faults, word = [], "hunter2"
    address = f"http://me:{word}@127.0.0.1:9/x?token={word}"
    storage = f"sqlite:///study.db?password={word}"
    tracked = f"--tracking.enabled true --tracking.uri {address} --save-dir o"
    commands = [
        f"train chemprop {TINY} {tracked}",
        f"train tabular {DEMO} {FAST} {tracked}",
        f"hpo tabular {DEMO} {FAST} --study.n-trials 1 --study.n-folds 2 --study.baselines false "
        f"--study.storage {storage} --save-dir o",
        f"hpo chemprop --config configs/study.yaml --study.n-trials 1 --study.storage "
        f"postgresql://me:{word}@127.0.0.1:9/db?password={word} --save-dir o",
    ]
    for command in commands:
        found = run(command)
        faults += fault_of(found, (0, 1, 2), command)
        files = [p for p in Path("o").rglob("*") if p.is_file()]
        where = [p.name for p in files if word.encode() in p.read_bytes()]
        if word in found.said or where:
            faults.append(f"{command}: the password shows on screen or in {where}")
        clean("o", "study.db")
    return Row(len(commands), faults)


NAMES = ["[/]", r"$\frac{$", "../../x", "y" * 300, "=cmd|' /C calc'!A0", "\x1b[31mred"]


def names(_: random.Random) -> Row:
    """Name tasks so that they mean something to a tool, in all commands."""
    apart(_named)
    table = "--data-path\0named.parquet\0--target-columns\0" + "\0".join(NAMES)
    fast = "\0".join(FAST.split())
    commands = [
        "data\0describe\0named.parquet\0--output\0o.html",
        f"affinity\0{table}\0--n-bootstrap\x000\0--save-path\0a.npz\0--plot-heatmap\0a.png",
        f"train\0tabular\0{table}\0{fast}\0--save-dir\0o",
        f"train\0auto\0{table}\0{fast}\0--folds\x002\0--save-dir\0auto",
        f"train\0chemprop\0{table}\0--training.epochs\x001\0--baselines\0none\0"
        "--model.message-passing.hidden-size\x008\0--model.ffn.hidden-size\x008\0--save-dir\0c",
        "evaluate\0predict\0--model-dir\0o\0--data-path\0named.parquet\0--output\0p.csv",
        "evaluate\0score\0--predictions\0o\0--n-bootstrap\x00100\0--save-dir\0s",
        "evaluate\0compare\0--predictions\0o\0c\0--common-rows\0true\0--n-bootstrap\x00100\0"
        "--output\0k.csv",
        "evaluate\0report\0--run\0o\0--n-bootstrap\x00100\0--output\0r.html",
        f"hpo\0tabular\0{table}\0{fast}\0--study.n-trials\x001\0--study.n-folds\x002\0"
        "--study.baselines\0false\0--save-dir\0h",
    ]
    faults = []
    for command in commands:
        found = run(command)
        what = " ".join(command.split("\0")[:2])
        faults += fault_of(found, (0,), what)
        if "\x1b[31mred" in found.said:
            faults.append(f"{what}: ESC reaches the terminal")
    clean("o", "o.html", "a.npz", "a.csv", "a.png", "auto", "c", "p.csv", "s", "h", "r.html")
    return Row(len(commands), faults)


def _named() -> None:
    import polars as pl

    demo = pl.read_csv("demo.csv").drop_nulls("LogP")
    columns = [(demo["LogP"] + i / 7).alias(name) for i, name in enumerate(NAMES)]
    demo.select("SMILES", *columns).write_parquet("named.parquet")


def resources(_: random.Random) -> Row:
    """Give files and molecules that would take all time, memory or disk."""
    apart(_bombs)
    peptide, chain = "N" + "CC(=O)N" * 2000 + "C", "C" * 2000
    good = Path("demo.csv").read_text().splitlines()
    rows = [f"X,{smiles},1.5,2.5,,,,,low" for smiles in (peptide, chain)]
    Path("large.csv").write_text("\n".join([*good[:41], *rows]) + "\n")
    drop = "--on-bad-smiles drop"
    tries = [
        ("YAML bomb", "train chemprop --config bomb.yaml --save-dir o", (2,), None),
        ("gzip bomb", "data describe bomb.csv.gz --output o.html", (2,), None),
        ("Parquet bomb", "data describe bomb.parquet --output o.html", (2,), None),
        ("Excel bomb", "data describe bomb.xlsx --output o.html", (2,), None),
        ("peptide", "data describe large.csv --output o.html", (0,), None),
        (
            "chain in bags",
            f"train mil --data-path large.csv --target-columns LogP --data.kind smiles {drop} "
            "--data.cache-dir none --models attention --training.epochs 1 "
            "--task-kind regression --save-dir o",
            (0,),
            None,
        ),
        ("full disk", f"train tabular {DEMO} {FAST} --save-dir o", (1,), _little_space),
        ("full disk", f"train chemprop {TINY} --save-dir o", (1,), _little_space),
        ("full disk", f"{MOLECULES} runs/single", (1,), _no_space),
        ("folder that goes", f"train chemprop {TINY} --save-dir o", (1,), _vanishing),
    ]
    faults, remarks = [], []
    for what, command, codes, before in tries:
        found = run(command, before or (lambda: None))
        faults += fault_of(found, codes, what)
        # What a command itself takes: its libraries, some threads' arenas.
        if found.memory > 1.5 or found.seconds > 60:
            faults.append(f"{what}: {found.seconds:.0f} s, {found.memory:.1f} GiB")
        remarks.append(f"{what} {found.seconds:.1f} s {found.memory:.2f} GiB")
        clean("o", "o.html", "o.parquet")
    result = Path(tempfile.mkdtemp()) / "r.json"
    process = started("data describe large.csv --output o.html", result)
    time.sleep(1.5)
    os.kill(process, signal.SIGTERM)
    start = time.monotonic()
    found = ended(process, result)
    faults += fault_of(found, (130, -1, 0), "SIGTERM")
    remarks.append(f"SIGTERM heard in {time.monotonic() - start:.1f} s")
    clean("o.html")
    return Row(len(tries) + 1, faults, ", ".join(remarks))


def _bombs() -> None:
    bank = neighbour(HERE.parent / "bad_inputs" / "bank.py", "molpool_bad_inputs_bank")
    for name in ("bomb.csv.gz", "bomb.parquet", "bomb.yaml", "bomb.xlsx"):
        write = bank.FILES[name]
        Path(name).write_bytes(write) if isinstance(write, bytes) else write(Path(name))


def _little_space() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))


def _no_space() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, resource.RLIM_INFINITY))


def _vanishing() -> None:
    from molpool_common import RunFolder

    log = RunFolder.log

    def vanish(self: RunFolder, event: str, **fields: object) -> None:
        if event == "epoch":
            shutil.rmtree(self.path, ignore_errors=True)
        log(self, event, **fields)

    RunFolder.log = vanish  # type: ignore[method-assign]


def inputs(draw: random.Random) -> Row:
    """Run a thousand bad inputs of the bank, over all commands: in this process, and so last."""
    bank = neighbour(HERE.parent / "bad_inputs" / "bank.py", "molpool_bad_inputs_bank")
    chosen = draw.sample(bank.WHOLE, min(1000, len(bank.WHOLE)))
    store, faults, slow = Path(tempfile.mkdtemp()), [], 0.0
    for case in chosen:
        made = bank.make(case, Path.cwd(), store)
        app, *words = shlex.split(case.line)
        said, start = io.StringIO(), time.process_time()
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            with redirect_stdout(said), redirect_stderr(said):
                code = import_module(f"molpool_{app}.cli").main(words)
        except BaseException:
            code = 1
            said.write(traceback.format_exc())
        seconds = time.process_time() - start
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / GIBIBYTE
        for path in made:
            bank.remove(path)
        # To say what is wrong with a table is what describe is for.
        codes = (0, 2) if case.says in said.getvalue() and app == "data" else (2,)
        faults += fault_of(Ended(code, said.getvalue(), seconds, grown), codes, case.name)
        slow = max(slow, seconds)
        if seconds > 5 or grown > 1:
            faults.append(f"{case.name}: {seconds:.0f} s, {grown:.1f} GiB")
    shutil.rmtree(store)
    return Row(len(chosen), faults, f"the slowest took {slow:.1f} s")


ROWS: dict[str, tuple[str, str, Callable[[random.Random], Row]]] = {
    # Kind of fault, what the issue says of it, and what is done.
    "kill": ("kill -9", "2 of 44", kill),
    "payload": ("payload in a model file", "8 of 10 ran", payload),
    "bits": ("one flipped bit", "176 silent, 87 tracebacks of 600", bits),
    "journal": ("cut HPO journal", "exit 0, trials lost", journal),
    "together": ("two trainings in one folder", "3 of 7, and torchrun", together),
    "secrets": ("secrets in addresses", "2 of 2, in five files", secrets),
    "names": ("names that mean something", "seven commands", names),
    "resources": ("resources", "8 of 8: minutes, 1 to 11 GB, tracebacks", resources),
    "inputs": ("bad inputs", "1 of 12", inputs),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Try the rows, print the table and each fault; returns 1 where there is one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=ROWS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    lines, failed = [], 0
    KILLS._import_all()
    for name in options.rows:
        kind, then, tried = ROWS[name]
        start = time.process_time() + _children()
        with work():
            row = tried(random.Random(options.seed))
        seconds = time.process_time() + _children() - start
        for fault in row.faults:
            sys.stdout.write(f"{name}: {fault}\n")
        failed += bool(row.faults)
        lines.append(f"| {kind} | {then} | {len(row.faults)} of {row.tries} | {row.remark} |")
        sys.stdout.write(f"{lines[-1]} {seconds:.0f} CPU s\n")
        sys.stdout.flush()
    sys.stdout.write("\n| kind | then | today | |\n| --- | --- | --- | --- |\n")
    sys.stdout.write("\n".join(lines) + "\n")
    return int(bool(failed))


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextmanager
def work() -> Iterator[None]:
    """Work in a copy of the archive of earlier runs, removed afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(ARCHIVE) as tar:
            tar.extractall(folder, filter="data")
        with chdir(folder):
            yield


if __name__ == "__main__":
    raise SystemExit(main())
