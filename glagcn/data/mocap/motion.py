"""Recorded people before drawn cameras: sequences made on the spot."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from glagcn.data.dataset import SPLITS, Sequence, SequenceInfo, Source, SplitName
from glagcn.skeletons import get_skeleton

# ---- The recorded motion: trials of cmu_motion.npz (see README.md) as joints of the program's skeletons.
#
# World axes: x to the left of a person who faces z, y up, the floor at y = 0; metres.


MOTION = Path(__file__).with_name("cmu_motion.npz")
FPS = 30.0  # every second recorded frame

# The activities 1 to 7 of MPI-INF-3DHP, as words of names.
ACTIVITIES = ("StandingWalking", "Exercising", "Sitting", "Reaching", "Floor", "Sports", "Miscellaneous")

# Recorded joints, whose mean a joint is.  Limbs have the same joints everywhere; heads and necks do not.
_LIMBS = {
    f"{side}_{joint}": (f"{side[0]}_{joint}",)
    for side in ("left", "right")
    for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
}
_COMMON = _LIMBS | {"pelvis": ("l_hip", "r_hip"), "spine": ("spine",), "thorax": ("neck_base",)}
JOINTS = {
    "mpi3dhp17": _COMMON | {"neck": ("neck_base",), "head": ("neck_mid",), "head_top": ("head_end",)},
    "h36m17": _COMMON | {"neck": ("neck_mid",), "head": ("head_end",)},
    "humaneva15": _COMMON | {"head": ("head_end",)},
}


@dataclass(frozen=True)
class Trial:
    """A recording: the person, and the activity, 1 to 7."""

    person: str
    activity: int


@cache
def trials() -> dict[str, Trial]:
    """All trials in the order of the file, by their names in the database, such as "02_06"."""
    columns = _read("clip_columns").tolist()
    rows = (dict(zip(columns, row, strict=True)) for row in _read("clips").tolist())
    return {row["trial"]: Trial(row["subject"], int(row["activity"])) for row in rows}


def joints_of(trial: str, skeleton: str) -> np.ndarray:
    """A trial as joints [T,V,3] of a skeleton.

    The file holds the differences between frames, in units of `quantum` metres.
    """
    steps = _read(f"clip_{trial}").astype(np.int64)
    recorded = (np.cumsum(steps, axis=0) * float(_read("quantum")))[:: round(float(_read("fps")) / FPS)]
    number = {name: place for place, name in enumerate(_read("joints").tolist())}
    parts = [JOINTS[skeleton][joint] for joint in get_skeleton(skeleton).joints]
    return np.stack([recorded[:, [number[name] for name in names]].mean(axis=1) for names in parts], axis=1)


@cache
def _read(name: str) -> np.ndarray:
    with np.load(MOTION, allow_pickle=False) as file:
        return file[name]


# ---- Cameras as people set them up: on a tripod, or a phone that is held by hand and follows the person.
#
# A camera looks from a direction at a target, from so far away that the person stays in the picture.


SIZES = ((1920, 1080), (1280, 720), (640, 480), (2048, 2048), (1080, 1920), (720, 1280))  # width, height
FOCAL = (0.65, 1.4)  # of the longer side: from a phone's wide lens to a portrait lens
HELD = 0.2  # of those that are not upright; upright pictures are from a phone in a hand
FILLED = {False: 0.92, True: 0.8}  # of the picture at most, by whether the camera is held


class Views(NamedTuple):
    """Where cameras stand: degrees above the target, mostly low, and how much farther than what fills the picture."""

    elevation: tuple[float, float] = (-3.0, 25.0)
    farther: tuple[float, float] = (1.0, 1.5)


USUAL = Views()


# Of a held camera, as (seconds, size): a wave of about so many seconds, with this standard deviation.
FOLLOWING_SECONDS = 0.7  # how late it follows
WALK = (2.0, 8.0)  # degrees around the person
SWAY = (0.5, 0.03)  # metres
DRIFT, TREMBLE = (0.5, 0.8), (0.06, 0.15)  # degrees about each of its axes


@dataclass(frozen=True)
class Lens:
    """The camera before it is set up: size of the image, focal length and centre [2] in pixels; held: by hand."""

    width: int
    height: int
    focal: np.ndarray
    centre: np.ndarray
    held: bool


@dataclass(frozen=True)
class Pinhole:
    """A pinhole without distortion, which may move: F is the number of frames, or 1.

    rotation [F,3,3] and translation [F,3], metres: world to camera (x right, y down, z forward).
    """

    lens: Lens
    rotation: np.ndarray
    translation: np.ndarray

    def view(self, world: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """World points [T,V,3] in metres: their pixels [T,V,2] and camera coordinates [T,V,3] in millimetres."""
        seen = world @ self.rotation.swapaxes(1, 2) + self.translation[:, None]
        return seen[..., :2] / seen[..., 2:] * self.lens.focal + self.lens.centre, seen * 1000


def draw_lens(rng: np.random.Generator) -> Lens:
    """A random camera, of a tripod or in a hand."""
    width, height = SIZES[rng.integers(len(SIZES))]
    focal = max(width, height) * np.exp(rng.uniform(*np.log(FOCAL))) * rng.uniform(0.995, 1.005, size=2)
    centre = np.array([width, height]) * (0.5 + rng.uniform(-0.01, 0.01, size=2))
    return Lens(width, height, focal, centre, held=bool(rng.random() < HELD) or height > width)


def set_up(
    lens: Lens, rng: np.random.Generator, world: np.ndarray, azimuth: float, root: int, views: Views = USUAL
) -> Pinhole:
    """The camera that films joints [T,V,3], metres, from a direction about the vertical.

    A tripod looks at the middle of all that happens; a held camera follows the joint `root`, and shakes.
    """
    low, high = views.elevation
    direction = np.array([azimuth])
    elevation = np.radians(low + (high - low) * rng.random() ** 2)
    angles = np.radians(rng.normal(0, [[0, 0, 1.5]]))
    target = ((world.min(axis=(0, 1)) + world.max(axis=(0, 1))) / 2)[None]
    sway = np.zeros((1, 3))
    if lens.held:
        from scipy.ndimage import gaussian_filter1d  # only where data are made: slow to import

        frames = len(world)
        followed = gaussian_filter1d(world[:, root], FOLLOWING_SECONDS * FPS, axis=0, mode="nearest")
        followed[:, 1] = target[:, 1]
        target, sway = followed, _wave(rng, frames, 3, *SWAY)
        direction = azimuth + np.radians(_wave(rng, frames, 1, *WALK)[:, 0])
        angles = angles + np.radians(_wave(rng, frames, 3, *DRIFT) + _wave(rng, frames, 3, *TREMBLE))
    rotation = _looking(direction, elevation)
    farther = rng.uniform(*views.farther)
    distance = farther * _least_distance(lens, (world - target[:, None]) @ rotation.swapaxes(1, 2))
    position = target - distance * rotation[:, 2] + sway
    rotation = _turn(angles) @ rotation
    return Pinhole(lens, rotation, -(rotation @ position[..., None])[..., 0])


def _least_distance(lens: Lens, seen: np.ndarray) -> float:
    """How far from the target a camera must stand for all points [T,V,3], camera axes from the target, to be seen.

    |x| focal / (distance + z) is to be at most half of the filled part of the picture.
    """
    slope = np.array([lens.width, lens.height]) / 2 * FILLED[lens.held] / lens.focal
    return float((np.abs(seen[..., :2]) / slope - seen[..., 2:]).max())


def _looking(direction: np.ndarray, elevation: float) -> np.ndarray:
    """World to camera [F,3,3] of cameras that look at the target from these directions [F], in radians."""
    flat, height = np.cos(elevation), np.full(len(direction), np.sin(elevation))
    forward = -np.stack([flat * np.sin(direction), height, flat * np.cos(direction)], axis=-1)
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right, axis=-1, keepdims=True)
    return np.stack([right, np.cross(forward, right), forward], axis=1)


def _turn(angles: np.ndarray) -> np.ndarray:
    """Rotations [F,3,3] by angles [F,3] about x, then y, then z."""
    product = np.eye(3)[None]
    for axis, (first, second) in enumerate(((1, 2), (2, 0), (0, 1))):
        matrices = np.tile(np.eye(3), (len(angles), 1, 1))
        matrices[:, first, first] = matrices[:, second, second] = np.cos(angles[:, axis])
        matrices[:, second, first] = np.sin(angles[:, axis])
        matrices[:, first, second] = -np.sin(angles[:, axis])
        product = matrices @ product
    return product


def _wave(rng: np.random.Generator, frames: int, columns: int, seconds: float, size: float) -> np.ndarray:
    """[T,columns]: smooth noise of standard deviation `size`, which changes within about `seconds`."""
    from scipy.ndimage import gaussian_filter1d

    width = seconds * FPS / 2
    smooth = gaussian_filter1d(rng.normal(size=(frames, columns)), width, axis=0)
    return smooth * size * np.sqrt(2 * width * np.sqrt(np.pi))


# ---- The sources.


VERSION = 1  # to be raised when the same seed gives other people or cameras
TEST_PEOPLE = ("01", "08", "10", "14", "94")

# The demo: two trials of each of eight people, six of three others.
DEMO_TRAIN = (
    ("02_06", "02_10"), ("05_12", "05_18"), ("06_10", "06_12"), ("13_10", "13_30"), ("49_02", "49_21"),
    ("60_01", "60_11"), ("88_04", "88_11"), ("135_file03", "135_file06"),
)  # fmt: skip
DEMO_TEST = ("14_05", "14_27", "94_04", "10_01", "01_01", "14_12")
# People: the cameras of a take, how many other upper bodies a trial gets, and the person of the preset's validation.
PEOPLE_CAMERAS, PEOPLE_MIXED, VALIDATION_PERSON, PEOPLE_DRAWS = 3, 5, "02", 77
PEOPLE_VIEWS = Views(elevation=(-10.0, 60.0), farther=(1.0, 3.0))

DEMO_FRAMES = {"train": 250, "test": 150}


@dataclass(frozen=True)
class Take:
    """A trial, or `frames` from its middle, under a name that begins with the subject, such as "S1/Seq1".

    upper  the trial whose upper body this one gets, with other proportions (mixed.py).
    """

    name: str
    trial: str
    frames: int | None = None
    upper: str | None = None


def mocap_source(keypoints: str = "gt", seed: int = 0) -> "MocapSource":
    """Every trial."""
    takes: dict[SplitName, list[Take]] = {"train": [], "test": []}
    for name, trial in trials().items():
        number = name.removeprefix(f"{trial.person}_").removeprefix("file")
        take = Take(f"S{trial.person}/{ACTIVITIES[trial.activity - 1]} {number}", name)
        takes["test" if trial.person in TEST_PEOPLE else "train"].append(take)
    return MocapSource("mocap", takes, {"train": 8, "test": 2}, keypoints, seed)


def people_source(seed: int = 0) -> "MocapSource":
    """`mocap_source` with more training motion and views, for models that are to meet real people.

    Each training trial comes as it was recorded, and with other proportions and the upper body of other trials: of the
    same person for the one that the preset validates on, of all others for these.  Longer trials are drawn more often.
    """
    source = mocap_source(seed=seed)
    source.dataset, source.cameras["train"], source.views["train"] = "people", PEOPLE_CAMERAS, PEOPLE_VIEWS
    recorded, rng = source.takes["train"], np.random.default_rng([seed, PEOPLE_DRAWS])
    takes = list(recorded)
    for take in recorded:
        alone = trials()[take.trial].person == VALIDATION_PERSON
        partners = [each.trial for each in recorded if (trials()[each.trial].person == VALIDATION_PERSON) == alone]
        lengths = np.array([len(joints_of(trial, source.skeleton)) for trial in partners], float)
        for number in range(PEOPLE_MIXED):
            upper = str(rng.choice(partners, p=None if alone else lengths / lengths.sum()))
            takes.append(Take(f"{take.name} with {upper} {number}", take.trial, upper=upper))
    source.takes["train"] = takes
    return source


@cache
def lenses(dataset: str) -> dict[str, np.ndarray]:
    """The focal lengths and principal points (fx, fy, cx, cy) of the sequences of a data set of this file, by name."""
    source = mocap_source() if dataset == "mocap" else people_source() if dataset == "people" else demo_source()
    found: dict[str, np.ndarray] = {}
    for split in SPLITS:
        for number, take in enumerate(source.takes[split]):
            for camera in range(source.cameras[split]):
                lens = source.lens(split, number, camera)[0]
                found[source.sequence_name(split, take, camera)] = np.append(lens.focal, lens.centre)
    return found


def demo_source(seed: int = 0) -> "MocapSource":
    """A small part, with the names of MPI-INF-3DHP."""
    train = [
        Take(f"S{person}/Seq{number}", trial, DEMO_FRAMES["train"])
        for person, pair in enumerate(DEMO_TRAIN, start=1)
        for number, trial in enumerate(pair, start=1)
    ]
    test = [Take(f"TS{k}", trial, DEMO_FRAMES["test"]) for k, trial in enumerate(DEMO_TEST, start=1)]
    return MocapSource("demo", {"train": train, "test": test}, {"train": 4, "test": 1}, "gt", seed)


class MocapSource(Source):
    """Trials as each of their cameras sees them, determined by the seed.

    takes      of each split.
    cameras    how many cameras film each take of a split.
    keypoints  "gt", or the name of another joint set.
    """

    kind = "mocap"

    def __init__(
        self, dataset: str, takes: dict[SplitName, list[Take]], cameras: dict[SplitName, int], keypoints: str, seed: int
    ) -> None:
        super().__init__(MOTION.parent, {"motion": MOTION})
        self.dataset, self.keypoints, self.seed = dataset, keypoints, seed
        self.takes, self.cameras = takes, cameras
        self.views: dict[SplitName, Views] = dict.fromkeys(SPLITS, USUAL)
        self.skeleton = "mpi3dhp17" if keypoints == "gt" else keypoints
        self.note(
            "recorded people before made-up cameras; motion from mocap.cs.cmu.edu, created with funding from NSF "
            "EIA-0196217"
        )

    def infos(self, split: SplitName) -> list[SequenceInfo]:
        """See Source."""
        cameras, infos = self.cameras[split], []
        for number, take in enumerate(self.takes[split]):
            frames, subject = len(self._world(take)), take.name.partition("/")[0]
            for camera in range(cameras):
                name, shown = self.sequence_name(split, take, camera), -1 if cameras == 1 else camera
                lens, _ = self.lens(split, number, camera)
                infos.append(SequenceInfo(name, subject, shown, frames, FPS, lens.width, lens.height))
        return infos

    def read(self, split: SplitName) -> Iterator[Sequence]:
        """See Source.  Every frame is scored, and those of tests have activities."""
        infos, cameras, root = iter(self.infos(split)), self.cameras[split], get_skeleton(self.skeleton).root
        for number, take in enumerate(self.takes[split]):
            world = self._world(take)
            activity = np.full(len(world), trials()[take.trial].activity, np.uint8) if split == "test" else None
            begin = self._rng(split, number).uniform(0, 2 * np.pi)
            for camera in range(cameras):
                lens, rng = self.lens(split, number, camera)
                azimuth = begin + 2 * np.pi * (camera + rng.uniform(-0.4, 0.4)) / cameras
                seen = set_up(lens, rng, world, azimuth, root, self.views[split]).view(world)
                pixels, millimetres = (part.astype(np.float32) for part in seen)
                yield Sequence(next(infos), pixels, millimetres, np.ones(len(world), dtype=bool), activity)

    def provenance(self) -> dict:
        """See Source.  The version and the seed determine the data."""
        self.record(MOTION)
        return super().provenance() | {"version": VERSION, "seed": self.seed}

    def _world(self, take: Take) -> np.ndarray:
        joints = joints_of(take.trial, self.skeleton)
        if take.upper:
            rng = np.random.default_rng([self.seed, *take.name.encode()])
            upper = joints if take.upper == take.trial else joints_of(take.upper, self.skeleton)
            from glagcn.data.mocap.mixed import mixed  # with SciPy, only where data are made: slow to import

            return mixed(joints, upper, self.skeleton, FPS, rng)
        frames = take.frames or len(joints)
        begin = (len(joints) - frames) // 2
        return joints[begin : begin + frames]

    def lens(self, split: SplitName, take: int, camera: int) -> tuple[Lens, np.random.Generator]:
        """The camera of a take, and the stream from which it is set up."""
        rng = self._rng(split, take, camera)
        return draw_lens(rng), rng

    def sequence_name(self, split: SplitName, take: Take, camera: int) -> str:
        """The name of a take as one of its cameras sees it."""
        return take.name if self.cameras[split] == 1 else f"{take.name}/cam{camera}"

    def _rng(self, split: SplitName, *numbers: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, SPLITS.index(split), *numbers])
