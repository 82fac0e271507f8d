"""The header of a cache, checked before HDF5 opens the file.

libhdf5 can crash the process on damaged metadata, and Python cannot catch that.  A cache therefore starts with a user
block, which HDF5 skips.  The block stores the version, the file size, the extents of the large arrays, and the checksum
of all other bytes.  The arrays have their own checksums.
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
    """Write the user block of a closed HDF5 file that was created with a block of USER_BLOCK bytes.

    arrays  extents of the large arrays.
    """
    size = path.stat().st_size
    content = {"bytes": size, "crc32": _checksum_outside(path, size, arrays), "arrays": arrays}
    block = MAGIC + f"{version}\n{json.dumps(content)}\n".encode()
    assert len(block) <= USER_BLOCK
    with path.open("r+b") as file:
        file.write(block.ljust(USER_BLOCK, b"\0"))


def check_seal(path: Path, version: int) -> None:
    """Raise UserError unless `path` is a cache of this version whose metadata is undamaged."""
    with path.open("rb") as file:
        block = file.read(USER_BLOCK)
    if not block.startswith(MAGIC):
        raise UserError(f"{path} is not a glagcn cache; write one with `glagcn prepare`")
    found, _, content = block[len(MAGIC) :].rstrip(b"\0").partition(b"\n")
    if found != str(version).encode():
        raise UserError(
            f"{path} is a cache of version {found.decode('ascii', 'replace')}; this program reads version {version}. "
            "Remove the file; the next training or `glagcn prepare` writes it again."
        )
    try:
        expected = json.loads(content)
        size, checksum = expected["bytes"], expected["crc32"]
        arrays = [(int(offset), int(length)) for offset, length in expected["arrays"]]
    except (ValueError, TypeError, KeyError) as error:
        raise damaged(path, f"its header is unreadable ({error})") from error
    if path.stat().st_size != size:
        raise damaged(path, f"it is truncated: {path.stat().st_size} bytes, expected {size}")
    if _checksum_outside(path, size, arrays) != checksum:
        raise damaged(path, "the checksum of its metadata does not match")


def damaged(path: Path, what: str) -> UserError:
    """The UserError for a damaged cache."""
    return UserError(
        f"the cache {path} is damaged: {what}. Remove the file; the next training or `glagcn prepare` writes it again. "
        "If this happens twice, check the disk."
    )


def _checksum_outside(path: Path, size: int, arrays: list[Extent]) -> int:
    # The checksum also covers the extents, so that damage to them is detected.
    checksum, position = zlib.crc32(repr(arrays).encode()), USER_BLOCK
    with path.open("rb") as file:
        for offset, length in [*sorted(arrays), (size, 0)]:
            file.seek(position)
            checksum = zlib.crc32(file.read(max(offset - position, 0)), checksum)
            position = offset + length
    return checksum
