"""What MLflow holds of a run, and whether it can be served."""

import io
import json

import numpy as np
import pandas as pd
import polars as pl
import pytest
from molpool_pipelines.demo import build_demo
from molpool_pipelines.fitting import TrainTabularConfig, train_tabular
from molpool_pipelines.fitting._tracked import _more_numbers
from molpool_pipelines.runs import TableRows, read_run_predictions

# MLflow warns of its own types and dependencies.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Any type hint:UserWarning"),
]

TASKS = ["LogD", "KSOL"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of the mean, which takes no time, with tracking on."""
    folder = tmp_path_factory.mktemp("tracked")
    smiles = build_demo(n=120)["SMILES"].to_list()
    rng = np.random.default_rng(0)
    pl.DataFrame({"SMILES": smiles, **{t: rng.normal(size=120) for t in TASKS}}).write_csv(
        folder / "table.csv"
    )
    config = TrainTabularConfig.model_validate(
        {
            "data_path": str(folder / "table.csv"),
            "save_dir": str(folder / "run"),
            "features": "morgan_count",
            "baselines": "none",
            "model": ["mean"],
            "folds": 2,
            "data": {"target_columns": TASKS, "split_ratios": (0.6, 0.1, 0.3)},
            "tracking": {"enabled": True, "experiment": "ours"},
        }
    )
    return train_tabular(config)


@pytest.fixture(scope="module")
def tracked(run):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{run.parent / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("ours")
    assert experiment is not None
    (found,) = client.search_runs([experiment.experiment_id])
    return client, found


def test_metrics_are_by_split_and_task(run, tracked):
    _, found = tracked
    stored = json.loads((run / "metrics.json").read_text())["splits"]
    for split in ("val", "test"):
        for task in TASKS:
            mae = stored[split]["tasks"][task]["metrics"]["mae"]["value"]
            assert found.data.metrics[f"{split}/{task}/mae"] == mae
    held = stored["test"]["intervals"]["LogD"]
    assert found.data.metrics["test/LogD/coverage"] == held["inside"]


def test_scores_and_decisions_of_bags_are_metrics_too():
    decided = {"threshold": 0.4, "true_positives": 3, "precision": 0.75, "recall": None}
    more = {"fold_score": 0.6, "decisions": {"active": {**decided, "accuracy": 0.9}}}
    assert dict(_more_numbers("test", more)) == {
        "test/fold_score": 0.6,
        "test/active/decision_threshold": 0.4,
        "test/active/decision_precision": 0.75,
        "test/active/decision_accuracy": 0.9,
    }
    assert dict(_more_numbers("test", {"fold_score": None})) == {}


def test_the_table_is_named_by_its_digest(run, tracked):
    _, found = tracked
    (given,) = found.inputs.dataset_inputs
    assert given.dataset.name == "table.csv"
    rows = TableRows.read(run)
    assert rows is not None
    assert given.dataset.digest == rows.digest[:32]


def test_figures_are_files(tracked):
    client, found = tracked
    files = [f.path for f in client.list_artifacts(found.info.run_id, "figures")]
    assert files
    assert all(name.endswith(".svg") for name in files)


def test_the_model_answers_as_predict_does(run, tracked):
    """By what MLflow's scoring server calls, from the saved model and its example."""
    from mlflow import pyfunc
    from mlflow.pyfunc.scoring_server import invocations

    client, found = tracked
    path = client.download_artifacts(found.info.run_id, "model")
    model = pyfunc.load_model(path)
    assert [column.name for column in model.metadata.signature.inputs] == ["SMILES"]
    rows = read_run_predictions(run).filter(split="test").head(3)
    smiles = [*rows["SMILES"], "no molecule"]
    request = json.dumps(
        {"dataframe_split": {"columns": ["SMILES"], "data": [[s] for s in smiles]}}
    )
    answer = invocations(request, "application/json", model, model.metadata.get_input_schema())
    assert answer.status == 200, answer.response
    given = pd.DataFrame(json.load(io.StringIO(answer.response))["predictions"])
    for column, own in (
        ("LogD", "LogD predicted"),
        *((e, e) for e in ("KSOL_lower", "KSOL_upper")),
    ):
        np.testing.assert_allclose(given[column][:3].astype(float), rows[own], rtol=1e-6)
    assert given["error"][3]
    narrow = pd.DataFrame(
        model.predict(pd.DataFrame({"SMILES": smiles[:3]}), params={"level": 0.5})
    )
    assert (narrow["LogD_upper"].to_numpy() < given["LogD_upper"][:3].astype(float)).all()
