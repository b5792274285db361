"""Groups of tasks of Chemprop networks: how they are named, and what is refused."""

import pytest
from molpool_common import InputError
from molpool_pipelines.demo import DEMO_TASKS
from molpool_pipelines.fitting import TrainChempropConfig, read_inputs
from molpool_pipelines.fitting._graph_groups import check_served, groups_by_affinity, read_groups
from molpool_pipelines.tables import DataConfig

TASKS = ("LogD", "KSOL", "A+B ratio")


def test_groups_are_tasks_joined_by_plus():
    assert read_groups(["LogD + KSOL", "A+B ratio"], TASKS) == [("LogD", "KSOL"), ("A+B ratio",)]
    assert read_groups(["KSOL"], TASKS) == [("KSOL",)]
    assert read_groups(["all"], TASKS) == [TASKS]
    assert read_groups(["each"], TASKS) == [("LogD",), ("KSOL",), ("A+B ratio",)]
    assert read_groups(["affinity"], TASKS) is None
    assert read_groups(["affinity"], TASKS[:2]) == [("LogD", "KSOL")]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["LogD+KSL"], "'KSL'.*Did you mean 'KSOL'"),
        (["LogD+KSOL", "KSOL"], "'KSOL' twice"),
    ],
)
def test_groups_that_do_not_fit_are_named(words, message):
    with pytest.raises(InputError, match=message):
        read_groups(words, TASKS)


def test_a_task_that_nobody_would_predict_is_named():
    with pytest.raises(InputError, match="none of A\\+B ratio"):
        check_served([("LogD", "KSOL")], ["chemprop"], TASKS)
    check_served([("LogD", "KSOL")], ["chemprop", "mlp"], TASKS)
    check_served(None, ["chemprop"], TASKS)


@pytest.mark.slow
def test_affinity_puts_each_task_into_one_group(demo_csv):
    data = DataConfig(target_columns=list(DEMO_TASKS))
    table = read_inputs(TrainChempropConfig(data_path=str(demo_csv), data=data)).table
    kinds = ("regression",) * len(DEMO_TASKS)
    groups = groups_by_affinity(table, kinds, cache="none", seed=0)
    assert sorted(name for group in groups for name in group) == sorted(DEMO_TASKS)
    assert all(groups)
