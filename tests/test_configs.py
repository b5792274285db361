"""The configurations that ship are read whole, and name data that exist."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from molpool_common.config import dump_config, load_config, read_yaml, validate_config
from molpool_common.datasets import registry
from molpool_data.cli import main as describe
from molpool_rt.config import RunConfig
from molpool_train.config import TrainChempropConfig
from molpool_train.groups import with_groups
from molpool_train.inputs import read_inputs

ROOT = Path(__file__).resolve().parents[1]
EVERY = sorted((ROOT / "configs").glob("*.yaml"))
CONFIGS = [path for path in EVERY if not path.stem.startswith("rt_")]
BESIDE = ROOT.parent / "shared" / "data"


@pytest.mark.parametrize("path", EVERY, ids=lambda p: p.stem)
def test_config_is_valid_and_survives_a_round_trip(path, tmp_path):
    model = TrainChempropConfig if path in CONFIGS else RunConfig
    config = load_config(model, path)
    copy = tmp_path / "copy.yaml"
    copy.write_text(dump_config(config))
    assert load_config(model, copy) == config


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_config_names_data_sets_of_the_registry(path):
    config = validate_config(TrainChempropConfig, read_yaml(path))
    named = {s.dataset for s in config.data.sources} | {config.data.dataset}
    assert named - {None, "demo"} <= set(registry())


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_groups_of_a_config_are_of_its_tasks(path):
    config = load_config(TrainChempropConfig, path)
    assert with_groups(config).groups == config.groups


@pytest.mark.slow
def test_the_data_of_a_training_configuration_can_be_described(tmp_path, capsys):
    page = tmp_path / "profile.html"
    quickstart = ROOT / "configs" / "quickstart.yaml"
    code = describe(["describe", "--config", str(quickstart), "--output", str(page)])
    assert code == 0
    assert re.search(r"Molecules +1,500", capsys.readouterr().out)
    assert page.read_text().startswith("<!doctype html>")


def real_inputs(name):
    where = os.environ.get("MOLPOOL_DATA") or (str(BESIDE) if BESIDE.is_dir() else None)
    if where is None:
        pytest.skip("no MOLPOOL_DATA, no shared/data beside the checkout")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOLPOOL_DATA", where)
        return read_inputs(load_config(TrainChempropConfig, ROOT / "configs" / name))


@pytest.fixture(scope="module")
def expansionrx():
    return real_inputs("expansionrx.yaml")


@pytest.mark.realdata
@pytest.mark.slow
def test_bounds_of_expansionrx_are_those_of_its_description():
    inputs = real_inputs("expansionrx_ensemble.yaml")
    # SOURCES.md of the set, where the nine columns were counted on their own.
    counts = (
        "LogD 16 >; KSOL 107 <, 4 >; HLM CLint 52 <; MLM CLint 10 <, 8 >; "
        "Caco-2 Permeability Papp A>B 11 <; Caco-2 Permeability Efflux 4 >; MPPB 13 <; MBPB 4 <; "
        "MGMB 1 <"
    )
    assert any(f"bounds: {counts}." in note for note in inputs.notes), inputs.notes
    assert set(inputs.task_types) == {"regression"}


@pytest.mark.realdata
@pytest.mark.slow
class TestExpansionRx:
    def test_labels_are_those_of_the_tables(self, expansionrx):
        table = expansionrx.table
        own = table.origin["source"].to_numpy() == "expansion_data_train.csv"
        counts = np.isfinite(table.targets[own]).sum(axis=0)
        # SOURCES.md of the set: 5 326 rows; missing shares give these counts.
        assert dict(zip(table.task_names, counts, strict=True))["MGMB"] == 222
        assert dict(zip(table.task_names, counts, strict=True))["KSOL"] == 5128

    def test_the_latest_fifth_is_held_out(self, expansionrx):
        tables = expansionrx.tables
        sources = tables.train.origin["source"] == "expansion_data_train.csv"
        numbers = {
            "train": _numbers(tables.train.origin.filter(sources)["id"]),
            "val": _numbers(tables.val.origin["id"]),
            "test": _numbers(tables.test.origin["id"]),
        }
        total = sum(map(len, numbers.values()))
        assert total == 5326
        # Repeats of one molecule stay together, which moves a handful of rows.
        assert len(numbers["test"]) == pytest.approx(0.2 * total, abs=10)
        # A later repeat of an earlier molecule follows that molecule, so medians are ordered.
        assert np.median(numbers["train"]) < np.median(numbers["val"]) < min(numbers["test"])

    def test_no_molecule_is_on_two_sides(self, expansionrx):
        tables = expansionrx.tables
        train, val, test = (set(t.groups) for t in (tables.train, tables.val, tables.test))
        assert not train & val
        assert not (train | val) & test

    def test_held_out_rows_are_of_the_highest_tier(self, expansionrx):
        assert set(expansionrx.tables.test.quality) == {"high"}
        assert set(expansionrx.tables.train.quality) == {"high", "medium", "low"}

    def test_tiers_agree_once_converted(self, expansionrx):
        # The conversions bring the tiers' medians within half a log unit of each other; a wrong
        # unit would be off by a factor of 1 000, a wrong direction by more.
        table = expansionrx.table
        quality = np.array(table.quality)
        for task in ("LogD", "HLM CLint", "MLM CLint"):
            t = table.task_names.index(task)
            medians = [np.nanmedian(table.targets[quality == q, t]) for q in ("high", "low")]
            assert abs(medians[0] - medians[1]) < 0.5


def _numbers(names):
    return np.array([int(name.rsplit("-", 1)[1]) for name in names])
