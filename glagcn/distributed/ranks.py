"""The ranks of a run: rank, world size, device and collective operations.

`python` starts one process; `torchrun` and `accelerate launch` start several and set RANK, WORLD_SIZE and LOCAL_RANK.
"""

import inspect
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, ClassVar

import torch
import torch.distributed as dist
from accelerate import Accelerator
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from glagcn.distributed import launcher, stop
from glagcn.distributed.heartbeat import Heartbeat
from glagcn.distributed.process_group import join
from glagcn.errors import UserError

TIMEOUT = timedelta(minutes=10)
POLL_S = 0.5


class Ranks:
    """The ranks of this run, through accelerate: NCCL on CUDA, gloo on CPUs, no backend for one process."""

    left: ClassVar[Any] = None  # see close

    def __init__(self, workers: int | None = None, timeout: timedelta = TIMEOUT) -> None:
        """Join the other processes.

        workers  CPU threads per process; None: the cores divided by the processes of this node.
        timeout  how long a rank may be missing before the others end.
        """
        launched = launcher.world_size()
        cuda = torch.cuda.is_available()
        if cuda:
            _choose_gpu()
        threads = workers or _fair_share_of_cores()
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # else accelerate chooses, with a warning
        self._store: dist.Store | None = None
        self.heartbeat: Heartbeat | None = None
        if launched > 1:
            self._store, self.heartbeat = join(cuda, timeout)
        self._waits = 0
        self.accelerator = Accelerator(
            cpu=not cuda,  # without this, CPU processes under a GPU launch would each train alone
            mixed_precision="no",  # the training step casts; evaluation of the same model must not
            dynamo_backend="no",  # --compile decides, not the environment
            step_scheduler_with_optimizer=False,
        )
        self.rank, self.world_size = self.accelerator.process_index, self.accelerator.num_processes
        self.local_rank, self.device = self.accelerator.local_process_index, self.accelerator.device
        if self.world_size != launched:
            raise UserError(
                f"the launcher started {launched} processes but only {self.world_size} connected; "
                "use torchrun, or a configuration file from launch/accelerate"
            )
        if not cuda:
            torch.set_num_threads(threads)  # torchrun sets one thread per process

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which prints and writes."""
        return self.rank == 0

    @contextmanager
    def agree(self) -> Iterator[None]:
        """If the block raises UserError or OSError on any rank, raise UserError with the first message on all ranks."""
        problem = None
        try:
            yield
        except (UserError, OSError) as error:
            problem = str(error)
        problems = [text for text in self.gather_objects(problem) if text is not None]
        if problems:
            raise UserError(problems[0])

    @contextmanager
    def waiting_for_main(self) -> Iterator[None]:
        """A block in which rank 0 may work for hours: the other ranks poll, since a collective would time out."""
        self._waits += 1
        key = f"wait{self._waits}"
        try:
            yield
        finally:
            if self._store is not None and self.is_main:
                self._store.set(key, "done")
        while self._store is not None and not self._store.check([key]):
            time.sleep(POLL_S)

    def largest(self, values: list[float]) -> list[float]:
        """The element-wise maximum over all ranks, on every rank.  Waits for the device."""
        if self.world_size == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return tensor.tolist()

    def report_step(self, step: int) -> None:
        """Put the step into this rank's sign of life."""
        if self.heartbeat:
            self.heartbeat.step = step

    def check_stop(self) -> None:
        """Raise Stopped on every rank if any rank received a stop signal.  All ranks must call it together."""
        (number,) = self.largest([stop.REQUEST.number])
        if number:
            raise stop.Stopped(int(number), agreed=True)

    def gather_objects(self, value: Any) -> list[Any]:
        """The values of all ranks in rank order, on every rank."""
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
        """The tensors of all ranks, stacked in rank order: [W,*].  The shape must be the same on every rank."""
        if self.world_size == 1:
            return rows[None]
        parts = [torch.empty_like(rows) for _ in range(self.world_size)]
        dist.all_gather(parts, rows.contiguous())
        return torch.stack(parts)

    def add_up(self, tensors: list[Tensor]) -> None:
        """Replace each tensor by its sum over all ranks, with one all-reduce.  All need the same dtype and device."""
        if self.world_size == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(flat)
        parts = flat.split([tensor.numel() for tensor in tensors])
        torch._foreach_copy_(tensors, [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)])

    def exchanging(self, module: torch.nn.Module) -> torch.nn.Module:
        """The module wrapped in DDP, which averages gradients over ranks; the module itself if there is one rank.

        DDP does not synchronise buffers: RunningStatistics keeps them equal.
        """
        if self.world_size == 1:
            return module
        # Newer PyTorch releases renamed this argument and warn about the old name.
        known = inspect.signature(DistributedDataParallel).parameters
        buffers = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
        devices = [self.device.index] if self.device.type == "cuda" else None
        settings: dict[str, Any] = {buffers: False}
        return DistributedDataParallel(module, devices, gradient_as_bucket_view=True, **settings)

    def close(self) -> None:
        """Destroy the process group; without this call a finished run may exit with an error code.

        The group object stays in memory: before PyTorch 2.8, freeing a gloo group waits for its threads, which may
        wait for the Python interpreter.
        """
        if self.heartbeat:
            self.heartbeat.end()
        if self.world_size > 1:
            Ranks.left = dist.group.WORLD
        self.accelerator.end_training()


def _choose_gpu() -> None:
    """Select this process's GPU before any CUDA call.  Raises UserError if there are fewer GPUs than processes."""
    count, processes = torch.cuda.device_count(), launcher.processes_on_this_node()
    if processes > count:
        raise UserError(f"{processes} processes on this node, but {count} visible GPU(s); start one process per GPU")
    torch.cuda.set_device(launcher.local_rank())


def _fair_share_of_cores() -> int:
    """CPU threads per process: the cores of this node divided by its processes."""
    return max(1, len(os.sched_getaffinity(0)) // launcher.processes_on_this_node())
