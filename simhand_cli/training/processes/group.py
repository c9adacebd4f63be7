"""One function run by every process of a torch.distributed group, with its errors in one line."""

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from simhand_cli.errors import EnvironmentProblem
from simhand_cli.training.processes.failures import ProblemBoard, group_problems
from simhand_cli.training.processes.ranks import Ranks
from simhand_cli.training.processes.world import gpu_index, own_cores
from simhand_cli.workspace.cores import threads_are_given

Args = TypeVar("Args")
Result = dict[str, Any]


def run_in_group(worker: Callable[[Ranks, Args], Result], args: Args, board: ProblemBoard, *, use_gpu: bool) -> Result:
    """Make this process one rank of its job's process group, run the worker and share rank 0's result.

    After an exception the group is left as it is, and the process must end without tearing it down
    (:func:`os._exit`), once it has told why: NCCL ends a group only together with all its ranks.
    """
    # torch renames its collectives; the old names work in every version that we support.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed")
    place, device = board.place, "cpu"
    # The board's store is used again: a second one would need a second port.
    group: dict[str, Any] = {"store": board.store, "rank": place.rank, "world_size": place.world_size}
    if use_gpu:
        device = f"cuda:{gpu_index(place)}"
        torch.cuda.set_device(torch.device(device))
        with memory_problems(), group_problems():
            # With device_id, NCCL connects at once, so that a bad network is a NoGroup and not a later step's error.
            dist.init_process_group("nccl", device_id=torch.device(device), **group)
    else:
        if not threads_are_given():
            # Every process would take all cores, and they would wait for each other.
            torch.set_num_threads(own_cores(place.local_world_size))
        with group_problems():
            dist.init_process_group("gloo", **group)
    ranks = Ranks(
        place.rank,
        place.local_rank,
        place.world_size,
        device,
        grouped=True,
        local_world_size=place.local_world_size,
        job=place.job,
    )
    with memory_problems():
        # By rank 0's text: its result alone is whole, and all processes return the same.
        result: Result = json.loads(ranks.from_main(json.dumps(worker(ranks, args))))
    dist.destroy_process_group()
    return result


@contextmanager
def memory_problems() -> Iterator[None]:
    """A full GPU or memory as a problem the user can act on; torch's own message fills a screen.

    Raises:
        EnvironmentProblem: in place of torch's OutOfMemoryError, or of its RuntimeError for a CPU's memory.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise EnvironmentProblem(
            "out of GPU memory; use a smaller --batch-size or --micro-batch or more --gpus, or end other "
            "programs on the GPU"
        ) from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):
            raise
        raise EnvironmentProblem(
            "out of memory; use a smaller --batch-size or --micro-batch, or end other programs"
        ) from error
