"""Models on features, from a table to a run folder and back."""

import json
import shutil
from hashlib import blake2b
from typing import Any

import numpy as np
import polars as pl
import pytest
from chemprop_multitask import ChempropModel
from molecule_features import FeatureError, FeatureVersionWarning
from molpool_common import InputError, flag_names, load_config
from molpool_pipelines.demo import build_demo
from molpool_pipelines.evaluation import compare
from molpool_pipelines.fitting import (
    TrainAutoCommand,
    TrainAutoConfig,
    TrainBlendConfig,
    TrainTabularConfig,
    train_auto,
    train_tabular,
)
from molpool_pipelines.fitting._auto import choose
from molpool_pipelines.fitting._budget import Budget
from molpool_pipelines.fitting._costs import Cost
from molpool_pipelines.fitting._related import check_use
from molpool_pipelines.fitting._tabular_fits import Fits
from molpool_pipelines.models import (
    LEVEL,
    PredictConfig,
    TabularModel,
    load_model,
    predict_table,
)
from molpool_pipelines.runs import read_metrics, read_run_predictions
from molpool_pipelines.scores import CompareConfig
from molpool_pipelines.tables import DataConfig
from multitask_models import ModelError, MultitaskMLP

TASKS = ["logP", "TPSA"]
CEILING = 60.0


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """The demo's molecules with two properties that features tell well, one with a ceiling."""
    from rdkit import Chem
    from rdkit.Chem.rdMolDescriptors import CalcCrippenDescriptors, CalcTPSA

    smiles = build_demo(n=240)["SMILES"].to_list()
    mols = [Chem.MolFromSmiles(s) for s in smiles]
    path = tmp_path_factory.mktemp("tabular") / "table.csv"
    pl.DataFrame(
        {
            "SMILES": smiles,
            "logP": [CalcCrippenDescriptors(m)[0] for m in mols],
            "TPSA": [min(CalcTPSA(m), CEILING) if i % 3 else None for i, m in enumerate(mols)],
        }
    ).write_csv(path)
    return path


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "run"
    config = TrainTabularConfig(
        data_path=str(table),
        save_dir=str(path),
        features="morgan_count",
        folds=3,
        mlp={"members": 2, "hidden": 64, "epochs": 30},
        learning_curve=[0.2, 1],
        data=DataConfig(
            target_columns=TASKS, split_ratios=(0.6, 0.2, 0.2), predict_path=str(table)
        ),
    )
    return train_tabular(config)


@pytest.mark.slow
def test_all_rows_are_in_the_folder_once_and_the_test_rows_have_intervals(run, table):
    found = read_run_predictions(run)
    assert sorted(found["row"]) == list(range(1, 241))
    assert set(found["split"]) == {"val", "test"}
    test = found.filter(pl.col("split") == "test")
    assert (test["logP_lower"] < test["logP predicted"]).all()
    assert found.filter(pl.col("split") == "val")["logP_lower"].null_count() == found.height - 48
    metrics = read_metrics(run / "metrics.json")
    assert metrics.kind == "tabular"
    assert (metrics.splits["test"].tasks["logP"].metrics["ma_rae"].value or 1) < 0.7
    held = metrics.splits["test"].intervals["logP"]
    assert held["n"] == 48
    # 48 rows at 90 %: fewer than 36 inside happens once in a thousand.
    assert held["inside"] >= 0.75
    page = (run / "report.html").read_text()
    assert "Intervals" in page
    assert "median width" in page
    assert "Plain shuffling" not in page


@pytest.mark.slow
def test_fewer_rows_say_whether_more_would_help(run):
    found = read_metrics(run / "metrics.json").splits["test"]
    fewer, every = found.learning_curve
    assert (fewer.share, every.share) == (0.2, 1)
    assert fewer.n < 0.25 * every.n
    # All of them are the run's own model, to the last digit.
    assert every.macro["ma_rae"].value == found.macro["ma_rae"].value
    assert (fewer.macro["ma_rae"].value or 0) > (every.macro["ma_rae"].value or 1)
    assert found.more_data is not None
    assert found.more_data in (run / "report.html").read_text()


@pytest.mark.slow
def test_simple_models_stand_beside_it_on_the_same_rows(run, table, tmp_path):
    found = read_metrics(run / "metrics.json").splits["test"].baselines
    assert found is not None
    assert set(found.models) == {"mean", "neighbours", "lightgbm"}
    rows = read_run_predictions(run).filter(pl.col("split") != "test")
    assert found.trained_on == rows.height
    same = rows.select("source", "row").sort("source", "row").rows()
    assert found.rows == blake2b(repr(same).encode(), digest_size=16).hexdigest()
    assert found.models["mean"].tasks["logP"].metrics["ma_rae"].value == pytest.approx(1, abs=0.2)
    assert len(found.sentences) == len(TASKS)
    assert "network is" in found.sentences[0]
    assert found.sentences[0] in (run / "report.html").read_text()
    output = tmp_path / "out.parquet"
    model = run / "baselines" / "lightgbm"
    predict_table(PredictConfig(model_dir=str(model), data_path=str(table), output=str(output)))
    assert read_run_predictions(output.parent, output.name)["logP predicted"].null_count() == 0


@pytest.mark.slow
def test_simple_models_are_compared_as_any_model_is(run, table, tmp_path):
    models = [str(run), str(run / "baselines" / "lightgbm")]
    stored = read_metrics(run).splits["test"]
    for more in ({"predictions": models}, {"model_dirs": models, "test_data": str(table)}):
        output = str(tmp_path / f"compared-{len(more)}.csv")
        config = CompareConfig.model_validate({**more, "output": output, "metrics": ["ma_rae"]})
        found, _ = compare(config)
        values = {v.model: v.value for v in found.values if v.task == "logP"}
        if "predictions" in more:
            own = stored.tasks["logP"].metrics["ma_rae"].value
            assert values[found.models[0]] == pytest.approx(own, rel=1e-12)
            assert stored.baselines is not None
            theirs = stored.baselines.models["lightgbm"].tasks["logP"].metrics["ma_rae"].value
            assert values[found.models[1]] == pytest.approx(theirs, rel=1e-9)
        assert len(values) == 2


@pytest.mark.slow
def test_predict_gives_the_numbers_and_intervals_of_the_run(run, table, tmp_path):
    output = tmp_path / "out.parquet"
    predict_table(PredictConfig(model_dir=str(run), data_path=str(table), output=str(output)))
    again = read_run_predictions(output.parent, output.name)
    found = read_run_predictions(run).filter(pl.col("split") == "test")
    same = again[found["row"].cast(pl.Int64) - 1]
    for column in ("logP predicted", "logP_sd", "logP_lower", "TPSA_upper"):
        np.testing.assert_allclose(same[column], found[column], rtol=1e-6)
    unseen = pl.read_parquet(run / "predictions_table.parquet")
    np.testing.assert_allclose(unseen["logP"], again["logP predicted"], rtol=1e-6)


@pytest.mark.slow
def test_predictions_end_at_a_limit_unless_what_lies_behind_it_is_asked_for(run, table, tmp_path):
    notes = read_metrics(run / "metrics.json").notes
    assert any("learnt as bounds" in note and "labels at or above 60" in note for note in notes)
    assert not any("bounds" in note and "logP" in note for note in notes)
    found = {}
    for latent in (False, True):
        output = str(tmp_path / f"{latent}.parquet")
        config = PredictConfig(
            model_dir=str(run), data_path=str(table), output=output, latent=latent
        )
        predict_table(config)
        found[latent] = read_run_predictions(tmp_path, f"{latent}.parquet")
    reported, latent = (found[asked]["TPSA predicted"].to_numpy() for asked in (False, True))
    assert reported.max() == CEILING
    beyond = latent > CEILING
    assert 0 < beyond.sum() < 240
    np.testing.assert_array_equal(reported, np.where(beyond, CEILING, latent))
    assert (found[False]["TPSA_upper"] <= CEILING).all()
    assert (found[True]["TPSA_upper"].to_numpy()[beyond] > CEILING).all()
    np.testing.assert_array_equal(found[True]["logP_upper"], found[False]["logP_upper"])
    odds = found[False]["TPSA_at_ceiling"].to_numpy()
    # Those that are predicted beyond the ceiling stand there more often than all others.
    assert odds[beyond].min() >= odds[~beyond].max() > 0
    assert not [c for c in found[True].columns if "_at_" in c or c == "logP_at_ceiling"]
    ours = read_run_predictions(run).filter(split="test")
    same = found[False][ours["row"].cast(pl.Int64).to_numpy() - 1]["TPSA_at_ceiling"]
    np.testing.assert_allclose(ours["TPSA_at_ceiling"], same, rtol=1e-6)


@pytest.mark.slow
def test_several_levels_give_nested_intervals(run, table, tmp_path):
    output = tmp_path / "out.parquet"
    config = PredictConfig(
        model_dir=str(run), data_path=str(table), output=str(output), level=[0.5, LEVEL]
    )
    predict_table(config)
    found = read_run_predictions(output.parent, output.name)
    assert (found["logP_lower_90"] < found["logP_lower_50"]).all()
    assert (found["logP_upper_50"] < found["logP_upper_90"]).all()
    assert "logP_lower" not in found.columns


@pytest.mark.slow
def test_a_loaded_model_says_why_a_molecule_has_no_prediction(run):
    predicted = load_model(run).predict(["CCO", "C" * 600], 1)
    assert predicted.reasons[0] is None
    assert "500" in str(predicted.reasons[1])
    assert np.isnan(predicted.mean[1]).all()


def test_levels_are_shares():
    with pytest.raises(ValueError, match="between 0 and 1"):
        PredictConfig(level=[90])


@pytest.mark.parametrize(
    ("text", "right"), [("10m", True), ("90", True), ("0s", False), ("x", False)]
)
def test_a_time_budget_is_a_duration(text, right):
    if right:
        assert TrainAutoConfig(time_budget=text).time_budget == text
    else:
        with pytest.raises(ValueError, match="duration"):
            TrainAutoConfig(time_budget=text)


def test_auto_chooses_columns_and_split_and_says_so(table):
    config, notes = choose(TrainAutoConfig(data_path=str(table)))
    assert config.data.target_columns == TASKS
    assert config.data.split_type == "scaffold"
    assert any("logP" in note for note in notes)
    assert any("other scaffolds" in note for note in notes)
    named = TrainAutoConfig(data_path=str(table), data=DataConfig(target_columns=["TPSA"]))
    assert choose(named)[0].data.target_columns == ["TPSA"]


def test_auto_splits_a_series_on_few_scaffolds_at_random(tmp_path):
    path = tmp_path / "series.csv"
    rows = "".join(f"{'C' * n}c1ccccc1,{n / 2}\n" for n in range(1, 60))
    path.write_text("SMILES,logP\n" + rows)
    config, notes = choose(TrainAutoConfig(data_path=str(path)))
    assert config.data.split_type == "random"
    assert any("at random" in note for note in notes)
    given = DataConfig(split_column="part")
    chosen, said = choose(TrainAutoConfig(data_path=str(path), data=given))
    assert chosen.data.split_type == "random"
    assert not any(note.startswith("Split") for note in said)


def test_auto_learns_labels_with_a_long_tail_as_logarithms(tmp_path):
    path = tmp_path / "clearance.csv"
    rows = "".join(f"{'C' * n}O,{n / 2},{1.1**n:.3f},>{1.1**n:.3f}\n" for n in range(1, 91))
    path.write_text("SMILES,logP,CLint,bound\n" + rows)
    config, notes = choose(TrainAutoConfig(data_path=str(path)))
    assert config.data.transform == {"CLint": "log10", "bound": "log10"}
    assert any("Learnt as log10 x" in note and "CLint, bound" in note for note in notes)
    converted = {"CLint": ["log10"], "bound": ["log10"]}
    for own in ({"transform": {"logP": "asinh"}}, {"transforms": converted}):
        data = config.data.model_copy(update={"transform": {}, **own})
        kept, _ = choose(TrainAutoConfig(data_path=str(path), data=data))
        assert kept.data.transform == own.get("transform", {})
    plain = TrainAutoConfig(data_path=str(path), choose_scale=False)
    assert choose(plain)[0].data.transform == {}


def test_auto_leaves_what_the_user_chose(table):
    data = DataConfig(target_columns=["TPSA"], split_type="cluster")
    config = TrainAutoConfig(data_path=str(table), data=data, choose_split=False)
    assert choose(config) == (config, [])
    data = data.model_copy(update={"split_type": "stratified"})
    config = TrainAutoConfig(data_path=str(table), data=data)
    assert choose(config) == (config, [])


@pytest.mark.slow
def test_models_that_take_longer_than_the_budget_are_left_out_and_said(table, tmp_path):
    config = TrainAutoConfig(
        data_path=str(table),
        save_dir=str(tmp_path / "run"),
        features="morgan_count",
        model=["mlp", "gp"],
        folds=2,
        time_budget="0.001s",
        mlp={"members": 1, "hidden": 16, "epochs": 2},
    )
    run = train_auto(config)
    notes = read_metrics(run / "metrics.json").notes
    assert any(n.startswith("Left out") and "Gaussian process" in n for n in notes)


@pytest.mark.parametrize(
    ("seconds", "weighed", "said"),
    [
        ({"neighbours": 1e9, "mean": 0.0}, {"mean"}, ["Left out, as it would take longer"]),
        (
            {"neighbours": 1e9, "mean": 1e6},
            {"mean"},
            ["No model has time in the budget: mean of the task alone", "of 1 of 5 folds"],
        ),
        ({"neighbours": 0.0, "mean": 0.0, "lightgbm": 1e9}, {"mean", "neighbours"}, ["LightGBM"]),
        ({"neighbours": 400.0, "mean": 400.0}, {"mean", "neighbours"}, ["of 2 of 5 folds"]),
    ],
)
def test_a_budget_is_for_the_cheapest_first(table, tmp_path, monkeypatch, seconds, weighed, said):
    monkeypatch.setattr(
        Fits, "cost", lambda self, plan, one=False: Cost(seconds.get(plan.name, 0.0))
    )
    config = TrainAutoConfig(
        data_path=str(table),
        save_dir=str(tmp_path / "run"),
        features="morgan_count",
        model=["neighbours", "mean"],
        time_budget="1h",
        page=False,
    )
    path = train_auto(config)
    model = load_model(path)
    assert isinstance(model, TabularModel)
    assert set(model.blend.names) == weighed
    metrics = read_metrics(path / "metrics.json")
    assert all(any(words in note for note in metrics.notes) for words in said)
    beside = metrics.splits["test"].baselines
    assert beside is not None
    assert ("lightgbm" in beside.models) == ("lightgbm" not in seconds)


@pytest.mark.parametrize("networks", [2, 3])
def test_what_is_left_of_a_budget_is_for_more_networks(table, tmp_path, monkeypatch, networks):
    def trained(name, **options):
        config = TrainBlendConfig(
            data_path=str(table),
            save_dir=str(tmp_path / name),
            features="morgan_count",
            model=["mlp", "mean"],
            folds=2,
            page=False,
            baselines="none",
            data=DataConfig(target_columns=TASKS, split_type="scaffold"),
            **options,
        )
        return train_tabular(config)

    size = {"hidden": 16, "epochs": 3}
    whole = trained("whole", mlp={"members": networks, **size})
    # Three at once have no time by what was told of them, but one has, and it takes no time at all.
    monkeypatch.setattr(
        Fits, "cost", lambda self, plan, one=False: Cost(1e9 * (plan.name == "mlp" and not one))
    )
    grown = Fits._grown

    def until(self, found):
        done = grown(self, found)
        if self.networks == networks:
            self._budget.promise(1e9)
        return done

    monkeypatch.setattr(Fits, "_grown", until)
    path = trained("grown", mlp={"members": 3, **size}, time_budget="1h")
    ours, theirs = (read_run_predictions(run) for run in (path, whole))
    for column in ("logP predicted", "TPSA predicted", "logP_sd", "logP_lower"):
        np.testing.assert_allclose(ours[column], theirs[column], rtol=0, atol=1e-4)
    notes = read_metrics(path / "metrics.json").notes
    said = "For the time budget, 2 networks in the place of 3."
    assert (said in notes) == (networks == 2)
    model = load_model(path)
    assert isinstance(model, TabularModel)
    (network,) = (m for m in model.blend.members if isinstance(m, MultitaskMLP))
    assert network.members == networks


def test_simple_models_see_nothing_slow_that_the_budget_left_out(table, tmp_path, monkeypatch):
    def kept(self, names, smiles, compute):
        return (["morgan_count"], []) if len(names) > 1 else (names, [])

    monkeypatch.setattr(Budget, "affordable", kept)
    for features, seen in (
        ("rdkit2d+morgan_count", "morgan_count"),
        ("rdkit2d", "rdkit2d+morgan_count"),
    ):
        config = TrainAutoConfig(
            data_path=str(table),
            save_dir=str(tmp_path / features),
            features=features,
            model=["mean"],
            folds=2,
            time_budget="1h",
            baselines="fast",
            page=False,
        )
        path = train_auto(config)
        model = load_model(path / "baselines" / "neighbours")
        assert isinstance(model, TabularModel)
        assert list(model.signature["features"]) == seen.split("+")


def test_a_run_of_a_simple_model_is_not_called_as_that_beside_it(table, tmp_path):
    config = TrainTabularConfig(
        data_path=str(table),
        save_dir=str(tmp_path / "run"),
        features="morgan_count",
        model=["lightgbm"],
        data=DataConfig(target_columns=["logP"], cache_dir="none"),
        folds=2,
        baselines="fast",
        page=False,
    )
    beside = read_metrics(train_tabular(config) / "metrics.json").splits["test"].baselines
    assert beside is not None
    (said,) = beside.sentences
    assert "the LightGBM is" in said
    assert "than the plain LightGBM" in said


def test_models_and_groups_of_networks_are_flags():
    for config in (TrainTabularConfig, TrainBlendConfig, TrainAutoConfig):
        assert {"--model", "--chemprop.groups", "--chemprop.model.message-passing.depth"} <= set(
            flag_names(config)
        )


SMALL_NETWORKS = {
    "groups": ["logP"],
    "model": {"message_passing": {"hidden_size": 16, "depth": 2}},
    "training": {"epochs": 2},
}


@pytest.mark.slow
def test_chemprop_networks_are_a_member_of_a_blend(table, tmp_path, capsys):
    config = TrainBlendConfig(
        data_path=str(table),
        save_dir=str(tmp_path / "run"),
        features="morgan_count",
        model=["chemprop", "neighbours"],
        folds=2,
        baselines="none",
        chemprop=SMALL_NETWORKS,
        data=DataConfig(target_columns=TASKS, split_ratios=(0.6, 0.2, 0.2)),
    )
    path = train_tabular(config)
    assert config.chemprop.network.training.loss == "mae"
    said = " ".join(capsys.readouterr().out.split())
    assert "Chemprop networks: logP." in said
    assert "1 networks, 16 wide, depth 2, 2 epochs, fitted 3 times: about" in said
    members = json.loads((path / "model" / "model.json").read_text())["members"]
    weights = {member["name"]: member["weights"] for member in members}
    assert weights["chemprop"]["TPSA"] == 0  # left to the other
    assert weights["neighbours"]["TPSA"] == 1
    output = tmp_path / "out.parquet"
    predict_table(PredictConfig(model_dir=str(path), data_path=str(table), output=str(output)))
    found = pl.read_parquet(path / "predictions.parquet").filter(pl.col("split") == "test")
    same = pl.read_parquet(output)[found["row"].cast(pl.Int64) - 1]
    for column in ("logP", "TPSA", "logP_lower"):
        np.testing.assert_allclose(same[column], found[column], rtol=1e-5)
    networks = path / "model" / "member-000-chemprop"
    assert ChempropModel.load(networks).task_names == ("logP",)
    shutil.rmtree(networks)
    with pytest.raises(InputError, match=r"member-000-chemprop.*found no file"):
        load_model(path)


def test_networks_that_would_take_longer_than_the_budget_are_not_begun(table, tmp_path):
    config = TrainAutoConfig(
        data_path=str(table),
        save_dir=str(tmp_path / "run"),
        features="morgan_count",
        model=["mean", "chemprop"],
        folds=2,
        time_budget="20s",
        baselines="none",
        chemprop={**SMALL_NETWORKS, "training": {"epochs": 1_000_000}},
    )
    notes = read_metrics(train_auto(config) / "metrics.json").notes
    assert any("longer than the time budget: Chemprop" in note for note in notes)


@pytest.mark.slow
def test_damaged_models_are_refused_by_name(run, table, tmp_path):
    for name, damage in (
        ("model.json", lambda b: b.replace(b'"task_types"', b'"types"')),
        ("model.json", lambda b: b.replace(b'"name": "mlp"', b'"name": "xyz"')),
        ("member-000-mlp.npz", lambda b: b[:60] + b"\xff" * 40 + b[100:]),
        ("member-000-mlp.npz", None),
    ):
        folder = tmp_path / "copy"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(run, folder)
        file = folder / "model" / name
        if damage is None:
            file.unlink()
        else:
            file.write_bytes(damage(file.read_bytes()))
        with pytest.raises((InputError, ModelError), match="model"):
            load_model(folder)


def test_a_table_without_numbers_is_refused(tmp_path):
    path = tmp_path / "names.csv"
    path.write_text("SMILES,name\nCCO,ethanol\nCCN,ethylamine\n")
    with pytest.raises(InputError, match="a column of numbers"):
        choose(TrainAutoConfig(data_path=str(path)))


def test_an_interrupted_run_names_the_command_that_goes_on(table, tmp_path, monkeypatch):
    from molpool_pipelines.fitting import _tabular_run

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(_tabular_run, "_fit_and_write", stop)
    config = TrainAutoConfig(
        data_path=str(table), save_dir=str(tmp_path / "run"), features="morgan_count", folds=2
    )
    with pytest.raises(KeyboardInterrupt, match="molpool-train auto --resume --save-dir"):
        train_auto(config)
    stored = load_config(TrainAutoConfig, tmp_path / "run" / "config.resolved.yaml")
    assert stored.data.target_columns == TASKS


QUICK: dict[str, Any] = {
    "features": "morgan_count",
    "model": ["mlp"],
    "folds": 2,
    "mlp": {"members": 1, "hidden": 16, "epochs": 2},
    "baselines": "none",
}


@pytest.mark.slow
def test_auto_is_cross_validated_by_the_split_that_it_chose(table, tmp_path):
    config = TrainAutoCommand(
        data_path=str(table), save_dir=str(tmp_path / "cv"), cv={"folds": 2}, **QUICK
    )
    run = train_auto(config)
    found = pl.read_parquet(run / "predictions.parquet")
    assert sorted(found["row"]) == list(range(1, 241))
    assert set(found["fold"]) == {0, 1}
    one = load_config(TrainAutoConfig, run / "folds" / "repeat-0-fold-0" / "config.resolved.yaml")
    assert one.data.split_type == "scaffold"
    assert one.data.target_columns == TASKS


@pytest.mark.slow
def test_a_constant_target_is_predicted_and_said(table, tmp_path):
    path = tmp_path / "constant.csv"
    pl.read_csv(table).with_columns(pl.lit(2.5).alias("same")).head(120).write_csv(path)
    data = DataConfig(target_columns=["logP", "same"], split_ratios=(0.7, 0.1, 0.2))
    run = train_tabular(
        TrainTabularConfig(data_path=str(path), save_dir=str(tmp_path / "run"), data=data, **QUICK)
    )
    notes = read_metrics(run / "metrics.json").notes
    assert any("labels are equal" in note and "same (2.5)" in note for note in notes)
    assert set(read_run_predictions(run)["same predicted"]) == {2.5}


@pytest.mark.slow
def test_features_that_are_not_there_or_of_another_version(run, tmp_path):
    for key, value, error in (
        ("features", "own_count", FeatureError),
        ("versions", "0-earlier", FeatureVersionWarning),
    ):
        folder = tmp_path / key
        shutil.copytree(run / "model", folder)
        described = json.loads((folder / "model.json").read_text())
        described["features"][key] = [value]
        (folder / "model.json").write_text(json.dumps(described))
        model = load_model(folder)
        caught: Any = pytest.warns if issubclass(error, Warning) else pytest.raises
        with caught(error, match=value):
            model.predict(["CCO"], 1)


def test_heads_need_a_network():
    cases: list[tuple[dict[str, Any], str]] = [
        ({"model": ["gp"]}, "mlp"),
        ({"joint_sampling": {"enabled": True}}, "joint"),
    ]
    for more, words in cases:
        config = TrainTabularConfig(related={"tables": ["x.csv"], "use": "heads"}, **more)
        first = config.related.model_copy(update={"use": "pretraining"})
        if "model" in more:
            with pytest.raises(InputError, match=r"mlp among model.*as pretraining"):
                check_use(first, config.model, drawn=False)
        else:  # draws rows of the tasks, after what was learnt first
            check_use(first, config.model, drawn=True)
        with pytest.raises(InputError, match=words):
            check_use(config.related, config.model, drawn=config.joint_sampling.enabled)


def test_a_distilled_network_is_compared_in_the_units_of_the_run(table, tmp_path, capsys):
    config = TrainBlendConfig(
        data_path=str(table),
        save_dir=str(tmp_path / "run"),
        features="morgan_count",
        model=["neighbours", "mean"],
        folds=2,
        page=False,
        baselines="none",
        distill=True,
        mlp={"hidden": 16, "epochs": 2},
        data=DataConfig(target_columns=TASKS, transform={"TPSA": "log10p1"}),
    )
    path = train_tabular(config)
    metrics = read_metrics(path / "metrics.json")
    (note,) = (note for note in metrics.notes if note.startswith("Distilled into one network"))
    own = metrics.splits["test"].macro["ma_rae"].value
    assert note.endswith(f"where the models together have RAE {own:.3f}.")
    # Said on the screen too, where it is asked for.
    assert "Distilled into one network" in capsys.readouterr().out
    assert "without intervals" in note


def test_a_table_to_distill_by_needs_distilling():
    with pytest.raises(ValueError, match="distill: expected true"):
        TrainTabularConfig(distill_path="more.csv")


@pytest.mark.slow
def test_one_molecule_alone_is_refused(tmp_path):
    path = tmp_path / "same.csv"
    path.write_text("SMILES,y\n" + "".join(f"OCC,{i / 3}\n" for i in range(60)))
    config = TrainAutoConfig(data_path=str(path), save_dir=str(tmp_path / "run"))
    with pytest.raises(InputError, match="molecules"):
        train_auto(config)
    assert not (tmp_path / "run").exists()
