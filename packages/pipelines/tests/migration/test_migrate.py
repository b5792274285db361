"""Migration of whole files: what the new text means, and that no other line changes."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from molpool_pipelines.fitting import TrainChempropConfig
from molpool_pipelines.migration._migrate import migrate_files, migrate_text
from sampling_core import JointSamplingConfig, map_legacy, without_legacy

Run = Callable[..., tuple[int, str, str]]

PRODUCTION = """\
# An ensemble for production.
model:
  message_passing: {depth: 3}

# How the steps are drawn
optimization:
  # rare tasks a little more often
  task_sampling_alpha: 0.1   # of task counts

# quality stays out of it here
curriculum:   # by tier
  enabled: false  # for now
  quality_col: "Quality"
  qualities: ["high", "medium", "low"]
# the end
"""

PRODUCTION_MIGRATED = """\
# An ensemble for production.
model:
  message_passing: {depth: 3}

# How the steps are drawn

# quality stays out of it here
joint_sampling:
  enabled: true
  task_oversampling:
    enabled: true
    # rare tasks a little more often
    alpha: 0.1   # of task counts
  composition_mode: hierarchical
  curriculum:   # by tier
    enabled: false  # for now
    quality_col: "Quality"
    qualities: ["high", "medium", "low"]
# the end
"""

UNIFIED = """\
sampling:
  enabled: true  # all of it

  # by task
  task_oversampling:
    enabled: true
    alpha: 0.3  # 0 uniform, 1 inverse

  # by quality
  curriculum:
    enabled: true
    quality_col: "Quality"
    qualities: ["high", "medium", "low"]
    patience: 5
    strategy: "sampled"  # or "weighted"
    reset_early_stopping_on_phase_change: false

  composition_mode: "multiplicative"
  seed: 42
  increment_seed_per_epoch: true
  log_weight_statistics: true
  log_to_mlflow: true
"""

AFFINITY = """\
# Task affinity, nothing about sampling
model:
  type: "chemprop"
  message_passing:
    depth: 4
    hidden_size: 400
    dropout: 0.1

task_affinity:
  enabled: true
  n_groups: 4
  clustering_method: "agglomerative"  # or "spectral"

  encoder_param_patterns: []  # the default
  seed: 42

training:
  epochs: 100
  warmup_epochs: 5
  final_lr: 0.0001

data:
  smiles_column: "SMILES"
  target_columns:
    - "LogD"      # a property
    - "CLint"     # of the liver
  split_type: "scaffold"
  split_ratios: [0.8, 0.1, 0.1]
"""

EXPLORE = """\
model:
  message_passing:
    depth: 3
task_affinity:
  enabled: true
  n_groups: 2  # 3, 4 and 5 in other runs
training:
  epochs: 30
"""

PANEL = """\
task_affinity:
  enabled: true
  n_groups: 3
data:
  target_columns:
    - "LogD"      # a property
    - "hERG"      # safety
"""


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("COLUMNS", "200")

    def runner(
        *paths: str | Path, output: Path | None = None, dry_run: bool = False
    ) -> tuple[int, str, str]:
        code = migrate_files([str(path) for path in paths], output=output, dry_run=dry_run)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return runner


def migrated(tmp_path: Path, text: str) -> str:
    """The new text, after a check of what must hold for every migration."""
    path = tmp_path / "config.yaml"
    path.write_bytes(text.encode())
    outcome = migrate_text(path)
    check_meaning(text, outcome.after)
    assert path.read_bytes() == text.encode()
    path.write_bytes(outcome.after.encode())
    assert migrate_text(path).state == "unchanged"
    return outcome.after


def check_meaning(old: str, new: str) -> None:
    """The new text means what the mapping of the old one says, and keeps every comment."""
    before, after = yaml.safe_load(old), yaml.safe_load(new)
    joint, _ = map_legacy(before)
    if joint:
        assert model(after) == JointSamplingConfig.model_validate(joint)
    assert without_joint(after) == without_joint(without_legacy(before))
    assert comments(new) == comments(old)


def model(data: dict[str, Any]) -> JointSamplingConfig:
    return JointSamplingConfig.model_validate(data["joint_sampling"])


def without_joint(data: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in data.items() if k != "joint_sampling"}


def comments(text: str) -> list[str]:
    return sorted("#" + line.split("#", 1)[1] for line in text.splitlines() if "#" in line)


def test_both_samplers_of_before(tmp_path: Path) -> None:
    assert migrated(tmp_path, PRODUCTION) == PRODUCTION_MIGRATED


def test_the_unified_section_changes_one_line(tmp_path: Path) -> None:
    assert migrated(tmp_path, UNIFIED) == "joint_" + UNIFIED


@pytest.mark.parametrize("text", [AFFINITY, EXPLORE, PANEL])
def test_files_without_legacy_keys_are_not_touched(run: Run, tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    before = path.stat()
    code, out, _ = run(path)
    assert code == 0
    assert "1 unchanged" in out
    assert path.read_text() == text
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


@pytest.mark.parametrize("other", [AFFINITY, EXPLORE, PANEL])
@pytest.mark.parametrize("legacy", [PRODUCTION.replace("model:", "tracking:", 1), UNIFIED])
@pytest.mark.parametrize("first", [True, False])
def test_other_sections_keep_every_line_and_are_named(
    tmp_path: Path, other: str, legacy: str, first: bool
) -> None:
    legacy = legacy.replace("  message_passing: {depth: 3}\n", "  mlflow: false\n")
    other += "registry:\n  port: 5000  # of another program\n"
    text = other + "\n" + legacy if first else legacy + "\n" + other
    new = migrated(tmp_path, text)
    assert other in new
    path = tmp_path / "again.yaml"
    path.write_text(text)
    notes = migrate_text(path).notes
    assert any("chemprop: registry" in note for note in notes)
    assert not any("task_affinity" in note for note in notes)


def test_a_curriculum_that_is_on_overrules_alpha(tmp_path: Path) -> None:
    new = migrated(tmp_path, PRODUCTION.replace("enabled: false", "enabled: true"))
    joint = model(yaml.safe_load(new))
    assert joint.curriculum.enabled
    assert not joint.task_oversampling.enabled
    assert joint.task_oversampling.alpha == 0.1


def test_optimization_keeps_its_other_keys(tmp_path: Path) -> None:
    text = "optimization:\n  lr: 1.0e-3 # a\n  task_sampling_alpha: .5\n  b: [1,2]\nz: 1\n"
    assert migrated(tmp_path, text) == (
        "optimization:\n  lr: 1.0e-3 # a\n  b: [1,2]\n"
        "\njoint_sampling:\n  enabled: true\n  task_oversampling:\n    enabled: true\n"
        "    alpha: .5\n  composition_mode: hierarchical\nz: 1\n"
    )


@pytest.mark.parametrize(
    ("braces", "left"),
    [
        ("{task_sampling_alpha: 0.5}", None),
        ("{task_sampling_alpha: 0.5, lr: 1}", "{lr: 1}"),
        ("{lr: 1, task_sampling_alpha: 0.5}", "{lr: 1}"),
        ("{a: 2, task_sampling_alpha: 0.5, lr: 1}", "{a: 2, lr: 1}"),
    ],
)
def test_alpha_in_braces(tmp_path: Path, braces: str, left: str | None) -> None:
    new = migrated(tmp_path, f"optimization: {braces}  # steps\n")
    assert "alpha: 0.5" in new
    assert (f"optimization: {left}  # steps\n" in new) if left else ("optimization" not in new)


def test_a_unified_section_that_is_off_gives_way(tmp_path: Path) -> None:
    text = "sampling:\n  enabled: false\n  seed: 3\n\n" + PRODUCTION
    assert migrated(tmp_path, text) == PRODUCTION_MIGRATED


def test_a_unified_section_that_is_on_overrules_the_others(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("optimization: {task_sampling_alpha: 0.9}\n\n" + UNIFIED)
    assert migrate_text(path).after == "joint_" + UNIFIED


@pytest.mark.parametrize(
    "text",
    [
        PRODUCTION.replace("\n", "\r\n"),
        PRODUCTION.removesuffix("\n"),
        PRODUCTION.replace("curriculum:", '"curriculum":'),
        PRODUCTION.replace("curriculum:", "curriculum: &tiers"),
        PRODUCTION.replace("  enabled: false", "    enabled: false").replace("  qual", "    qual"),
        "---\n" + PRODUCTION,
        "curriculum: {enabled: true, patience: 3}  # short\n",
        "curriculum:\n  patience: 3\n",
        "curriculum:\n  enabled: true\n  qualities:\n  - high\n  - low\n\n  # no more\n\nz: 1\n",
        "optimization:  # steps\n\n  # lr: 3\n\n  'task_sampling_alpha': 1\n  # more\n# end\n",
    ],
)
def test_layouts(tmp_path: Path, text: str) -> None:
    new = migrated(tmp_path, text)
    assert ("\r\n" in new) == ("\r\n" in text)


@pytest.mark.parametrize(
    "text",
    [
        "{curriculum: {enabled: true}}\n",
        "base: &b\n  curriculum: {enabled: true}\n<<: *b\n",
        "curriculum: {enabled: true, patience: *p}\np: &p 3\n",
        "optimization:\n  task_sampling_alpha: &a 0.2\n  other: *a\ncurriculum: {enabled: false}\n",
        "optimization: {lr: 1,\n  task_sampling_alpha: 0.2}\n",
    ],
)
def test_a_layout_that_cannot_move_by_lines_fails_and_stays(
    run: Run, tmp_path: Path, text: str
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    code, out, _ = run(path)
    assert code == 2
    assert "1 failed" in out
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("sampling:\n  enabled: true\n  task_oversamplin: {}\n", "'task_oversampling'"),
        ("curriculum:\n  enabled: true\n  patience: 0\n", "joint_sampling.curriculum.patience"),
        ("curriculum: 3\n", "expected a mapping"),
        (UNIFIED + "joint_sampling: {}\n", "keep joint_sampling"),
        ("a: [\n", "line"),
        ("- sampling\n", "mapping"),
        (UNIFIED + UNIFIED, "once"),
    ],
)
def test_one_bad_file_is_named_and_does_not_stop_the_others(
    run: Run, tmp_path: Path, text: str, reason: str
) -> None:
    bad, good = tmp_path / "a.yaml", tmp_path / "b.yml"
    bad.write_text(text)
    good.write_text(PRODUCTION)
    code, out, err = run(tmp_path)
    assert (code, err) == (2, "")
    assert reason in " ".join(out.split())
    assert "1 migrated, 1 failed" in out
    assert bad.read_text() == text
    assert good.read_text() == PRODUCTION_MIGRATED


def test_an_alpha_out_of_range_is_said(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("optimization: {task_sampling_alpha: 1.5}\n")
    code, out, _ = run(path)
    assert code == 0
    assert "1.5" in out


def test_dry_run_prints_a_patch_and_writes_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("config.yaml")
    path.write_text(UNIFIED)
    code, out, err = run(path, dry_run=True)
    assert code == 0
    changed = [line for line in out.splitlines() if line[:1] in "+-" and line[:3] not in "+++---"]
    assert changed == ["-sampling:", "+joint_sampling:"]
    assert "nothing was written" in err
    assert path.read_text() == UNIFIED
    assert os.listdir() == ["config.yaml"]


def test_second_run_has_nothing_to_do(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(PRODUCTION)
    assert run(path)[0] == 0
    code, out, _ = run(path)
    assert (code, "1 unchanged" in out) == (0, True)
    assert path.read_text() == PRODUCTION_MIGRATED


def test_output_of_one_file_and_of_a_folder(run: Run, tmp_path: Path) -> None:
    old = tmp_path / "old"
    (old / "deep").mkdir(parents=True)
    (old / "a.yaml").write_text(PRODUCTION)
    (old / "deep" / "a.yaml").write_text(UNIFIED)
    assert run(old / "a.yaml", output=tmp_path / "one.yaml")[0] == 0
    assert (tmp_path / "one.yaml").read_text() == PRODUCTION_MIGRATED
    assert run(old, output=tmp_path / "new")[0] == 0
    assert (tmp_path / "new" / "a.yaml").read_text() == PRODUCTION_MIGRATED
    assert (tmp_path / "new" / "deep" / "a.yaml").read_text() == "joint_" + UNIFIED
    assert (old / "a.yaml").read_text() == PRODUCTION
    code, out, _ = run(old, output=tmp_path / "new")
    assert code == 2
    assert "which exists" in " ".join(out.split())


def test_globs_permissions_and_links(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(UNIFIED)
    path.chmod(0o640)
    link = tmp_path / "link.yml"
    link.symlink_to(path)
    assert run(tmp_path / "*.yml")[0] == 0
    assert link.is_symlink()
    assert path.read_text() == "joint_" + UNIFIED
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_missing_paths(run: Run, tmp_path: Path) -> None:
    code, out, _ = run(tmp_path / "no.yaml", str(tmp_path / "*.yml"))
    assert (code, "2 failed" in out) == (2, True)


def test_the_migrated_file_is_a_training_configuration(tmp_path: Path) -> None:
    new = yaml.safe_load(migrated(tmp_path, PRODUCTION))
    assert TrainChempropConfig.model_validate(new).joint_sampling.task_oversampling.alpha == 0.1


comment = st.sampled_from(["", "  # why", " # {x: [1"])
blanks = st.sampled_from(["", "\n", "\n# on its own\n", "# above\n"])


@st.composite
def configurations(draw: st.DrawFn) -> str:
    """Sections in any order, each with comments and empty lines anywhere."""
    indent = " " * draw(st.integers(1, 5))

    between = st.sampled_from(["", "\n", f"{indent}# in\n"])

    def lines(*keys: str) -> str:
        order = draw(st.permutations(keys))
        return "".join(f"{indent}{key}{draw(comment)}\n{draw(between)}" for key in order)

    on = draw(st.sampled_from(["enabled: true", "enabled: false"]))
    sections = {
        "curriculum": lines(on, "patience: 3", "qualities: [high, low]"),
        "optimization": lines(
            "task_sampling_alpha: 0.25", *draw(st.sampled_from([(), ("lr: 1",), ("a: 2", "b: 3")]))
        ),
        "model": lines("depth: 3"),
        "task_affinity": lines("n_groups: 3", "names: |\n" + indent + "   # no comment"),
    }
    wanted = draw(st.sets(st.sampled_from(list(sections)), min_size=1))
    text = draw(blanks)
    for name in draw(st.permutations(sorted(wanted))):
        text += f"{name}:{draw(comment)}\n{sections[name]}{draw(blanks)}"
    return text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(configurations())
def test_any_layout_keeps_meaning_comments_and_other_lines(tmp_path: Path, text: str) -> None:
    new = migrated(tmp_path, text)
    # Lines of the other sections stand in their order: what is not in the common subsequence of
    # the two files belongs to the legacy sections, is new, or is an empty line.
    matcher = SequenceMatcher(None, text.splitlines(), new.splitlines(), autojunk=False)
    kept = sum(block.size for block in matcher.get_matching_blocks())
    foreign = sum(
        text.count(line) for line in ("model:", "depth: 3", "n_groups: 3", "names: |", "no comment")
    )
    assert kept >= foreign
