"""Units, order, files and names do not change what the command predicts, to 1e-8."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from molpool_pipelines.tables import TableFiles
from rt_ridge import SufficientStatistics

READERS: tuple[tuple[Any, str], ...] = (
    (TableFiles.chunks, "rows"),
    (SufficientStatistics.from_parquet, "chunk_rows"),
)
Numbers = npt.NDArray[np.float64]
Predict = Callable[..., Numbers]


def rows(seed: int = 0) -> pl.DataFrame:
    """Return 16 runs of two species and four compounds, their slopes of their own."""
    rng = np.random.default_rng(seed)
    runs = np.repeat(np.arange(16), 8)
    species, compound = np.tile(np.repeat([0, 1], 4), 16), np.tile(np.arange(4), 32)
    drift = rng.normal([8.0, 3.0], 1.0, size=(16, 2))[runs]
    slope = rng.normal(size=(4, 2)) * 0.3
    rt = 4 + 2.0 * compound + 0.2 * species + (slope[compound] * (drift - [8, 3])).sum(axis=1)
    return pl.DataFrame(
        {
            "run": [f"run_{i}" for i in runs],
            "species": species,
            "species_cluster": np.zeros(len(runs), dtype=np.int64),
            "comp_id": compound,
            "IS_1": drift[:, 0],
            "IS_2": drift[:, 1],
            "rt": rt + 0.05 * rng.normal(size=len(runs)),
        }
    )


@pytest.fixture(scope="module")
def predict(good: Callable[..., object], tmp_path_factory: pytest.TempPathFactory) -> Predict:
    """Return a function that fits tables and predicts others by the command."""

    def predicted(train: Sequence[pl.DataFrame], test: pl.DataFrame, *flags: str) -> Numbers:
        folder = tmp_path_factory.mktemp("same")
        paths: list[Path] = []
        for number, part in enumerate(train):
            paths.append(folder / f"train_{number}.csv")
            part.write_csv(paths[-1])
        test.write_csv(folder / "test.csv")
        good("fit", "--data", *paths, "--save-dir", folder / "fit", *flags)
        good(
            *("predict", "--artefact", folder / "fit", "--data", folder / "test.csv"),
            *("--output", folder / "out.csv"),
        )
        found = pl.read_csv(folder / "out.csv")
        return found.select("rt", "rt_sd", "rt_lower", "rt_upper").to_numpy()

    return predicted


SEEN = rows(1).filter(pl.col("run").is_in(["run_0", "run_1"]))
NEW = pl.concat([SEEN, SEEN.with_columns(species=pl.lit(5, pl.Int64)).head(8)])
"""Rows of pairs that were seen, and of a species that was not."""


@pytest.fixture(scope="module")
def reference(predict: Predict) -> Numbers:
    return predict([rows()], NEW)


def test_units_of_covariates(predict: Predict, reference: Numbers) -> None:
    scaled = [pl.col("IS_1") * 1e6, pl.col("IS_2") * 1e-6]
    found = predict([rows().with_columns(scaled)], NEW.with_columns(scaled))
    np.testing.assert_allclose(found, reference, rtol=1e-8)


def test_minutes_and_seconds(predict: Predict, reference: Numbers) -> None:
    seconds = predict([rows().with_columns(pl.col("rt") * 60)], NEW.with_columns(pl.col("rt") * 60))
    np.testing.assert_allclose(seconds / 60, reference, rtol=1e-8)


def test_order_of_rows_files_and_chunks(
    predict: Predict, reference: Numbers, monkeypatch: pytest.MonkeyPatch
) -> None:
    shuffled = rows().sample(fraction=1.0, shuffle=True, seed=3)
    for reader, size in READERS:
        monkeypatch.setitem(reader.__kwdefaults__, size, 7)
    found = predict([shuffled.head(50), shuffled.tail(-50)], NEW)
    np.testing.assert_allclose(found, reference, rtol=1e-8)


def test_names_of_species(predict: Predict, reference: Numbers) -> None:
    renamed = pl.col("species").replace_strict({0: 70, 1: 6, 5: 35})
    found = predict([rows().with_columns(renamed)], NEW.with_columns(renamed))
    np.testing.assert_allclose(found, reference, rtol=1e-8)


def test_a_copy_under_another_name_leaves_a_species_own_fit(predict: Predict) -> None:
    # Without a level above pairs the likelihood is that of the table, squared: σ stays.
    alone = ("--intercept-prior", "flat", "--lambda-slopes", "0.1", "--method", "reml")
    alone += ("--calibrate.enabled", "false")
    copy = rows().with_columns(pl.col("species") + 10)
    once, twice = (predict(train, SEEN, *alone) for train in ([rows()], [rows(), copy]))
    np.testing.assert_allclose(twice, once, rtol=1e-6)
