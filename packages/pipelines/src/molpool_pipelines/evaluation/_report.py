"""One page over a run, a study or a comparison."""

from __future__ import annotations

from pathlib import Path

from molpool_common import InputError, write_text

from molpool_pipelines.reports import ReportConfig, comparison_page, run_page, study_page
from molpool_pipelines.scores import load_comparison


def report(config: ReportConfig) -> Path:
    """Write the page and name it.

    Raises
    ------
    InputError
        If not exactly one folder is given, or it does not hold what it should.
    """
    kind, folder = _what(config)
    name = config.title or folder.absolute().stem
    output = _output(config, folder)
    write_text(output, _page(kind, folder, name, config))
    return output


def _what(config: ReportConfig) -> tuple[str, Path]:
    given = {
        kind: Path(path)
        for kind in ("run", "study", "comparison")
        if (path := getattr(config, kind)) is not None
    }
    if len(given) != 1:
        raise InputError(
            "report",
            expected="one of --run, --study and --comparison",
            found=" and ".join(f"--{kind}" for kind in given) or "none of them",
        )
    kind, folder = next(iter(given.items()))
    if not folder.exists():
        raise InputError(f"--{kind}", expected="a folder that exists", found=f"no {str(folder)!r}")
    if kind != "comparison" and not folder.is_dir():
        raise InputError(f"--{kind}", expected="a folder", found=f"the file {str(folder)!r}")
    return kind, folder


def _output(config: ReportConfig, folder: Path) -> Path:
    output = Path(config.output or f"{folder.absolute().stem}_report.html")
    if output.suffix not in (".html", ".htm"):
        raise InputError("output", expected="the name of an .html file", found=output.name)
    if not output.absolute().parent.is_dir():
        raise InputError("output", expected="a file in an existing folder", found=repr(str(output)))
    if output.exists() and not config.overwrite:
        raise InputError(
            "output",
            expected="a new file",
            found=f"{str(output)!r}, which is there",
            hint="--overwrite true replaces it.",
        )
    return output


def _page(kind: str, folder: Path, name: str, config: ReportConfig) -> str:
    if kind == "comparison":
        return comparison_page(load_comparison(folder), name)
    if kind == "study":
        return study_page(folder, name)
    return run_page(folder, name, config)
