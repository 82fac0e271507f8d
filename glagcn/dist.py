"""The processes of a run: how they start, who they are, what they exchange, how a lost one is noticed, and the end.

`python` starts one process; `torchrun` and `accelerate launch` start several and set RANK, WORLD_SIZE and LOCAL_RANK.
Every function works without a launcher too: there is one rank then.  The functions that need torch import it, so that a
bad launch or flag is reported before that.
"""

import contextlib
import ctypes
import getpass
import inspect
import itertools
import json
import math
import os
import re
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
from glagcn.machine import cores

if TYPE_CHECKING:
    import torch
    from torch.distributed import Store

TIMEOUT = timedelta(minutes=10)
BACKSTOP = timedelta(minutes=1)  # a missing rank is named before an exchange with it fails
POLL_S = 0.5
BEAT_S = 2.0
LATE_S = 30.0  # longer than a network hiccup, short for someone who watches
REPORT_DELAY_S = 10.0
NOT_STARTED = "0 not started"  # the sign of life of a rank that has not come yet
LOST_RANK_CODE = 76  # exit code; EX_PROTOCOL of sysexits.h
CONNECTION_ERRORS = ("DistBackendError", "DistNetworkError", "DistStoreError")  # of torch.distributed
SPINS = 5000  # of an OpenMP thread: about as long as suspending and waking it

# The state of this process; set by `start`.
_device: "torch.device | None" = None
_free_threads = 0  # the number that `start` set because nobody gave one; 0 where somebody did
_store: "Store | None" = None  # shared by all ranks
_heartbeat: "Heartbeat | None" = None
_waits = 0
_left: Any = None  # see finish

# ---------------------------------------------------------------- facts


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


def may_choose_threads() -> bool:
    """Whether this is the only process, on a CPU, and nobody said how many threads it has."""
    return bool(_free_threads) and world_size() == 1 and device().type == "cpu"


# ---------------------------------------------------------------- start: the environment

# Environment variables that torchrun sets.
VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
START = "start with torchrun or accelerate launch, which set all of them, or unset them all for one process"
# {variable with the number of tasks of a batch system: what started them}
TASKS = {
    "SLURM_STEP_NUM_TASKS": "srun",
    "OMPI_COMM_WORLD_SIZE": "mpirun",
    "PMI_SIZE": "mpirun",
    "MV2_COMM_WORLD_SIZE": "mpirun",
}
# {what accelerate launch can be asked for: the value that asks for nothing}
REQUESTS = {
    "mixed_precision": "no",
    "gradient_accumulation_steps": "1",
    "gradient_clipping": "none",
    "dynamo_backend": "no",
    **dict.fromkeys(("use_deepspeed", "use_fsdp", "use_megatron_lm", "use_parallelism_config"), "false"),
}


def prepare() -> None:
    """Make this process independent of terminal, notebook and account, and check what the launcher set.

    Raises UserError for a launch that cannot work, naming the variable, its value and what to do.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed, as by a service: the next file must not take its number
            setattr(sys, name, open(os.open(os.devnull, os.O_RDWR), mode))  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a log that takes ASCII only must not end a run with other letters
            stream.reconfigure(errors="backslashreplace")
    # Figures are drawn into files; the backend of a notebook, which its kernel leaves here, may not be installed.
    os.environ["MPLBACKEND"] = "agg"
    # GNU OpenMP spins 300,000 rounds at the end of every operation: if another process uses one of the cores, a step of
    # training takes ten times as long.  It reads this when torch is imported.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))
    # In a container without an account, torch.compile needs a user name, and matplotlib a folder for its cache.
    try:
        getpass.getuser()
    except (KeyError, OSError, ImportError):  # the last on Windows
        os.environ["USER"] = str(os.getuid()) if hasattr(os, "getuid") else "user"
    home = os.path.expanduser("~")  # noqa: PTH111  # that of Path raises where there is none
    if "MPLCONFIGDIR" not in os.environ and not os.access(home, os.W_OK):
        os.environ["MPLCONFIGDIR"] = tempfile.mkdtemp(prefix="matplotlib-")
    _check_ranks()
    _check_tasks()


def _check_ranks() -> None:
    """Raise UserError unless the variables of torchrun are whole numbers that fit each other.  Removes empty ones."""
    numbers = {}
    for name in VARIABLES:
        text = os.environ.get(name, "")
        if not text.strip():
            os.environ.pop(name, None)
        elif name != "MASTER_ADDR":
            if not text.isdecimal():
                raise UserError(f"invalid {name}={text[:80]!r} in the environment: must be a whole number; {START}")
            numbers[name] = int(text)
    size = numbers.get("WORLD_SIZE", 1)
    if size < 1:
        raise UserError(f"invalid WORLD_SIZE={size} in the environment: must be at least 1; {START}")
    if "RANK" in numbers and "WORLD_SIZE" not in numbers:
        raise UserError(f"RANK={numbers['RANK']} needs WORLD_SIZE in the environment too; {START}")
    if not 0 < numbers.get("MASTER_PORT", 1) < 1 << 16:
        raise UserError(f"invalid MASTER_PORT={numbers['MASTER_PORT']} in the environment: must be 1 to 65535; {START}")
    if size > 1 and (missing := [name for name in VARIABLES if name not in os.environ and name != "LOCAL_WORLD_SIZE"]):
        raise UserError(f"WORLD_SIZE={size} needs {', '.join(missing)} in the environment too; {START}")
    for name, count in (("RANK", size), ("LOCAL_RANK", numbers.get("LOCAL_WORLD_SIZE", size))):
        if numbers.get(name, 0) >= count:
            problem = f"invalid {name}={numbers[name]} in the environment"
            raise UserError(f"{problem}: must be below the number of processes, {count}; {START}")


def _check_tasks() -> None:
    """Raise UserError if a batch system started several tasks, and nothing made them processes of one run."""
    for name, launcher in TASKS.items():
        text = os.environ.get(name, "")
        if text.isdecimal() and int(text) > 1 and not {"RANK", "WORLD_SIZE"} & os.environ.keys():
            raise UserError(
                f"{launcher} started {text} tasks ({name}), and each would be a run of its own: start one task per "
                f"node, `{launcher} ... torchrun --nnodes NODES --nproc_per_node GPUS -m -- glagcn train ...`, as "
                "launch/slurm.sbatch of the repository does (docs/cluster.md). WORLD_SIZE=1 in the environment "
                "states that separate runs are meant"
            )


def ignored_requests() -> str:
    """What the launcher was asked for and has no effect here, with what to do; empty if nothing."""
    if (asked_for := _processes_asked_for()) > 1 == world_size():
        return (
            f"accelerate launch was asked for {asked_for} processes and started one; on GPUs give it --multi_gpu, on a "
            f"CPU use torchrun --nproc_per_node {asked_for}"
        )
    values = {name: os.environ.get(f"ACCELERATE_{name.upper()}", "") for name in REQUESTS}
    asked = [f"{name} {value}" for name, value in values.items() if value and value.lower() != REQUESTS[name]]
    if not asked:
        return ""
    return (
        f"accelerate launch asks for {', '.join(asked)}, without effect here; --precision, --micro_batch, --clip and "
        "--compile of this command decide, and every process has a copy of the whole model"
    )


def _processes_asked_for() -> int:
    """The processes that the `accelerate launch` of this process was asked for, by flag or --config_file; 1 without."""
    with contextlib.suppress(OSError, ValueError, IndexError, TypeError):  # only Linux has this file
        words = Path(f"/proc/{os.getppid()}/cmdline").read_text(encoding="utf-8").replace("=", "\0").split("\0")
        flags = [word.replace("-", "_") for word in words]
        if not any("accelerate" in word for word in words[:4]):
            return 1
        if "__num_processes" in flags:
            return int(words[flags.index("__num_processes") + 1])
        text = Path(words[flags.index("__config_file") + 1]).read_text(encoding="utf-8")
        return int(re.search(r"^num_processes: *(\d+)", text, re.MULTILINE)[1])  # type: ignore[index]
    return 1


def keep_memory() -> None:
    """Make glibc reuse the memory of freed tensors instead of returning it to the system.

    Every step frees and allocates the same feature maps.  By default each allocation gets new pages, and the system
    zeroes 100,000 pages per step; that took a fifth of a training step on a CPU.  Peak memory does not change.  Has no
    effect with other C libraries.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform.startswith("linux") else None
    if mallopt is not None:
        mallopt(-4, 0)  # M_MMAP_MAX of glibc's malloc.h
        mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD


# ---------------------------------------------------------------- start: the process group


def start(workers: int | None = None, timeout: timedelta = TIMEOUT) -> None:
    """Choose the device and join the other processes: NCCL on CUDA, gloo on CPUs, no process group for one process.

    workers  CPU threads per process; None: OMP_NUM_THREADS, or the cores divided by the processes of this node.
    timeout  how long a rank may be missing, at the start and later, before the others end.
    Raises UserError if there are fewer GPUs than processes, or the port of the run is taken.
    """
    global _device, _free_threads
    import torch

    processes, text = processes_on_this_node(), os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    # Launchers set it to 1 where nothing is set.
    chosen = int(text) if text.isdecimal() and int(text) > signals.is_launched() else None
    chosen = None if chosen == _free_threads else chosen  # set here, by an earlier call
    threads = workers or chosen or max(1, cores() // processes)
    _free_threads = 0 if workers or chosen else threads
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    if torch.cuda.is_available():
        if processes > (count := torch.cuda.device_count()):
            raise UserError(f"{processes} processes on this node, but {count} visible GPU(s); start one per GPU")
        _device = torch.device("cuda", local_rank())
        torch.cuda.set_device(_device)
    else:
        _device = torch.device("cpu")
        torch.set_num_threads(threads)
    if world_size() > 1:
        _join(timeout)


def _join(timeout: timedelta) -> None:
    """Join the process group that the launcher describes, and begin to send signs of life.

    PyTorch waits for the other ranks without answering signals, so a thread does that, and this one answers them.  The
    heartbeat names the ranks that do not come.
    """
    import torch
    import torch.distributed as td

    host, port, seconds = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), timeout.total_seconds()
    # torchrun keeps one store over restarts (--max-restarts): without a name space for each, a restarted rank would
    # read the address of a dead one.  Each node counts its own restarts, so the count serves one node only; on several,
    # TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 makes a new store at each start.
    one_node = processes_on_this_node() == world_size()
    prefix = f"start{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}" if one_node else "start"
    serves = is_main() and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    errors: list[Exception] = []

    def connection(serves: bool) -> "Store":
        return td.PrefixStore(prefix, td.TCPStore(host, port, world_size(), serves, timeout, wait_for_workers=False))

    def join() -> None:
        """Connect to the store, wait for all ranks there and start the process group."""
        global _store, _heartbeat
        try:
            if device().type == "cuda":
                torch.cuda.set_device(device())  # that of this thread
            _store = connection(serves)
            _heartbeat = Heartbeat(connection(False), f"{host}:{port}", rank(), world_size(), seconds)
            _store.set(f"here{rank()}", "")
            wait = timeout + BACKSTOP
            _store.wait([f"here{peer}" for peer in range(world_size())], wait)
            backend = "nccl" if device().type == "cuda" else "gloo"
            td.init_process_group(backend, store=_store, rank=rank(), world_size=world_size(), timeout=wait)
        except Exception as error:  # noqa: BLE001  (raised below)
            errors.append(error)

    store = f"the store of the run at {host}:{port}, which rank 0 opens"
    thread = threading.Thread(target=join, daemon=True)
    thread.start()
    began, reports = time.monotonic(), 1
    while thread.is_alive():
        thread.join(POLL_S)
        if time.monotonic() - began > reports * LATE_S and _heartbeat is None and local_rank() == 0:
            print_error(f"waiting for {store}: {reports * LATE_S:.0f} s, at most {seconds / 60:g} minutes (--timeout)")
            reports += 1
    if not errors:
        return
    if serves and _store is None:
        reason = "is taken" if "EADDRINUSE" in str(errors[0]) else f"cannot be opened ({errors[0]!s:.200})"
        raise UserError(
            f"the port {port} of this machine (MASTER_PORT), over which the processes of a run find each other, "
            f"{reason}; give another: --master_port of torchrun, --main_process_port of accelerate launch"
        ) from errors[0]
    if not is_lost_connection(errors[0]):
        raise errors[0]
    what = "connections between the ranks" if _heartbeat else store
    fail(
        f"error: waited {time.monotonic() - began:.0f} s for {what} (--timeout); see the logs of all machines, "
        "MASTER_ADDR, and the network. The same command starts again"
    )
    leave(LOST_RANK_CODE)


# ---------------------------------------------------------------- exchange


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
    (number,) = largest([signals.requested()])
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
    if world_size() == 1 or not tensors:
        return
    import torch
    import torch.distributed as td

    flat = torch.cat([tensor.flatten() for tensor in tensors])
    td.all_reduce(flat)
    parts = flat.split([tensor.numel() for tensor in tensors])
    torch._foreach_copy_(tensors, [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)])


def exchanging(module: "torch.nn.Module") -> "torch.nn.Module":
    """The module wrapped in DDP, which averages gradients over ranks; the module itself if there is one rank.

    DDP does not synchronise buffers: `Stepper` keeps them equal.
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


# ---------------------------------------------------------------- watch


def report_step(step: int) -> None:
    """Put the step into this rank's sign of life."""
    if _heartbeat:
        _heartbeat.step = step


class Heartbeat:
    """Names the rank that is missing when an exchange hangs: NCCL and gloo would wait on, or fail without naming it.

    Writes this rank's sign of life, "BEAT HOST, step STEP", to a store and reads those of the others, in threads of its
    own.  A rank without a new sign is named on standard error every LATE_S.  After `timeout_s` this process ends.

    store    a connection that nothing else uses: a call hangs as long as the network does.
    address  of the store, for messages.
    """

    def __init__(self, store: "Store", address: str, number: int, size: int, timeout_s: float) -> None:
        self._store, self._address, self._rank, self._timeout_s = store, address, number, timeout_s
        self._keys = [f"beat{peer}" for peer in range(size)]  # of the signs
        self.step = 0  # the last one of this rank; `report_step` sets it
        if local_rank() == 0:  # a rank that has come already replaces this at its next beat
            for key in self._keys:
                store.set(key, NOT_STARTED)
        self._signs = [NOT_STARTED] * size  # the newest of each rank,
        self._heard_at = [time.monotonic()] * size  # and when it came, by the clock of this process
        self._late: set[int] = set()
        self._named_at = -math.inf
        self._ended = threading.Event()
        for work in (self._beat, self._watch):
            threading.Thread(target=work, daemon=True).start()

    def end(self) -> None:
        """Stop naming missing ranks: all are about to leave, one after the other."""
        self._ended.set()

    def _beat(self) -> None:
        for beat in itertools.count(1):
            with contextlib.suppress(RuntimeError):  # the store is gone: all signs grow old, and `_watch` notices
                self._store.set(self._keys[self._rank], f"{beat} {socket.gethostname()}, step {self.step}")
                for peer, sign in enumerate(self._store.multi_get(self._keys)):
                    if sign.decode() != self._signs[peer]:
                        self._heard_at[peer], self._signs[peer] = time.monotonic(), sign.decode()
            if self._ended.wait(BEAT_S):
                return

    def _watch(self) -> None:
        before = time.monotonic()
        while not self._ended.wait(BEAT_S):
            now = time.monotonic()
            if now - before > LATE_S / 2:  # this process was frozen, and read no signs in that time
                self._heard_at[:] = [now] * len(self._heard_at)
            before = now
            self._look(now)

    def _look(self, now: float) -> None:
        """Name the ranks that are missing or back; end the process if one was missing too long."""
        silent = [now - heard_at for heard_at in self._heard_at]
        late = {peer for peer, seconds in enumerate(silent) if seconds > LATE_S}
        minutes = f"{self._timeout_s / 60:g} minutes"
        # The first rank that is not missing prints, and the first of a node that is cut off.
        prints = local_rank() == 0 if self._rank in late else self._rank == min(set(range(len(silent))) - late)
        if prints and (named := late if now - self._named_at > LATE_S else late - self._late):
            seconds = LATE_S * (min(silent[peer] for peer in named) // LATE_S)
            print_error(f"WARNING: {self._lost(late, named)} for {seconds:.0f} s; waiting up to {minutes} (--timeout)")
            self._named_at = now
        if prints and (back := self._late - late):
            print_error(f"{self._names(back)} answers")
        self._late = late
        if gone := {peer for peer in late if silent[peer] > self._timeout_s}:
            advice = "Look at that machine, its network and its log; the same command goes on from the last checkpoint"
            (fail if prints else record)(f"error: {self._lost(late, gone)} for {minutes} (--timeout). {advice}")
            leave(LOST_RANK_CODE)

    def _lost(self, late: set[int], peers: Iterable[int]) -> str:
        if self._rank in late:  # not even its own sign came back
            return f"rank {self._rank} ({socket.gethostname()}) has not reached the store of the run at {self._address}"
        return f"no sign of life from {self._names(peers)}"

    def _names(self, peers: Iterable[int]) -> str:
        return ", ".join(f"rank {peer} ({self._signs[peer].partition(' ')[2]})" for peer in sorted(peers))


# ---------------------------------------------------------------- end


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
    print_error(text)
    record(text)


def record(text: str) -> None:
    """Write the message that ends this process to the file that torchrun reads for it.

    torchrun and accelerate launch print a report of their own below all messages; this one then stands in its last
    block.  The form is that of torch.distributed.elastic.multiprocessing.errors, with the message for a traceback.
    """
    if path := os.environ.get("TORCHELASTIC_ERROR_FILE"):
        error = {"message": text, "extraInfo": {"timestamp": str(int(time.time()))}}
        with contextlib.suppress(OSError):
            Path(path).write_text(json.dumps({"message": error}), encoding="ascii")


def print_error(text: str) -> None:
    """Print a line to stderr, at once."""
    with contextlib.suppress(OSError):  # the other end is closed
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
