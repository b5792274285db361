"""A command's run as an estimator: its folder, its page, and how it travels."""

from __future__ import annotations

import io
import shutil
import weakref
import zipfile
from collections.abc import Callable, Mapping
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Self

import narwhals as nw
import numpy as np
from molpool_common import FloatArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from molpool_pipelines.estimators._report import Report

_RUN = "run"


@dataclass(kw_only=True, eq=False, repr=False)
class RunEstimator(BaseEstimator):  # type: ignore[misc]
    """What a command trains, as it trains it; the run is `run_`.

    Parameters
    ----------
    options : mapping or None
        Keys of the command's configuration as in YAML, such as ``{"mlp": {"epochs": 10}}``; they
        go before the other parameters.
    save_dir : str, path or None
        Run folder to write; None: one that goes with the estimator.
    random_state : int
        Seed.
    verbose : bool
        Whether the run prints what the command prints.

    Attributes
    ----------
    run_ : Path
        The run folder, which every command reads.
    """

    options: Mapping[str, Any] | None = None
    save_dir: str | Path | None = None
    random_state: int = 42
    verbose: bool = False

    def _run_in(
        self, folder: Path, values: Mapping[str, Any], train: Callable[..., object]
    ) -> Path:
        """Train by the values of a configuration, and return the run folder."""
        run = Path(self.save_dir or folder / _RUN)
        given = {"save_dir": str(run), "seed": self.random_state}
        all_values = merged({**values, **given}, self.options or {})
        out = nullcontext() if self.verbose else redirect_stdout(io.StringIO())
        err = nullcontext() if self.verbose else redirect_stderr(io.StringIO())
        with out, err:
            train(all_values)
        return run

    def _attached(self, run: Path) -> Self:
        """Take a run folder as what was fitted."""
        self.run_ = run
        self._loaded: Any = None
        return self

    def _own_folder(self) -> Path:
        """Return a new folder that goes with this object."""
        folder = Path(mkdtemp(prefix="molpool-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return folder

    def report(self) -> Report:
        """Return the page of the run, which a notebook shows; drawn when it is first asked for."""
        check_is_fitted(self, "run_")
        return Report.of(self.run_)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "run_" in state:
            # The files go along, as another process or machine has no such folder.
            state["_files"], state["_loaded"] = _packed(state.pop("run_")), None
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        files = state.pop("_files", None)
        super().__setstate__(state)
        if files is not None:
            self.run_ = self._own_folder() / _RUN
            with zipfile.ZipFile(io.BytesIO(files)) as archive:
                archive.extractall(self.run_)


def like(found: Any, X: Any) -> Any:
    """Return a frame of pandas as one of the library of X, with its index where that is pandas."""
    native = nw.from_native(X, allow_series=True, eager_only=True, pass_through=True)
    if not isinstance(native, (nw.DataFrame, nw.Series)):
        return found
    if native.implementation.is_pandas():
        return found.set_axis(nw.to_native(native).index)
    columns = {name: found[name].to_list() for name in found.columns}
    return nw.from_dict(columns, backend=native.implementation).to_native()


def mean_score(score: Any, truth: FloatArray, predicted: FloatArray) -> float:
    """Return the mean over tasks of a score on the labels that there are."""
    found = []
    for own, said in zip(truth.T, predicted.T, strict=True):
        known = np.isfinite(own) & np.isfinite(said)
        # Neither of one label nor of equal ones is there a score.
        if len(np.unique(own[known])) > 1:
            found.append(score(own[known], said[known]))
    return float(np.mean(found)) if found else np.nan


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested values of which those of `over` go first."""
    found = dict(base)
    for key, given in over.items():
        inner = found.get(key)
        if isinstance(inner, Mapping) and isinstance(given, Mapping):
            given = merged(inner, given)
        found[key] = given
    return found


def _packed(run: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(f for f in run.rglob("*") if f.is_file()):
            archive.write(file, file.relative_to(run))
    return buffer.getvalue()
