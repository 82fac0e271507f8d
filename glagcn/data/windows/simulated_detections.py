"""Simulated detections of a whole split, to evaluate models on what a detector would have found."""

from dataclasses import replace
from zlib import crc32

import numpy as np
import torch

from glagcn.data.cache.reader import Split
from glagcn.data.windows.detection_augmentation import TABLE_FRAMES, DetectionAugmentation
from glagcn.data.windows.detection_levels import LEVELS
from glagcn.skeleton import Skeleton

SEED = 1 << 62  # of the table of errors; no usual --seed, so that training has seen other errors


def with_detections(split: Split, skeleton: Skeleton, level: str | None) -> Split:
    """The split with detections of a level (see DetectionAugmentation) as its 2D, with confidences; None: as it is.

    The errors of a sequence depend on the level and its name only, so all models are evaluated on the same 2D.
    """
    if level is None:
        return split
    augmentation = DetectionAugmentation(LEVELS[level], skeleton, SEED, torch.device("cpu"))
    pixels = np.array(split.pixels)
    confidence = np.ones(pixels.shape[:2], np.float32)
    for info, start in zip(split.sequences, split.starts, strict=True):
        frames = slice(int(start), int(start) + info.length)
        begin = torch.tensor([crc32(info.name.encode()) % TABLE_FRAMES])
        found = augmentation.apply(torch.from_numpy(pixels[frames])[None], begin, torch.tensor([float(info.fps)]))[0]
        pixels[frames], confidence[frames] = found[..., :2].numpy(), found[..., 2].numpy()
    return replace(split, pixels=pixels, confidence=confidence)
