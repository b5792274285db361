"""Kills writing commands at random moments; what goes on must end as if nothing had been.

    python tests/soak/kills.py --kills 200 --seed 0 [--commands train-chemprop rt-fit ...]
                               [--signals kill term ctrl-c]

Each kill is a SIGKILL to a command of its own (or SIGTERM, or Ctrl-C twice, which must end it in a
message), in half of them at a random moment, in the others right at a random change of a file: an
open for writing, a rename, a removal. The same command, or `--resume`, must then end, and all it
leaves must equal what an undisturbed one leaves, to the bit.

Last figures (29 and 30 November 2026, two cores under a load of 2 to 25): 204 SIGKILLs at work
over all of these commands. Of the first 46 at training, studies and affinity seven found a fault,
all mended: a study that was killed while it was made was refused, `hpo tabular` could not be
resumed at all, trials after a lost one (or one lost while it drew) drew other parameters, a killed
fold of a cross-validation stayed without its page, and resumed runs of bags and of auto lost a
note. Of the 158 since one: what pooch leaves of a file whose copying is killed stayed in the data
folder. 40 more, one or two of each command, found one, mended: `rt run` that was killed once a fit
in its folder had ended was refused.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import random
import shutil
import signal
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

ARCHIVE = Path(__file__).parents[1] / "fixtures" / "runs_2026_11.tar.xz"
TINY = "--config configs/chemprop.yaml --training.epochs 2"
LIKE = "--species-raw species --cluster-raw species_cluster"
COUNTS = (
    "--data-path demo.csv --smiles-column SMILES --target-columns LogP LogS "
    "--features morgan_count --data.cache-dir cache --save-dir o"
)
TREES = f"{COUNTS} --baselines none"
MODELS = f"{TREES} --model forest lightgbm --folds 2"
STUDY = "--config configs/study.yaml --training.epochs 1 --study.n-trials 2 --study.baselines false"
PREDICTED = "--model-dir runs/single --data-path unseen.csv"


class Written(NamedTuple):
    """A command, and how to give it again after it was killed."""

    command: str
    again: str = ""
    overwrite: bool = False
    copied: str = ""
    """Folder that is copied to ``o`` first."""


COMMANDS = {
    "train-chemprop": Written(f"train chemprop {TINY} --save-dir o", "--resume"),
    "train-ensemble": Written(
        f"train chemprop {TINY} --ensemble.n-seeds 2 --save-dir o", "--resume"
    ),
    "train-cv": Written(f"train chemprop {TINY} --cv.folds 2 --save-dir o", "--resume"),
    "train-mil": Written("train mil --config configs/bags.yaml --save-dir o", "--resume"),
    "train-tabular": Written(f"train tabular {TREES} --model forest", "--resume"),
    "train-tabular-cv": Written(f"train tabular {TREES} --model forest --cv.folds 2", "--resume"),
    "train-blend": Written(f"train blend {MODELS}", "--resume"),
    "train-auto": Written(f"train auto {MODELS} --time-budget 1h", "--resume"),
    "train-mil-blend": Written(
        "train mil --config configs/bags.yaml --blend.models attention forest --save-dir o",
        "--resume",
    ),
    "train-attention": Written(
        "train mil --config configs/bags.yaml --models attention --save-dir o", "--resume"
    ),
    "hpo": Written(f"hpo chemprop {STUDY} --save-dir o"),
    "hpo-mil": Written(
        "hpo mil --config configs/study_bags.yaml --training.epochs 1 --study.baselines false "
        "--save-dir o"
    ),
    "hpo-tabular": Written(
        f"hpo tabular {COUNTS} --model forest --study.n-trials 2 --study.n-folds 2 "
        "--study.baselines false"
    ),
    "affinity": Written(
        "affinity --data-path demo.csv --smiles-column SMILES --target-columns LogP LogS QED "
        "--save-path o/affinity.npz --save-groups o/groups.json --n-bootstrap 10"
    ),
    "rt-prepare": Written(f"rt prepare --data rt/lab/train.parquet {LIKE} --save-dir o"),
    "rt-fit": Written("rt fit --data rt/prepared/*.parquet --save-dir o"),
    "rt-fit-fixed": Written(
        "rt fit --data rt/prepared/*.parquet --structure fixed --method ml --save-dir o"
    ),
    "rt-evaluate": Written(
        "rt evaluate --artefacts rt/ridge rt/pooled --data rt/test/rows.parquet --save-dir o"
    ),
    "rt-predict": Written(
        "rt predict --artefact rt/ridge --data rt/test/rows.parquet --output o/p.parquet",
        overwrite=True,
    ),
    "predict": Written(f"evaluate predict {PREDICTED} --output o/p.parquet", overwrite=True),
    "score": Written("evaluate score --predictions runs/single --n-bootstrap 100 --save-dir o"),
    "compare": Written(
        "evaluate compare --predictions runs/single runs/grouped --common-rows true "
        "--n-bootstrap 100 --output o/c.csv",
        overwrite=True,
    ),
    "hpo-retrain": Written(
        "hpo retrain --study-dir o --name again --baselines false", copied="studies/chemprop"
    ),
    "rt-plot": Written(
        "rt plot --runs rt/ridge rt/pooled --evaluation expected/rt/evaluation --formats png "
        "--save-dir o"
    ),
    "rt-report": Written(
        "rt report --runs rt/ridge --evaluation expected/rt/evaluation --output o/r.html",
        overwrite=True,
    ),
    "rt-coefficients": Written(
        "rt coefficients --artefact rt/ridge --output o/c.csv", overwrite=True
    ),
    "rt-simulate": Written("rt simulate --n-species 12 --n-compounds 40 --save-dir o"),
    "rt-shift": Written(
        "rt shift --replicates 2 --anchors 0 3 --simulate.n-species 12 --simulate.n-compounds 40 "
        "--save-dir o"
    ),
    "rt-run": Written("rt run --simulate.n-species 12 --simulate.n-compounds 40 --save-dir o"),
    "affinity-figures": Written(
        "affinity --data-path demo.csv --smiles-column SMILES --target-columns LogP LogS QED "
        "--save-path o/affinity.npz --plot-heatmap o/heatmap.png --report o/report.html "
        "--n-bootstrap 10"
    ),
    "describe": Written("data describe demo.csv --output o/d.html", overwrite=True),
    "report": Written(
        "evaluate report --run runs/single --n-bootstrap 100 --output o/r.html", overwrite=True
    ),
    "demo": Written("data demo --output o/d.csv --n 100", overwrite=True),
    "fetch": Written("data fetch biogen --into o"),
}

SIGNALS = {
    "kill": (signal.SIGKILL,),
    "term": (signal.SIGTERM,),
    "ctrl-c": (signal.SIGINT, signal.SIGINT),
}
STOPPED = (-signal.SIGKILL, -signal.SIGTERM, 130)
"""Exit codes of what was stopped; by SIGTERM itself only before a command has begun."""
DEAF = 60.0
"""Seconds after which a command has not heard a signal."""

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def main(argv: Sequence[str] | None = None) -> int:
    """Kill, go on, compare; returns 1 where something was lost or differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=math.inf, help="start no kill after")
    parser.add_argument("--commands", nargs="*", default=list(COMMANDS))
    parser.add_argument("--signals", nargs="*", default=["kill"], choices=SIGNALS)
    options = parser.parse_args(argv)
    # A shell's jobs in the background ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    end = time.monotonic() + options.seconds
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        with tarfile.open(ARCHIVE) as tar:
            tar.extractall(root / "tables", filter="data")
        _import_all()
        soak = Soak(root, random.Random(options.seed), options.signals)
        for number in range(options.kills):
            if time.monotonic() > end:
                break
            soak.kill(options.commands[number % len(options.commands)])
            sys.stdout.flush()
    return soak.report()


class Soak:
    """Kills and their outcomes.

    Parameters
    ----------
    root : Path
        With the folder ``tables``, in copies of which commands work.
    draw : Random
        Draws the moments.
    signals : sequence of str
        Keys of `SIGNALS`, one of which is drawn for each.
    """

    def __init__(self, root: Path, draw: random.Random, signals: Sequence[str]) -> None:
        self.root = root
        self.draw = draw
        self.signals = signals
        self.undisturbed: dict[str, tuple[dict[str, Any], float, int] | None] = {}
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.faults: list[str] = []

    def kill(self, name: str) -> None:
        """Stop a command once, and see what becomes of it."""
        written = COMMANDS[name]
        whole = self._undisturbed(name)
        if whole is None:
            self.outcomes[name, "not run"] += 1
            return
        expected, seconds, changes = whole
        work = self._place(name)
        how = self.draw.choice(self.signals)
        if self.draw.random() < 0.5:
            moment = self.draw.uniform(0.05, seconds)
            killed = self._run(written.command, work, SIGNALS[how], seconds=moment)
            where = f"after {moment:.2f} s"
        else:
            number = self.draw.randrange(changes)
            killed = self._run(written.command, work, SIGNALS[how], change=number)
            where = f"at change {number} of {changes}"
        where = f"{where} ({how})"
        before = _listing(work / "o")
        fault = "its message has a traceback" if "Traceback" in killed.said else ""
        # Some are quicker than the moment.
        found = self._go_on(written, work) if killed.code in STOPPED else killed
        fault = fault or _fault(found, expected, work)
        outcome = "faults" if fault else "killed" if killed.code else "done before"
        self.outcomes[name, outcome] += 1
        sys.stdout.write(f"{name}, {where}: {outcome}\n")
        if fault:
            self.faults.append(f"{name}, killed {where}: {fault}; had left {before}")
            sys.stdout.write(self.faults[-1] + "\n")
            kept = Path(tempfile.mkdtemp(prefix="kill-"))
            sys.stdout.write(f"kept beside the undisturbed in {kept}\n")
            shutil.copytree(work / "o", kept / "killed")
            shutil.copytree(self.root / f"undisturbed-{name}", kept / "undisturbed")
        shutil.rmtree(work)

    def _go_on(self, written: Written, work: Path) -> Ended:
        begun = (work / "o" / "environment.json").is_file()
        again = written.again if begun else ""
        found = self._run(f"{written.command} {again}", work)
        if found.code == 2 and "which holds a run" in found.said:
            # It had come to its end: what is there counts.
            return self._run("", work)
        there = "which is there" in found.said or "which exists" in found.said
        if found.code == 2 and written.overwrite and there:
            return self._run(f"{written.command} --overwrite true", work)
        return found

    def _undisturbed(self, name: str) -> tuple[dict[str, Any], float, int] | None:
        """Return what a command leaves, its seconds and changes; None where it ends in an error."""
        if name not in self.undisturbed:
            work = self._place(name)
            start = time.monotonic()
            found = self._run(COMMANDS[name].command, work)
            seconds = time.monotonic() - start
            if found.code == 0:
                sys.stdout.write(f"{name}: {seconds:.1f} s undisturbed, {found.changes} changes\n")
                self.undisturbed[name] = (found.left, seconds, found.changes)
                shutil.move(work / "o", self.root / f"undisturbed-{name}")
            else:
                # The others are killed all the same, and this counts as a fault once.
                said = f"{name}, undisturbed: exit {found.code}: {found.said.strip()[-600:]}"
                self.undisturbed[name] = None
                self.faults.append(said)
                sys.stdout.write(f"{said}\n")
            shutil.rmtree(work)
        return self.undisturbed[name]

    def _place(self, name: str) -> Path:
        work = self.root / f"work-{name}"
        shutil.copytree(self.root / "tables", work)
        if copied := COMMANDS[name].copied:
            shutil.copytree(work / copied, work / "o")
        else:
            (work / "o").mkdir()
        return work

    def _run(
        self,
        command: str,
        work: Path,
        signals: Sequence[int] = (),
        *,
        seconds: float | None = None,
        change: int | None = None,
    ) -> Ended:
        """Run a command in a process of its own, which is sent signals at a moment or a change."""
        result = self.root / "result.json"
        result.unlink(missing_ok=True)
        process = os.fork()
        if process == 0:
            try:
                _child(command, work, result, signals, change)
            finally:  # stopped before it began
                os._exit(130)
        status = _wait(process, signals, seconds)
        if status is None:
            return Ended(124, f"deaf to {signals} for {DEAF:.0f} s", 0, {})
        code = os.waitstatus_to_exitcode(status)
        said = json.loads(result.read_text()) if result.is_file() else {}
        return Ended(code, said.get("said", ""), said.get("changes", 0), said.get("left", {}))

    def report(self) -> int:
        """Print how many were killed, and what was lost."""
        for name in dict.fromkeys(name for name, _ in self.outcomes):
            of = [f"{n} {what}" for (own, what), n in sorted(self.outcomes.items()) if own == name]
            sys.stdout.write(f"{name}: {', '.join(of)}\n")
        total = sum(n for (_, what), n in self.outcomes.items() if what != "not run")
        sys.stdout.write(f"{total} in all, {len(self.faults)} faults\n")
        return int(bool(self.faults))


class Ended(NamedTuple):
    """How a command ended: exit code, words, changes of files, and what it left."""

    code: int
    said: str
    changes: int
    left: dict[str, Any]


def _wait(process: int, signals: Sequence[int], seconds: float | None) -> int | None:
    """Return the status of a process that ended; None of one that was deaf, which is ended here."""
    end = math.inf if seconds is None else time.monotonic() + seconds
    heard = True
    while True:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return status
        if time.monotonic() > end and heard:
            for number in signals:
                os.kill(process, number)
                time.sleep(0.02)
            heard, end = False, time.monotonic() + DEAF
        elif time.monotonic() > end:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            return None
        time.sleep(0.005)


def _child(
    command: str, work: Path, result: Path, signals: Sequence[int], change: int | None
) -> None:
    """Run a command and end this process."""
    os.chdir(work)
    app, *words = command.split() or [""]
    words = [str(p) for w in words for p in (sorted(Path().glob(w)) if "*" in w else [w])]
    sys.argv = [f"molpool-{app}", *words]
    changes = _stop_at(change, signals)
    out, err, code = io.StringIO(), io.StringIO(), 1
    try:
        with redirect_stdout(out), redirect_stderr(err):
            code = _main(app)(words) if app else 0
    except BaseException as error:
        err.write(repr(error))
    made = changes()
    left = _content(work / "o") if code == 0 else {}
    result.write_text(json.dumps({"said": err.getvalue(), "changes": made, "left": left}))
    os._exit(code)


def _main(app: str) -> Callable[[Sequence[str]], int]:
    from importlib import import_module

    found: Callable[[Sequence[str]], int] = import_module(f"molpool_{app}.cli").main
    return found


def _stop_at(change: int | None, signals: Sequence[int]) -> Callable[[], int]:
    """Count changes of files, and send signals at one of them; return what says the number."""
    count, here = 0, os.getcwd()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event == "open":
            flags = arguments[2]
            if not (isinstance(flags, int) and flags & WRITING):
                return
        elif event not in CHANGES:
            return
        path = arguments[0]
        # Bytecode is written by the first run alone.
        if not isinstance(path, (str, os.PathLike)) or not os.path.abspath(path).startswith(here):
            return
        count += 1
        if count - 1 == change:
            for number in signals:
                os.kill(os.getpid(), number)

    sys.addaudithook(hook)
    return lambda: count


def _import_all() -> None:
    """Import once what every command would: processes are forked from here."""
    import lightgbm  # noqa: F401
    import lightning.pytorch  # noqa: F401
    import molpool_pipelines.affinity
    import molpool_pipelines.evaluation
    import molpool_pipelines.fitting
    import molpool_pipelines.retention
    import molpool_pipelines.studies  # noqa: F401
    import torch

    torch.set_num_threads(1)
    for app in ("train", "hpo", "affinity", "rt", "evaluate", "data"):
        _main(app)


# --- what is compared ---

OF_THE_MOMENT = {
    *("SHA256SUMS", "environment.json", "log.jsonl", "journal.log", "journal.log.sha256"),
    "trials.parquet",
}
"""Files that say when, in which order and how often."""

UNTOLD = {"time", "seconds", "arguments", "environment.json", "folder", "path", "where"}
"""Keys that tell of the moment."""


def _listing(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def _content(folder: Path) -> dict[str, Any]:
    """Return a digest of what each file says, without what it says of the time."""
    from molpool_common import SUMS, checked

    for sums in folder.rglob(SUMS):
        for line in sums.read_text().splitlines():
            checked(sums.parent / line[66:])
    files = (p for p in sorted(folder.rglob("*")) if p.is_file())
    found = {}
    for path in files:
        name = str(path.relative_to(folder))
        if not any(part.startswith(".") for part in path.relative_to(folder).parts):
            said = _said(path)
            if said is not None:
                found[name] = said
    return found


def _said(path: Path) -> str | None:
    """Return the digest of a file's content; None of a file that tells of the time alone."""
    from hashlib import sha256

    import numpy as np
    import polars as pl

    if path.name in OF_THE_MOMENT:
        return None
    if path.suffix in (".html", ".flock", ".sha256", ".ckpt", ".png", ".svg", ".pdf"):
        return "there"
    if path.suffix == ".parquet":
        frame = pl.read_parquet(path)
        # As text: hashes of frames are not stable between processes.
        return sha256(frame.write_csv(float_precision=17).encode()).hexdigest()
    if path.suffix == ".json":
        return sha256(json.dumps(_without(json.loads(path.read_text()))).encode()).hexdigest()
    if path.suffix == ".pt":
        return sha256(repr(_tensors(path)).encode()).hexdigest()
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            text = {name: file[name].tobytes().hex() for name in file.files}
        return sha256(repr(text).encode()).hexdigest()
    if path.name == "best.yaml":  # its first line has the trial's number, another if tried again
        return sha256(path.read_bytes().partition(b"\n")[2]).hexdigest()
    return sha256(path.read_bytes()).hexdigest()


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without(v) for k, v in value.items() if k not in UNTOLD}
    return [_without(v) for v in value] if isinstance(value, list) else value


def _tensors(path: Path) -> list[tuple[str, bytes]]:
    from molpool_common import load_torch_file

    state = load_torch_file(path)["state_dict"]
    return [(name, value.numpy().tobytes()) for name, value in sorted(state.items())]


def _fault(found: Ended, expected: dict[str, Any], work: Path) -> str:
    if found.code != 0:
        return f"exit {found.code}: {found.said.strip()[-600:]}"
    left = [str(p.relative_to(work)) for p in (work / "o").rglob(".*.tmp")]
    if left:
        return f"left behind {left}"
    differ = sorted(
        name
        for name in expected.keys() | found.left.keys()
        if expected.get(name) != found.left.get(name)
    )
    return f"differs: {differ}" if differ else ""


if __name__ == "__main__":
    raise SystemExit(main())
