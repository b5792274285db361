"""What trials have left in a study's journal is there, and as it was."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from molpool_common import InputError
from molpool_pipelines.studies._storage import JOURNAL, SEALED, open_storage
from optuna.storages import BaseStorage


def opened(path: Path) -> BaseStorage:
    return open_storage(
        str(path), heartbeat_interval=60, grace_period=120, stale=lambda study, trial: None
    )


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    study = optuna.create_study(study_name="s", storage=opened(tmp_path / JOURNAL))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    return tmp_path / JOURNAL


def sealed(journal: Path) -> Path:
    return journal.with_name(journal.name + SEALED)


def test_whole_and_with_what_came_since(journal: Path) -> None:
    assert sealed(journal).read_text().split()[0] == str(journal.stat().st_size)
    study = optuna.load_study(study_name="s", storage=opened(journal))
    study.ask()  # a trial that runs is in the journal and not forced to the disk
    with journal.open("ab") as file:
        file.write(b'{"op_code": 5, "torn')  # by a process that was killed
    study = optuna.load_study(study_name="s", storage=opened(journal))
    study.optimize(lambda trial: 1.0, n_trials=1)
    assert len(optuna.load_study(study_name="s", storage=opened(journal)).trials) == 5


def test_cut_or_changed(journal: Path) -> None:
    sound = journal.read_bytes()
    for cut in range(0, len(sound), len(sound) // 7):
        journal.write_bytes(sound[:cut])
        with pytest.raises(InputError, match=r"it was cut.*Restore it"):
            opened(journal)
        content = bytearray(sound)
        content[cut] ^= 1
        journal.write_bytes(content)
        with pytest.raises(InputError, match="found others"):
            opened(journal)


def test_of_an_earlier_version(journal: Path) -> None:
    sealed(journal).unlink()
    assert len(optuna.load_study(study_name="s", storage=opened(journal)).trials) == 3


def test_a_new_one_in_the_place_of_one_that_was_removed(journal: Path) -> None:
    journal.unlink()
    opened(journal)
    assert not sealed(journal).exists()
