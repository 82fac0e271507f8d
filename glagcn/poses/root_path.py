"""The root path of lifted people in camera space, and a filter against their jitter."""

from dataclasses import replace

import numpy as np

from glagcn.errors import UserError
from glagcn.poses.gaps import slices
from glagcn.poses.result import CAMERA, Poses, filled, interpolated

# ---- The root path in camera space: the root position of each frame that projects the 3D pose onto the 2D pose.


# Two joints determine the three unknowns, but then the depth depends on the distance of two joints only.
LEAST_JOINTS = 4
# Standard deviation of the joints' rays, in radians.  A person below this is hundreds of metres away.
LEAST_SPREAD = 1e-3


def with_root(person: Poses, focal: float) -> tuple[Poses, np.ndarray]:
    """The person with its root path, and a mask [T] bool of the frames in which it was estimated.

    focal  length in pixels, equal along both axes; the principal point is the image centre.

    In the other frames the path is interpolated.  These are frames with fewer than LEAST_JOINTS joints of confidence
    above 0, with all joints at one point of the image, or with a joint behind the camera.  If no frame could be
    estimated, the root is None.
    Raises ValueError if the person is not in camera axes.
    """
    if person.axes != CAMERA:
        raise ValueError(f"the axes of person {person.person} are {person.axes}; expected {CAMERA}")
    centre, estimates = np.asarray(person.image_size) / 2, []
    for part in slices(len(person.frames)):
        rays = (person.pixels[part] - centre) / focal
        estimates.append(find_root(person.xyz[part].astype(np.float64), rays, person.confidence[part]))
    root, found = (np.concatenate(each) for each in zip(*estimates, strict=True))
    path = interpolated(person.places[found], root[found], person.places) if found.any() else None
    return replace(person, root=path), found


def find_root(poses: np.ndarray, rays: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Estimate the root positions [T,3], in the unit of the poses, and the mask [T] of valid ones.

    poses  [T,V,3] relative to the root;  rays  [T,V,2] the 2D joints as (x / z, y / z);  confidence  [T,V] weights.

    Linear least squares of the pinhole equations t_x - ray_x t_z = ray_x z - x, and the same for y.  Subtracting the
    weighted means eliminates t_x and t_y from the 3 x 3 normal equations, so that t_z has a closed form.
    """
    usable = np.isfinite(rays).all(axis=-1) & (confidence > 0)
    weights = np.where(usable, confidence, 0.0)[..., None].astype(np.float64)
    rays = np.where(usable[..., None], rays, 0.0)
    sides = rays * poses[..., 2:] - poses[..., :2]
    with np.errstate(divide="ignore", invalid="ignore"):  # frames without joints, excluded by `good`
        mean_ray, mean_side = ((weights * values).sum(axis=1) / weights.sum(axis=1) for values in (rays, sides))
        apart = rays - mean_ray[:, None]
        spread = (weights * apart**2).sum(axis=(1, 2))
        depth = -(weights * apart * sides).sum(axis=(1, 2)) / spread
        good = (usable.sum(axis=1) >= LEAST_JOINTS) & (spread > LEAST_SPREAD**2 * weights.sum(axis=(1, 2)))
        good &= depth + poses[..., 2].min(axis=1) > 0
        root = np.column_stack([mean_side + mean_ray * depth[:, None], depth])
    return root, good


# ---- The path over the whole sequence.


# A distance is found from the size of the person in one picture, and shakes by some percent.  People do not: over this
# time (standard deviation of the weights) their distance changes about linearly, and the direction over the second one.
DISTANCE_SECONDS, DIRECTION_SECONDS = 0.25, 0.08
WIDEST = 4.0  # standard deviations that count
FITS = 4  # with weights that fall with the distance from the last fit, against frames that are far off


def steadied(person: Poses, found: np.ndarray) -> tuple[Poses, float]:
    """The person with a root path that does not shake, and how far single frames were from it, as a part of distance.

    Distance and direction of each frame are those of a line that is fitted to the frames around it, by weighted least
    squares that outliers hardly move (local linear regression), so that somebody who walks is not late at either end.
    found  [T] the frames in which the root was estimated; the others have no weight.
    """
    if person.root is None or len(person.frames) < 3:
        return person, 0.0
    own = person.places - person.places[0]
    grid = np.arange(int(np.ceil(own[-1])) + 1)
    after = np.searchsorted(own, grid).clip(max=len(own) - 1)
    before = (np.searchsorted(own, grid, side="right") - 1).clip(min=0)
    weights = found[before] & found[after] & (person.frames[after] - person.frames[before] <= 1) & (grid <= own[-1])

    def line(values: np.ndarray, seconds: float) -> tuple[np.ndarray, float]:
        fitted, spread = _fitted_line(np.interp(grid, own, values), weights.astype(float), seconds * person.fps)
        return np.interp(own, grid, fitted), spread

    distance, spread = line(np.log(person.root[:, 2]), DISTANCE_SECONDS)
    rays = [line(person.root[:, axis] / person.root[:, 2], DIRECTION_SECONDS)[0] for axis in (0, 1)]
    depth = np.exp(distance)
    return replace(person, root=np.column_stack([rays[0] * depth, rays[1] * depth, depth])), spread


def _fitted_line(values: np.ndarray, weights: np.ndarray, sigma: float) -> tuple[np.ndarray, float]:
    """The values [T], at even places, of lines through those around; and how far values are from them.

    weights  [T]; a place without enough weight around it keeps its value.
    sigma    places, standard deviation of the weights by distance.
    """
    reach = max(1, int(WIDEST * sigma))
    steps = np.arange(-reach, reach + 1)
    kernels = [np.exp(-0.5 * (steps / max(sigma, 1e-6)) ** 2) * steps**power for power in (0, 1, 2)]

    def sums(of: np.ndarray, powers: int) -> list[np.ndarray]:
        """For each place of the grid the sums around it, times the first powers of the steps to there."""
        padded = np.pad(of, reach)
        return [np.convolve(padded, kernel[::-1], "valid") for kernel in kernels[:powers]]

    known = weights > 0
    for _ in range(FITS):
        zeroth, first, second = sums(weights, 3)
        level, slope = sums(weights * values, 2)
        whole = zeroth * second - first**2
        enough = whole > 1e-9 * zeroth * second
        line = np.where(enough, (second * level - first * slope) / np.where(enough, whole, 1), values)
        apart = np.abs(values - line)
        usual = 1.4826 * np.median(apart[known])
        weights = np.where(known, 1 / (1 + (apart / max(2 * usual, 1e-9)) ** 2), 0)
    return line, float(usual)


# ---- Zero-phase low-pass filter against jitter of lifted poses.


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


def smoothed(person: Poses, cutoff: float) -> Poses:
    """The person with low-pass filtered poses and root, in the same frames and without delay.

    cutoff  in Hz, the frequency that keeps half of its power.

    Missing frames are interpolated before filtering.  Short tracks are extended, so any number of frames is allowed.
    Raises UserError if the cut-off is out of range.
    """
    check_cutoff(cutoff, person.fps)
    from scipy.signal import butter, sosfiltfilt  # slow to import

    whole = filled(person, int(person.places[0]), int(np.ceil(person.places[-1])))
    # The bilinear transform maps frequencies to tangents; the factor is exact after this mapping.
    each = np.arctan(np.tan(np.pi * cutoff / person.fps) * EACH_PASS_HIGHER) / np.pi
    sections = butter(ORDER, each, output="sos", fs=1.0)
    ends = int(np.ceil(EXTENSION * person.fps / cutoff))

    def smooth(values: np.ndarray) -> np.ndarray:
        # Repeated odd reflection.  The padding of sosfiltfilt cannot be longer than the track.
        around = [(ends, ends)] + [(0, 0)] * (values.ndim - 1)
        longer = np.pad(values.astype(np.float64), around, mode="reflect", reflect_type="odd")
        found = sosfiltfilt(sections, longer, axis=0, padlen=0)[ends : ends + len(values)]
        return interpolated(whole.frames, found, person.places)

    return replace(
        person,
        xyz=smooth(whole.xyz).astype(np.float32),
        root=None if whole.root is None else smooth(whole.root),
    )
