"""The recorded motion: trials of cmu_motion.npz (see README.md here) as joints of the program's skeletons.

World axes: x to the left of a person who faces z, y up, the floor at y = 0; metres.
"""

import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from glagcn.errors import UserError
from glagcn.skeleton import get_skeleton

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
    """A recording: its name in the database such as "02_06", the person, and the activity, 1 to 7."""

    name: str
    person: str
    activity: int

    @property
    def number(self) -> str:
        """What tells it from the other trials of the person."""
        return self.name.removeprefix(f"{self.person}_").removeprefix("file")


@cache
def trials() -> dict[str, Trial]:
    """All trials by name, in the order of the file.  Raises UserError where the file cannot be read."""
    table = _read("clips")
    column = {name: number for number, name in enumerate(_read("clip_columns").tolist())}
    rows = [[str(row[column[name]]) for name in ("trial", "subject", "activity")] for row in table]
    return {name: Trial(name, person, int(activity)) for name, person, activity in rows}


def joints_of(trial: str, skeleton: str) -> np.ndarray:
    """A trial as joints [T,V,3] of a skeleton.  Raises UserError where the file cannot be read.

    The file holds the differences between frames, in units of `quantum` metres.
    """
    steps = _read(f"clip_{trial}").astype(np.int64)
    recorded = (np.cumsum(steps, axis=0) * float(_read("quantum")))[:: round(float(_read("fps")) / FPS)]
    number = {name: place for place, name in enumerate(_read("joints").tolist())}
    table = JOINTS[skeleton]
    columns = [
        recorded[:, [number[name] for name in table[joint]]].mean(axis=1) for joint in get_skeleton(skeleton).joints
    ]
    return np.stack(columns, axis=1)


@cache
def _read(name: str) -> np.ndarray:
    try:
        with np.load(MOTION, allow_pickle=False) as file:
            return file[name]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"{MOTION} cannot be read: {error}. It is part of the program; install that again") from error
