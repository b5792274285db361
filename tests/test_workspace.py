"""The house rules that no linter knows."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECTS = sorted(p.parent for p in ROOT.glob("*/*/pyproject.toml"))
DOCUMENTS = sorted(p for g in ("*.md", "docs/*.md", "*/*/*.md") for p in ROOT.glob(g))
IN_GIT = (ROOT / ".git").exists()


def declared(project: Path) -> dict:
    return tomllib.loads((project / "pyproject.toml").read_text())


def tracked() -> list[str]:
    run = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return run.stdout.splitlines()


def test_every_project_of_the_design_is_here():
    names = {f"{p.parent.name}/{p.name}" for p in PROJECTS}
    packages = [
        "common",
        "sampling-core",
        "task-affinity",
        "mil-attn",
        "rt-ridge",
        "chemprop-multitask",
    ]
    apps = ["train", "hpo", "affinity", "rt", "evaluate", "data"]
    assert names == {f"packages/{p}" for p in packages} | {f"apps/{a}" for a in apps}


@pytest.mark.parametrize("project", PROJECTS, ids=lambda p: p.name)
def test_project_is_complete(project):
    meta = declared(project)["project"]
    module = declared(project)["tool"]["uv"]["build-backend"]["module-name"]
    # mil-attn brings a drawing library along.
    assert meta["license"] == ("MIT AND BSD-3-Clause" if project.name == "mil-attn" else "MIT")
    assert meta["requires-python"] == ">=3.11"
    assert (project / "src" / module / "py.typed").is_file()
    assert (project / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert "molpool developers" in (project / "LICENSE").read_text()
    assert len((project / "README.md").read_text().split()) > 20
    assert f"## {meta['version']}" in (project / "CHANGELOG.md").read_text()
    assert list((project / "tests").rglob("test_*.py")), "no tests"


@pytest.mark.parametrize("project", PROJECTS, ids=lambda p: p.name)
def test_every_floor_says_why(project):
    lines = (project / "pyproject.toml").read_text().splitlines()
    floors = [line for line in lines if re.match(r'\s+"[\w.\[\],-]+>=', line)]
    siblings = ("molpool-", "sampling-core", "chemprop-multitask")
    siblings += ("task-affinity", "mil-attn", "rt-ridge")
    for line in floors:
        if line.strip().strip('"').startswith(siblings):
            assert ",<" in line, f"a sibling without a range: {line}"
        else:
            assert re.search(r'",\s+# \S+ \S+', line), f"a floor without its reason: {line}"


@pytest.mark.parametrize("project", PROJECTS, ids=lambda p: p.name)
def test_apps_and_only_apps_refuse_upload(project):
    private = "Private :: Do Not Upload" in declared(project)["project"]["classifiers"]
    assert private == (project.parent.name == "apps")


@pytest.mark.skipif(not IN_GIT, reason="not a git checkout")
def test_nothing_is_tracked_that_should_not_be():
    wrong = [f for f in tracked() if Path(f).name in {"uv.lock", ".python-version"}]
    wrong += [f for f in tracked() if Path(f).suffix in {".pkl", ".pickle", ".pt", ".ckpt"}]
    data = {".csv", ".tsv", ".parquet", ".gz", ".zip", ".npz"}
    wrong += [f for f in tracked() if Path(f).suffix in data]
    assert wrong == []


def test_readme_names_the_two_commands():
    text = (ROOT / "README.md").read_text()
    first = "pip install uv && uv run molpool-train chemprop --config configs/quickstart.yaml"
    assert first in text
    assert "uv run pytest" in text
    assert "uv run pytest" in (ROOT / ".ci/run").read_text()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.stem)
def test_links_between_documents_lead_somewhere(path):
    for target in re.findall(r"\]\((?!https?://|#|mailto:)([^)#]+)", path.read_text()):
        assert (path.parent / target).exists(), f"{path.name} -> {target}"
