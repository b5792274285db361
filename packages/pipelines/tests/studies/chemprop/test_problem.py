"""After a study of molecules: the final configuration, and trees under its very folds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chemprop_multitask import Ensemble
from molpool_pipelines.studies import _baselines as baselines
from molpool_pipelines.studies import _member, _retraining
from molpool_pipelines.studies._config import RetrainConfig
from molpool_pipelines.studies._molecule_study import outer_test
from molpool_pipelines.studies._molecules import read_study_data
from molpool_pipelines.studies._outer_test import read_test_predictions
from molpool_pipelines.studies._scoring import MacroScore
from molpool_pipelines.studies._study import run_study
from molpool_pipelines.studies.chemprop._config import HPOChempropConfig
from molpool_pipelines.studies.chemprop._problem import (
    chemprop_kind,
    chemprop_problem,
    final_values,
)
from molpool_pipelines.tables import load_molecules, split_table

MakeConfig = Callable[..., HPOChempropConfig]


@pytest.mark.parametrize("fold_type", ["random", "scaffold"])
def test_trees_have_the_rows_of_the_study(make_config: MakeConfig, fold_type: str) -> None:
    config = make_config(study={"fold_type": fold_type, "n_folds": 2})
    study = read_study_data(config)
    data = chemprop_kind(config).tabular()
    assert len(data.rest) == len(study.rest)
    np.testing.assert_array_equal(data.rest.labels, study.rest.targets)
    for rows, fold in zip(data.folds, study.folds, strict=True):
        assert [study.rest.smiles[i] for i in rows.train] == list(fold.train.smiles)
        assert [study.rest.smiles[i] for i in rows.val] == list(fold.val.smiles)
        assert rows.scored.sum() == len(fold.columns)
    assert data.score.metrics == ("ma_rae",) * len(study.task_names)
    outer = outer_test(config)
    assert len(outer.test) == study.n_test
    assert not set(outer.ids) & set(study.rest.smiles)
    assert outer.test.features.shape[1] == data.rest.features.shape[1]


def test_final_training_is_on_all_but_the_outer_test(make_config: MakeConfig) -> None:
    config = make_config(training={"epochs": 30})
    kind = chemprop_kind(config)
    values = kind.final(kind.resolve({}), [{"best_epoch": e} for e in (4.0, 9.0, 5.0)])
    assert (values["training"]["epochs"], values["training"]["patience"]) == (5, None)
    final = HPOChempropConfig.model_validate(values)
    table = load_molecules(final.data, final.data_path)
    tables = split_table(table, final.data, final.seed)
    study = read_study_data(config)
    assert set(tables.train.smiles) == set(study.rest.smiles)
    assert list(tables.test.smiles) == list(outer_test(config).ids)
    assert len(tables.val) == 0


def test_a_curriculum_keeps_what_it_moves_on_by() -> None:
    values: dict[str, Any] = {
        "joint_sampling": {"enabled": True, "curriculum": {"enabled": True}},
        "training": {"epochs": 30, "patience": 5},
        "data": {},
    }
    assert final_values(values, [{"best_epoch": 4.0}]) == values


@pytest.mark.slow
def test_the_two_best_become_one_ensemble(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {
        name: {**settings, "n_estimators": 5} if "n_estimators" in settings else settings
        for name, settings in baselines.DEFAULTS.items()
    }
    monkeypatch.setattr(baselines, "DEFAULTS", few)

    def here(command: list[str], _path: Path) -> None:
        # A process each is tried in the tests of bags; it takes seconds to start.
        assert _member.main(command[3:]) == 0

    monkeypatch.setattr(_retraining, "_run_process", here)
    config = make_config(
        study={"n_trials": 2, "default_space": False, "baselines": True},
        space={"training.max_lr": {"low": 1e-3, "high": 1e-2, "log": True}},
    )
    study = tmp_path / "study"
    config = config.model_copy(update={"save_dir": str(study)})
    assert run_study(config, chemprop_problem, name="study") == 0
    _retraining.retrain(RetrainConfig(study_dir=str(study), k=2, baselines="all"))
    folder = study / "retrained" / "best-2"
    result = json.loads((folder / "metrics.json").read_text())
    tasks = config.data.target_columns
    each = [read_test_predictions(folder / f"member-00{i}", tasks).frame for i in range(2)]
    y = each[0].select(tasks).to_numpy().astype(float)
    p = [m.select(f"{t} predicted" for t in tasks).to_numpy() for m in each]
    score = MacroScore(("ma_rae",) * len(tasks))
    by_name = {m["name"]: m for m in result["models"]}
    assert result["models"][0]["outer"] == pytest.approx(score(y, p[0]))
    assert by_name["mean of the 2 best"]["outer"] == pytest.approx(score(y, (p[0] + p[1]) / 2))
    best = result["models"][0]
    assert best["optimism"] == pytest.approx(
        best["outer"] - best["inner"]
    )  # an error: less is more
    ensemble = Ensemble.load(folder / "models")
    mean, _ = ensemble.predict(each[0]["SMILES"].to_list())
    np.testing.assert_allclose(mean, (p[0] + p[1]) / 2, rtol=1e-4, atol=1e-4)
    known = json.loads((study / "baselines.json").read_text())
    forest = next(m for m in known["models"] if m["name"] == "random forest")
    assert forest["inner"] == by_name["random forest"]["inner"]
    assert "Baselines" in (study / "report.html").read_text()
