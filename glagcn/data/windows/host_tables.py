"""What the host knows of the windows of a batch, and how it gets to a device."""

from typing import NamedTuple

import torch
from torch import Tensor


class HostTables(NamedTuple):
    """The host data of n windows, in few tensors so that few copies bring it to a device.

    rows        [5,n] int64: rows of the target frame, the sequence's first frame and its last frame; row of `_factors`;
                flip.  With target distortions a sixth row has their numbers.
    cameras     CameraAugmentation.parameters; None without camera augmentation.
    detections  [n,3] float32: first frame in the table of errors, frames per second of the window, and the frames of
                the sequence from one frame of the window to the next; None without simulated detections.
    """

    rows: Tensor
    cameras: Tensor | None
    detections: Tensor | None

    def part(self, part: slice) -> "HostTables":
        """The tables of some of the windows."""
        cameras, detections = (None if table is None else table[part] for table in (self.cameras, self.detections))
        return HostTables(self.rows[:, part], cameras, detections)

    def to(self, device: torch.device) -> "HostTables":
        """The tables on a device."""
        cameras, detections = (
            None if table is None else to_device(table, device) for table in (self.cameras, self.detections)
        )
        return HostTables(to_device(self.rows, device), cameras, detections)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a host tensor to the device without blocking the host, through pinned memory for CUDA."""
    if device.type == "cuda":
        tensor = tensor.pin_memory()  # no copy if already pinned; the allocator keeps it until the copy is done
    return tensor.to(device, non_blocking=True)
