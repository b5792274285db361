"""What the file of a blend says, and how damage to it is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from molpool_common import InputError
from molpool_pipelines.models._files import BlendFile, read_blend, run_cache

WHOLE: dict[str, Any] = {
    "format": 1,
    "task_names": ["a", "b"],
    "thresholds": [0.5, 0.5],
    "members": [
        {"name": "gp", "file": "gp.npz", "weights": {"b": 0.25, "a": 1}},
        {"name": "mean", "file": "mean.npz", "weights": {"a": 0, "b": 0.75}},
    ],
}


def read(folder: Path, described: Any) -> BlendFile:
    file = folder / "blend.json"
    file.write_text(described if isinstance(described, str) else json.dumps(described))
    for name in ("gp.npz", "mean.npz"):
        (folder / name).touch()
    return read_blend(
        file, folder, what="a blend", latest=1, known=("gp", "mean"), needs=("thresholds",)
    )


def test_weights_are_by_member_and_task_whatever_their_order(tmp_path: Path) -> None:
    found = read(tmp_path, WHOLE)
    assert (found.names, found.tasks) == (("gp", "mean"), ("a", "b"))
    assert found.files == (tmp_path / "gp.npz", tmp_path / "mean.npz")
    assert found.weights == [[1, 0.25], [0, 0.75]]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ("{", "JSONDecodeError"),
        ({"task_names": None}, "TypeError"),
        ({"members": [{"name": "gp"}]}, "KeyError"),
        ({"format": 2}, "format 2. A later version"),
        ({"members": []}, r"models \[\]"),
        ({"members": [{**WHOLE["members"][0], "name": "svm"}]}, r"models \['svm'\]"),
        ({"members": [{**WHOLE["members"][0], "file": "x.npz"}]}, "no file x.npz"),
        ({"surrogates": ["y.npz"]}, "no file y.npz"),
        ({key: WHOLE[key] for key in WHOLE if key != "thresholds"}, "no thresholds"),
    ],
)
def test_damage_is_told(tmp_path: Path, changed: Any, message: str) -> None:
    whole = "thresholds" in message
    described = changed if whole or isinstance(changed, str) else WHOLE | changed
    with pytest.raises(InputError, match=rf"expected a blend; found .*{message}"):
        read(tmp_path, described)


@pytest.mark.parametrize(("said", "found"), [("{cache_dir: none}", "none"), ("{}", "auto")])
def test_features_are_computed_again_with_the_cache_of_the_run(
    tmp_path: Path, said: str, found: str
) -> None:
    (tmp_path / "config.resolved.yaml").write_text(f"data: {said}\n")
    assert run_cache(tmp_path) == found
