"""Shuffling without a shuffled list: the permutation of an epoch, computed where and when it is asked for.

A list of 2.1 million shuffled windows takes 0.1 to 0.2 seconds and 17 MB to make, in every process and every epoch, of
which a process reads its shares.  A keyed bijection gives entry k of such a list from k alone.  It is a Feistel network
over a grid (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002): k is a row and a column; in turn the
row is moved around by a hash of the column and the column by a hash of the row.  Each move can be undone, so the whole
is a permutation of the grid, and cells beyond the last window are passed on until they land on one.
"""

from math import isqrt

import numpy as np

ROUNDS = 8  # in pairs: rows, then columns
GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: neighbouring counters, distant values


class Shuffle:
    """A permutation of 0..count-1 that is a pure function of the integers `seed`, and draws for its members."""

    def __init__(self, count: int, *seed: int) -> None:
        keys = np.random.SeedSequence(seed).generate_state(ROUNDS + 1, np.uint64)
        self.count = count
        self._keys, self._draw_key = keys[:ROUNDS], keys[ROUNDS:]
        # A grid nearly square, so that less than one row of it is beyond the last window.
        self._columns = isqrt(max(count - 1, 0)) + 1
        self._rows = -(-count // self._columns)

    def __getitem__(self, positions: slice) -> np.ndarray:
        """Entries [n] int64 of the shuffled list; as with a list, positions beyond its end are left out."""
        values = self._move(np.arange(*positions.indices(self.count), dtype=np.uint64))
        while len(beyond := np.flatnonzero(values >= self.count)):
            values[beyond] = self._move(values[beyond])
        return values.astype(np.int64)

    def draw(self, members: np.ndarray, choices: int, purpose: int = 0) -> np.ndarray:
        """For each member [n] one of `choices` (few) equally likely numbers from 0, [n] int64; a function of the seed,
        the member and `purpose` alone."""
        counters = members.astype(np.uint64) * GOLDEN + mix(self._draw_key + np.uint64(purpose))
        return (mix(counters) % np.uint64(choices)).astype(np.int64)

    def _move(self, cells: np.ndarray) -> np.ndarray:
        """The permutation of the grid, whose cells are numbered row by row."""
        rows, columns = np.uint64(self._rows), np.uint64(self._columns)
        row, column = np.divmod(cells, columns)
        for odd, even in self._keys.reshape(-1, 2):
            row = (row + mix(column * GOLDEN + odd) % rows) % rows
            column = (column + mix(row * GOLDEN + even) % columns) % columns
        return row * columns + column


def mix(values: np.ndarray) -> np.ndarray:
    """A hash of 64-bit integers [n] uint64 to others, one to one: the output function of SplitMix64."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
