"""Records of source files for the provenance of a cache."""

import hashlib
from pathlib import Path

from glagcn.errors import UserError


def file_record(path: Path, root: Path) -> dict:
    """{"path" relative to root, "bytes", "sha256"} of a file.  Raises UserError if it cannot be read.

    Call it just before the file is parsed: the parser then reads from the page cache, not from the disk.
    """
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"path": path.relative_to(root).as_posix(), "bytes": path.stat().st_size, "sha256": digest}
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error}") from error
