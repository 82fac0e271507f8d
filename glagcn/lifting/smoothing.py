"""Takes the jitter out of lifted people, without delay."""

from dataclasses import replace

import numpy as np
from scipy.signal import butter, sosfiltfilt

from glagcn.errors import UserError
from glagcn.lifting.person import LiftedPerson, filled

# A Butterworth filter of second order there and back, the usual one for human movement (Winter, Biomechanics and Motor
# Control of Human Movement, chapter on smoothing).  The two passes together halve the power at the cut-off if each
# one's own cut-off is higher by this factor.
ORDER, PASSES = 2, 2
EACH_PASS_HIGHER = (2 ** (1 / PASSES) - 1) ** (-1 / (2 * ORDER))
LEAST_CUTOFF = 0.1  # Hz: slower than that nobody moves
EXTENSION = 3.0  # periods of the cut-off for which a track goes on beyond its ends, where the filter settles


def check_cutoff(cutoff: float, fps: float) -> None:
    """Raise UserError unless --smooth `cutoff`, in Hz, is at least LEAST_CUTOFF and below half of `fps`."""
    if not LEAST_CUTOFF <= cutoff < fps / 2:
        raise UserError(
            f"invalid --smooth {cutoff:g}: must be a frequency in Hz, at least {LEAST_CUTOFF:g} and below {fps / 2:g}, "
            f"half of the video's {fps:g} frames per second"
        )


def smoothed(person: LiftedPerson, cutoff: float) -> LiftedPerson:
    """The person with poses and root low-pass filtered; the frames stay, and nothing is delayed.

    cutoff  in Hz: movements of that frequency lose half of their power, slower ones less, faster ones more.

    Frames that are missing are interpolated for the filter.  A short track is smoothed as far as it reaches; one of a
    single frame stays as it is.  Raises UserError where the cut-off does not fit the frame rate.
    """
    check_cutoff(cutoff, person.fps)
    whole = filled(person, int(person.frames[0]), int(person.frames[-1]))
    kept = person.frames - person.frames[0]
    # In the plane of the bilinear transform, where frequencies are tangents, the factor holds exactly.
    each = np.arctan(np.tan(np.pi * cutoff / person.fps) * EACH_PASS_HIGHER) / np.pi
    sections = butter(ORDER, each, output="sos", fs=1.0)
    ends = int(np.ceil(EXTENSION * person.fps / cutoff))

    def smooth(values: np.ndarray) -> np.ndarray:
        # Mirrored through the end, as often as it takes: SciPy's own extension is never longer than the track.
        around = [(ends, ends)] + [(0, 0)] * (values.ndim - 1)
        longer = np.pad(values.astype(np.float64), around, mode="reflect", reflect_type="odd")
        return sosfiltfilt(sections, longer, axis=0, padlen=0)[ends + kept]

    return replace(
        person,
        poses=smooth(whole.poses).astype(np.float32),
        root=None if whole.root is None else smooth(whole.root),
    )
