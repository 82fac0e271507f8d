"""Recorded people before drawn cameras: sequences made on the spot."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from glagcn.data.sequence import Sequence, SequenceInfo
from glagcn.data.sources.mocap.cameras import Lens, draw_lens, set_up
from glagcn.data.sources.mocap.motion import ACTIVITIES, FPS, MOTION, joints_of, trials
from glagcn.data.sources.provenance import file_record
from glagcn.data.sources.source import SplitName
from glagcn.skeleton import get_skeleton

VERSION = 1  # to be raised when the same seed gives other people or cameras
SKELETONS = {"gt": "mpi3dhp17", "h36m17": "h36m17", "humaneva15": "humaneva15"}  # by 2D source
SPLITS: tuple[SplitName, ...] = ("train", "test")
TEST_PEOPLE = ("01", "08", "10", "14", "94")

# The demo: two trials of each of eight people, six of three others.
DEMO_TRAIN = (
    ("02_06", "02_10"), ("05_12", "05_18"), ("06_10", "06_12"), ("13_10", "13_30"), ("49_02", "49_21"),
    ("60_01", "60_11"), ("88_04", "88_11"), ("135_file03", "135_file06"),
)  # fmt: skip
DEMO_TEST = ("14_05", "14_27", "94_04", "10_01", "01_01", "14_12")
DEMO_FRAMES = {"train": 250, "test": 150}


@dataclass(frozen=True)
class Take:
    """A trial, or `frames` from its middle, under a name such as "S1/Seq1"."""

    name: str
    subject: str
    trial: str
    frames: int | None = None


@dataclass(frozen=True)
class Selection:
    """What a data set is made of: the takes of each split, and how many cameras film each of them."""

    takes: Mapping[SplitName, tuple[Take, ...]]
    cameras: Mapping[SplitName, int]


def mocap_source(keypoints: str = "gt", seed: int = 0) -> "MocapSource":
    """Every trial.  Raises UserError where the motion cannot be read."""
    takes: dict[SplitName, tuple[Take, ...]] = {}
    for split in SPLITS:
        own = [trial for trial in trials().values() if (trial.person in TEST_PEOPLE) == (split == "test")]
        takes[split] = tuple(
            Take(f"S{trial.person}/{ACTIVITIES[trial.activity - 1]} {trial.number}", f"S{trial.person}", trial.name)
            for trial in own
        )
    return MocapSource("mocap", Selection(takes, {"train": 8, "test": 2}), keypoints, seed)


def demo_source(seed: int = 0) -> "MocapSource":
    """A small part, with the names of MPI-INF-3DHP."""
    train = [
        Take(f"S{person}/Seq{number}", f"S{person}", trial, DEMO_FRAMES["train"])
        for person, pair in enumerate(DEMO_TRAIN, start=1)
        for number, trial in enumerate(pair, start=1)
    ]
    test = [Take(f"TS{k}", f"TS{k}", trial, DEMO_FRAMES["test"]) for k, trial in enumerate(DEMO_TEST, start=1)]
    selection = Selection({"train": tuple(train), "test": tuple(test)}, {"train": 4, "test": 1})
    return MocapSource("demo", selection, "gt", seed)


class MocapSource:
    """Trials as each of their cameras sees them, determined by the seed; a source for `glagcn.data.cache`.

    keypoints  a name of SKELETONS.
    """

    annotation = ""

    def __init__(self, dataset: str, selection: Selection, keypoints: str, seed: int) -> None:
        self.dataset, self.selection, self.keypoints, self.seed = dataset, selection, keypoints, seed
        self.skeleton = SKELETONS[keypoints]
        self.notes = [
            "recorded people before made-up cameras; motion from mocap.cs.cmu.edu, created with funding from NSF "
            "EIA-0196217"
        ]

    def infos(self, split: SplitName) -> list[SequenceInfo]:
        """The sequences of "train" or "test", in the order of `read`."""
        lengths = {take: len(self._world(take)) for take in self.selection.takes[split]}
        return [
            self._info(split, take, camera, length, self._lens(split, number, camera)[0])
            for number, (take, length) in enumerate(lengths.items())
            for camera in range(self.selection.cameras[split])
        ]

    def read(self, split: SplitName) -> Iterator[Sequence]:
        """The sequences of a split, one in memory at a time; every frame is scored, those of tests have activities."""
        cameras = self.selection.cameras[split]
        for number, take in enumerate(self.selection.takes[split]):
            world = self._world(take)
            activity = np.full(len(world), trials()[take.trial].activity, np.uint8) if split == "test" else None
            begin = self._rng(split, number).uniform(0, 2 * np.pi)
            for camera in range(cameras):
                lens, rng = self._lens(split, number, camera)
                azimuth = begin + 2 * np.pi * (camera + rng.uniform(-0.4, 0.4)) / cameras
                root = get_skeleton(self.skeleton).root
                pixels, millimetres = set_up(lens, rng, world, azimuth, root, FPS).view(world)
                info = self._info(split, take, camera, len(world), lens)
                valid = np.ones(len(world), dtype=bool)
                yield Sequence(info, pixels.astype(np.float32), millimetres.astype(np.float32), valid, activity)

    def provenance(self) -> dict:
        """What determines the data."""
        files = [file_record(MOTION, MOTION.parent)]
        return {"kind": "mocap", "version": VERSION, "seed": self.seed, "files": files}

    def _world(self, take: Take) -> np.ndarray:
        joints = joints_of(take.trial, self.skeleton)
        frames = len(joints) if take.frames is None else take.frames
        begin = (len(joints) - frames) // 2
        return joints[begin : begin + frames]

    def _lens(self, split: SplitName, take: int, camera: int) -> tuple[Lens, np.random.Generator]:
        """The camera of a take, and the stream from which it is set up."""
        rng = self._rng(split, take, camera)
        return draw_lens(rng), rng

    def _rng(self, split: SplitName, *numbers: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, SPLITS.index(split), *numbers])

    def _info(self, split: SplitName, take: Take, camera: int, length: int, lens: Lens) -> SequenceInfo:
        single = self.selection.cameras[split] == 1
        name = take.name if single else f"{take.name}/cam{camera}"
        return SequenceInfo(name, take.subject, -1 if single else camera, length, FPS, lens.width, lens.height)
