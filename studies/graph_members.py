"""Do Chemprop networks help a blend of models on features? On earlier ExpansionRx molecules alone.

All models are fitted on the rows before an origin inside the first 80 % (the table follows time)
and predict those from there to `--until`; the last 20 % are never read. Each model's predictions
are kept in a file, so that groups and widths are added one by one:

    uv run python studies/graph_members.py fit --models mlp gp lightgbm --save-dir FOLDER
    uv run python studies/graph_members.py fit --models chemprop --groups "LogD+KSOL" \
        --hidden 500 --depth 5 --epochs 26 --save-dir FOLDER --name wide
    uv run python studies/graph_members.py fit --models chemprop --groups "LogD+KSOL" \
        --foundation admet --networks 5 --epochs 20 --save-dir FOLDER --name tuned
    uv run python studies/graph_members.py report --save-dir FOLDER --base mlp gp

The report gives each model's error as a share of that of the mean, by end point, and what half a
Chemprop network changes in the mean of the base models, where it predicts the end point, with its
standard error over resamples of the molecules. `--foundation admet` starts from the networks of
ADMET-AI that learned ten public end points, another one for each network.
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import polars as pl
import torch
from chemprop_multitask import ChempropConfig
from molecule_features import featurize
from molpool_common import FloatArray
from molpool_pipelines.datasets import locate
from molpool_pipelines.fitting import FEATURES
from molpool_pipelines.models import (
    MemberSettings,
    Molecules,
    build_member,
    fit_member,
    predict_member,
)
from study_results import table

PART, N_RESAMPLES = 0.8, 1000
ON_FEATURES = ("mlp", "gp", "lightgbm")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["fit", "report"])
    parser.add_argument("--save-dir", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=["chemprop"])
    parser.add_argument("--name", help="of the file of a Chemprop model")
    parser.add_argument("--groups", nargs="+", default=[], help="tasks joined by +")
    parser.add_argument("--base", nargs="+", default=["mlp"], help="of the report")
    parser.add_argument("--features", default=FEATURES)
    parser.add_argument("--origin", type=float, default=0.64)
    parser.add_argument("--until", type=float, default=PART, help="at most .8")
    parser.add_argument("--foundation", choices=["admet"], help="whose weights networks start from")
    parser.add_argument("--networks", type=int, default=1, help="whose mean is a Chemprop model")
    parser.add_argument("--hidden", type=int, default=700)
    parser.add_argument("--depth", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=26)
    parser.add_argument("--head", type=int, default=300)
    parser.add_argument("--loss", default="mae")
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    smiles, targets, names = expansion()
    stop, last = (int(min(share, PART) * len(smiles)) for share in (given.origin, given.until))
    if given.what == "report":
        print(report(given.save_dir, given.base, targets[stop:last], names))
        return
    given.save_dir.mkdir(parents=True, exist_ok=True)
    smiles, targets = smiles[:last], targets[:last]
    features = featurize(smiles, given.features)
    molecules = Molecules(smiles, features.values)
    train, rest = molecules.take(np.arange(stop)), molecules.take(np.arange(stop, last))
    for model in given.models:
        kinds, means = ("regression",) * len(names), []
        start, cpu = perf_counter(), process_time()
        for number in range(given.networks if model == "chemprop" else 1):
            options = networks(given, names, number) if model == "chemprop" else {}
            settings = MemberSettings(
                features.blocks,
                kinds,
                given.seed + number,
                options=options,
                task_names=tuple(names),
            )
            member = build_member(model, settings)
            fit_member(member, train, targets[:stop], censoring=None)
            means.append(predict_member(member, rest, with_sd=False)[0])
        mean = np.mean(means, axis=0)
        seconds = (perf_counter() - start, process_time() - cpu)
        np.savez(given.save_dir / f"{given.name or model}.npz", mean=mean, seconds=seconds)
        print(given.name or model, np.round(rae(targets[stop:last], mean), 3), seconds, flush=True)


def expansion() -> tuple[list[str], FloatArray, list[str]]:
    """Return structures, targets [N, 9] as the challenge scored them, and their names."""
    frame = pl.read_csv(locate("expansionrx"), infer_schema_length=None)
    names = frame.columns[2:]
    targets = frame[:, 2:].cast(pl.Float64).to_numpy().copy()
    targets[:, 1:] = np.log10(targets[:, 1:] + 1)
    return frame["SMILES"].to_list(), targets, names


def rae(truth: FloatArray, predicted: FloatArray) -> FloatArray:
    """Return each task's absolute error as a share of that of its scored labels' mean."""
    known = np.isfinite(truth)
    off = np.where(known, np.abs(truth - predicted), 0.0).sum(axis=0)
    return off / np.where(known, np.abs(truth - np.nanmean(truth, axis=0)), 0.0).sum(axis=0)


def networks(given: argparse.Namespace, names: list[str], number: int) -> dict[str, object]:
    """Return what a Chemprop model takes; of a foundation the network of this number."""
    size = {"hidden_size": given.hidden, "depth": given.depth}
    config = ChempropConfig.model_validate(
        {
            "model": {
                "ffn": {"num_layers": 1, "hidden_size": given.head},
                **(admet(number) if given.foundation else {"message_passing": size}),
            },
            "training": {
                "epochs": given.epochs,
                "loss": given.loss,
                "precision": given.precision,
            },
        }
    )
    groups = [tuple(part.strip() for part in group.split("+")) for group in given.groups]
    return {"config": config, "groups": groups or [tuple(names)]}


def admet(number: int) -> dict[str, object]:
    """Return how a Chemprop network begins as one of ADMET-AI's five for regression."""
    spec = find_spec("admet_ai")
    assert spec is not None
    folder = Path(str(spec.origin)).parent / "resources" / "models" / "admet_regression"
    return {
        "message_passing": {"hidden_size": 300, "depth": 3},
        "aggregation": "norm",
        "from_foundation": str(folder / f"model_{number % 5}.pt"),
    }


def tuned_admet(epochs: int, number: int) -> ChempropConfig:
    """Return ADMET-AI's network of a number, trained on by absolute error with tasks alike."""
    return ChempropConfig.model_validate(
        {
            "model": {"ffn": {"num_layers": 1, "hidden_size": 300}, **admet(number)},
            "training": {"epochs": epochs, "loss": "mae"},
        }
    )


def report(folder: Path, of: list[str], truth: FloatArray, names: list[str]) -> str:
    found = {path.stem: np.load(path) for path in sorted(folder.glob("*.npz"))}
    means = {name: content["mean"] for name, content in found.items()}
    base = np.mean([means[name] for name in of], axis=0)
    lines = []
    for name, mean in means.items():
        lines.append((name, *cells(rae(truth, mean)), f"{found[name]['seconds'][1]:.0f}"))
    graphs = [name for name in means if name not in ON_FEATURES]
    for name in graphs:
        mixed = np.where(np.isfinite(means[name]), (base + means[name]) / 2, base)
        lines.append((f"with half {name}", *changes(truth, base, mixed), ""))
    return table(("model", *names, "mean", "CPU s"), lines)


def cells(errors: FloatArray) -> list[str]:
    shown = ["–" if np.isnan(e) or e == 0 else f"{e:.3f}" for e in errors]
    return [*shown, f"{errors.mean():.3f}"]


def changes(truth: FloatArray, base: FloatArray, mixed: FloatArray) -> list[str]:
    """Return by how much the errors fall, with standard errors over resamples of the rows."""
    rng, n = np.random.default_rng(0), len(truth)
    gains = []
    for _ in range(N_RESAMPLES):
        rows = rng.integers(0, n, n)
        gains.append(rae(truth[rows], base[rows]) - rae(truth[rows], mixed[rows]))
    drawn = np.array(gains)
    fall = rae(truth, base) - rae(truth, mixed)
    shown = [
        "" if not f else f"{f:+.3f} ± {s:.3f}" for f, s in zip(fall, drawn.std(axis=0), strict=True)
    ]
    return [*shown, f"{fall.mean():+.3f} ± {drawn.mean(axis=1).std():.3f}"]


if __name__ == "__main__":
    main()
