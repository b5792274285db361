"""Entry point of molpool-affinity. Heavy imports happen once a command really runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from molpool_common import guarded, parse_config

PROG = "molpool-affinity"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0 done, 2 wrong input, 1 a fault of ours."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    return guarded(PROG, lambda: _measure(arguments))


def _measure(arguments: Sequence[str]) -> None:
    from molpool_pipelines.affinity import AffinityCommandConfig, read_as_measurement

    config = parse_config(
        AffinityCommandConfig,
        arguments,
        prog=PROG,
        description="Measure which tasks of a table of SMILES to train together, and group them.",
        migrate=read_as_measurement,
    )
    # After parsing: the front loads torch with this name, and `--help` must not wait for it.
    from molpool_pipelines.affinity import measure_table

    measure_table(config, arguments=[PROG, *arguments])


if __name__ == "__main__":
    sys.exit(main())
