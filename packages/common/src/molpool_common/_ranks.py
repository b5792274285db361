"""Several processes that train one model (ranks): who they are, and what they tell one another.

`torchrun`, or `launch`, which does the same, starts them; each runs the whole command. The first
reads and writes, and the others follow it: see `join_ranks`. torch is needed only where there are
several.
"""

from __future__ import annotations

import logging
import os
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from molpool_common._errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

ValueT = TypeVar("ValueT")

_STARTED = "TORCHELASTIC_RUN_ID"
"""Set by torchrun in each process that it starts; Lightning knows them by it too."""

_LONGEST_WAIT = timedelta(days=2)
"""For the first rank, which may compute conformers of a large table while the others wait.

A rank that dies ends the wait of the others at once: its connections close.
"""


class RankLostError(RuntimeError):
    """Another process of the training has ended; what it was is said by that one."""

    exit_code = 1


def is_rank() -> bool:
    """Return whether torchrun started this process, perhaps as the only one."""
    return _STARTED in os.environ


def rank() -> int:
    """Return the number of this process among those that train together, from 0."""
    return int(os.environ["RANK"]) if is_rank() else 0


def world_size() -> int:
    """Return how many processes train together, on all machines; 1 without `torchrun`."""
    return int(os.environ["WORLD_SIZE"]) if is_rank() else 1


def local_world_size() -> int:
    """Return how many of them are on this machine."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if is_rank() else 1


def speaks() -> bool:
    """Return whether this process prints errors: the first of each machine, for all of its own."""
    return not is_rank() or os.environ["LOCAL_RANK"] == "0"


def join_ranks() -> None:
    """Meet the other processes: until `leave_ranks` all that Lightning trains is trained together.

    Nothing without `torchrun`. On processors they talk by gloo, between GPUs by NCCL.
    """
    if not is_rank() or together():
        return
    import torch

    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    torch.distributed.init_process_group(backend, timeout=_LONGEST_WAIT)


def leave_ranks() -> None:
    """Part from the other processes: from here on this one trains and writes alone."""
    if together():
        import torch

        torch.distributed.destroy_process_group()


def together() -> bool:
    """Return whether this process is one of several that train together now."""
    if not is_rank():
        return False
    import torch

    return torch.distributed.is_available() and torch.distributed.is_initialized()


@contextmanager
def first_rank_first() -> Iterator[None]:
    """Have the first rank go through the block before all others.

    What it computes is in the caches then, and what it refuses is refused once.
    """
    if not together():
        yield
        return
    if rank() > 0:
        _wait()
    yield
    if rank() == 0:
        _wait()


def _wait() -> None:
    """Wait until all ranks are here."""
    import torch

    with _saying_who_is_lost():
        torch.distributed.barrier()


def from_first_rank(compute: Callable[[], ValueT]) -> ValueT:
    """Return on each rank what the first computes; the others do not compute it."""
    if not together():
        return compute()
    import torch

    box: list[Any] = [compute() if rank() == 0 else None]
    with _saying_who_is_lost():
        torch.distributed.broadcast_object_list(box, src=0)
    return box[0]  # type: ignore[no-any-return]


def of_every_rank(value: ValueT) -> list[ValueT]:
    """Return the values that ranks in step call this with, in their order; one's own alone."""
    if not in_step():
        return [value]
    import torch

    values: list[Any] = [None] * world_size()
    torch.distributed.all_gather_object(values, value)
    return values


def over_ranks(values: Tensor) -> Tensor:
    """Return the sum of a tensor that each of the ranks in step has a part of; alone its own.

    A loss that is made of such sums is the same on each rank and that of the whole batch, and the
    mean of the ranks' gradients, which `DistributedDataParallel` takes, is its gradient.
    """
    if not in_step():
        return values
    import torch

    whole = values.detach().clone()
    torch.distributed.all_reduce(whole)
    if not values.requires_grad:
        return whole
    # Zero, with the gradient of the own part; once for each rank, as a mean over ranks is taken.
    return whole + world_size() * (values - values.detach())


_in_step = False


def in_step() -> bool:
    """Return whether this process trains in step with others: each has a share of every batch."""
    return _in_step


@contextmanager
def keeping_step() -> Iterator[None]:
    """Train in step with the ranks that are together, if any, within the block.

    Raises
    ------
    RankLostError
        If another rank ends, in place of what torch says of the connection.
    """
    global _in_step
    _in_step = together()
    try:
        with _saying_who_is_lost():
            yield
    finally:
        _in_step = False


@contextmanager
def _saying_who_is_lost() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if not together() or not _is_of_connection(error):
            raise
        raise RankLostError(
            f"rank {rank()} of {world_size()} stops: another rank has ended, and says why itself "
            "unless it was killed. last.ckpt, where it had one, stands; --resume true goes on with "
            "it, with any number of ranks."
        ) from None


def _is_of_connection(error: RuntimeError) -> bool:
    import torch

    return isinstance(error, torch.distributed.DistError) or "gloo" in str(error).lower()


def launch(arguments: Sequence[str], *, devices: int, num_nodes: int = 1) -> int:
    """Start this machine's processes of a training as `torchrun` does, and wait for them.

    Parameters
    ----------
    arguments : sequence of str
        Of the Python interpreter.
    devices : int
        Processes on this machine. If one ends otherwise than with 0, all are ended.
    num_nodes : int
        Machines. With several, ``MASTER_ADDR``, ``MASTER_PORT`` and ``NODE_RANK`` in the
        environment say where the first is and which this one is, as for Lightning.

    Returns
    -------
    int
        Exit code of the process that ended first otherwise than with 0; 0 if none did.

    Raises
    ------
    InputError
        If the environment does not say where several machines meet.
    KeyboardInterrupt
        On Ctrl-C and SIGTERM, once all processes have ended.
    """
    meeting = _meeting(num_nodes)
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # As torchrun does: as many threads in each as there are cores would wait for one another.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // devices)))
    # The processes say themselves what went wrong.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    config = LaunchConfig(
        min_nodes=num_nodes,
        max_nodes=num_nodes,
        nproc_per_node=devices,
        run_id=str(uuid.uuid4()) if num_nodes == 1 else "molpool",
        max_restarts=0,
        **meeting,
    )
    try:
        elastic_launch(config, sys.executable)(*arguments)
    except ChildFailedError as error:
        number, failure = error.get_first_failure()
        if failure.exitcode < 0:
            sys.stderr.write(f"rank {number} was ended by {failure.signal_name()}\n")
        return max(int(failure.exitcode), 1)
    except Exception as error:
        if type(error).__name__ == "SignalException":
            raise KeyboardInterrupt from None
        raise
    return 0


def _meeting(num_nodes: int) -> dict[str, Any]:
    """Return where the machines meet, as `LaunchConfig` takes it."""
    if num_nodes == 1:
        return {
            "rdzv_backend": "c10d",
            "rdzv_endpoint": "localhost:0",
            "local_addr": "localhost",
        }
    wanted = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK")
    if lacking := [name for name in wanted if name not in os.environ]:
        raise InputError(
            "trainer.num_nodes",
            expected=f"{', '.join(wanted)} in the environment with several machines",
            found=f"no {lacking[0]}",
            hint="Or start the command by torchrun, which passes them on.",
        )
    address, port, node = (os.environ[name] for name in wanted)
    return {
        "rdzv_backend": "static",
        "rdzv_endpoint": f"{address}:{port}",
        "rdzv_configs": {"rank": int(node), "timeout": 900},
    }
