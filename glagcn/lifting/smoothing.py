"""Zero-phase low-pass filter against jitter of lifted poses."""

from dataclasses import replace

import numpy as np
from scipy.signal import butter, sosfiltfilt

from glagcn.errors import UserError
from glagcn.lifting.person import LiftedPerson, filled

# A second-order Butterworth filter, applied forward and backward: the usual filter for human motion (Winter,
# Biomechanics and Motor Control of Human Movement).  Both passes together halve the power at the cut-off if the cut-off
# of each pass is higher by this factor.
ORDER, PASSES = 2, 2
EACH_PASS_HIGHER = (2 ** (1 / PASSES) - 1) ** (-1 / (2 * ORDER))
LEAST_CUTOFF = 0.1  # Hz; lower ones are not useful and need a long extension
EXTENSION = 3.0  # at both ends, in periods of the cut-off: the filter settles there


def check_cutoff(cutoff: float, fps: float) -> None:
    """Raise UserError unless --smooth `cutoff`, in Hz, is at least LEAST_CUTOFF and below half of `fps`."""
    if not LEAST_CUTOFF <= cutoff < fps / 2:
        raise UserError(
            f"invalid --smooth {cutoff:g}: must be a frequency in Hz, at least {LEAST_CUTOFF:g} and below {fps / 2:g}, "
            f"half of the video's {fps:g} frames per second"
        )


def smoothed(person: LiftedPerson, cutoff: float) -> LiftedPerson:
    """The person with low-pass filtered poses and root, in the same frames and without delay.

    cutoff  in Hz, the frequency that keeps half of its power.

    Missing frames are interpolated before filtering.  Short tracks are extended, so any number of frames is allowed.
    Raises UserError if the cut-off is out of range.
    """
    check_cutoff(cutoff, person.fps)
    whole = filled(person, int(person.frames[0]), int(person.frames[-1]))
    kept = person.frames - person.frames[0]
    # The bilinear transform maps frequencies to tangents; the factor is exact after this mapping.
    each = np.arctan(np.tan(np.pi * cutoff / person.fps) * EACH_PASS_HIGHER) / np.pi
    sections = butter(ORDER, each, output="sos", fs=1.0)
    ends = int(np.ceil(EXTENSION * person.fps / cutoff))

    def smooth(values: np.ndarray) -> np.ndarray:
        # Repeated odd reflection.  The padding of sosfiltfilt cannot be longer than the track.
        around = [(ends, ends)] + [(0, 0)] * (values.ndim - 1)
        longer = np.pad(values.astype(np.float64), around, mode="reflect", reflect_type="odd")
        return sosfiltfilt(sections, longer, axis=0, padlen=0)[ends + kept]

    return replace(
        person,
        poses=smooth(whole.poses).astype(np.float32),
        root=None if whole.root is None else smooth(whole.root),
    )
