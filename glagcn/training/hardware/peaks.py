"""Measures the machine's peak compute and memory rates in less than a second."""

import time
from collections.abc import Callable

import torch

from glagcn.model.floor import Peaks

ENOUGH_SECONDS = 0.1  # per kind of work: long enough for a GPU to raise its clock

Work = Callable[[], object]


def seconds(work: Work, device: torch.device) -> float:
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


def measure_peaks(device: torch.device, precision: str) -> Peaks:
    """The fastest of several matrix products and copies.  Frees their memory.

    On a CPU a 1 x 1 convolution is measured as well: it uses another library than matrix products, which has faster
    instructions on some processors.
    """
    peaks = _measure(device, precision)
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)  # so that later peaks exclude this measurement
    return peaks


def _measure(device: torch.device, precision: str) -> Peaks:
    cuda = device.type == "cuda"
    size, copied = (8192, 2**28) if cuda else (1024, 2**24)
    draws = torch.Generator(device).manual_seed(0)  # does not change the random state of the run
    left = torch.rand(size, size, device=device, generator=draws)
    left = left.to(torch.bfloat16 if precision == "bf16" else torch.float32)
    source = torch.ones(copied, device=device)
    target = torch.empty_like(source)
    product = torch.empty_like(left)
    products = [(size, lambda: torch.mm(left, left, out=product))]
    if not cuda:
        channels = 128
        image, weight = left.view(16, -1, 1, channels).permute(0, 3, 1, 2), left[:channels, :channels, None, None]
        products.append((channels, lambda: torch.conv2d(image, weight)))
    # Each element of `left` enters `outputs` products.
    flops = max(2 * left.numel() * outputs / _least_seconds(work, device) for outputs, work in products)
    return Peaks(flops=flops, bytes=2 * source.nbytes / _least_seconds(lambda: target.copy_(source), device))


def _least_seconds(work: Work, device: torch.device) -> float:
    """The minimum duration of a call, after a warm-up call, over calls that take ENOUGH_SECONDS in total."""
    work()
    times: list[float] = []
    while sum(times) < ENOUGH_SECONDS:
        times.append(seconds(work, device))
    return min(times)
