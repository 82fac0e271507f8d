"""Training speed as a share of the hardware's peak arithmetic rate, and the remaining time."""

import logging
import math
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import torch

from glagcn import dist
from glagcn.config.options import Config
from glagcn.data.windows.plan import EpochPlan
from glagcn.model.interface import Model
from glagcn.training.optim.schedule import last_step

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
