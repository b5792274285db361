"""Where the command may write: everything is refused before anything is computed."""

from __future__ import annotations

import os
from pathlib import Path

from molpool_common import InputError

from molpool_pipelines.affinity.config import AffinityCommandConfig

_PICTURES = (".png", ".svg", ".pdf")
_ENDINGS = {
    "save_path": (".npz",),
    "plot_heatmap": _PICTURES,
    "plot_dendrogram": _PICTURES,
    "save_groups": (".json",),
    "report": (".html", ".htm"),
}


def matrix_csv(config: AffinityCommandConfig) -> Path:
    """Return the file of the plain matrix, beside the npz."""
    return Path(config.save_path).with_suffix(".csv")


def check_outputs(config: AffinityCommandConfig) -> None:
    """Refuse files that could not be written, or that would replace something else.

    Results of an earlier run are replaced.

    Raises
    ------
    InputError
        If a name has another ending than its kind, lies where nothing may be written, or is
        given twice; or if the csv beside `save_path` is there without its npz.
    """
    named = {key: Path(getattr(config, key)) for key in _ENDINGS if getattr(config, key)}
    for key, path in named.items():
        if path.suffix.lower() not in _ENDINGS[key]:
            raise InputError(key, expected=f"a name in {_either(_ENDINGS[key])}", found=str(path))
        _check_writable(key, path)
    _check_distinct(named)
    csv = matrix_csv(config)
    if csv.exists() and not Path(config.save_path).exists():
        raise InputError(
            "save_path",
            expected="a name beside which no other table lies",
            found=f"{str(csv)!r}, which the matrix would replace",
        )
    _check_writable("save_path", csv)


def _either(endings: tuple[str, ...]) -> str:
    return " or ".join(endings)


def _check_distinct(named: dict[str, Path]) -> None:
    first: dict[Path, str] = {}
    for key, path in named.items():
        other = first.setdefault(path.absolute(), key)
        if other != key:
            raise InputError(key, expected=f"another file than {other}", found=str(path))


def _check_writable(key: str, path: Path) -> None:
    if path.is_dir():
        raise InputError(key, expected="a file", found=f"the folder {str(path)!r}")
    there = next(p for p in path.absolute().parents if p.exists())
    if not there.is_dir():
        raise InputError(key, expected="a file in a folder", found=f"one below {str(there)!r}")
    if not os.access(there, os.W_OK):
        raise InputError(
            key,
            expected="a folder that may be written to",
            found=f"{str(there)!r}, read-only",
        )
