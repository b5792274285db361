"""The page of the run folder says what the schema says."""

from __future__ import annotations

from pathlib import Path

from molpool_pipelines.runs import (
    MemberMetrics,
    Metrics,
    MetricValue,
    SplitMetrics,
    Stratum,
    TaskMetrics,
)

PAGE = Path(__file__).resolve().parents[1] / "docs" / "run_folder.md"


def test_each_field_is_documented() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for model in (Metrics, SplitMetrics, MemberMetrics, TaskMetrics, MetricValue, Stratum):
        for name, field in model.model_fields.items():
            row = next(
                line for line in page.splitlines() if line.endswith(f"{field.description} |")
            )
            assert row.startswith(f"| `{name}` |"), name
