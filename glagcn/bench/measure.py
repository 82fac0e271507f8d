"""Clocks: two ways of doing the same thing, timed in turns, on a CPU or on a CUDA device."""

import resource
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

Work = Callable[[], object]


def seconds(work: Work, device: torch.device) -> float:
    """How long one call takes; on CUDA between two events on the device, with nothing else under way."""
    if device.type != "cuda":
        begin = time.perf_counter()
        work()
        return time.perf_counter() - begin
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize(device)
    begin.record(torch.cuda.current_stream(device))
    work()
    end.record(torch.cuda.current_stream(device))
    end.synchronize()
    return begin.elapsed_time(end) / 1000


def interleaved(works: dict[str, Work], repeats: int, device: torch.device, warm_up: int = 1) -> dict[str, float]:
    """The median seconds of each work over `repeats` rounds, after `warm_up` rounds that do not count.

    A round runs every work once: what else the machine does meets all of them alike.
    """
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(warm_up + repeats):
        for name, work in works.items():
            elapsed = seconds(work, device)
            if number >= warm_up:
                times[name].append(elapsed)
    return {name: median(values) for name, values in times.items()}


def peak_memory(device: torch.device) -> int:
    """Most bytes in use so far: of the CUDA device's memory, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # Not ru_maxrss: a process inherits that of the one that started it.
    return _status_bytes("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def resident_memory() -> dict[str, int]:
    """Bytes of this process that are in memory now: {"anon": its own, "file": pages of files that it has mapped}; 0
    where the system does not say."""
    return {"anon": _status_bytes("RssAnon"), "file": _status_bytes("RssFile")}


def _status_bytes(name: str) -> int:
    """A line of Linux's /proc/self/status; 0 where there is none."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)
