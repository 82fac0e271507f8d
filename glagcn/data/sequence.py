"""A sequence: the frames of one person from one camera."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SequenceInfo:
    """Metadata of a sequence: a row of the cache's sequence table.

    name     unique within its split: subject/action/cam<camera>, such as "S1/Seq1/cam0" or "Train/S1/Jog 1/cam2"; only
             the subject if it has one sequence, such as "TS1".
    subject  such as "S1" or "Train/S1"; "TS1" is its own subject.
    camera   number of the camera in its data set; -1 if there is only one.
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
        """The action with the number of the take: "Walking 1"; empty if the subject has one sequence."""
        return self.name.removeprefix(self.subject).partition("/cam")[0].removeprefix("/")

    @property
    def kind_of_action(self) -> str:
        """The action without the number of the take: "Walking".  Results are grouped by it."""
        return self.action.partition(" ")[0]


@dataclass(frozen=True)
class Sequence:
    """The frames of one sequence: raw values, not normalised, centred or flipped.

    pixels       [T,V,2] float32, image coordinates; V is the skeleton's number of input joints.
    millimetres  [T,V,3] float32, camera coordinates (x right, y down, z forward), absolute.
    valid        [T] bool: True for scored frames; the others are context only.
    activity     [T] uint8, 1..7; None if the source has no activities.
    confidence   [T,V] float32 of the 2D, 0 where a joint was missing; None if the source marks no missing joints.
    """

    info: SequenceInfo
    pixels: np.ndarray
    millimetres: np.ndarray
    valid: np.ndarray
    activity: np.ndarray | None = None
    confidence: np.ndarray | None = None
