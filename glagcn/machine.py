"""Describes the program and the machine of a result."""

import os
import platform
import subprocess
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glagcn.version import __version__

if TYPE_CHECKING:
    import torch


def cores() -> int:
    """The number of CPU cores that this process may use; where the system does not say, those of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe(device: "torch.device") -> dict[str, Any]:
    """Processor, threads, memory, software versions and date (UTC)."""
    import numpy as np
    import psutil
    import torch

    cuda = device.type == "cuda"
    return {
        "cpu": _cpu_model(),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "gpu": torch.cuda.get_device_name(device) if cuda else None,
        "cuda": torch.version.cuda if cuda else None,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def program() -> dict[str, Any]:
    """The version of this program, and the commit it runs from; "commit" is "not from a git checkout" elsewhere."""
    folder = Path(__file__).parents[1]
    commit = ""
    if (folder / ".git").exists():
        with suppress(OSError):
            command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
            commit = subprocess.run(command, capture_output=True, encoding="utf-8", check=False).stdout.strip()
    return {"glagcn": __version__, "commit": commit or "not from a git checkout"}


def _cpu_model() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
