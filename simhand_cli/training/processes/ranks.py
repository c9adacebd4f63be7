"""What a training process knows about its place among the others."""

from dataclasses import dataclass

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class Ranks:
    """One process of a training run.

    Attributes:
        rank: this process, 0 .. world_size - 1 over all machines.
        local_rank: this process on its machine; picks the GPU.
        world_size: number of processes.
        device: where this process computes, e.g. ``cpu`` or ``cuda:1``.
        grouped: whether a torch.distributed process group is up (else world_size is 1).
        local_world_size: number of processes on this machine.
        job: the same for all starts of these processes by one launcher; empty for a process of its own.
    """

    rank: int = 0
    local_rank: int = 0
    world_size: int = 1
    device: str = "cpu"
    grouped: bool = False
    local_world_size: int = 1
    job: str = ""

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and talks to the user."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait until every process is here."""
        if self.grouped:
            dist.barrier()

    def maximum(self, values: list[float]) -> list[float]:
        """Element-wise maximum over all processes; every process must call it with as many values."""
        if not self.grouped:
            return values
        # On the process's device, since NCCL moves nothing else.
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
        return [float(v) for v in tensor.tolist()]

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Element-wise mean over all processes of a small tensor on this process's device."""
        if not self.grouped:
            return values
        summed = values.detach().clone()
        dist.all_reduce(summed)
        return summed / self.world_size

    def from_main(self, text: str) -> str:
        """The text that rank 0 passes, on every process."""
        if not self.grouped:
            return text
        # As tensors and not by broadcast_object_list, which pickles.
        content = torch.tensor(list(text.encode()), dtype=torch.uint8, device=self.device)
        length = torch.tensor([content.numel()], dtype=torch.int64, device=self.device)
        # The others must know how much memory to have ready.
        dist.broadcast(length, src=0)
        if not self.is_main:
            content = torch.empty(int(length.item()), dtype=torch.uint8, device=self.device)
        dist.broadcast(content, src=0)
        return bytes(content.cpu().tolist()).decode()

    def gather_bytes(self, content: torch.Tensor) -> list[torch.Tensor]:
        """Same-sized uint8 CPU tensors of all processes, in rank order, on every process."""
        if not self.grouped:
            return [content]
        own = content.to(self.device)
        everyone = [torch.empty_like(own) for _ in range(self.world_size)]
        dist.all_gather(everyone, own)
        return [part.cpu() for part in everyone]
