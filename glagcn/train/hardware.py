"""What a run asks of its hardware: precision, compilation, memory, equal replicas, and the peak arithmetic rate."""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import psutil
import torch
from torch import nn

from glagcn import dist
from glagcn.config.options import OptimConfig
from glagcn.errors import UserError, first_line
from glagcn.model.cores import allow_tf32
from glagcn.model.interface import Model

logger = logging.getLogger(__name__)

LONGEST_S = 3.0  # a longer step of training keeps all threads: it is no small work
TRIALS, TRIAL_S = 3, 1.0  # of each number of threads: so many, or as many as take so long
LESS, WORSE = 0.9, 1.5  # of the time with all: fewer must take at most this; of the best: even fewer are not tried
TRIAL_RUNS = 3  # CUDA graphs: the first run warms up, the second is captured, the third replays
PEAK_SECONDS = {"cuda": 0.1, "cpu": 0.03}  # per kind of product: long enough for a GPU to raise its clock
TRAINING_PASSES = 3  # the backward pass has two products, for inputs and for weights, for each forward one


def set_up(optim: OptimConfig, device: torch.device) -> str:
    """Apply --precision and --deterministic to this process.  Returns the precision, with "auto" resolved.

    Raises UserError if the device does not support it.
    """
    precision, cuda = optim.precision, device.type == "cuda"
    if precision == "auto":
        precision = "bf16" if cuda and torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if precision == "tf32" and not cuda:
        raise UserError("invalid --precision tf32: needs a CUDA device, and this run uses the CPU; use fp32")
    allow_tf32(precision != "fp32")
    if optim.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # required for reproducible cuBLAS results
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
    return precision


def autocast(precision: str, device: torch.device) -> AbstractContextManager:
    """A bfloat16 autocast context for precision "bf16", else a context without effect."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def is_compiled(optim: OptimConfig, device: torch.device) -> bool:
    """Whether --compile applies on this device."""
    return optim.compile == "on" or (optim.compile == "auto" and device.type == "cuda")


def compiled(module: nn.Module, optim: OptimConfig, device: torch.device) -> Callable:
    """Compile `module` for fixed input sizes, each at its first call; on CUDA into CUDA graphs."""
    if optim.deterministic:
        # Kernels must not be chosen by timing: they may add in another order.  Only newer PyTorch has this option.
        import torch._inductor.config as inductor

        if hasattr(inductor, "deterministic"):
            inductor.deterministic = True
    return torch.compile(module, dynamic=False, mode="reduce-overhead" if device.type == "cuda" else "default")


def rehearsed(run: Callable[[], None]) -> str | None:
    """Call `run`, which may compile.  Returns why it failed on any rank, else None.

    `run` must not wait for other ranks.  A compiler may raise any exception.  Raises torch.OutOfMemoryError on all
    ranks if one runs out of memory.
    """
    problem, full = None, False
    try:
        for _ in range(TRIAL_RUNS):
            run()
    except torch.OutOfMemoryError:
        full = True
    except Exception as error:  # noqa: BLE001
        problem = f"{type(error).__name__}: {first_line(error)}"
    found = dist.gather_objects((full, problem))
    if any(full for full, _ in found):
        raise torch.OutOfMemoryError
    return next((problem for _, problem in found if problem), None)


def best_threads(step: Callable[[], object], before: int | None = None) -> int | None:
    """The number of CPU threads for steps of training where nobody gave it: that in which a trial was fastest.

    Threads that share an operation wait for each other at its end.  Where operations are small, or other work holds a
    core, that costs more than it saves.  So all threads are tried, then a half, a quarter ... one.

    step    a step that changes nothing that matters.
    before  the number of the run that goes on, which it keeps: another would change its last digits.
    Returns None where all threads are used because the number was given, or there is nothing to choose.
    """
    most, cpu = torch.get_num_threads(), torch.device("cpu")
    if not dist.may_choose_threads() or most == 1:
        return None
    if before and before <= most:
        return before
    first = seconds(step, cpu)  # also warms up
    if first > LONGEST_S:
        return most
    trials = TRIALS if TRIALS * first <= TRIAL_S else max(1, int(TRIAL_S / first))
    times: dict[int, float] = {}
    for number in (most >> halvings for halvings in range(most.bit_length())):
        with threads(number):
            times[number] = min(seconds(step, cpu) for _ in range(trials))
        if times[number] > WORSE * min(times.values()):
            break
    best = min(times, key=lambda number: times[number])
    if times[best] > LESS * times[most]:
        best = most
    tried = ", ".join(f"{1000 * taken:.0f} ms with {number}" for number, taken in times.items())
    logger.info(f"Threads of a training step: {best} of {most}, by a trial ({tried}); --workers gives the number")
    return best


@contextmanager
def threads(number: int | None) -> Iterator[None]:
    """Compute with this many threads in the context; None changes nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def peak_memory(device: torch.device) -> int:
    """Peak memory so far, bytes: of the CUDA device, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    for line in status.read_text(encoding="utf-8").splitlines() if status.exists() else ():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource  # missing on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # a process inherits it from its parent
    return peak if sys.platform == "darwin" else peak * 1024


@contextmanager
def out_of_memory(size: int) -> Iterator[None]:
    """Turn torch.OutOfMemoryError into a UserError with advice for micro-batches of `size` windows."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        problem = "a micro-batch of one window does not fit into GPU memory; give a smaller --channel or --frames"
        if size > 1:
            problem = (
                f"a micro-batch of {size} windows needs more memory than the GPU has free; give --micro_batch "
                f"{size // 2} (BatchNorm statistics are then over this many windows)"
            )
        raise UserError(f"out of memory: {problem}") from error


def check_replicas(model: Model, step: int) -> None:
    """Compare the weights and buffers of all ranks bit for bit, by checksums.  Every rank must call it after `step`.

    Raises UserError, on all ranks, naming a tensor and the ranks where it differs from that of rank 0.
    """
    state = {name: tensor for name, tensor in model.state_dict().items() if tensor.numel()}
    bits = [tensor.flatten().view(torch.int32) for tensor in state.values()]
    sums = torch.stack([part.sum(dtype=torch.int64) for part in bits])  # [tensors]
    rows = dist.gather(sums)  # [W, tensors]
    differs = (rows != rows[0]).nonzero().tolist()
    if differs:
        name = list(state)[differs[0][1]]
        others = sorted({rank for rank, _ in differs})
        raise UserError(
            f"after step {step} the weights of rank(s) {', '.join(map(str, others))} differ from those of rank 0, "
            f"first in {name}. Their memory, their GPU or an exchange is faulty; resume from the last checkpoint"
        )


def peak_flops(device: torch.device, precision: str) -> float:
    """Floating-point operations per second of a large matrix product on `device`, measured in less than a second.

    On a CPU a 1 x 1 convolution is measured as well: it uses another library than matrix products, which has faster
    instructions on some processors.  Does not change the random state of the run, and frees its memory.
    """
    cuda = device.type == "cuda"
    size, channels = 8192 if cuda else 1024, 128
    left = torch.rand(size, size, device=device, generator=torch.Generator(device).manual_seed(0))
    left = left.to(torch.bfloat16 if precision == "bf16" else torch.float32)
    product = torch.empty_like(left)
    works = [(size, lambda: torch.mm(left, left, out=product))]
    if not cuda:
        image, weight = left.view(16, -1, 1, channels).permute(0, 3, 1, 2), left[:channels, :channels, None, None]
        works.append((channels, lambda: torch.conv2d(image, weight)))
    # Each element of `left` enters `outputs` products.
    peak = max(2 * left.numel() * outputs / _least_seconds(work, device) for outputs, work in works)
    if cuda:
        del left, product, works
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)  # so that later peaks exclude this measurement
    return peak


def seconds(work: Callable[[], object], device: torch.device, calls: int = 1) -> float:
    """The mean duration of `calls` calls in a row, seconds; on CUDA by events, after waiting for earlier work."""
    if device.type != "cuda":
        now = time.perf_counter()
        for _ in range(calls):
            work()
        return (time.perf_counter() - now) / calls
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize(device)
    begin.record(torch.cuda.current_stream(device))
    for _ in range(calls):
        work()
    end.record(torch.cuda.current_stream(device))
    end.synchronize()
    return begin.elapsed_time(end) / 1000 / calls


def _least_seconds(work: Callable[[], object], device: torch.device) -> float:
    """The minimum duration of a call, after a warm-up call, over calls that take PEAK_SECONDS in all."""
    work()
    times: list[float] = []
    while sum(times) < PEAK_SECONDS[device.type]:
        times.append(seconds(work, device))
    return min(times)
