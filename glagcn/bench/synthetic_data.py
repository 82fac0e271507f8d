"""Data for benchmarks, made in seconds: the demo, or synthetic data of the size of MPI-INF-3DHP."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from glagcn.data.cache.reader import Cache, cache_name, open_cache
from glagcn.data.cache.writer import write_cache
from glagcn.data.sequence import Sequence, SequenceInfo
from glagcn.data.sources.mocap.source import demo_source
from glagcn.data.sources.mpi_inf_3dhp.facts import (
    DEFAULT_CAMERAS,
    TEST_FPS,
    TEST_IMAGE_SIZES,
    TRAIN_IMAGE_SIZE,
    TRAIN_SEQUENCES,
)
from glagcn.data.sources.source import Source, SplitName

SCALES = ("demo", "3dhp")
# Frames of TS1..TS6, of which 2,875 are valid.
TEST_FRAMES = {"TS1": 6151, "TS2": 6080, "TS3": 5838, "TS4": 6007, "TS5": 320, "TS6": 492}
VALID_FRAMES = {"TS1": 603, "TS2": 540, "TS3": 506, "TS4": 558, "TS5": 276, "TS6": 392}


class RepeatedMotion:
    """One short motion, repeated to the official lengths, cameras, image sizes and numbers of valid frames.

    copies  repeats the training split, with other subject names.
    """

    dataset, keypoints, annotation, skeleton = "3dhp", "gt", "univ", "mpi3dhp17"

    def __init__(self, copies: int = 1) -> None:
        self.copies = copies
        self.notes = ["one recorded motion repeated to the size of MPI-INF-3DHP: for measuring speed, nothing else"]
        demo = next(demo_source().read("train"))
        there_and_back = np.concatenate([np.arange(demo.info.length), np.arange(demo.info.length)[::-1]])
        longest = max(*(length for length, _ in TRAIN_SEQUENCES.values()), *TEST_FRAMES.values())
        order = np.resize(there_and_back, longest)
        self._pixels, self._millimetres = demo.pixels[order], demo.millimetres[order]

    def infos(self, split: SplitName) -> list[SequenceInfo]:
        """The sequences of "train" or "test", in the order of `read`."""
        if split == "test":
            return [
                SequenceInfo(name, name, -1, length, TEST_FPS, *TEST_IMAGE_SIZES[name])
                for name, length in TEST_FRAMES.items()
            ]
        infos = []
        for copy in range(self.copies):
            for name, (length, fps) in TRAIN_SEQUENCES.items():
                subject, take = name.split("/")
                subject = subject if copy == 0 else f"{subject}.{copy}"
                infos += [
                    SequenceInfo(f"{subject}/{take}/cam{camera}", subject, camera, length, fps, *TRAIN_IMAGE_SIZE)
                    for camera in DEFAULT_CAMERAS
                ]
        return infos

    def read(self, split: SplitName) -> Iterator[Sequence]:
        """The sequences of a split; all start with the same poses."""
        for info in self.infos(split):
            valid = np.ones(info.length, dtype=bool)
            activity = None
            if split == "test":
                valid[:] = False
                valid[np.linspace(0, info.length - 1, VALID_FRAMES[info.name]).astype(int)] = True
                activity = (1 + np.arange(info.length) * 7 // info.length).astype(np.uint8)
            yield Sequence(info, self._pixels[: info.length], self._millimetres[: info.length], valid, activity)

    def provenance(self) -> dict:
        """What determines the data."""
        return {"kind": "synthetic", "version": 1, "copies": self.copies, "cameras": list(DEFAULT_CAMERAS)}


def make_cache(scale: str, folder: Path) -> Cache:
    """Write the cache of a scale ("demo", or "3dhp" with 368 MB) to `folder`, under its usual name, and open it."""
    source: Source = demo_source() if scale == "demo" else RepeatedMotion()
    path = folder / cache_name(source.dataset, source.keypoints, source.annotation)
    write_cache(path, source)
    return open_cache(path)
