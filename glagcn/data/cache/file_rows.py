"""Rows of an array in a file, read on demand."""

import os
from pathlib import Path

import numpy as np

from glagcn.errors import UserError


class FileRows:
    """An array [F,...] that stays in its file and is read into the caller's memory.

    It is not memory-mapped, because touched pages of a map count as memory of the process.

    array  a memory map of the whole array; only its file, offset, shape and type are used.
    """

    def __init__(self, array: np.ndarray) -> None:
        assert isinstance(array, np.memmap)
        self.path, self.offset = Path(str(array.filename)), array.offset
        self.shape, self.dtype, self.nbytes = array.shape, array.dtype, array.nbytes

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Copies [n,...] of the rows with these numbers, [n] in any order."""
        values = np.empty((len(rows), *self.shape[1:]), self.dtype)
        self.read(rows, rows + 1, values)
        return values

    def read(self, begins: np.ndarray, ends: np.ndarray, out: np.ndarray) -> None:
        """Fill `out` with the rows begins[k]..ends[k] (end excluded) of every span k, concatenated.

        out  contiguous, of the total size of the spans.
        Raises UserError if the file cannot be read.
        """
        row_bytes = self.nbytes // len(self)
        left = out.reshape(-1).view(np.uint8).data
        try:
            with self.path.open("rb", buffering=0) as file:
                for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
                    count = (end - begin) * row_bytes
                    if os.preadv(file.fileno(), [left[:count]], self.offset + begin * row_bytes) != count:
                        raise OSError("it was truncated")  # noqa: TRY301
                    left = left[count:]
        except OSError as error:
            raise UserError(
                f"cannot read {self.path} any more ({error.strerror or error}); restore the cache and start again"
            ) from error
