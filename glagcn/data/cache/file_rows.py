"""Rows of an array in a file, read when they are asked for."""

import os
from pathlib import Path

import numpy as np

from glagcn.errors import UserError


class FileRows:
    """An array [F,...] that stays in its file.  What is read goes into memory of the caller; a map of the file would
    count every page that was touched to the memory of the process.

    array  a map of the whole array, of which only file, place, shape and type are taken.
    """

    def __init__(self, array: np.ndarray) -> None:
        assert isinstance(array, np.memmap)
        self.path, self.offset = Path(str(array.filename)), array.offset
        self.shape, self.dtype, self.nbytes = array.shape, array.dtype, array.nbytes

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Copies of the rows with these numbers, [n] of 0..F-1 in any order: [n,...]."""
        values = np.empty((len(rows), *self.shape[1:]), self.dtype)
        self.read(rows, rows + 1, values)
        return values

    def read(self, begins: np.ndarray, ends: np.ndarray, out: np.ndarray) -> None:
        """Fill `out` with the rows from begins[k] up to ends[k], one span after the other.

        out  contiguous, as many bytes as the spans have.  Raises UserError where the file cannot be read to the end.
        """
        row_bytes = self.nbytes // len(self)
        left = out.reshape(-1).view(np.uint8).data
        try:
            with self.path.open("rb", buffering=0) as file:
                for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
                    count = (end - begin) * row_bytes
                    if os.preadv(file.fileno(), [left[:count]], self.offset + begin * row_bytes) != count:
                        raise OSError("it has become shorter")  # noqa: TRY301
                    left = left[count:]
        except OSError as error:
            raise UserError(
                f"{self.path} can no longer be read ({error.strerror or error}); put the cache back and start again"
            ) from error
