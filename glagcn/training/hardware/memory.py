"""Memory of this process, or of its GPU."""

import resource
from pathlib import Path

import torch


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
