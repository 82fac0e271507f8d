"""The first bytes of a cache: what must hold before the HDF5 library is let loose on the file.

libhdf5 may crash the process on damaged metadata, so that Python cannot report it.  A cache therefore begins with a
user block (HDF5 skips it) that says its version, its size, where the big arrays lie, and the checksum of every
byte outside them.  The arrays have checksums of their own.
"""

import json
import zlib
from pathlib import Path

from glagcn.errors import UserError

USER_BLOCK = 1024
MAGIC = b"glagcn cache, version "
Extent = tuple[int, int]
"""Offset and size of an array in the file, bytes."""


def seal(path: Path, version: int, arrays: list[Extent]) -> None:
    """Fill the user block of a closed HDF5 file that was made with USER_BLOCK, whose big arrays lie at `arrays`."""
    size = path.stat().st_size
    content = {"bytes": size, "crc32": _checksum_outside(path, size, arrays), "arrays": arrays}
    block = MAGIC + f"{version}\n{json.dumps(content)}\n".encode()
    assert len(block) <= USER_BLOCK
    with path.open("r+b") as file:
        file.write(block.ljust(USER_BLOCK, b"\0"))


def check_seal(path: Path, version: int) -> None:
    """Raise UserError unless `path` is an undamaged cache of this version, its big arrays aside."""
    with path.open("rb") as file:
        block = file.read(USER_BLOCK)
    if not block.startswith(MAGIC):
        raise UserError(f"{path} is no cache of this program; write one with `glagcn prepare`")
    found, _, content = block[len(MAGIC) :].rstrip(b"\0").partition(b"\n")
    if found != str(version).encode():
        raise UserError(
            f"{path} is a cache of version {found.decode('ascii', 'replace')}; expected version {version}. "
            "Remove it and prepare it again (`glagcn prepare`, or the next training does it)."
        )
    try:
        expected = json.loads(content)
        size, checksum = expected["bytes"], expected["crc32"]
        arrays = [(int(offset), int(length)) for offset, length in expected["arrays"]]
    except (ValueError, TypeError, KeyError) as error:
        raise damaged(path, f"its first bytes are unreadable ({error})") from error
    if path.stat().st_size != size:
        raise damaged(path, f"it is truncated: {path.stat().st_size} bytes, expected {size}")
    if _checksum_outside(path, size, arrays) != checksum:
        raise damaged(path, "the checksum of its metadata does not fit")


def damaged(path: Path, what: str) -> UserError:
    """The error for a cache that was written by this program and is not what it was."""
    return UserError(
        f"the cache {path} cannot be used: {what}. Remove it and prepare it again "
        "(`glagcn prepare`, or the next training does it); if that happens twice, suspect the disk."
    )


def _checksum_outside(path: Path, size: int, arrays: list[Extent]) -> int:
    # The extents themselves count too: nothing then says in vain where the arrays lie.
    checksum, position = zlib.crc32(repr(arrays).encode()), USER_BLOCK
    with path.open("rb") as file:
        for offset, length in [*sorted(arrays), (size, 0)]:
            file.seek(position)
            checksum = zlib.crc32(file.read(max(offset - position, 0)), checksum)
            position = offset + length
    return checksum
