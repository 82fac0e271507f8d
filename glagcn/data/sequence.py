"""What every source of data yields and every cache holds: one person seen by one camera."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SequenceInfo:
    """A row of the cache's table of sequences.

    name     unique within its split: subject/action/cam<camera>, such as "S1/Seq1/cam0" or "Train/S1/Jog 1/cam2"; the
             subject alone where it has one sequence, such as "TS1".
    subject  such as "S1" or "Train/S1"; "TS1" is its own subject.
    camera   number of the camera in its data set; -1 where there is only one.
    length   T, frames.
    fps      frames per second.
    width, height  of the image, pixels.
    """

    name: str
    subject: str
    camera: int
    length: int
    fps: float
    width: int
    height: int

    @property
    def action(self) -> str:
        """What is done, with the number of the take: "Walking 1"; empty where the subject has one sequence."""
        return self.name.removeprefix(self.subject).partition("/cam")[0].removeprefix("/")

    @property
    def kind_of_action(self) -> str:
        """The action without the number of the take, by which results are grouped: "Walking"."""
        return self.action.partition(" ")[0]


@dataclass(frozen=True)
class Sequence:
    """The frames of one sequence: raw values, nothing normalised, centred or flipped.

    pixels       [T,V,2] float32, image coordinates; V is the skeleton's number of input joints.
    millimetres  [T,V,3] float32, camera coordinates (x right, y down, z forward), absolute.
    valid        [T] bool: frames that are scored; context otherwise.
    activity     [T] uint8, 1..7, or None where the source has no such table.
    """

    info: SequenceInfo
    pixels: np.ndarray
    millimetres: np.ndarray
    valid: np.ndarray
    activity: np.ndarray | None = None
