"""The machine: what it is, and what it can do at most, measured."""

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from glagcn.bench.measure import seconds

ROUNDS = 7


@dataclass(frozen=True)
class Peaks:
    """The best this machine does with the threads of this process.

    flops  floating-point operations per second of a large matrix product in the precision of training.
    bytes  bytes per second read and written by a copy much larger than the caches.
    """

    flops: float
    bytes: float


def measure_peaks(device: torch.device, precision: str) -> Peaks:
    """The best of several matrix products and copies; a peak is a maximum, so no median.

    On a CPU the product is also taken as a convolution of single pixels: convolutions come from another library than
    matrix products, and on some processors that one knows faster instructions.
    """
    cuda = device.type == "cuda"
    size, copied = (8192, 2**28) if cuda else (1024, 2**24)
    left = torch.rand(size, size, device=device, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
    source = torch.rand(copied, device=device)
    target = torch.empty_like(source)
    product = torch.empty_like(left)
    products = [(size, lambda: torch.mm(left, left, out=product))]
    if not cuda:
        few = 128
        image, weight = left.view(16, -1, 1, few).permute(0, 3, 1, 2), left[:few, :few, None, None]
        products.append((few, lambda: torch.conv2d(image, weight)))
    # Every number of `left` is multiplied with so many others.
    flops = max(2 * left.numel() * others / seconds(work, device) for others, work in products for _ in range(ROUNDS))
    moved = min(seconds(lambda: target.copy_(source), device) for _ in range(ROUNDS))
    return Peaks(flops=flops, bytes=2 * source.nbytes / moved)


def describe(device: torch.device) -> dict[str, Any]:
    """What a figure has to be read with: processor, threads, memory, versions, date (UTC)."""
    cuda = device.type == "cuda"
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "gpu": torch.cuda.get_device_name(device) if cuda else None,
        "cuda": torch.version.cuda if cuda else None,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _cpu_model() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
