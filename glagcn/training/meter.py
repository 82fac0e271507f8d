"""Training errors: kept on the device per step, summed exactly in the same order however often they are read."""

import torch
from torch import Tensor

from glagcn.distributed.ranks import Ranks


class Meter:
    """Sums of per-window errors of the steps since the last `drain`.

    A step adds its rank's sums without waiting for the device.  `drain` gathers them from all ranks and returns one
    row per step, so that sums over steps come out bit-identical whether or not a run was stopped in between.
    """

    def __init__(self, ranks: Ranks, capacity: int, columns: int) -> None:
        self._ranks = ranks
        self._rows = torch.zeros(capacity, columns, dtype=torch.float64, device=ranks.device)
        self._count = 0

    def add(self, *sums: Tensor) -> None:
        """The sums of one step on this rank."""
        for column, value in enumerate(sums):
            self._rows[self._count, column] = value.detach()
        self._count += 1

    def drain(self) -> list[list[float]]:
        """Per step, the sums over all ranks.  Every rank must call it at the same step."""
        first, *others = self._ranks.gather(self._rows[: self._count])
        # One rank after the other: torch.sum adds in an order that depends on the number of rows.
        total = first.clone()
        for rows in others:
            total += rows
        self._count = 0
        return total.tolist()
