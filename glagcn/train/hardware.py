"""Training speed as a share of the hardware's peak arithmetic rate, and the remaining time."""

import logging
import math
import os
import resource
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from pathlib import Path

import torch
from torch import nn

from glagcn import dist
from glagcn.config.options import Config, OptimConfig
from glagcn.data.plan import EpochPlan
from glagcn.errors import UserError
from glagcn.model.cores import allow_tf32
from glagcn.model.interface import Model
from glagcn.train.optim import last_step

# ---- Numerical precision: the precision of training, and full float32 for evaluation.


def set_up(optim: OptimConfig, device: torch.device) -> str:
    """Apply --precision and --deterministic to this process.  Returns the precision, with "auto" resolved.

    Raises UserError if the device does not support it.
    """
    precision = _precision(optim.precision, device)
    allow_tf32(precision != "fp32")
    if optim.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # required for reproducible cuBLAS results
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
    return precision


def _precision(requested: str, device: torch.device) -> str:
    cuda = device.type == "cuda"
    if requested == "auto":
        return "bf16" if cuda and torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if requested == "tf32" and not cuda:
        raise UserError("invalid --precision tf32: needs a CUDA device, and this run uses the CPU; use fp32")
    return requested


def autocast(precision: str, device: torch.device) -> AbstractContextManager:
    """A bfloat16 autocast context for precision "bf16", else a context without effect."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def number_bytes(precision: str) -> int:
    """Bytes per value of a feature map during training."""
    return 2 if precision == "bf16" else 4


# ---- torch.compile for training steps, and its failures.


TRIAL_RUNS = 3  # CUDA graphs: the first run warms up, the second is captured, the third replays


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
        problem = (
            f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}"
        )
    found = dist.gather_objects((full, problem))
    if any(full for full, _ in found):
        raise torch.OutOfMemoryError
    return next((problem for _, problem in found if problem), None)


# ---- Memory use of this process or its GPU.


def peak_memory(device: torch.device) -> int:
    """Peak memory so far, bytes: of the CUDA device, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # Not ru_maxrss: a process inherits it from its parent.
    return _status_bytes("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _status_bytes(name: str) -> int:
    """An entry of Linux's /proc/self/status, bytes; 0 if there is none."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)


# ---- Training speed as a share of the hardware's peak arithmetic rate, and the remaining time.


logger = logging.getLogger(__name__)

WARM_UP_STEPS = 10  # compilation, first allocations, caches
PEAK_SECONDS = 0.1  # per kind of product: long enough for a GPU to raise its clock
TRAINING_PASSES = 3  # the backward pass has two products, for inputs and for weights, for each forward one
YEAR = 365 * 24 * 3600


class Speed:
    """Log lines about the speed of a run.

    share_per_rate  share of the peak arithmetic rate of all processes, for each training window per second.
    windows         training windows of the whole run.
    now             returns the time of day.
    """

    def __init__(self, share_per_rate: float, windows: int, now: Callable[[], datetime] = datetime.now) -> None:
        self._share_per_rate, self._windows, self._now = share_per_rate, windows, now
        self._rate: float | None = None

    def update(self, rate: float, done: int) -> None:
        """Set the speed, `rate` > 0 windows per second, after `done` windows of the run.  The first call logs it."""
        first, self._rate = self._rate is None, rate
        if not first:
            return
        left = self._seconds_left(done)
        end = f" (about {self._now() + timedelta(seconds=left):%Y-%m-%d %H:%M})" if left < YEAR else ""
        logger.info(
            f"Speed: {rate:,.0f} windows/s, {percent(rate * self._share_per_rate)} of the peak arithmetic rate; "
            f"training ends in {duration(left)}{end}, evaluations not counted"
        )

    def left(self, done: int) -> str:
        """The remaining training time after `done` windows, to append to a line; empty before the first `update`."""
        return "" if self._rate is None else f", {duration(self._seconds_left(done))} left"

    def _seconds_left(self, done: int) -> float:
        return (self._windows - done) / (self._rate or math.inf)


def run_speed(config: Config, plan: EpochPlan, model: Model) -> Speed:
    """Make the Speed of a run that is about to start.  Rank 0 measures its hardware while the other ranks wait.

    Assumes that all processes have equal hardware.
    """
    share_per_rate = 0.0
    with dist.agree():
        if dist.is_main():
            peak = peak_flops(dist.device(), config.optim.precision) * dist.world_size()
            share_per_rate = TRAINING_PASSES * model.flops() / peak
    return Speed(share_per_rate, plan.windows_until(last_step(config.optim, plan)))


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


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """The duration of one call, seconds; on CUDA measured by events, after waiting for earlier work."""
    if device.type != "cuda":
        now = time.perf_counter()
        work()
        return time.perf_counter() - now
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize(device)
    begin.record(torch.cuda.current_stream(device))
    work()
    end.record(torch.cuda.current_stream(device))
    end.synchronize()
    return begin.elapsed_time(end) / 1000


def is_warm(first: int, step: int, last: int) -> bool:
    """Whether the warm-up is over after `step`, for steps `first` to `last`; short runs have a shorter warm-up."""
    return step - first >= min(WARM_UP_STEPS, (last - first) // 2)


def duration(seconds: float) -> str:
    """Format seconds in the two largest units: 42 s, 12 min, 3 h 12 min, 2 d 3 h."""
    minutes = round(seconds / 60)
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days} d {hours} h"


def percent(share: float) -> str:
    """Format a share as a percentage: 20 %, 0.7 %."""
    return f"{100 * share:.{0 if share >= 0.1 else 1}f} %"


def _least_seconds(work: Callable[[], object], device: torch.device) -> float:
    """The minimum duration of a call, after a warm-up call, over calls that take PEAK_SECONDS in total."""
    work()
    times: list[float] = []
    while sum(times) < PEAK_SECONDS:
        times.append(seconds(work, device))
    return min(times)
