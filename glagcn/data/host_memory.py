"""The host memory that a process can still allocate."""

import os
from collections.abc import Iterator
from pathlib import Path


def available_memory(root: Path = Path("/")) -> int:
    """Bytes of host memory available to this process.

    The minimum of the system's available memory (MemAvailable on Linux, the total elsewhere) and what each cgroup limit
    (v1 or v2) leaves.  A limit leaves the limit minus the anonymous memory in use, because file pages can be evicted.

    root  root of the file system that contains /proc and /sys.
    """
    return min([_of_system(root / "proc/meminfo"), *_of_control_groups(root)])


def _of_system(meminfo: Path) -> int:
    found = _table(meminfo).get("MemAvailable:")
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if found is None else found * 1024


def _of_control_groups(root: Path) -> Iterator[int]:
    """Bytes that each cgroup limit leaves, from the process's own cgroup up to the root.

    Inside a container, the root of /sys/fs/cgroup is the container's own cgroup.
    """
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            top, limit_name, used_name = root / "sys/fs/cgroup", "memory.max", "anon"
        elif "memory" in controllers.split(","):
            top, limit_name, used_name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes", "total_rss"
        else:
            continue
        folder = top / path.lstrip("/")
        for place in (folder, *folder.parents):
            limit = _text(place / limit_name).strip()
            if limit.isdigit():
                yield max(0, int(limit) - _table(place / "memory.stat").get(used_name, 0))
            if place == top:
                break


def _table(path: Path) -> dict[str, int]:
    """The first two words of each line, where the second is a number."""
    rows = (line.split() for line in _text(path).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}


def _text(path: Path) -> str:
    """The file's content; empty if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
