"""A study as tables, as a page and on the terminal: what stands there, also of odd studies."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any, Literal

import optuna
import pytest
from molpool_common import InputError, RunFolder
from molpool_pipelines.reports import study_page
from molpool_pipelines.studies._show import show
from molpool_pipelines.studies._snapshot import (
    IDENTITY,
    StudySnapshot,
    importances,
    stored_identity,
    take_snapshot,
    trials_frame,
    write_page,
)
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState

SPACE: dict[str, BaseDistribution] = {
    "model.x": FloatDistribution(0, 1),
    "lr": FloatDistribution(1e-5, 1e-1, log=True),
    "n": IntDistribution(1, 4),
    "kind": CategoricalDistribution(["a", "b<i>", "[1, 2]"]),
}


def test_a_study_whose_identity_is_lost_is_refused() -> None:
    other = optuna.create_study(study_name="toy")
    with pytest.raises(InputError, match="one that molpool-hpo made"):
        take_snapshot(other, 3)


def stored(
    n: int, direction: Literal["minimize", "maximize"] = "minimize", value: Any = None
) -> StudySnapshot:
    """Return a study whose value is x plus a thousandth of n, unless given."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        direction=direction, study_name="toy", sampler=optuna.samplers.RandomSampler(seed=1)
    )
    identity = {
        "kind": "toy", "metric": "error", "direction": direction, "n_folds": 2, "space": {},
    }  # fmt: skip
    study.set_user_attr(IDENTITY, identity)
    for _ in range(n):
        trial = study.ask(SPACE)
        score = trial.params["model.x"] + 0.001 * trial.params["n"] if value is None else value
        trial.set_user_attr("values", trial.params)
        trial.set_user_attr("folds", [{"value": score, "numbers": {}, "seconds": 1.0}] * 2)
        trial.report(score, 0)
        study.tell(trial, score)
    return take_snapshot(study, n + 5)


def more(study: StudySnapshot) -> StudySnapshot:
    """Add a pruned, a failed and a waiting trial."""
    pruned = study.study.ask(SPACE)
    pruned.report(0.5, 3)
    study.study.tell(pruned, state=TrialState.PRUNED)
    failed = study.study.ask(SPACE)
    failed.set_user_attr("error", "SamplingError: phase 'polish' <has> no weight")
    study.study.tell(failed, state=TrialState.FAIL)
    study.study.enqueue_trial({})
    return take_snapshot(study.study, study.n_trials)


def page_of(study: StudySnapshot, folder: Path) -> str:
    run = RunFolder.create(folder / "study")
    run.write_json("study.json", {"name": "toy", "n_trials": study.n_trials})
    page = write_page(run, study)
    assert page is not None
    return page.read_text()


def test_page_has_every_figure_with_its_words_and_numbers(tmp_path: Path) -> None:
    page = page_of(more(stored(8)), tmp_path)
    headings = re.findall(r"<h2[^>]*>(.*?)</h2>", page)
    assert headings == [
        "Summary", "History", "Importances", "Slices", "Parallel coordinates", "Timeline",
        "Trials", "Configuration",
    ]  # fmt: skip
    figures = re.findall(r'role="img"[^>]* aria-label="([^"]+)"', page)
    assert len(figures) == 5
    assert all(len(html.unescape(alt)) > 30 for alt in figures)
    assert page.count("<summary>Numbers</summary>") == 5
    assert "phase &#39;polish&#39; &lt;has&gt; no weight" in page
    assert "<i>" not in page
    assert not re.search(r'(?:src|href)="(?!#|data:)', page)


def test_both_commands_write_one_page(tmp_path: Path) -> None:
    page = page_of(more(stored(6)), tmp_path)
    assert study_page(tmp_path / "study", "toy") == page


def test_importance_is_that_of_the_parameter_that_decides() -> None:
    shares = importances(stored(40))
    assert next(iter(shares)) == "model.x"
    assert shares["model.x"] > 0.8
    assert sum(shares.values()) == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize(
    "study",
    [stored(0), stored(1), stored(5, value=0.25), more(stored(0)), stored(5, "maximize")],
    ids=["empty", "one", "all alike", "none complete", "maximize"],
)
def test_page_of_odd_studies(study: StudySnapshot, tmp_path: Path) -> None:
    page = page_of(study, tmp_path)
    assert "</html>" in page
    assert ("No trial has a score yet" in page) == (not study.complete())


def test_best_goes_by_direction_and_equal_scores_by_number() -> None:
    for direction, best in (("minimize", min), ("maximize", max)):
        study = stored(6, direction)
        assert study.best()[0].value == best(t.value for t in study.trials if t.value is not None)
    assert [t.number for t in stored(3, value=1.0).best(3)] == [0, 1, 2]


def test_earlier_studies_of_a_single_task_are_of_its_rae() -> None:
    study = stored(1).study
    known = study.user_attrs[IDENTITY]
    study.set_user_attr(IDENTITY, {**known, "metric": "MA-RAE"})
    assert take_snapshot(study, 1).metric == "RAE"
    bags = {**known, "kind": "mil", "metric": "macro MA-RAE"}
    for columns, metric in ((["a"], "RAE"), (["a", "b"], "macro MA-RAE")):
        study.set_user_attr(IDENTITY, {**bags, "data": {"target_columns": columns}})
        assert take_snapshot(study, 1).metric == metric


def test_earlier_studies_call_a_sampled_weight_drawn() -> None:
    study = stored(1).study
    earlier = {"metric": "macro_plus_min AP (min_w drawn)", "study": {"min_w": "drawn"}}
    study.set_user_attr(IDENTITY, {**study.user_attrs[IDENTITY], **earlier})
    found = stored_identity(study)
    assert found["metric"] == "macro_plus_min AP (min_w sampled)"
    assert found["study"] == {"min_w": "sampled"}


def test_table_keeps_types_and_leaves_scores_of_pruned_trials_out() -> None:
    frame = trials_frame(more(stored(3)))
    assert frame["state"].to_list() == ["complete"] * 3 + ["pruned", "failed", "waiting"]
    assert frame["value"].null_count() == 3
    assert frame["last_value"][3] == 0.5
    assert frame["fold_1"].null_count() == 3
    kinds = {name: str(frame[f"param: {name}"].dtype) for name in SPACE}
    assert kinds == {"model.x": "Float64", "lr": "Float64", "n": "Int64", "kind": "String"}


def test_show_lists_trials_best_and_importances(capsys: pytest.CaptureFixture[str]) -> None:
    study = more(stored(6))
    show(study)
    said = capsys.readouterr().out
    assert "8 of 11 trials: 6 complete, 1 pruned, 1 failed" in said
    assert f"Best: trial {study.best()[0].number}" in said
    assert "Share of the variance" in said
    assert "no weight" in said
