"""The reference loader: cuts windows one by one like the published loader, and collates them into a batch.

It works like one loader process of the published code.  Poses are float64: 2D in image coordinates, 3D in camera
coordinates relative to the root.  Each sample copies the whole sequence, slices the window, pads it beyond the ends of
the sequence, and may mirror it.  To make the same batches as ours, targets are in metres with a zero root (published:
millimetres, with the root in absolute coordinates); this does not affect the speed.
"""

from collections.abc import Sequence

import numpy as np
import torch

from glagcn.data.cache.reader import Split
from glagcn.data.windows.plan import WindowIds
from glagcn.data.windows.store import MM_PER_METRE, Batch
from glagcn.skeleton import Skeleton


class ReferenceLoader:
    """Batches of windows of `num_frames` frames, cut from the sequences of a split."""

    def __init__(self, split: Split, skeleton: Skeleton, num_frames: int) -> None:
        self.starts, self.num_frames = split.starts, num_frames
        self.input_mirror, self.mirror = skeleton.input_mirror, skeleton.mirror
        self.poses_2d, self.poses_3d = [], []
        for info, start in zip(split.sequences, split.starts, strict=True):
            pixels = split.pixels[start : start + info.length].astype(np.float64)
            self.poses_2d.append(pixels / info.width * 2 - [1, info.height / info.width])
            poses = split.millimetres[start : start + info.length].astype(np.float64)
            self.poses_3d.append((poses - poses[:, skeleton.root : skeleton.root + 1]) / MM_PER_METRE)

    def batch(self, ids: WindowIds) -> Batch:
        """The windows of `ids` as float32 tensors on the host."""
        sequences = np.searchsorted(self.starts, ids.frames, side="right") - 1
        centers = ids.frames - self.starts[sequences]
        picks = zip(sequences.tolist(), centers.tolist(), ids.flips.tolist(), strict=True)
        return Batch(*_collate([self.sample(*pick) for pick in picks]))

    def sample(self, sequence: int, center: int, flip: bool) -> tuple[np.ndarray, np.ndarray]:
        """One window of float64: inputs [T,V,2] in image coordinates, targets [T,V,3] in metres.

        sequence  its number in the split;  center  its middle frame, counted from the start of the sequence.
        """
        inputs = self._cut(self.poses_2d[sequence].copy(), center)
        targets = self._cut(self.poses_3d[sequence].copy(), center)
        if flip:
            inputs[..., 0] *= -1
            inputs = inputs[:, self.input_mirror]
            targets[..., 0] *= -1
            targets = targets[:, self.mirror]
        return inputs, targets

    def _cut(self, poses: np.ndarray, center: int) -> np.ndarray:
        """The window around a frame, its first or last frame repeated beyond the ends of the sequence."""
        begin = center - self.num_frames // 2
        end = begin + self.num_frames
        low, high = max(begin, 0), min(end, len(poses))
        window = poses[low:high]
        if (low, high) == (begin, end):
            return window
        return np.pad(window, ((low - begin, end - high), (0, 0), (0, 0)), "edge")


def _collate(samples: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[torch.Tensor]:
    """Samples to a batch as PyTorch's default_collate does it; then to the model's type."""
    columns = zip(*samples, strict=True)
    return [torch.stack([torch.from_numpy(part) for part in column]).float() for column in columns]
