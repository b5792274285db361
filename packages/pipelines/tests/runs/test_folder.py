"""What a run or study of an earlier version did before there were keys for it."""

from __future__ import annotations

from pathlib import Path

from molpool_pipelines.fitting import TrainChempropConfig, TrainMILConfig
from molpool_pipelines.runs import CONFIG, earlier_settings
from molpool_pipelines.runs._folder import as_begun, load_stored


def test_what_came_later_is_as_it_was_all_of_it(tmp_path: Path) -> None:
    file = tmp_path / CONFIG
    file.write_text("data: {target_columns: [y]}\n")
    for found in (
        as_begun(TrainChempropConfig(), tmp_path),
        load_stored(TrainChempropConfig, file),
    ):
        assert found.data.standardize == "none"
        assert found.data.cluster_method == "leaders"
        assert found.origins == 0
    file.write_text("data: {target_columns: [y]}\nsplit: {n_folds: 3}\n")
    of_bags = as_begun(TrainMILConfig(), tmp_path).split
    assert (of_bags.standardize, of_bags.cluster_method) == ("none", "leaders")


def test_what_is_stored_stays(tmp_path: Path) -> None:
    file = tmp_path / CONFIG
    data = "data: {target_columns: [y], standardize: parent, cluster_method: butina}"
    file.write_text(f"{data}\norigins: 2\n")
    assert earlier_settings(TrainChempropConfig, file) == {}
