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
        "molecule-features",
        "multitask-models",
        "pipelines",
    ]
    apps = ["train", "hpo", "affinity", "rt", "evaluate", "data", "molpool"]
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
    siblings = ("molpool-", "molpool>", "sampling-core", "chemprop-multitask")
    siblings += ("task-affinity", "mil-attn", "rt-ridge", "molecule-features", "multitask-models")
    for line in floors:
        if line.strip().strip('"').startswith(siblings):
            assert ",<" in line, f"a sibling without a range: {line}"
        else:
            assert re.search(r'",\s+# \S+ \S+', line), f"a floor without its reason: {line}"


@pytest.mark.parametrize("project", PROJECTS, ids=lambda p: p.name)
def test_every_project_can_be_released(project):
    meta = declared(project)["project"]
    assert not [c for c in meta["classifiers"] if c.startswith("Private")]
    tag = f"{meta['name']}-v{meta['version']}"
    run = subprocess.run([ROOT / ".ci/tag", tag], capture_output=True, text=True, check=True)
    assert f"project={project.relative_to(ROOT)}" in run.stdout.splitlines()


def test_the_licence_of_every_package_is_told():
    page = (ROOT / "docs/explanation/dependencies.md").read_text()
    told = set(re.findall(r"[\w.-]+", page[page.index("## Licences of what is installed") :]))
    named = set()
    for project in map(declared, PROJECTS):
        meta = project["project"]
        lists = (meta.get("dependencies", []), *meta.get("optional-dependencies", {}).values())
        named |= {re.split(r"[^\w.-]", one)[0] for each in lists for one in each}
    ours = {declared(project)["project"]["name"] for project in PROJECTS}
    assert not named - ours - told


def test_a_tag_of_another_version_is_refused():
    run = subprocess.run([ROOT / ".ci/tag", "molpool-v9.9.9"], capture_output=True, text=True)
    assert run.returncode == 2
    assert "expected version" in run.stderr


@pytest.mark.skipif(not IN_GIT, reason="not a git checkout")
def test_nothing_is_tracked_that_should_not_be():
    wrong = [f for f in tracked() if Path(f).name in {"uv.lock", ".python-version"}]
    wrong += [f for f in tracked() if Path(f).suffix in {".pkl", ".pickle", ".pt", ".ckpt"}]
    data = {".csv", ".tsv", ".parquet", ".gz", ".zip", ".npz"}
    wrong += [f for f in tracked() if Path(f).suffix in data]
    assert wrong == []  # what the commands of earlier commits left is packed: tests/fixtures


def test_readme_names_the_two_commands():
    text = (ROOT / "README.md").read_text()
    assert "pip install uv && uv run molpool-train auto --data.dataset demo" in text
    assert "uv run molpool-train chemprop --config configs/quickstart.yaml" in text
    assert "uv run pytest" in text
    assert "uv run pytest" in (ROOT / ".ci/run").read_text()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.stem)
def test_links_between_documents_lead_somewhere(path):
    for target in re.findall(r"\]\((?!https?://|#|mailto:)([^)#]+)", path.read_text()):
        assert (path.parent / target).exists(), f"{path.name} -> {target}"
