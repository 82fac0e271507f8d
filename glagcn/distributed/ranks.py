"""The processes of a run: how many there are, which one this is, and agreeing among them.

Started by `python`, there is one; `torchrun` and `accelerate launch` set RANK, WORLD_SIZE and LOCAL_RANK.
"""

import inspect
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, ClassVar

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from glagcn.distributed import launcher, stop
from glagcn.errors import UserError

# Rank 0 may prepare a large data set while the others wait.
PATIENCE = timedelta(hours=2)


class Ranks:
    """This run's processes, over accelerate: NCCL on CUDA, gloo on CPUs, neither for one process."""

    left: ClassVar[Any] = None  # see close

    def __init__(self, workers: int | None = None) -> None:
        """workers  CPU threads of each process; None: a fair share of the cores."""
        launched = launcher.world_size()
        cuda = torch.cuda.is_available()
        if cuda:
            _choose_gpu()
        threads = workers or _fair_share_of_cores()
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # or accelerate warns and chooses
        self.accelerator = Accelerator(
            cpu=not cuda,  # without this, CPU processes under a GPU launch would each train alone
            mixed_precision="no",  # the training step casts; evaluation of the same model must not
            dynamo_backend="no",  # --compile decides, not the environment
            step_scheduler_with_optimizer=False,
            kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
        )
        self.rank, self.world_size = self.accelerator.process_index, self.accelerator.num_processes
        self.local_rank, self.device = self.accelerator.local_process_index, self.accelerator.device
        if self.world_size != launched:
            raise UserError(
                f"the launcher started {launched} processes but {self.world_size} found each other; "
                "use torchrun, or one of the configurations in launch/accelerate"
            )
        if not cuda:
            torch.set_num_threads(threads)  # torchrun sets one thread a process

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, the one that prints and writes."""
        return self.rank == 0

    @contextmanager
    def agree(self) -> Iterator[None]:
        """Leave the block together: if it raised UserError (or OSError) on any rank, all raise the first rank's."""
        problem = None
        try:
            yield
        except (UserError, OSError) as error:
            problem = str(error)
        problems = [text for text in self.gather_objects(problem) if text is not None]
        if problems:
            raise UserError(problems[0])

    def largest(self, values: list[float]) -> list[float]:
        """The largest of each value over all ranks, on every rank.  Waits for the device."""
        if self.world_size == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return tensor.tolist()

    def check_stop(self) -> None:
        """Raise Stopped on every rank if one was asked to stop.  Every rank must call it at the same point."""
        (number,) = self.largest([stop.REQUEST.number])
        if number:
            raise stop.Stopped(int(number))

    def gather_objects(self, value: Any) -> list[Any]:
        """The values of all ranks, in the order of ranks, on every rank."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values

    def from_main(self, value: Any) -> Any:
        """Rank 0's value, on every rank."""
        if self.world_size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all ranks in the order of ranks: [W,*]. Every rank must bring the same shape."""
        if self.world_size == 1:
            return rows[None]
        parts = [torch.empty_like(rows) for _ in range(self.world_size)]
        dist.all_gather(parts, rows.contiguous())
        return torch.stack(parts)

    def add_up(self, tensors: list[Tensor]) -> None:
        """Put the sum over all ranks into each tensor, by one exchange.  All must have one type and device."""
        if self.world_size == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(flat)
        parts = flat.split([tensor.numel() for tensor in tensors])
        torch._foreach_copy_(tensors, [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)])

    def exchanging(self, module: torch.nn.Module) -> torch.nn.Module:
        """A module whose backward pass averages gradients over ranks; itself where there is one rank.

        Buffers are not exchanged: RunningStatistics keeps them the same.
        """
        if self.world_size == 1:
            return module
        # Newer releases of PyTorch have another name for it, and warn of the old one.
        known = inspect.signature(DistributedDataParallel).parameters
        buffers = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
        devices = [self.device.index] if self.device.type == "cuda" else None
        settings: dict[str, Any] = {buffers: False}
        return DistributedDataParallel(module, devices, gradient_as_bucket_view=True, **settings)

    def close(self) -> None:
        """Leave the process group; without it a finished run may exit non-zero.

        It stays in memory: before PyTorch 2.8, freeing one of gloo waits for its threads, and they may wait for Python.
        """
        if self.world_size > 1:
            Ranks.left = dist.group.WORLD
        self.accelerator.end_training()


def _choose_gpu() -> None:
    """Make this process's GPU the current one, before anything touches a GPU; UserError if there are too few."""
    count, wanted = torch.cuda.device_count(), launcher.processes_on_this_node()
    if wanted > count:
        raise UserError(f"{wanted} processes on this node, and {count} GPU(s) are visible; start one process per GPU")
    torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))


def _fair_share_of_cores() -> int:
    """Threads for each of this node's processes."""
    return max(1, len(os.sched_getaffinity(0)) // launcher.processes_on_this_node())
