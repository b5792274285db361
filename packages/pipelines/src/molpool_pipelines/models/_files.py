"""What the names and files of a saved model say before any of its weights are read."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from molpool_common import InputError, checked, folders_inside, listed, read_yaml

from molpool_pipelines.runs import (
    BAGS_FOLDER,
    CALIBRATION,
    CONFIG,
    MODELS,
    PREDICTIONS,
    SPLIT,
    TABULAR_FOLDER,
)

TABULAR = "model.json"
BAG_BLEND = "bags.json"
_MIL_KEY = b"mil_attn"


def check_model_path(path: Path, key: str = "model_dir") -> None:
    """Raise `InputError` that names `key` where there is no model; looks at names only."""
    if not path.exists():
        raise InputError(key, expected="a run folder or a model file", found=f"no {path}")
    known = is_tabular(path) or is_bag_blend(path)
    if path.is_dir() and not model_files(path) and not known:
        raise InputError(
            key,
            expected="model.pt or member-*.pt in the folder",
            found="none",
            where=str(path),
            hint=folders_inside(path, CONFIG, "A run writes its model when it ends."),
        )


def model_files(path: Path) -> list[Path]:
    """Return the model of a run folder, or those of a folder of an ensemble."""
    if not path.is_dir():
        return [path]
    own = path / "model.pt"
    if own.is_file():
        return [own]
    # Sorted by name: members are numbered with leading zeros.
    return sorted(path.glob("member-*.pt")) or sorted(path.glob(f"{MODELS}/member-*.pt"))


def is_tabular(path: Path) -> bool:
    """Return whether a run folder, or the folder of a model, is of models on features."""
    return any((folder / TABULAR).is_file() for folder in (path, path / TABULAR_FOLDER))


def is_bag_blend(path: Path) -> bool:
    """Return whether a run folder is of several models over bags."""
    return (path / BAGS_FOLDER / BAG_BLEND).is_file()


def is_mil(path: Path) -> bool:
    """Return whether a model, or the first of an ensemble, is one over bags; reads no weights."""
    if is_bag_blend(path):
        return True
    file = next(iter(model_files(path)), path)
    if not file.is_file() or not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        # The pickle of a torch archive names its classes: a look at its bytes costs milliseconds,
        # unpickling would run code and import torch.
        described = next((n for n in archive.namelist() if n.endswith("/data.pkl")), None)
        return described is not None and _MIL_KEY in archive.read(described)


def reads_feature_tables(path: Path) -> bool:
    """Return whether a model over bags takes features from tables, not from SMILES."""
    return is_mil(path) and str(run_section(path, "data").get("kind", "smiles")) != "smiles"


def calibration_file(path: Path) -> Path | None:
    """Return what calibrates the models of a run folder, or of the folder of models within it."""
    root = path.parent if path.name in {MODELS, TABULAR_FOLDER} else path
    file = root / CALIBRATION
    return file if file.is_file() else None


@dataclass(frozen=True)
class BlendFile:
    """What the file of a blend says.

    Parameters
    ----------
    described : dict
        All of it.
    tasks : tuple of str, length T
        The tasks.
    names, files : tuple, length M
        Of its members.
    weights : list of list of float, [M, T]
        Of its members by task.
    surrogates : tuple of Path
        Models whose predictions some members take.
    """

    described: Mapping[str, Any]
    tasks: tuple[str, ...]
    names: tuple[str, ...]
    files: tuple[Path, ...]
    weights: list[list[float]]
    surrogates: tuple[Path, ...]


def read_blend(
    file: Path,
    base: Path,
    *,
    what: str,
    latest: int,
    known: Collection[str],
    needs: Collection[str],
) -> BlendFile:
    """Read what a blend is made of, and look whether the files of its members are there.

    Parameters
    ----------
    file : Path
        The description, JSON.
    base : Path
        Folder that files of members are named from.
    what : str
        What the folder should hold, in words.
    latest : int
        The version of the file that is understood.
    known : collection of str
        Names of members that there are.
    needs : collection of str
        What else the file must hold.

    Raises
    ------
    InputError
        If it is damaged, or of a later version.
    """
    damaged = partial(InputError, "model_dir", expected=what, where=str(base))
    try:
        described = json.loads(file.read_text(encoding="utf-8"))
        later = described["format"] > latest
        tasks, entries = tuple(described["task_names"]), described["members"]
        names = tuple(entry["name"] for entry in entries)
        files = tuple(base / entry["file"] for entry in entries)
        weights = [[float(entry["weights"][task]) for task in tasks] for entry in entries]
        surrogates = tuple(base / name for name in described.get("surrogates", ()))
        lacking = [key for key in needs if key not in described]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise damaged(found=f"{type(error).__name__}: {error}") from None
    if later:
        raise damaged(
            found=f"format {described['format']}", hint="A later version of molpool wrote it."
        )
    if lacking:
        raise damaged(found=f"no {listed(lacking)} in {file.name}")
    if not names or not set(names) <= set(known):
        raise damaged(found=f"models {list(names)}")
    if absent := [path.name for path in (*files, *surrogates) if not path.exists()]:
        raise damaged(found=f"no file {listed(absent)}")
    return BlendFile(described, tasks, names, files, weights, surrogates)


def path_names(paths: Sequence[Path], within: Sequence[str] = ()) -> list[str]:
    """Return as much of the end of each path as tells it from the others.

    Parameters
    ----------
    paths : sequence of Path
        Folders or files.
    within : sequence of str
        Stems of files that are called after their folder.
    """
    # metrics.json of five runs would otherwise be five models called "metrics".
    named = [p.absolute().parent if p.stem in within else p.absolute() for p in paths]
    parts = [(*p.parent.parts[1:], p.stem) for p in named]
    depth = 1
    names = ["/".join(p[-depth:]) for p in parts]
    # From the end of the path, as much as it takes: run folders of one date differ further up.
    while max(Counter(names).values(), default=0) > 1 and depth < max(map(len, parts)):
        depth += 1
        names = ["/".join(p[-depth:]) for p in parts]
    return names


def run_section(path: Path, section: str) -> dict[str, Any]:
    """Return a section of the configuration of a run folder; empty where there is none.

    Of an ensemble whose folder has none it is that of the first member's run.
    """
    found = run_key(path, section)
    return dict(found) if isinstance(found, dict) else {}


def run_cache(path: Path) -> str:
    """Return the cache of a run, ``auto`` where its folder does not say."""
    return str(run_section(path, "data").get("cache_dir") or "auto")


def run_key(path: Path, key: str) -> Any:
    """Return what the configuration of a run folder says under a key; None where it has none."""
    root = path.parent if path.name == MODELS else path
    for folder in (root, *sorted(root.glob("member-*"))):
        file = folder / CONFIG
        found = read_yaml(checked(file)).data.get(key) if file.is_file() else None
        if found is not None:
            return found
    return None


def calibration_smiles(path: Path) -> list[str] | None:
    """Return the molecules that calibrate a run, in the order of the calibration's rows.

    None where the folder does not name them.
    """
    import polars as pl

    file = (path.parent if path.name in {MODELS, TABULAR_FOLDER} else path) / PREDICTIONS
    if not file.is_file() or not {SPLIT, "SMILES"} <= set(pl.read_parquet_schema(file)):
        return None
    rows = pl.scan_parquet(checked(file)).filter(pl.col(SPLIT) == "val").select("SMILES").collect()
    return rows["SMILES"].to_list()
