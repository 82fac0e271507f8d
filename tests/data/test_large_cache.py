"""A cache that is larger than the memory the process may allocate gives the batches of frames in memory."""

import json
import subprocess
import sys
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from glagcn.data.cache import open_cache, write_cache
from glagcn.data.dataset import Sequence, SequenceInfo, Split
from glagcn.data.plan import EpochPlan, select_target_frames
from glagcn.data.windows import FrameStore
from glagcn.skeletons import get_skeleton

SKELETON = get_skeleton("mpi3dhp17")
CPU = torch.device("cpu")
LENGTHS = [70_000, 3, 1, 40_000, 61]  # 110,065 frames of 340 bytes: 37 MB
ALLOWED = 16 << 20  # bytes that the process may allocate while it opens the cache and makes batches


class RandomSource:
    dataset, keypoints, annotation, skeleton = "3dhp", "gt", "univ", "mpi3dhp17"
    notes: tuple[str, ...] = ()

    def infos(self, split):
        lengths = LENGTHS if split == "train" else [9]
        return [
            SequenceInfo(f"{split[1]}{k % 3}/Seq1/cam{k}", f"{split[1]}{k % 3}", k, length, 25.0, 2048, 1500 + k)
            for k, length in enumerate(lengths)
        ]

    def read(self, split):
        draw = np.random.default_rng(5)
        for info in self.infos(split):
            pixels = 2000 * draw.random((info.length, 17, 2), np.float32)
            millimetres = 900 * draw.standard_normal((info.length, 17, 3), np.float32)
            yield Sequence(info, pixels, millimetres, np.ones(info.length, bool), None)

    def provenance(self):
        return {"kind": "random"}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("large") / "cache.h5"
    write_cache(path, RandomSource())
    return path


def sums_of_batches(split):
    """The checksum of every batch of a tenth of an epoch."""
    store = FrameStore(split, SKELETON, 27, CPU)
    plan = EpochPlan(select_target_frames(split), 200, "copy", seed=7, distort=True)
    batches = store.stream((plan.batch(0, index) for index in range(plan.steps_per_epoch // 10)), reuse=True)
    return [[zlib.crc32(part.numpy().data) for part in batch[:2]] for batch in batches]


PROGRAM = """
import json, resource, sys
from pathlib import Path
from glagcn.data.selection import select
from tests.data import test_large_cache as large

large.sums_of_batches(large.small_split())  # what PyTorch allocates once
used = next(int(line.split()[1]) for line in Path("/proc/self/status").open() if line.startswith("VmData"))
resource.setrlimit(resource.RLIMIT_DATA, (used * 1024 + large.ALLOWED,) * 2)
split = select(large.open_cache(Path(sys.argv[1])), "train")
try:
    bytearray(split.pixels.nbytes + split.millimetres.nbytes)
except MemoryError:
    print(json.dumps(large.sums_of_batches(split)))
"""


def small_split():
    values = np.ones((2000, 17, 3), np.float32)
    info = SequenceInfo("S1/Seq1/cam0", "S1", 0, 2000, 25.0, 2048, 2048)
    return Split((info,), np.array([0]), values[..., :2].copy(), values, np.ones(2000, bool), None)


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts private maps on Linux only")
def test_a_cache_larger_than_the_memory_gives_the_batches_of_frames_in_memory(path):
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, path], capture_output=True, text=True, check=False, timeout=300
    )
    assert ended.returncode == 0, ended.stderr
    split = open_cache(path).train
    assert split.pixels.nbytes + split.millimetres.nbytes > 2 * ALLOWED
    resident = replace(split, pixels=np.array(split.pixels), millimetres=np.array(split.millimetres))
    expected = sums_of_batches(resident)
    assert len(expected) == 110
    assert json.loads(ended.stdout) == expected
