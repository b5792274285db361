"""Nothing of the outer test reaches a study: a guard, and leaks planted to see that it sees them.

The guard runs a whole study twice, baselines included: on a table, and on the same table whose
outer test bags have features a million times larger, a column that varies there alone, and their
labels turned round. Every quantity that is fitted and every score must be the same to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mil_attn
import numpy as np
import polars as pl
import pytest
import torch
from mil_attn import BagData, FeatureScaler, MILConfig, fit, read_bags, split_bags
from molpool_common import validate_values
from molpool_pipelines.studies import _baselines as baselines
from molpool_pipelines.studies._snapshot import StudySnapshot, read_study
from molpool_pipelines.studies._study import run_study
from molpool_pipelines.studies._trials import folds_of, params_of
from molpool_pipelines.studies.mil import _objective as objective
from molpool_pipelines.studies.mil._config import HPOMILConfig
from molpool_pipelines.studies.mil._problem import mil_problem

pytestmark = pytest.mark.slow

Observed = dict[str, Any]
Leak = Callable[[pytest.MonkeyPatch, BagData], None]
N, TESTED = 48, 3
PLACES = ("scaling", "constant columns", "thresholds", "early stopping", "scores", "choice")


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A table of bags, and one with another outer test (fold 3)."""
    folder = tmp_path_factory.mktemp("leaks")
    rng = np.random.default_rng(0)
    bag = np.repeat(np.arange(N), rng.integers(1, 4, N))
    x = rng.normal(size=(len(bag), 4))
    largest = np.array([x[bag == b, 0].max() for b in range(N)])
    y = (largest > 0.5).astype(int)[bag]
    tested = bag % 4 == TESTED
    paths = []
    for name, factor in (("clean", 1.0), ("poisoned", 1e6)):
        poisoned = factor > 1
        features = np.where(tested[:, None], factor * x, x)
        frame = pl.DataFrame(
            {
                "bag_id": [f"b{b}" for b in bag],
                "y": np.where(tested & poisoned, 1 - y, y),
                "fold": bag % 4,
                **{f"f{j + 1}": features[:, j] for j in range(4)},
                "f5": np.where(tested & poisoned, x[:, 1], 0.0),
            }
        )
        paths.append(folder / f"{name}.csv")
        frame.write_csv(paths[-1])
    return paths[0], paths[1]


def configuration(path: Path, save_dir: Path) -> HPOMILConfig:
    small = {"inst_hidden": 8, "inst_layers": 1, "mixer_hidden": 8, "mixer_layers": 1}
    values = {
        "data_path": str(path),
        "save_dir": str(save_dir),
        "data": {"kind": "bags", "target_columns": ["y"]},
        "split": {"split_type": "stored", "fold_column": "fold", "fold": TESTED},
        "model": {**small, "use_2d": False, "proj_dim": 8, "attn_heads": 2},
        "training": {
            "epochs": 3,
            "lr": 0.02,
            "batch_size": 8,
            "accumulate_grad_batches": 1,
            "accelerator": "cpu",
        },
        "study": {
            "n_trials": 2,
            "n_folds": 2,
            "fold_type": "multilabel",
            "default_space": False,
            "baselines": True,
        },
        "space": {"lr": {"low": 1e-3, "high": 5e-2, "log": True}},
    }
    return validate_values(HPOMILConfig, values)


def outer_test(config: HPOMILConfig) -> BagData:
    assert config.data_path is not None
    bags = read_bags(config.data_path, config.data, config)
    return bags.take(split_bags(bags, config).test)


def observe(path: Path, folder: Path, leak: Leak | None) -> Observed:
    """Run a study, with a leak planted in it if there is one, and return all that was fitted."""
    config = configuration(path, folder)
    test = outer_test(config)
    seen: Observed = {place: [] for place in PLACES}
    with pytest.MonkeyPatch.context() as patch:
        few = {
            name: {**settings, "n_estimators": 5} if "n_estimators" in settings else settings
            for name, settings in baselines.DEFAULTS.items()
        }
        patch.setattr(baselines, "DEFAULTS", few)
        if leak is not None:
            leak(patch, test)
        watch(patch, seen)
        torch.set_num_threads(1)
        run_study(config, mil_problem, name="leaks")
        stored = read_study(folder)
        best = stored.best()[0]
        resolved = (folder / "best.yaml").read_text().replace(str(path), "")
        seen["choice"] = [best.number, params_of(best), resolved]
    for trial in stored.trials:
        seen["scores"].append([(f["value"], f["numbers"]) for f in folds_of(trial)])
        seen["scores"].append([trial.value, trial.state, trial.intermediate_values])
    seen["scores"].append((folder / "baselines.json").read_text())
    return seen


def watch(patch: pytest.MonkeyPatch, seen: Observed) -> None:
    """Note what is fitted."""
    train, columns = objective.fit, baselines.varied_columns

    def watched_fit(*arguments: Any, **options: Any) -> Any:
        result = train(*arguments, **options)
        module: Any = result.module
        seen["scaling"].append(module.scaler.to_dict())
        seen["scaling"].append(module.objective.focal.pos_weight.tolist())
        seen["thresholds"].append(module.thresholds.tolist())
        weights = {k: v.tolist() for k, v in module.state_dict().items()}
        seen["early stopping"].append((result.best_epoch, weights))
        return result

    def watched_columns(features: Any) -> Any:
        found = columns(features)
        seen["constant columns"].append(found.tolist())
        return found

    patch.setattr(objective, "fit", watched_fit)
    patch.setattr(baselines, "varied_columns", watched_columns)


def differences(one: Observed, other: Observed) -> list[str]:
    """Return the places where two studies differ in a single bit."""
    return [place for place in PLACES if repr(one[place]) != repr(other[place])]


def check_blind(tables: tuple[Path, Path], folder: Path, leak: Leak | None = None) -> None:
    """Raise AssertionError, naming the places, if the outer test has any influence."""
    clean, poisoned = (observe(path, folder / path.stem / "study", leak) for path in tables)
    assert all(clean[place] for place in PLACES), "something was not looked at"
    found = differences(clean, poisoned)
    assert not found, f"the outer test reaches {found}"


def test_nothing_of_the_outer_test_reaches_the_study(
    tables: tuple[Path, Path], tmp_path: Path
) -> None:
    check_blind(tables, tmp_path)


def leak_scaling(patch: pytest.MonkeyPatch, test: BagData) -> None:
    """Scale by training and test bags."""
    honest = FeatureScaler.fit

    def of_all(train: BagData) -> FeatureScaler:
        assert train.instances is not None
        assert test.instances is not None
        both = train.replace(
            ids=[*train.ids, *test.ids],
            instances=np.concatenate([train.instances, test.instances]),
            offsets=np.concatenate([train.bounds, test.bounds[1:] + train.bounds[-1]]),
            labels=None,
            task_names=(),
            instance_ids=None,
        )
        return honest(both)

    patch.setattr(FeatureScaler, "fit", of_all)


def leak_constant_columns(patch: pytest.MonkeyPatch, test: BagData) -> None:
    """Keep the columns that vary in training or test."""
    honest = baselines.varied_columns
    from molpool_pipelines.studies._kinds import pooled_features

    def of_all(features: Any) -> Any:
        return honest(np.concatenate([features, pooled_features(test)]))

    patch.setattr(baselines, "varied_columns", of_all)


def leak_thresholds(patch: pytest.MonkeyPatch, test: BagData) -> None:
    """Choose the threshold by the share of positives in the test."""
    honest = mil_attn.decision_thresholds
    assert test.labels is not None
    share = test.labels.mean(axis=0)

    def leaking(*given: Any, **options: Any) -> Any:
        return 0 * honest(*given, **options) + (1 - share)

    patch.setattr(f"{fit.__module__}.decision_thresholds", leaking)


def leak_early_stopping(patch: pytest.MonkeyPatch, test: BagData) -> None:
    """Keep the epoch that is best on the test."""

    def by_test(config: MILConfig, train: BagData, _val: BagData, **options: Any) -> Any:
        return fit(config, train, test, **options)

    patch.setattr(objective, "fit", by_test)


def leak_choice(patch: pytest.MonkeyPatch, test: BagData) -> None:
    """Turn the order of trials round if the test says so."""
    honest = StudySnapshot.complete
    assert test.labels is not None
    turned = bool(test.labels[0, 0] == 1)

    def by_test(self: StudySnapshot) -> Any:
        done = honest(self)
        return done[::-1] if turned else done

    patch.setattr(StudySnapshot, "complete", by_test)


@pytest.mark.parametrize(
    ("leak", "place"),
    [
        (leak_scaling, "scaling"),
        (leak_constant_columns, "constant columns"),
        (leak_thresholds, "thresholds"),
        (leak_early_stopping, "early stopping"),
        (leak_choice, "choice"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_fault_a_leak_is_caught(
    leak: Leak, place: str, tables: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(AssertionError, match=f"the outer test reaches .*'{place}'"):
        check_blind(tables, tmp_path, leak)
