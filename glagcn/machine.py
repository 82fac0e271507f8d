"""Describes the program and the machine of a result."""

import os
import platform
import subprocess
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from glagcn.version import __version__


def describe(device: torch.device) -> dict[str, Any]:
    """Processor, threads, memory, software versions and date (UTC)."""
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


def program() -> dict[str, Any]:
    """The version of this program, and the commit it runs from; "commit" is "not from a git checkout" elsewhere."""
    folder = Path(__file__).parents[1]
    commit = ""
    if (folder / ".git").exists():
        with suppress(OSError):
            command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
            commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return {"glagcn": __version__, "commit": commit or "not from a git checkout"}


def _cpu_model() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
