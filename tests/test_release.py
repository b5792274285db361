"""What a release is checked by."""

from __future__ import annotations

import re
import runpy
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def check() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "scripts" / "release-check"))


def test_a_project_is_found_by_its_name(check: dict[str, Any]) -> None:
    project = check["Project"].named("sampling-core")
    assert project.folder == ROOT / "packages" / "sampling-core"
    assert (project.module, project.extras) == ("sampling_core", ("lightning",))
    with pytest.raises(
        check["FailedError"], match=r"expected one of .*molpool.*; found 'sampling'"
    ):
        check["Project"].named("sampling")


def test_what_is_missing_or_strange_in_a_wheel_is_named(
    check: dict[str, Any], tmp_path: Path
) -> None:
    project = check["Project"].named("sampling-core")
    sources = project.folder / "src"
    wheel = tmp_path / "sampling_core-0.1.0-py3-none-any.whl"
    files = {f.relative_to(sources).as_posix(): f for f in sources.rglob("*.py*") if f.is_file()}
    files = {n: f for n, f in files.items() if "__pycache__" not in n}
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, file in files.items():
            archive.write(file, name)
        archive.writestr("sampling_core-0.1.0.dist-info/METADATA", "")
        archive.writestr("sampling_core/py.typed", "")
    lacks = "lacks sampling_core-0.1.0.dist-info/licenses/LICENSE"
    assert check["check_wheel"](wheel, project) == [lacks]
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("sampling_core-0.1.0.dist-info/licenses/LICENSE", "MIT")
        archive.writestr("tests/test_draws.py", "")
        archive.writestr("sampling_core/model.pt", "")
    found = check["check_wheel"](wheel, project)
    assert found == ["holds sampling_core/model.pt", "holds tests/test_draws.py"]


def test_the_release_workflow_runs_the_check() -> None:
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text()
    assert 'scripts/release-check "$NAME"' in text


def test_the_conda_sketch_needs_what_the_project_declares() -> None:
    recipe = yaml.safe_load((ROOT / ".ci" / "conda" / "recipe.yaml").read_text())
    project = tomllib.loads((ROOT / "apps" / "molpool" / "pyproject.toml").read_text())["project"]
    assert recipe["context"] == {"name": project["name"], "version": project["version"]}
    named = {one.replace(" ", "") for one in recipe["requirements"]["run"]}
    assert named == {f"python{project['requires-python']}", *project["dependencies"]}
    scripts = {re.sub(r"\s", "", one) for one in recipe["build"]["python"]["entry_points"]}
    assert scripts == {f"{name}={where}" for name, where in project["scripts"].items()}


def test_the_image_holds_what_it_copies() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    kept = [line[1:] for line in ignored if line.startswith("!")]
    assert all((ROOT / name).exists() for name in kept)
    assert "requirements.lock" in kept
