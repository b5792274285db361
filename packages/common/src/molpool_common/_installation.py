"""What is installed here, on what machine, and what of it does not fit together.

Read from the metadata of the distributions: nothing is imported but torch, which alone knows
whether it can use a graphics processor.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distributions, version
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement

from molpool_common._folders import cache_folder, user_cache
from molpool_common._parallel import cores

LIBRARIES = (
    *("numpy", "polars", "pyarrow", "scikit-learn", "rdkit", "torch", "lightning", "chemprop"),
    *("lightgbm", "optuna", "mlflow", "pymc"),
)
"""What results depend on most."""


@dataclass(frozen=True)
class Extra:
    """An optional part of a distribution.

    Parameters
    ----------
    name : str
        As pip takes it, ``molecule-features[minimol]``.
    missing : tuple of str
        Requirements that are not met; none: it can be used.
    """

    name: str
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Installation:
    """What `describe_installation` finds.

    Parameters
    ----------
    python, platform : str
        Versions.
    ours, libraries : mapping of str to str
        Version of each distribution of the workspace, and of the libraries that matter most.
    cores : int
        Cores that this process may use.
    memory : float or None
        Bytes of the machine; None where the system does not say.
    accelerator : str
        What torch would train on.
    caches : mapping of str to int
        Bytes in each folder of caches, 0 where there is none yet.
    extras : tuple of Extra
        Optional parts.
    problems : tuple of str
        What does not fit together, with the cure.
    """

    python: str
    platform: str
    ours: Mapping[str, str]
    libraries: Mapping[str, str]
    cores: int
    memory: float | None
    accelerator: str
    caches: Mapping[str, int]
    extras: tuple[Extra, ...]
    problems: tuple[str, ...]


def describe_installation() -> Installation:
    """Return what is installed, on what machine, and what does not fit together."""
    ours = {d.name: d for d in distributions() if _is_ours(d)}
    problems = [problem for name in sorted(ours) for problem in _problems(ours[name])]
    return Installation(
        python=sys.version.split()[0],
        platform=platform.platform(),
        ours={name: ours[name].version for name in sorted(ours)},
        libraries={name: found for name in LIBRARIES if (found := _version(name)) is not None},
        cores=cores(),
        memory=_memory(),
        accelerator=_accelerator(),
        caches={str(folder): _size(folder) for folder in _caches()},
        extras=tuple(extra for name in sorted(ours) for extra in _extras(ours[name])),
        problems=tuple(dict.fromkeys(problems)),
    )


def _is_ours(found: Distribution) -> bool:
    """Return whether a distribution is of the workspace: it is called so, or depends on this."""
    name = "molpool-common"
    return found.name.startswith("molpool") or any(r.name == name for r in _requirements(found))


def _requirements(found: Distribution) -> list[Requirement]:
    return [Requirement(text) for text in found.requires or []]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _unmet(requirement: Requirement) -> str | None:
    """Return what a requirement lacks, in words; None where it is met."""
    found = _version(requirement.name)
    wanted = f"{requirement.name}{requirement.specifier}"
    if found is None:
        return f"{wanted}, which is not installed"
    if not requirement.specifier.contains(found, prereleases=True):
        return f"{wanted}; found {found}"
    return None


def _problems(found: Distribution) -> Iterator[str]:
    for requirement in _requirements(found):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            lack = _unmet(requirement)
            if lack is not None:
                yield f"{found.name} needs {lack}. pip install --upgrade {found.name}"


def _extras(found: Distribution) -> Iterator[Extra]:
    for extra in found.metadata.get_all("Provides-Extra") or []:
        lacks = [
            lack
            for requirement in _requirements(found)
            if requirement.marker is not None
            and not requirement.marker.evaluate({"extra": ""})
            and requirement.marker.evaluate({"extra": extra})
            and (lack := _unmet(requirement)) is not None
        ]
        yield Extra(f"{found.name}[{extra}]", tuple(lacks))


def _memory() -> float | None:
    try:
        return float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def _accelerator() -> str:
    if find_spec("torch") is None:
        return "none: torch is not installed"
    import torch

    if torch.cuda.is_available():
        return f"cuda: {torch.cuda.get_device_name(0)}"
    if torch.backends.mps.is_available():
        return "mps"
    return "none: torch trains on the processor"


def _caches() -> list[Path]:
    of_molecules = cache_folder("auto")
    folders = [user_cache(), *([of_molecules] if of_molecules is not None else [])]
    named = os.environ.get("MOLPOOL_DATA", "")
    folders += [Path(part).expanduser() for part in re.split(os.pathsep, named) if part]
    inside = [f for f in folders if not any(f != of and f.is_relative_to(of) for of in folders)]
    return list(dict.fromkeys(inside))


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
