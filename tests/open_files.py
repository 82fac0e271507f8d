"""Which files this process has open."""

from pathlib import Path


def open_files(folder: Path) -> list[str]:
    """Those in a folder, by their names."""
    paths = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            paths.append(descriptor.readlink())
        except OSError:  # the one that listed the others
            continue
    return sorted(path.name for path in paths if path.parent == folder.resolve())
