"""The processes of a run: rank, world size, device, exchanges between ranks, and how one process of several ends.

`python` starts one process; `torchrun` and `accelerate launch` start several and set RANK, WORLD_SIZE and LOCAL_RANK.
Every function works without a launcher too: there is one rank then.  The functions that need torch import it, so that a
bad launch or flag is reported before that.
"""

import contextlib
import ctypes
import getpass
import inspect
import json
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from glagcn import signals
from glagcn.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch.distributed import Store

# Environment variables that torchrun sets.
VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
TIMEOUT = timedelta(minutes=10)
BACKSTOP = timedelta(minutes=1)  # a missing rank is named before an exchange with it fails
POLL_S = 0.5
BEAT_S = 2.0
LATE_S = 30.0  # longer than a network hiccup, short for someone who watches
REPORT_DELAY_S = 10.0
LOST_RANK_CODE = 76  # exit code; EX_PROTOCOL of sysexits.h
CONNECTION_ERRORS = ("DistBackendError", "DistNetworkError", "DistStoreError")  # of torch.distributed

START = "start with torchrun or accelerate launch, which set all of them, or unset them all for one process"
# {system: (variable with its number of tasks, what to do)}
TASKS = {
    "srun": (
        ("SLURM_STEP_NUM_TASKS",),
        "use `sbatch launch/slurm.sbatch ...`, or start one torchrun per node, such as "
        "`srun --ntasks-per-node 1 torchrun --nproc_per_node GPUS ...`",
    ),
    "mpirun": (
        ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE"),
        "use torchrun or accelerate launch; on several nodes, start one torchrun per node, such as "
        "`mpirun --map-by ppr:1:node torchrun --nnodes NODES --nproc_per_node GPUS --rdzv_backend c10d "
        "--rdzv_endpoint HOST:29500 ...`",
    ),
}
# {variable of accelerate launch: (its name there, values that ask for nothing, what decides here)}
REQUESTS = {
    "ACCELERATE_MIXED_PRECISION": ("mixed_precision", ("no",), "--precision"),
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": ("gradient_accumulation_steps", ("1",), "--micro_batch"),
    "ACCELERATE_GRADIENT_CLIPPING": ("gradient_clipping", ("none",), "--clip"),
    "ACCELERATE_DYNAMO_BACKEND": ("dynamo_backend", ("no",), "--compile"),
    "ACCELERATE_USE_DEEPSPEED": ("use_deepspeed", ("false",), ""),
    "ACCELERATE_USE_FSDP": ("use_fsdp", ("false",), ""),
    "ACCELERATE_USE_MEGATRON_LM": ("use_megatron_lm", ("false",), ""),
    "ACCELERATE_USE_PARALLELISM_CONFIG": ("use_parallelism_config", ("false",), ""),
}
# Constants of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
NEVER = 2**31 - 1
SPINS = 5000  # about as long as suspending and waking a thread

# The state of this process; set by `start`.
_device: "torch.device | None" = None
_store: "Store | None" = None  # shared by all ranks
_heartbeat: "Heartbeat | None" = None
_waits = 0
_left: Any = None  # see finish


def rank() -> int:
    """The rank of this process; 0 without a launcher."""
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """The number of this process on its node."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def world_size() -> int:
    """The number of processes that the launcher started; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def processes_on_this_node() -> int:
    """The number of processes on this node."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", world_size()))


def is_main() -> bool:
    """Whether this is rank 0, which prints and writes."""
    return rank() == 0


def device() -> "torch.device":
    """The device of this process, chosen by `start`; the CPU before it."""
    import torch

    return _device or torch.device("cpu")


def prepare() -> None:
    """Make this process independent of terminal, notebook and account, and check what the launcher set.

    Raises UserError for a launch that cannot work, naming the variable, its value and what to do.
    """
    for stream in (sys.stdout, sys.stderr):
        # A terminal or log that takes ASCII only must not end a run whose folder has another letter.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    # Figures are drawn into files; the backend of a notebook, which its kernel leaves here, may not be installed.
    os.environ["MPLBACKEND"] = "agg"
    spin_briefly()
    _do_without_account()
    _check_ranks()
    _check_tasks()


def ignored_requests() -> str:
    """What `accelerate launch` was asked for and has no effect here, with what decides instead; empty if nothing."""
    asked, deciding = [], []
    for variable, (name, nothing, flag) in REQUESTS.items():
        value = os.environ.get(variable, "")
        if value and value.lower() not in nothing:
            asked.append(f"{name} {value}")
            deciding.append(flag)
    if not asked:
        return ""
    decides = ", ".join(flag for flag in deciding if flag)
    instead = f"; {decides} of this command decide" if decides else ""
    whole = "; every process has a copy of the whole model" if "" in deciding else ""
    return f"accelerate launch asks for {', '.join(asked)}, without effect here{instead}{whole}"


def _do_without_account() -> None:
    """Give torch.compile a user name, and matplotlib a folder for its cache, in a container that has neither."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = str(os.getuid())
    home = os.path.expanduser("~")  # noqa: PTH111  # that of Path raises where there is none
    if "MPLCONFIGDIR" in os.environ or os.access(home, os.W_OK):
        return
    folder = Path(tempfile.gettempdir()) / f"matplotlib-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.lstat().st_uid == os.getuid():  # not a trap of somebody else
            os.environ["MPLCONFIGDIR"] = str(folder)
    except OSError:
        pass  # matplotlib says so itself


def _check_ranks() -> None:
    """Raise UserError unless the variables of torchrun are whole numbers that fit each other.  Removes empty ones."""
    for name in VARIABLES:
        if not os.environ.get(name, "unset").strip():
            del os.environ[name]
    numbers = {name: _number(name) for name in VARIABLES if name != "MASTER_ADDR" and name in os.environ}
    size = numbers.get("WORLD_SIZE", 1)
    if size < 1:
        raise UserError(f"invalid WORLD_SIZE={size} in the environment: must be at least 1; {START}")
    if size > 1 and (missing := [name for name in VARIABLES if name not in os.environ and name != "LOCAL_WORLD_SIZE"]):
        raise UserError(f"WORLD_SIZE={size} needs {', '.join(missing)} in the environment too; {START}")
    for name, count in (("RANK", size), ("LOCAL_RANK", numbers.get("LOCAL_WORLD_SIZE", size))):
        if numbers.get(name, 0) >= count:
            raise UserError(
                f"invalid {name}={numbers[name]} in the environment: must be below the number of processes, {count}; "
                f"{START}"
            )


def _number(name: str) -> int:
    text = os.environ[name]
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise UserError(f"invalid {name}={text[:80]!r} in the environment: must be a whole number; {START}")
    return int(text)


def _check_tasks() -> None:
    """Raise UserError if a batch system started several tasks, and nothing made them processes of one run."""
    if "RANK" in os.environ or "WORLD_SIZE" in os.environ:
        return
    for starter, (variables, advice) in TASKS.items():
        for name in variables:
            text = os.environ.get(name, "")
            if text.isdecimal() and text.strip("0") not in ("", "1"):
                raise UserError(
                    f"{starter} started {text} tasks ({name}), and each would be a run of its own: {advice}. "
                    "WORLD_SIZE=1 in the environment states that separate runs are meant"
                )


def start(workers: int | None = None, timeout: timedelta = TIMEOUT) -> None:
    """Choose the device and join the other processes: NCCL on CUDA, gloo on CPUs, no process group for one process.

    workers  CPU threads per process; None: the cores divided by the processes of this node.
    timeout  how long a rank may be missing, at the start and later, before the others end.
    Raises UserError if there are fewer GPUs than processes.
    """
    global _device
    import torch

    threads = workers or max(1, len(os.sched_getaffinity(0)) // processes_on_this_node())
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    if torch.cuda.is_available():
        count, processes = torch.cuda.device_count(), processes_on_this_node()
        if processes > count:
            raise UserError(
                f"{processes} processes on this node, but {count} visible GPU(s); start one process per GPU"
            )
        _device = torch.device("cuda", local_rank())
        torch.cuda.set_device(_device)
    else:
        _device = torch.device("cpu")
        torch.set_num_threads(threads)  # torchrun sets one thread per process
    if world_size() > 1:
        _join(timeout)


def _join(timeout: timedelta) -> None:
    """Join the process group that the launcher describes, and begin to send signs of life."""
    global _store, _heartbeat
    import torch.distributed as td

    shared, number, size = next(td.rendezvous("env://", timeout=timeout))
    _store = td.PrefixStore(_prefix(), shared)
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    own = td.TCPStore(host, port, is_master=False, timeout=timeout, wait_for_workers=False)
    _heartbeat = Heartbeat(td.PrefixStore(_prefix(), own), f"{host}:{port}", number, size, timeout.total_seconds())
    backend = "nccl" if device().type == "cuda" else "gloo"
    td.init_process_group(backend, store=_store, rank=number, world_size=size, timeout=timeout + BACKSTOP)
    _heartbeat.start()


def _prefix() -> str:
    """The name space of this start in the store.

    torchrun keeps one store over restarts (--max-restarts): without a name space, a restarted rank would read the
    address of a dead one.  Each node counts its own restarts, so the count serves one node only; on several,
    TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 makes a new store at each start.
    """
    one_node = processes_on_this_node() == world_size()
    return f"start{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}" if one_node else "start"


def finish() -> None:
    """Destroy the process group; without this call a finished run may exit with an error code.

    The group object stays in memory: before PyTorch 2.8, freeing a gloo group waits for its threads, which may wait for
    the Python interpreter.
    """
    global _left
    if _heartbeat:
        _heartbeat.end()
    if world_size() > 1:
        import torch.distributed as td

        _left = td.group.WORLD
        td.destroy_process_group()


@contextlib.contextmanager
def agree() -> Iterator[None]:
    """If the block raises UserError or OSError on any rank, raise UserError with the first message on all ranks."""
    problem = None
    try:
        yield
    except (UserError, OSError) as error:
        problem = str(error)
    problems = [text for text in gather_objects(problem) if text is not None]
    if problems:
        raise UserError(problems[0])


@contextlib.contextmanager
def waiting_for_main() -> Iterator[None]:
    """A block in which rank 0 may work for hours: the other ranks poll, since a collective would time out."""
    global _waits
    _waits += 1
    key = f"wait{_waits}"
    try:
        yield
    finally:
        if _store is not None and is_main():
            _store.set(key, "done")
    while _store is not None and not _store.check([key]):
        time.sleep(POLL_S)


def largest(values: list[float]) -> list[float]:
    """The element-wise maximum over all ranks, on every rank.  Waits for the device."""
    if world_size() == 1:
        return values
    import torch
    import torch.distributed as td

    tensor = torch.tensor(values, dtype=torch.float64, device=device())
    td.all_reduce(tensor, td.ReduceOp.MAX)
    return tensor.tolist()


def check_stop() -> None:
    """Raise Stopped on every rank if any rank received a stop signal.  All ranks must call it together."""
    (number,) = largest([signals.REQUEST.number])
    if number:
        raise signals.Stopped(int(number), agreed=True)


def gather_objects(value: Any) -> list[Any]:
    """The values of all ranks in rank order, on every rank."""
    if world_size() == 1:
        return [value]
    import torch.distributed as td

    values: list[Any] = [None] * world_size()
    td.all_gather_object(values, value)
    return values


def from_main(value: Any) -> Any:
    """Rank 0's value, on every rank."""
    if world_size() == 1:
        return value
    import torch.distributed as td

    box = [value]
    td.broadcast_object_list(box, src=0)
    return box[0]


def gather(rows: "torch.Tensor") -> "torch.Tensor":
    """The tensors of all ranks, stacked in rank order: [W,*].  The shape must be the same on every rank."""
    if world_size() == 1:
        return rows[None]
    import torch
    import torch.distributed as td

    parts = [torch.empty_like(rows) for _ in range(world_size())]
    td.all_gather(parts, rows.contiguous())
    return torch.stack(parts)


def add_up(tensors: "list[torch.Tensor]") -> None:
    """Replace each tensor by its sum over all ranks, with one all-reduce.  All need the same dtype and device."""
    if world_size() == 1:
        return
    import torch
    import torch.distributed as td

    flat = torch.cat([tensor.flatten() for tensor in tensors])
    td.all_reduce(flat)
    parts = flat.split([tensor.numel() for tensor in tensors])
    torch._foreach_copy_(tensors, [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)])


def exchanging(module: "torch.nn.Module") -> "torch.nn.Module":
    """The module wrapped in DDP, which averages gradients over ranks; the module itself if there is one rank.

    DDP does not synchronise buffers: RunningStatistics keeps them equal.
    """
    if world_size() == 1:
        return module
    from torch.nn.parallel import DistributedDataParallel

    # Newer PyTorch releases renamed this argument and warn about the old name.
    known = inspect.signature(DistributedDataParallel).parameters
    buffers = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    devices = [device().index] if device().type == "cuda" else None
    settings: dict[str, Any] = {buffers: False}
    return DistributedDataParallel(module, devices, gradient_as_bucket_view=True, **settings)


def report_step(step: int) -> None:
    """Put the step into this rank's sign of life."""
    if _heartbeat:
        _heartbeat.step = step


class Heartbeat:
    """Names the rank that is missing when an exchange hangs: NCCL and gloo would wait on, or fail without naming it.

    Writes this rank's sign of life, "BEATS STEP HOST", to a store and reads those of the others, in threads of its own.
    A rank without a new sign for LATE_S is named on standard error.  After `timeout_s` this process ends.

    store    a connection that nothing else uses: a call hangs as long as the network does.
    address  of the store, for messages.
    step     the last step that this rank took; `report_step` sets it.
    """

    def __init__(self, store: "Store", address: str, number: int, size: int, timeout_s: float) -> None:
        self.step = 0
        self._store, self._address, self._rank, self._timeout_s = store, address, number, timeout_s
        self._keys = [f"beat{peer}" for peer in range(size)]
        self._beats = 0
        self._signs: list[str] = []  # the newest of each rank,
        self._heard_at: list[float] = []  # and when it came, by the clock of this process
        self._late: set[int] = set()
        self._ended = threading.Event()
        self._beat()

    def start(self) -> None:
        """Begin to beat and to watch.  Every rank must have made its heartbeat before."""
        self._signs = [sign.decode() for sign in self._store.multi_get(self._keys)]
        self._heard_at = [time.monotonic()] * len(self._signs)
        for work in (self._beat_on, self._watch):
            threading.Thread(target=work, daemon=True).start()

    def end(self) -> None:
        """Name nobody any more: the ranks are about to leave, one after the other."""
        self._ended.set()

    def _beat(self) -> None:
        self._beats += 1
        self._store.set(self._keys[self._rank], f"{self._beats} {self.step} {socket.gethostname()}")

    def _beat_on(self) -> None:
        while not self._ended.wait(BEAT_S):
            try:
                self._beat()
                signs = self._store.multi_get(self._keys)
            except RuntimeError:  # the store is gone: all signs grow old, and `_watch` notices
                continue
            for peer, sign in enumerate(signs):
                if sign.decode() != self._signs[peer]:
                    self._heard_at[peer], self._signs[peer] = time.monotonic(), sign.decode()

    def _watch(self) -> None:
        before = time.monotonic()
        while not self._ended.wait(BEAT_S):
            now = time.monotonic()
            if now - before > LATE_S / 2:  # this process was frozen, and heard nobody meanwhile
                self._heard_at[:] = [now] * len(self._heard_at)
            before = now
            self._look(now)

    def _look(self, now: float) -> None:
        """Name the ranks that are missing or back; end the process if one was missing too long."""
        silent = [now - heard_at for heard_at in self._heard_at]
        late = {peer for peer, seconds in enumerate(silent) if seconds > LATE_S}
        minutes = f"{self._timeout_s / 60:g} minutes"
        if self._prints(late):
            if new := late - self._late:
                tell(f"WARNING: {self._lost(late, new)} for {LATE_S:.0f} s; waiting up to {minutes} (--timeout)")
            if back := self._late - late:
                tell(f"{self._names(back)} answers again")
        self._late = late
        if gone := {peer for peer in late if silent[peer] > self._timeout_s}:
            text = (
                f"error: {self._lost(late, gone)} for {minutes} (--timeout). Look at that "
                "machine, its network and its log; the same command goes on from the last checkpoint"
            )
            if self._prints(late):
                tell(text)
            record(text)
            leave(LOST_RANK_CODE)

    def _prints(self, late: set[int]) -> bool:
        """Whether this rank prints: the first that is not missing, or the first of a node that is cut off."""
        if self._rank in late:
            return local_rank() == 0
        return self._rank == min(set(range(len(self._signs))) - late)

    def _lost(self, late: set[int], peers: Iterable[int]) -> str:
        if self._rank in late:  # not even its own sign came back
            return f"rank {self._rank} ({socket.gethostname()}) has not reached the store of the run at {self._address}"
        return f"no sign of life from {self._names(peers)}"

    def _names(self, peers: Iterable[int]) -> str:
        signs = ((peer, self._signs[peer].split()) for peer in sorted(peers))
        return ", ".join(f"rank {peer} ({host}, step {step})" for peer, (_, step, host) in signs)


def report(error: Exception | str) -> None:
    """Print an error that all ranks may share only once, from rank 0.

    The launcher kills all processes as soon as one fails, so the other ranks first wait for rank 0 to print.  A rank
    that is still alive after the delay failed alone and prints its own message.
    """
    if rank() != 0:
        time.sleep(REPORT_DELAY_S)
    fail(f"error: {error}")


def fail(text: str) -> None:
    """Print the message that ends this process, and record it for the launcher."""
    tell(text)
    record(text)


def record(text: str) -> None:
    """Write the message that ends this process to the file that torchrun reads for it.

    torchrun and accelerate launch print a report of their own below all messages; this one then stands in its last
    block.  The form is that of torch.distributed.elastic.multiprocessing.errors, with the message for a traceback.
    """
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if path:
        error = {"message": text, "extraInfo": {"timestamp": str(int(time.time()))}}
        with contextlib.suppress(OSError):
            Path(path).write_text(json.dumps({"message": error}), encoding="ascii")


def tell(text: str) -> None:
    """Print a line to stderr, at once."""
    with contextlib.suppress(OSError):  # nobody reads it any more
        print(text, file=sys.stderr, flush=True)


def is_lost_connection(error: Exception) -> bool:
    """Whether NCCL, gloo or the store failed to exchange data, in most cases because another process has ended."""
    from_gloo = isinstance(error, RuntimeError) and "gloo/transport" in str(error)
    return from_gloo or type(error).__name__ in CONNECTION_ERRORS


def leave(code: int) -> NoReturn:
    """Exit one process of several at once, without shutting down the interpreter.

    After a failure, an orderly shutdown would wait for ranks that may never answer.  After a success, gloo threads
    outlive the process group of a DDP model.  A thread that runs during the interpreter's shutdown may abort the
    process, and a finished run would end with an error code.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)


def keep_memory() -> None:
    """Make glibc reuse the memory of freed tensors instead of returning it to the system.

    Every step frees and allocates the same feature maps.  By default each allocation gets new pages, and the system
    zeroes 100,000 pages per step; that took a fifth of a training step on a CPU.  Peak memory does not change.  Has no
    effect with other C libraries.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, NEVER)


def spin_briefly() -> None:
    """Limit how long OpenMP threads spin before they sleep; has no effect after torch is imported.

    GNU OpenMP spins 300,000 rounds at the end of every operation.  If another process uses one of the cores, a training
    step then takes ten times as long.  Values already set in the environment are kept.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))
