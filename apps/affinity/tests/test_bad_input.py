"""Wrong input ends with one message and nothing written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Refused = Callable[..., str]
Run = Callable[..., Any]
WriteTable = Callable[..., Path]
N = 20


@pytest.mark.core
def test_task_without_labels_is_named(refused: Refused, write_table: WriteTable) -> None:
    table = write_table(hERG=[""] * N, CLint=["NaN"] * N)
    message = refused("--data-path", table, "--target-columns", "LogD", "hERG", "CLint")
    assert "found none of hERG, CLint. No gradient steps were performed." in message


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--affinity-batch-size", 21], "at most the 20 molecules that have a label; found 21."),
        (["--n-groups", 5], "n_groups: expected 1 to 4, the number of tasks, or auto; found 5"),
        (["--n-groups", 0], "n_groups: expected "),
        (["--n-groups", "many"], "n_groups: expected 'auto' or a number from 1 to that of tasks"),
        (["--n-group", 2], "Did you mean '--n-groups'?"),
        (["--affinity-type", "cosin"], "Did you mean 'cosine'?"),
        (["--enabled", "false"], "enabled: expected true"),
        (["--smiles-column", "Smiles"], "Did you mean 'SMILES'?"),
        (["--target-columns", "KSO"], "Did you mean 'KSOL'?"),
        (["--device", "cuda:77"], "device: expected auto, cpu or one of"),
        (["--affinity-type", "lookahead", "--estimator", "probe"], "estimator: expected 'exact'"),
        (["--save-path", "x.npy"], "save_path: expected a name in .npz; found x.npy"),
        (["--plot-heatmap", "x.jpg"], "plot_heatmap: expected a name in .png or .svg or .pdf"),
        (["--save-path", ".."], "save_path"),
        (["--plot-heatmap", "a.png", "--plot-dendrogram", "./a.png"], "another file than"),
        (["--save-groups", "groups.yaml"], "save_groups: expected a name in .json"),
        (["--save-path", "../table.npz"], "which the matrix would replace"),
        (["--report", "../table.csv/a.html"], "report: expected a file in a folder"),
        (["--data-path", "../tabel.csv"], "Did you mean 'table.csv'?"),
        (["--encoder-param-patterns", "encodr"], "message_passing"),
    ],
)
def test_message_says_what_is_wrong(
    refused: Refused, small: list[str], flags: list[object], words: str
) -> None:
    assert words in refused(*small, *flags)


def test_invalid_smiles_are_named_by_row_or_dropped(
    refused: Refused, run: Run, write_table: WriteTable
) -> None:
    smiles = ["C(("] + ["C" * (i + 1) for i in range(N - 1)]
    flags = ["--data-path", write_table(SMILES=smiles), "--target-columns", "LogD", "KSOL"]
    flags += ["--n-groups", "1"]
    assert "'C((' in row 1" in refused(*flags)
    fast = ["--affinity-batch-size", 10, "--n-bootstrap", 0, "--device", "cpu"]
    outcome = run(*flags, *fast, "--on-bad-smiles", "drop")
    assert outcome.code == 0
    assert "1 row left out" in outcome.out


def test_folder_that_is_read_only(
    refused: Refused, small: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As root every folder may be written to, so that the answer of the system is given here.
    monkeypatch.setattr("molpool_pipelines.affinity._config.os.access", lambda *_: False)
    assert "folder that may be written to" in refused(*small, "--save-path", "x/y.npz")


def test_interrupted_command_writes_nothing(
    run: Run, small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("molpool_pipelines.affinity._command.measure_affinity", interrupted)
    outcome = run(*small, "--save-path", "results/a.npz", "--save-groups", "results/a.json")
    assert outcome.code == 130
    assert list((tmp_path / "work").iterdir()) == []
