from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest
from molpool_common import Installation, _installation, describe_installation


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_installation, "_accelerator", lambda: "none")


def versions(monkeypatch: pytest.MonkeyPatch, **changed: str | None) -> Installation:
    """Describe an installation in which some distributions have other versions, or are none."""

    def version(name: str) -> str:
        found = changed[name] if name in changed else metadata.version(name)
        if found is None:
            raise metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(_installation, "version", version)
    return describe_installation()


@pytest.mark.usefixtures("no_torch")
class TestDescription:
    def test_of_this_installation(self) -> None:
        found = describe_installation()
        assert found.ours["molpool-common"] == metadata.version("molpool-common")
        assert found.libraries["numpy"] == metadata.version("numpy")
        assert found.problems == ()
        assert found.cores >= 1

    def test_a_version_that_is_too_old(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found = versions(monkeypatch, polars="0.9")
        assert any(
            p.startswith("molpool-common needs polars>=") and "found 0.9" in p
            for p in found.problems
        )

    def test_a_requirement_that_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found = versions(monkeypatch, rich=None)
        assert any("needs rich>=" in p and "not installed" in p for p in found.problems)
        assert "rich" not in found.libraries

    def test_an_extra_that_is_missing_is_no_problem(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found = versions(monkeypatch, xlsxwriter=None)
        extra = next(e for e in found.extras if e.name == "molpool-common[excel]")
        assert [lack.partition(">")[0] for lack in extra.missing] == ["xlsxwriter"]
        assert found.problems == ()

    def test_caches_have_their_size(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        monkeypatch.setenv("MOLPOOL_CACHE", str(tmp_path / "elsewhere"))
        monkeypatch.delenv("MOLPOOL_DATA", raising=False)
        (tmp_path / "molpool" / "molecules").mkdir(parents=True)
        (tmp_path / "molpool" / "molecules" / "x").write_bytes(b"12345")
        assert describe_installation().caches == {
            str(tmp_path / "molpool"): 5,
            str(tmp_path / "elsewhere"): 0,
        }
