"""What this machine can do at most, measured in less than a second."""

import time
from collections.abc import Callable

import torch

from glagcn.model.floor import Peaks

ENOUGH_SECONDS = 0.1  # for each kind of work; a GPU raises its clock meanwhile

Work = Callable[[], object]


def seconds(work: Work, device: torch.device) -> float:
    """How long one call takes; on CUDA between two events on the device, with nothing else under way."""
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
    """The best of several matrix products and copies; a peak is a maximum, so no median.  Their memory is freed.

    On a CPU the product is also taken as a convolution of single pixels: convolutions come from another library than
    matrix products, and on some processors that one knows faster instructions.
    """
    peaks = _measure(device, precision)
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)  # count from here
    return peaks


def _measure(device: torch.device, precision: str) -> Peaks:
    cuda = device.type == "cuda"
    size, copied = (8192, 2**28) if cuda else (1024, 2**24)
    draws = torch.Generator(device).manual_seed(0)  # those of the run stay as they are
    left = torch.rand(size, size, device=device, generator=draws)
    left = left.to(torch.bfloat16 if precision == "bf16" else torch.float32)
    source = torch.ones(copied, device=device)
    target = torch.empty_like(source)
    product = torch.empty_like(left)
    products = [(size, lambda: torch.mm(left, left, out=product))]
    if not cuda:
        few = 128
        image, weight = left.view(16, -1, 1, few).permute(0, 3, 1, 2), left[:few, :few, None, None]
        products.append((few, lambda: torch.conv2d(image, weight)))
    # Every number of `left` is multiplied with this many others.
    flops = max(2 * left.numel() * others / _least_seconds(work, device) for others, work in products)
    return Peaks(flops=flops, bytes=2 * source.nbytes / _least_seconds(lambda: target.copy_(source), device))


def _least_seconds(work: Work, device: torch.device) -> float:
    """The least time of a call, over calls that take ENOUGH_SECONDS together, after a warm-up call."""
    work()
    times: list[float] = []
    while sum(times) < ENOUGH_SECONDS:
        times.append(seconds(work, device))
    return min(times)
