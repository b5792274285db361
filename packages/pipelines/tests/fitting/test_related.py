"""Related assays: joined by structure, never of what is tested, kept only where they help."""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from molecule_features import featurize
from molpool_common import InputError, ReadConfig
from molpool_pipelines.fitting import RelatedConfig, TrainTabularConfig, _related, train_tabular
from molpool_pipelines.fitting._related import (
    parts_of,
    read_related,
    surrogate_columns,
    with_columns,
    with_heads,
)
from molpool_pipelines.fitting._related_use import (
    LEAST_GAIN,
    Plan,
    Verdict,
    best_uses,
    judged,
    plans_of,
    sentences,
)
from molpool_pipelines.models import PredictConfig, load_model, predict_table
from molpool_pipelines.runs import read_metrics, read_run_predictions
from molpool_pipelines.tables import DataConfig, load_molecules

DATA = DataConfig(cache_dir="none")


@pytest.fixture(scope="module", autouse=True)
def small_surrogates():
    """Networks of related tables that learn in no time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_related, "SURROGATE", {"members": 1, "hidden": 32, "epochs": 30})
        yield


def molecules(n):
    ends = ("O", "N", "Cl", "C(=O)O", "c1ccccc1", "C#N")
    return ["C" * (2 + i // 6) + ends[i % 6] for i in range(n)]


def write(path, smiles, **columns):
    pl.DataFrame({"SMILES": smiles, **columns}).write_csv(path)
    return str(path)


def related(tmp_path, *tables, tested=(), **more):
    config = RelatedConfig(tables=list(tables), **more)
    return read_related(config, ReadConfig(), DATA, set(tested))


def test_repeats_and_salts_are_one_molecule_and_its_mean(tmp_path):
    path = write(
        tmp_path / "screen.csv", [*molecules(30), "CCO", "CC[NH3+].[Cl-]"], hit=[1.5] * 30 + [0, 9]
    )
    (found,), notes = related(tmp_path, path)
    assert (found.name, found.table.task_names) == ("screen", ("hit",))
    assert len(found.table) == 30
    values = dict(zip(found.table.smiles, found.table.targets[:, 0], strict=True))
    assert values["CCO"] == pytest.approx(0.75)
    assert values["CCN"] == pytest.approx(5.25)
    assert notes == []


def test_labels_of_test_molecules_are_dropped_and_counted(tmp_path):
    smiles = molecules(40)
    path = write(tmp_path / "screen.csv", smiles, hit=np.arange(40) / 4)
    groups = related(tmp_path, path)[0][0].table.groups
    (found,), notes = related(tmp_path, path, tested=groups[:5])
    assert len(found.table) == 35
    assert not set(groups[:5]) & set(found.table.groups)
    assert notes == ["screen: labels of 5 test molecules dropped."]
    (found,), notes = related(tmp_path, path, tested=groups[:5], test_labels="keep")
    assert len(found.table) == 40
    assert "labels of 5 test molecules are learnt" in notes[0]


def test_a_table_of_test_molecules_alone_leaves_nothing_and_says_so(tmp_path):
    path = write(tmp_path / "screen.csv", molecules(25), hit=np.arange(25) / 4)
    groups = related(tmp_path, path)[0][0].table.groups
    found, notes = related(tmp_path, path, tested=groups)
    assert found == []
    assert "nothing left to learn from" in notes[-1]


def test_a_column_by_which_assays_are_apart(tmp_path):
    smiles = [s for s in molecules(25) for _ in range(2)]
    path = write(tmp_path / "screen.csv", smiles, hit=np.arange(50.0), conc=["1e-6", "1e-5"] * 25)
    (found,), _ = related(tmp_path, path, assays=["hit"], by="conc")
    assert len(found.table) == 25
    by = dict(zip(found.table.task_names, found.table.targets[0], strict=True))
    assert len(by) == 2
    assert sorted(by.values()) == [0.0, 1.0]


def test_columns_that_teach_nothing_are_left_out_by_name(tmp_path):
    few = [1.0, 2.0] + [None] * 28
    path = write(
        tmp_path / "t.csv", molecules(30), good=np.arange(30) / 7, few=few, same=[2.5] * 30
    )
    (found,), notes = related(tmp_path, path, assays=["good", "few", "same"])
    assert found.table.task_names == ("good",)
    assert "few, same" in notes[0]


def test_each_table_has_its_own_column_of_smiles(tmp_path):
    names = ("SMILES", "Smiles_unify", "canonical_smiles", "structure")
    paths = []
    for k, name in enumerate(names):
        rows = {name: molecules(30), "hit": np.arange(30) / 4 + k}
        paths.append(str(tmp_path / f"t{k}.csv"))
        pl.DataFrame(rows).write_csv(paths[-1])
    found, _ = related(tmp_path, *paths, smiles="structure")
    assert [len(one.table) for one in found] == [30] * 4
    with pytest.raises(InputError, match=r"'structur'.*'structure'"):
        related(tmp_path, *paths, smiles="structur")


def test_a_column_that_no_table_has_is_refused(tmp_path):
    path = write(tmp_path / "t.csv", molecules(30), hit=np.arange(30) / 4)
    for key, wrong in (("assays", ["hits"]), ("by", "hits")):
        with pytest.raises(InputError, match=f"related.{key}") as error:
            related(tmp_path, path, **{key: wrong})
        assert "hit" in str(error.value)
    ids = write(tmp_path / "ids.csv", molecules(30), number=np.arange(30))
    with pytest.raises(InputError, match=r"related\.assays .*a column of numbers"):
        related(tmp_path, ids)
    with pytest.raises(InputError, match=r"related\.smiles"):
        related(tmp_path, path, smiles="structure")
    with pytest.raises(InputError, match=r"related\.tables"):
        related(tmp_path, str(tmp_path / "absent.csv"))


@pytest.fixture(scope="module")
def screen(tmp_path_factory):
    folder = tmp_path_factory.mktemp("screen")
    smiles = molecules(60)
    features = featurize(smiles, "morgan_count", cache=None)
    path = write(folder / "screen.csv", smiles, hit=[len(s) / 3 for s in smiles])
    (found,), _ = related(folder, path)
    return found.with_features(features.values), features.blocks


@pytest.mark.parametrize("member", ["mlp", "lightgbm"])
def test_no_row_hears_of_its_own_related_label(screen, member):
    table, blocks = screen
    groups = [*table.table.groups[:24], "of no table"]
    X = np.concatenate([table.X[:24], table.X[:1]])
    part = parts_of(groups, [(np.arange(12, 25), np.arange(12))], seed=0)
    before, model = surrogate_columns(table, groups, X, part, blocks, seed=1, member=member)
    targets = table.table.targets.copy()
    targets[:12] += 100
    other = replace(table, table=replace(table.table, targets=targets))
    after, _ = surrogate_columns(other, groups, X, part, blocks, seed=1, member=member)
    # The first part is predicted by a model without its labels, the others with them.
    np.testing.assert_array_equal(before[:12], after[:12])
    assert not np.allclose(before[12:24], after[12:24])
    np.testing.assert_allclose(before[24], model.predict(X[24:])[0], rtol=1e-6)


def test_parts_follow_the_folds_and_keep_a_molecule_together():
    groups = ["a", "b", "c", "d", "a", "e"]
    part = parts_of(groups, [(np.array([2, 3]), np.array([0, 1, 4]))], seed=0)
    assert part[0] == part[1] == part[4] == 0
    assert (part[[2, 3, 5]] > 0).all()


def test_heads_are_tasks_of_their_own_with_small_weights(screen, tmp_path):
    table, blocks = screen
    path = write(tmp_path / "own.csv", molecules(10), y=np.arange(10.0))
    own = load_molecules(DataConfig(target_columns=["y"], cache_dir="none"), path)
    learnt = with_heads(table.X[:10], own, ("regression",), [table], 0.25)
    assert learnt.y.shape == (70, 2)
    assert np.isnan(learnt.y[:10, 1]).all()
    assert np.isnan(learnt.y[10:, 0]).all()
    np.testing.assert_array_equal(learnt.y[10:, 1], table.table.targets[:, 0])
    np.testing.assert_array_equal(learnt.weights, [1] * 10 + [0.25] * 60)
    assert with_columns(blocks, table, blocks[-1].stop)[-1].width == 1


def test_verdicts_weigh_a_difference_against_its_error():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(400, 4))
    noise = rng.normal(size=truth.shape)
    without, having = truth + 0.6 * noise, truth + 0.6 * noise
    having[:, 0] = truth[:, 0] + 0.4 * noise[:, 0]
    having[:, 1] = truth[:, 1] + 0.9 * noise[:, 1]
    having[:, 2] += 0.3 * rng.normal(size=400)
    truth[:, 3] = np.nan
    found = judged("s", "features", "mlp", "abcd", ["regression"] * 4, truth, without, having)
    assert [v.verdict for v in found[:2]] == ["helps", "hurts"]
    # Mean absolute errors of normal noise about normal values: their ratio is the noise's own.
    assert found[0].difference == pytest.approx(-0.2, abs=0.02)
    assert found[0].error == pytest.approx(0.2 * np.sqrt(np.pi / 2 - 1) / 20, rel=0.3)
    assert found[3].difference is None
    assert found[3].verdict == "no difference"
    # However sure, what another seed would change is not believed.
    nearly = truth[:, :1] + (0.6 - LEAST_GAIN / 2) * noise[:, :1]
    (small,) = judged(
        "s", "heads", "mlp", "a", ["regression"], truth[:, :1], without[:, :1], nearly
    )
    assert small.verdict == "no difference"
    said = sentences(found)
    assert len(said) == 1
    assert "helps: a -0.1" in said[0] or "helps: a -0.2" in said[0]
    assert "d (no rows)" in said[0]


def test_each_task_takes_the_use_that_helps_it_most(screen):
    table, _ = screen

    def verdict(task, use, difference, word: Any = "helps"):
        return Verdict("screen", use, task, "mlp", 9, difference, 0.01, word)

    found = [
        verdict("a", "features", -0.1), verdict("a", "heads", -0.2),
        verdict("b", "features", -0.1), verdict("b", "heads", 0.1, "hurts"),
        verdict("c", "features", 0.0, "no difference"),
    ]  # fmt: skip
    uses, tables = best_uses(found, [table], ["a", "b", "c"])
    assert uses == ["heads", "features", None]
    assert tables == {"features": (0,), "heads": (0,)}
    assert plans_of(["mlp", "gp"], "heads", tables) == [Plan("mlp", heads=(0,)), Plan("gp")]
    assert plans_of(["mlp", "gp"], "features", tables) == [Plan("mlp", (0,)), Plan("gp", (0,))]
    assert plans_of(["gp"], None, tables) == [Plan("gp")]
    first = plans_of(["mlp", "gp"], "pretraining", {"pretraining": (0,)})
    assert first == [Plan("mlp", pretraining=(0,)), Plan("gp")]
    assert first[0].words([table]) == "mlp learning screen first"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose few labels a screen of many molecules explains."""
    folder = tmp_path_factory.mktemp("run")
    rng = np.random.default_rng(3)
    smiles = molecules(180)
    hidden = np.array([len(s) + 5 * s.count("O") - 6 * s.count("N") for s in smiles]) / 10
    few = rng.permutation(180)[:70]
    screened = write(folder / "screen.csv", smiles, hit=hidden + 0.05 * rng.normal(size=180))
    random = write(folder / "other.csv", smiles, word=rng.normal(size=180))
    own = write(
        folder / "own.csv",
        [smiles[i] for i in few],
        y=np.round(3 * hidden[few] + 0.05 * rng.normal(size=70), 4),
    )
    config = TrainTabularConfig(
        data_path=own,
        save_dir=str(folder / "run"),
        features="morgan_count",
        folds=2,
        model=["mlp", "mean"],
        mlp={"members": 1, "hidden": 32, "epochs": 15},
        distill=True,
        distill_path=screened,
        related={"tables": [screened, random]},
        data=DataConfig(target_columns=["y"], split_ratios=(0.6, 0.1, 0.3), cache_dir="none"),
        baselines="none",
        page=False,
    )
    return train_tabular(config)


@pytest.mark.slow
def test_the_model_needs_smiles_alone(run, tmp_path):
    found = read_run_predictions(run).filter(pl.col("split") == "test")
    table = tmp_path / "new.csv"
    found.select("SMILES").write_csv(table)
    output = tmp_path / "out.parquet"
    predict_table(PredictConfig(model_dir=str(run), data_path=str(table), output=str(output)))
    again = read_run_predictions(output.parent, output.name)
    np.testing.assert_allclose(again["y predicted"], found["y predicted"], rtol=1e-6)
    assert (run / "related.json").is_file()


@pytest.mark.slow
def test_the_run_says_what_related_tables_bring(run):
    notes = read_metrics(run / "metrics.json").notes
    verdicts = pl.read_json(run / "related.json")
    assert set(verdicts["table"]) == {"screen", "other"}
    assert set(verdicts["use"]) == {"features", "heads", "pretraining"}
    assert sum("change of RAE" in note for note in notes) == 6
    assert "hurts" not in verdicts.filter(pl.col("table") == "screen")["verdict"].to_list()
    dropped = [note for note in notes if "test molecules dropped" in note]
    assert len(dropped) == 2
    # 70 of the screen's 180 molecules are in the table, a third of which is tested.
    assert any(note == "screen: of its 159 molecules 49 train here too." for note in notes)


@pytest.mark.slow
def test_a_distilled_network_stands_in_for_the_models(run):
    notes = read_metrics(run / "metrics.json").notes
    assert any(note.startswith("Distilled into one network") for note in notes)
    assert any("of test molecules" in note for note in notes)
    smiles = molecules(90)
    small, whole = (load_model(run / name) for name in ("distilled", ""))
    a, b = small.predict(smiles, 1).mean[:, 0], whole.predict(smiles, 1).mean[:, 0]
    assert np.corrcoef(a, b)[0, 1] > 0.8
