"""A run that is stopped keeps its folder, and says how to go on.

Apart from the loop of networks, which imports Lightning: trees and processes do without.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager

from molpool_common import RunFolder, interruption


@contextmanager
def interruptible(run: RunFolder, command: str) -> Iterator[None]:
    """Hold the folder for whatever a run does in it; log an interruption, and say how to go on.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C or SIGTERM inside the block, with the command that goes on.
    """
    go_on = f"molpool-train {command} --resume --save-dir {shlex.quote(str(run.path))}"
    with interruption(f"Interrupted. Go on with: {go_on}"), run:
        try:
            yield
        except KeyboardInterrupt:
            # Checkpoints were written by the callbacks already; the log says only that the end is
            # not a crash.
            run.log("interrupted")
            raise
