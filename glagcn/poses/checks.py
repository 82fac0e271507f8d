"""What cannot be a filmed person: a check of a whole track of 2D poses, and one of its third channel.

The statistics are those of people whom somebody has filmed: the joints lie in the image, the head is on its upper side,
distances between joints are those of a body.  Every threshold stands beside what was measured, on

  mocap   the 700 sequences of `--dataset mocap` (107 recordings with cartwheels, flips and bends before made-up
          cameras), pieces of 2 seconds, 1 second and one frame of each, with noise of 3 % of the person's size too;
  real    one person balancing on one leg, detected from four sides by OpenPose and by two models of MediaPipe;
  rare    mocap people in handstands, lying before cameras all around, before cameras that look down by 45 to 90
          degrees, as close-ups of the upper body, half outside the image, and at a third and a tenth of their size.

`check_track` does not use the order of the frames: the poses of all people of a film may be checked together.
`check_movement` is of tracks of one person each.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from glagcn.errors import UserError
from glagcn.poses.gaps import LEAST_CONFIDENCE, slices
from glagcn.poses.joints import CONVENTIONS, STANDING, Convention, both_sides
from glagcn.poses.sides import mirrored, sides_put_right

logger = logging.getLogger(__name__)

Kind = Literal[
    "joint_order", "no_body", "parts", "about_hips", "origin_in_centre", "larger_image", "smaller_image",
    "size_exchanged", "outside", "y_up", "axes_exchanged", "on_its_side", "array_axes", "tilted", "mark", "cropped",
    "stuck_joint", "sides_exchanged", "jumps", "sides_change",
]  # fmt: skip

# Poses that span fewer pixels are no person, in an image whose longer side is more than LEAST_IMAGE.
MOST_PARTS, LEAST_IMAGE = 3.0, 32
# The middle of the hips is so near to (0, 0), in diagonals of the pose, in nearly all frames.  mocap: never below 0.68.
HIPS_AT_ZERO, NEARLY_ALL = 0.03, 0.9
# The part of the joints that is inside, in the median frame.  mocap, real: 1; half outside: 0.12 at least (people who
# walk out of the image), 0.24 in all but 1 in 100; close-ups of the upper body with all other joints guessed: 0.41;
# y negative: 0; images 3 times larger: 0.06 at most.
LEAST_INSIDE = 0.08
# The part of the joints with negative x, and with negative y, where (0, 0) is in the middle: mocap 0.065 and 0.28 at
# least (0.23 with y upwards).  Somebody half outside on one side has 0 of the other.
LEAST_NEGATIVE = 0.05
# The part of the joints beyond the right and beyond the lower edge, of an image half as large as it was: mocap 0.096
# and 0.235 at least.  People half outside have 0 of one of the two; close-ups 0.082 at most of the first, 0.057 in all
# but 1 in 100.
BEYOND_RIGHT, BEYOND_BELOW = 0.08, 0.2
# All joints in this part of width and height.  mocap: the rightmost at 0.54 at least, the lowest at 0.6; people far
# away before a level camera have their feet below the middle.  Images twice as large: 0.45 and 0.48 at most.
CORNER = 0.5
# The part of the joints outside an image of this size, where hardly one is outside with width and height exchanged, and
# the middle of all is near the middle of that image.
SOME_OUTSIDE, MIDDLE = 0.05, 0.25
# The part of the frames in which the head is on this side of the feet, in quarters of the circle.  mocap: above 0.53
# at least (a flip), 0.78 in all but 1 in 20; below 0.28 at most, left or right 0.21.  Of the worst 2 seconds of a
# sequence: below 0.42 at most, left or right more than half in 1 of 100 (bends, cartwheels).  Where legs are not seen,
# a bend looks as if the person lay: more is needed.
MOSTLY, MOSTLY_WITHOUT_LEGS = 0.5, 0.8
# Frames in which head and feet are nearer, in diagonals of the pose, have no direction.  mocap: a quarter at most.
SHORT = 0.4
# The part of the frames upside down with both wrists beyond the head.  Handstands: 1; mocap, upright: 0.81 at most.
HANDSTAND = 0.9
# By how many degrees trunk and body lean to the same side, in three of four frames of a track of so many.  mocap: 10
# at most (of 3 seconds 14 in all but 1 in 100); real: 24.  Who sits leans with the feet, not with the trunk.
LEANING, LONG = 25.0, 90
MOST_PEOPLE = 20  # in an array of people
MOST_CHECKED = 5000  # poses, over the whole track
# A jump: how far the joints are from the middle of the frames before and after, doubled, in diagonals of the pose.
# mocap: 0.13 at most, with noise of 3 % of the size in 8 of 100 frames at most; real: in 11 of 100 frames.
JUMP, OFTEN, FEW = 0.15, 0.15, 2
# From one frame to the next, the sides are nearer to the other sides by this factor, while all move by so much.  mocap
# with or without noise: never, at 30 and at 2 frames a second.
CHANGED, SIDES = 0.5, 0.04
MOST_NAMED = 10  # stretches of frames in a message
# A place at which so many of all joints are, of so many different ones: never, and five times less at the next place.
MARKED, AT_MARK = 0.01, 1 / 3
# A point that is at one place, within so many diagonals, while most of the joints move by more than MOVING.
# mocap: corners in 0.09 of the frames at most, feet, which are not looked at, in 0.77.
STANDS, MOVING = 1e-3, 0.02
ARMS = both_sides("elbow", "wrist")
# Shoulders and hips so wide, in diagonals, are opposite in this part of so many frames, if a quarter shows both.
# mocap: in 0.04, of 2 seconds 0.73 at most.
WIDE, OPPOSITE, SOME_FRAMES = 0.04, 0.8, 45


@dataclass(frozen=True)
class Finding:
    """Something about a track that a filmed person does not do, or hardly ever.

    kind      what it is.
    severity  "refuse" where no filmed person can be so, else "warn".
    text      what was found, with numbers, and the likely cause.
    remedy    what to do.
    place     of a mark: where joints lie that are missing.
    """

    kind: Kind
    severity: Literal["refuse", "warn"]
    text: str
    remedy: str
    place: tuple[float, float] | None = None

    def __str__(self) -> str:
        return f"{self.text}; {self.remedy}"


def check_poses(
    keypoints: np.ndarray,
    size: Sequence[float] | np.ndarray,
    order: Convention,
    where: str,
    stated: bool,
    prefix: str = "--",
) -> np.ndarray:
    """A track [T,J,3] without joints at a mark; raises UserError for what refuses it, warns of the rest.

    A missing joint has the confidence 0.

    where   what holds it, for messages.
    stated  somebody has said that its joints are those of `order`.
    prefix  of the flags in messages.
    """
    found = check_track(keypoints[..., :2], keypoints[..., 2], order.points, size, stated=stated)
    warn_of(found, where, prefix)
    return without_marked(keypoints, found)


def without_marked(keypoints: np.ndarray, findings: Sequence[Finding]) -> np.ndarray:
    """Poses [...,3] with (0, 0, 0) for joints at a place that stands for missing ones."""
    for place in (finding.place for finding in findings if finding.place):
        at = (keypoints[..., :2] == np.asarray(place, keypoints.dtype)).all(axis=-1)
        keypoints = np.where(at[..., None], 0, keypoints)
    return keypoints


def warn_of(findings: Sequence[Finding], where: str, prefix: str = "--") -> None:
    """Raise UserError for a finding that refuses what `where` names, warn of the others."""
    for finding in findings:
        text = f"{where}: {finding}".replace("--", prefix)
        if finding.severity == "refuse":
            raise UserError(text)
        logger.warning(text)


def check_track(
    pixels: np.ndarray,
    seen: np.ndarray,
    joints: Sequence[str],
    image_size: Sequence[float] | np.ndarray,
    stated: bool = False,
) -> list[Finding]:
    """What about a track no filmed person does, or hardly ever; what refuses it comes first.  Empty where all is well.

    pixels      [T,V,2] as given, before joints outside the image are dropped; of one person or several.
    seen        [T,V] bool, or confidences: above 0 where a joint is there.
    joints      V names in common words (`Convention.points`): the order that the poses are taken for.
    image_size  (width, height) in pixels.
    stated      somebody has said which order it is: another that fits better is a warning then.
    """
    given, size = np.asarray(pixels, np.float64), np.asarray(image_size, np.float64)
    there = (np.asarray(seen) > 0) & np.isfinite(given).all(axis=-1)
    some = np.flatnonzero(there.any(axis=1))
    if not len(some):
        return []
    some = some[:: -(-len(some) // MOST_CHECKED)]
    given, there = np.where(there[some, :, None], given[some], np.nan), there[some]
    marked = _marked(given)
    if marked:  # the rest is of the joints that are there
        given = np.where((given == marked.place).all(axis=-1)[..., None], np.nan, given)
        there = np.isfinite(given[..., 0])
        given, there = given[there.any(axis=1)], there[there.any(axis=1)]
    first = _unit(given, joints, size) or _order(given, there, joints, stated)
    if first:  # without the unit or the joints the rest says nothing
        found = [first]
    else:
        turned = _turned(given, joints, size)
        place = _place(given, size, turned)
        if place and place.kind in ("y_up", "axes_exchanged", "outside"):
            turned = None
        fixed = _fixed(given, joints)
        if fixed and fixed.kind == "cropped" and place and place.severity == "warn":
            place = None
        found = [each for each in (place, turned, _sides(given, joints), fixed) if each]
    return found + ([marked] if marked else [])


def check_movement(
    tracks: Sequence[np.ndarray], joints: Sequence[str], starts: Sequence[int] | None = None
) -> list[Finding]:
    """What about the tracks [T,J,3] of some people no camera films: poses that jump, and sides that change.

    joints  J names in common words; the confidence is 0 where a joint is missing.
    starts  the first frame of each track, to name frames by their numbers; None: they are not named.
    """
    jumps, steps, changes = 0, 0, list[int]()
    other = mirrored(joints)
    for track, start in zip(tracks, starts or [0] * len(tracks), strict=True):
        places = np.where(track[..., 2:] > 0, track[..., :2], np.nan)
        frames = np.flatnonzero(np.isfinite(places[..., 0]).mean(axis=1) >= 0.5)
        if len(frames) < 3:
            continue
        places, gaps = places[frames], np.diff(frames)
        size = _diagonal(places)[1:]
        near = gaps <= np.median(gaps)  # who was not there may be anywhere
        step = _windowed(lambda part: _apart(part[1:], part[:-1]), places, 2) / size * near
        jump = _windowed(lambda part: _apart(part[2:] + part[:-2], 2 * part[1:-1]), places, 3)
        jump = jump / size[1:] * (near[1:] & near[:-1])
        jumps, steps = jumps + int((jump > JUMP).sum()), steps + len(jump)
        sides = _windowed(lambda part: _apart(part[1:, other], part[:-1]), places, 2) / size
        if np.median(step) < JUMP:
            changes += (start + frames[1:][(sides < CHANGED * step) & (step > SIDES)]).tolist()
    found = []
    if jumps > max(FEW, OFTEN * steps):
        found.append(Finding(
            "jumps", "warn",
            f"the joints jump in {jumps} of {steps} frames, by more than {JUMP:.0%} of the size of the pose: the "
            "frames seem to be out of order (such as 1, 10, 2), far apart in time, or of several people in turn",
            "give every frame, in order, and an id to each person",
        ))  # fmt: skip
    elif changes:
        found.append(Finding(
            "sides_change", "warn",
            f"left and right change places {len(changes)} times from one frame to the next"
            + f" ({in_words(changes)})" * (starts is not None)
            + ": the detector has exchanged them for a while, and the poses turn over there",
            "detect again with a larger model, or mark the joints of those frames as missing (confidence 0)",
        ))  # fmt: skip
    return found


def with_right_sides(
    keypoints: np.ndarray,
    joints: Sequence[str],
    fps: float,
    where: str,
    start: int = 0,
    places: np.ndarray | None = None,
) -> np.ndarray:
    """A person [T,J,3] after `sides_put_right`, with a warning that names the frames.

    where  what holds the person, for the message;  start  the number of the first frame.
    """
    put, frames = sides_put_right(keypoints, joints, fps, places)
    if len(frames):
        logger.warning(
            f"{where}: left and right change places for a while, between frames where they are as before; put right in "
            f"{in_words((start + frames).tolist())}"
        )
    return put


def in_words(frames: Sequence[int]) -> str:
    """Ascending numbers of frames in words: "frames 3, 5 to 9 and 2 more"."""
    ends = (np.flatnonzero(np.diff(frames, append=np.inf) != 1) + 1).tolist()
    runs = [frames[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]
    shown = [str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs[:MOST_NAMED]]
    more = sum(map(len, runs[MOST_NAMED:]))
    return f"frame{'s' * (len(frames) > 1)} {', '.join(shown)}{f' and {more} more' if more else ''}"


def _windowed(work: Callable[[np.ndarray], np.ndarray], places: np.ndarray, frames: int) -> np.ndarray:
    """work(places), which has a number for each window of so many frames, computed for parts of them."""
    more = frames - 1
    return np.concatenate([work(places[part.start : part.stop + more]) for part in slices(len(places) - more)])


def _apart(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """[T]: the mean distance of the joints that both have; 0 without any."""
    distance = np.linalg.norm(one - other, axis=-1)
    return np.nan_to_num(distance).sum(axis=1) / np.isfinite(distance).sum(axis=1).clip(1)


def check_axes(people: int, frames: int) -> Finding | None:
    """Whether the first axes of an array [frames, people, V, C] were exchanged, or people are cameras."""
    if people <= MOST_PEOPLE and not 1 < frames < people:
        return None
    return Finding(
        "array_axes", "refuse",
        f"an array of {frames} x {people} poses would be {people} people in {frames} frames: its first axis seems to "
        "be people or cameras, and the second frames",
        "give [frames, people, joints, 2 or 3] (numpy: swapaxes(0, 1)), and of several cameras one",
    )  # fmt: skip


class TrackChecker:
    """Checks a live track over its first second, then over a second once a minute; each kind is reported once.

    joints, image_size, stated  as in `check_track`.
    fps                         frames per second.
    """

    def __init__(
        self,
        joints: Sequence[str],
        image_size: Sequence[float] | np.ndarray,
        fps: float = 30,
        stated: bool = False,
    ) -> None:
        self._known = (joints, image_size, stated)
        self._second, self._pause = max(1, round(fps)), max(0, round(59 * fps))
        self._frames: list[tuple[np.ndarray, np.ndarray]] = []
        self._wait = 0
        self._reported: set[str] = set()

    def push(self, pixels: np.ndarray, seen: np.ndarray) -> list[Finding]:
        """Take the next frame, [V,2] and [V]; what is new where it completes a second to check, else nothing."""
        if self._wait:
            self._wait -= 1
            return []
        self._frames.append((np.array(pixels), np.array(seen)))
        return self.finish() if len(self._frames) == self._second else []

    def finish(self) -> list[Finding]:
        """What is new in the frames that are not checked yet, such as those of a stream that ends early."""
        if not self._frames:
            return []
        pixels, seen = (np.stack(each) for each in zip(*self._frames, strict=True))
        self._frames, self._wait = [], self._pause
        found = check_track(pixels, seen, *self._known)
        found = found or check_movement([np.dstack([pixels, seen])], self._known[0])
        new = [each for each in found if each.kind not in self._reported]
        self._reported |= {each.kind for each in new}
        return new


# ---- the third channel

# Scores of detectors: 0..1, heat map peaks a little above, SimCC to 10, percent, 0..255.
ABOUT_ONE, MOST_SCORE = 1.5, 300.0
# Heat maps and SimCC give some joints a little less than 0.  Depths about the hips: half of them, as far as above 0.
SOME, BELOW_ZERO = 0.02, 0.05
WITH_DEPTH = ("mediapipe33",)  # joints of detectors that give a depth too


def as_confidences(keypoints: np.ndarray, where: str, joints: str | None) -> tuple[np.ndarray, float]:
    """Poses [...,3] of one source with confidences in parts of 1, and which confidence that was; warns of others.

    joints  the name of their convention, where it is known.
    Where the third value is a depth, every joint has the confidence 1.  Raises UserError as `confidence_scale` does.
    """
    scale, text = confidence_scale(keypoints[..., 2], where, joints in WITH_DEPTH)
    for said in (text, hidden_flags(keypoints, where)):
        if said:
            logger.warning(said)
    return scaled(keypoints, scale), scale or 1.0


def hidden_flags(keypoints: np.ndarray, where: str) -> str | None:
    """What to say of third values [...,3] that are 0 or 1, and 0 for most of the joints that have a place."""
    if not (keypoints[..., 2] == 0).any():  # most files
        return None
    placed = np.isfinite(keypoints).all(axis=-1) & ~np.isin(keypoints[..., :2], (0, -1)).all(axis=-1)
    flags = keypoints[placed][:, 2]
    hidden = (flags == 0).mean() if flags.size else 0.0
    if hidden <= 0.5 or not ((flags == 0) | (flags == 1)).all():
        return None
    return (
        f"{where}: the third value is 0 or 1, and 0 for {hidden:.0%} of the joints that have a place; these count as "
        "missing. If 1 says that a joint is hidden, give 1 minus that"
    )


def scaled(keypoints: np.ndarray, scale: float | None) -> np.ndarray:
    """Poses [...,3] whose confidences are divided by `scale`, or are all 1 where it is None."""
    if scale == 1:
        return keypoints
    confidence = np.ones(keypoints.shape[:-1]) if scale is None else keypoints[..., 2] / scale
    return np.concatenate([keypoints[..., :2], confidence[..., None]], axis=-1)


def are_unusual(values: np.ndarray) -> bool:
    """Whether third values are above what is about 1, or negative but for -1: else they are confidences in parts of 1.

    A live stream asks at every frame.
    """
    return bool((((values < 0) & (values != -1) | (values > ABOUT_ONE)) & np.isfinite(values)).any())


def confidence_scale(values: np.ndarray, where: str, has_depth: bool = False) -> tuple[float | None, str | None]:
    """The confidence that counts as 1, and what is to be said of it; (None, text) for a depth, to be left out.

    values     the third channel of all poses of a file, of any shape.  Not finite, 0 and -1 are missing joints.
    where      what holds them, for messages.
    has_depth  the joints come from a detector that gives a depth (MediaPipe), so a third channel may be one.
    Raises UserError where the values are no confidences.
    """
    values = np.asarray(values, np.float64)
    if not are_unusual(values):
        return 1.0, None
    scores = values[np.isfinite(values) & (values != 0) & (values != -1)]
    low, high = np.quantile(scores, (SOME, 0.99))
    spans = f"the third value of the joints is from {scores.min():.3g} to {scores.max():.3g}"
    negative = low < -BELOW_ZERO * np.abs(scores).max()
    if (negative or high > MOST_SCORE) and has_depth:
        return None, (
            f"{where}: {spans}: a depth and no confidence; it is left out, and every joint counts as seen (MediaPipe's "
            "confidence is its visibility)"
        )
    if negative or high > MOST_SCORE:
        expected, other = ("which are not negative", "logarithm") if negative else (
            "at most 1 (or 100, or 255)", "coordinate"
        )  # fmt: skip
        raise UserError(
            f"{where}: {spans}; expected confidences, {expected}. It seems to be a depth (z) or a {other}: leave "
            "it out, [T, joints, 2], or put the detector's score there"
        )
    if high <= ABOUT_ONE:
        return 1.0, None
    flags = " (flags such as COCO's: 1 hidden, 2 visible)" if set(np.unique(scores)) <= {1.0, 2.0} else ""
    return float(high), (
        f"{where}: the confidences reach {high:.3g}{flags}, which counts as 1; joints below "
        f"{LEAST_CONFIDENCE * high:.2g} are missing (glagcn lift: or below --min_confidence C, in this unit)"
    )


# ---- the unit of the coordinates

# Coordinates up to this are parts of the image, 0 to 1 within it: people may be partly outside, and no person is so
# small in pixels.  Where so many of them are below LOWEST, (0, 0) is not the corner of the image.
PARTS, LOWEST, MOST_NEGATIVE = 4.0, -0.1, 0.2


def are_parts(keypoints: np.ndarray, size: Sequence[float] | np.ndarray | None) -> bool:
    """Whether the coordinates of poses [...,3] are parts, 0 to 1, of an image (width, height; None: not known)."""
    if size is not None and max(size) <= LEAST_IMAGE:
        return False
    numbers = low = 0
    for part in slices(len(keypoints)):
        given = keypoints[part][keypoints[part][..., 2] > 0][:, :2]
        if (np.abs(given) > PARTS).any():
            return False
        numbers, low = numbers + given.size, low + int((given < LOWEST).sum())
    return numbers > 0 and low <= MOST_NEGATIVE * numbers


def _unit(pixels: np.ndarray, joints: Sequence[str], size: np.ndarray) -> Finding | None:
    """Coordinates about the hips, and parts of the image."""
    (left, top), (right, bottom) = np.nanmin(pixels, axis=(0, 1)), np.nanmax(pixels, axis=(0, 1))
    width, height = size
    spans = f"x is from {left:.4g} to {right:.4g} and y from {top:.4g} to {bottom:.4g}"
    for part in ("hips", "shoulders"):
        middle = _pair(pixels, joints, part[:-1])
        known = np.isfinite(middle[:, 0])
        near = np.hypot(*middle[known].T) <= HIPS_AT_ZERO * _diagonal(pixels[known])
        if not near.size or near.mean() <= NEARLY_ALL:
            continue
        return Finding(
            "about_hips", "refuse",
            f"the middle of the {part} is at (0, 0) in {near.mean():.0%} of the frames, and {spans}: these are "
            f"coordinates about the {part}, such as MediaPipe's pose_world_landmarks (metres) or a 3D pose, and no "
            f"pixels of {width:g}x{height:g}",
            "give the joints' places in the image in pixels (MediaPipe: pose_landmarks, times width and height)",
        )  # fmt: skip
    if max(size) <= LEAST_IMAGE or np.nanquantile(np.abs(pixels), 0.99) > MOST_PARTS:
        return None
    if min(left, top) > -0.1:
        what, how = "0 to 1", f"x * {width:g} and y * {height:g}"
    else:
        half = f"x * {width / 2:g} + {width / 2:g}"
        what = "-1 to 1, with (0, 0) in its middle"
        how = (
            f"{half} and y * {height / 2:g} + {height / 2:g} where both span 2 (OpenPose's --keypoint_scale 4), "
            f"y * {width / 2:g} + {height / 2:g} where the width alone does (VideoPose3D)"
        )
    return Finding(
        "parts", "refuse",
        f"{spans}: these seem to be parts of the image ({what}), or metres, and no pixels of {width:g}x{height:g}",
        f"give pixels; of parts: {how}",
    )  # fmt: skip


# ---- the place in the image


def _place(pixels: np.ndarray, size: np.ndarray, turned: Finding | None) -> Finding | None:
    """Joints outside the image, or all of them in a corner of it; `turned` is what the direction of the head says."""
    width, height = size
    image = f"the image of {width:g}x{height:g}"
    low, high = (np.nanquantile(pixels, share, axis=(0, 1)) for share in (0.005, 0.995))
    spans = f"x is from {low[0]:.0f} to {high[0]:.0f} and y from {low[1]:.0f} to {high[1]:.0f}"
    negative, beyond = ((each & np.isfinite(pixels)).mean(axis=(0, 1)) for each in (pixels < 0, pixels > size))
    joints = np.isfinite(pixels[..., 0]).mean()
    negative, beyond, inside = negative / joints, beyond / joints, _inside(pixels, size)
    if (negative > LEAST_NEGATIVE).all() and (np.abs([low, high]) <= 0.55 * size).all():
        return Finding(
            "origin_in_centre", "refuse",
            f"{negative[0]:.0%} of x and {negative[1]:.0%} of y are negative ({spans}, in {image}): (0, 0) seems to "
            "be the middle of the image, and not its upper left corner",
            f"give pixels from the upper left corner: x + {width / 2:g}, and y + {height / 2:g} (where y counts "
            f"upwards, {height / 2:g} - y)",
        )  # fmt: skip
    if inside < LEAST_INSIDE:
        kind, cause, remedy = _why_outside(pixels, size, low, high, turned)
        text = f"{1 - inside:.0%} of the joints are outside {image} in the median frame ({spans}): {cause}"
        return Finding(kind, "refuse", text, remedy)
    if (beyond > (BEYOND_RIGHT, BEYOND_BELOW)).all() and (negative < 0.01).all():
        return Finding(
            "larger_image", "warn",
            f"{beyond[0]:.0%} of the joints are beyond the right edge of {image}, and {beyond[1]:.0%} below it "
            f"({spans}): the keypoints seem to be of a larger image",
            _size_remedy(high, size),
        )  # fmt: skip
    if (high < CORNER * size).all():
        percent = ", or parts of a hundred" if (high <= 100).all() else ""
        return Finding(
            "smaller_image", "warn",
            f"all joints are in the upper left quarter of {image} ({spans}): the keypoints seem to be of a smaller "
            f"image, of a crop{percent}",
            f"{_size_remedy()}; nothing is wrong where the person really is so far up there",
        )  # fmt: skip
    outside, exchanged = (1 - _inside(pixels, each, np.mean) for each in (size, size[::-1]))
    off_centre = np.abs(np.nanmedian(pixels, axis=(0, 1)) / size[::-1] - 0.5)
    if turned is None and outside > SOME_OUTSIDE > exchanged and (off_centre < MIDDLE).all():
        return Finding(
            "size_exchanged", "warn",
            f"{outside:.0%} of the joints are outside {image} ({spans}), and {exchanged:.0%} outside one of "
            f"{height:g}x{width:g}: width and height seem to be exchanged, or the person is cut by an edge",
            f"give --image_size {height:g},{width:g} if that is their size (image_size= in Python)",
        )  # fmt: skip
    return None


def _why_outside(
    pixels: np.ndarray, size: np.ndarray, low: np.ndarray, high: np.ndarray, turned: Finding | None
) -> tuple[Kind, str, str]:
    """Kind, likely cause and remedy of poses hardly a joint of which is inside."""
    if high[1] < 0.1 * size[1] and _inside(pixels * (1, -1), size) > 0.5:
        return "y_up", "y seems to count upwards, and is negative", "give pixels from the upper left corner: -y"
    if turned and turned.kind == "axes_exchanged" and _inside(pixels[..., ::-1], size) > 0.5:
        return "axes_exchanged", "the coordinates seem to be (y, x)", "give (x, y): keypoints[..., [1, 0]]"
    if (low > -0.1 * size).all():
        return "larger_image", "the keypoints seem to be of a larger image", _size_remedy(high, size)
    return (
        "outside", "these are no places in the image",
        f"give pixels from the upper left corner, x to the right and y downwards; or {_size_remedy()}",
    )  # fmt: skip


def _size_remedy(high: np.ndarray | None = None, size: np.ndarray | None = None) -> str:
    """What to say of the size, with the smallest usual enlargement of an image that holds these coordinates."""
    example = ""
    if high is not None and size is not None:
        factor = next((factor for factor in (1.5, 2, 3, 4, 6, 8, 10) if (high <= factor * size).all()), None)
        example = f", at least {high[0]:.0f},{high[1]:.0f}"
        if factor:
            example += f" (such as {factor * size[0]:.0f},{factor * size[1]:.0f})"
    return f"give the size of the images that the detector saw with --image_size W,H (image_size= in Python){example}"


# ---- the side on which the head is


def _turned(pixels: np.ndarray, joints: Sequence[str], size: np.ndarray) -> Finding | None:
    """A head below the feet, or at one side of them, most of the time."""
    head = _middle(pixels, joints, ("head", "head_top", "nose", *both_sides("eye", "ear")))
    parts = both_sides("ankle"), both_sides("knee"), ("pelvis", *both_sides("hip")), ("neck", *both_sides("shoulder"))
    lowest = [_middle(pixels, joints, part) for part in parts]
    feet = lowest[0]
    for each in lowest[1:]:
        feet = np.where(np.isnan(feet), each, feet)
    legs = np.isfinite(lowest[0][:, 0]) | np.isfinite(lowest[1][:, 0])
    long = np.linalg.norm(head - feet, axis=1) > SHORT * _diagonal(pixels)
    if long.mean() < 0.5:  # seen from above, or the head is not seen
        return None
    across, down = (head - feet)[long, 0], (head - feet)[long, 1]
    flat, tall = np.abs(across), np.abs(down)
    sides: dict[str, np.ndarray] = {"below": down > flat, "left of": -across > tall, "right of": across > tall}
    side = max(sides, key=lambda name: float(sides[name].mean()))
    share = sides[side].mean()
    real = "nothing is wrong where the person really lies"
    if share <= (MOSTLY if legs[long].mean() > 0.5 else MOSTLY_WITHOUT_LEGS):
        trunk = (_pair(pixels, joints, "shoulder") - _pair(pixels, joints, "hip"))[long]
        leans = np.degrees([np.arctan2(x, -y) for x, y in ((across, down), trunk.T)])
        if np.isnan(trunk).all():
            return None
        to, least = ("right", leans.min(axis=0)) if np.nanmedian(leans) > 0 else ("left", -leans.max(axis=0))
        if len(pixels) < LONG or not np.nanquantile(least, 0.25) > LEANING:
            return None
        return Finding(
            "tilted", "warn",
            f"the body leans to the {to} by {np.nanmedian(least):.0f} degrees in the median frame: the camera seems to "
            "be tilted",
            "turn the images upright before detection; nothing is wrong where the person really leans",
        )  # fmt: skip
    width, height = size
    found = f"the head is {side} the feet in {share:.0%} of the frames"
    if side == "below":
        wrists = [_middle(pixels, joints, (wrist,))[long, 1] for wrist in both_sides("wrist")]
        if np.mean(np.minimum(*wrists)[sides[side]] > head[long, 1][sides[side]]) > HANDSTAND:
            return None
        return Finding(
            "y_up", "warn",
            f"{found}: y seems to count upwards, or the images are upside down",
            f"give y from the upper edge: {height:g} - y (and {width:g} - x for images upside down); nothing is wrong "
            "where the person is really head down",
        )  # fmt: skip
    if side == "left of":
        return Finding(
            "axes_exchanged", "warn",
            f"{found}, as if the person lay: the coordinates seem to be (y, x), or the images are on their side",
            f"give (x, y): keypoints[..., [1, 0]], or detect in upright images; {real}",
        )  # fmt: skip
    return Finding(
        "on_its_side", "warn",
        f"{found}, as if the person lay: the images seem to be on their side",
        f"detect in upright images, as the video is displayed; {real}",
    )  # fmt: skip


# ---- points that stand, and sides


def _marked(pixels: np.ndarray) -> Finding | None:
    """A place at which many different joints are now and then, as if it stood for missing ones."""
    pixels = pixels[:: -(-len(pixels) // 1000)]
    there = np.isfinite(pixels[..., 0])
    places, inverse, counts = np.unique(pixels[there] @ (1, 1j), return_inverse=True, return_counts=True)
    most = int(counts.argmax())
    at = np.zeros(there.shape, bool)
    at[there] = inverse.reshape(-1) == most
    often, total = at.mean(axis=0), int(counts.sum())
    others = np.delete(counts, most).max(initial=0)
    some = often[often > 0]
    if counts[most] <= max(MARKED * total, 5 * others, 9) or len(some) < AT_MARK * len(often) or np.median(some) > 0.7:
        return None
    place = float(places[most].real), float(places[most].imag)
    return Finding(
        "mark", "warn",
        f"{counts[most] / total:.1%} of the joints, {len(some)} different ones, are at ({place[0]:g}, {place[1]:g}): "
        "they are taken for missing",
        "mark missing joints with the confidence 0, with NaN or with (0, 0)", place,
    )  # fmt: skip


def _fixed(pixels: np.ndarray, joints: Sequence[str]) -> Finding | None:
    """The corner of the poses, or an elbow or wrist, that is always at the same place while other joints move.

    A camera may follow somebody's hips, neck or head; feet may stand.
    """
    size = float(np.median(_diagonal(pixels)))
    seen = np.isfinite(pixels).any(axis=(0, 2))
    moving = np.nanquantile(np.nanstd(pixels[:, seen], axis=0).max(axis=-1), 0.4) / size
    if len(pixels) < 10 or not moving > MOVING:
        return None
    points = {joint: pixels[:, place] for place, joint in enumerate(joints) if seen[place] and joint in ARMS}
    for name, point in {**points, "": np.nanmin(pixels, axis=1)}.items():
        known = point[np.isfinite(point[:, 0])]
        x, y = place = np.median(known, axis=0)
        share = (np.abs(known - place).max(axis=1) < STANDS * size).mean()
        if share <= NEARLY_ALL or len(known) < len(pixels) / 2:
            continue
        text = f"is at ({x:g}, {y:g}) in {share:.0%} of the frames, while the other joints move"
        if name:
            return Finding(
                "stuck_joint", "warn", f"{name} {text}: it seems not to have been found",
                "mark it as missing, with the confidence 0, NaN or (0, 0)",
            )  # fmt: skip
        return Finding(
            "cropped", "warn",
            f"the upper left corner of the poses {text}: they seem to be those of a crop around each of them",
            "give the places in the whole image: add the corner of each crop",
        )  # fmt: skip
    return None


def _sides(pixels: np.ndarray, joints: Sequence[str]) -> Finding | None:
    """Shoulders and hips whose left and right are opposite."""
    shoulders, hips = (
        _middle(pixels, joints, (f"left_{part}",)) - _middle(pixels, joints, (f"right_{part}",))
        for part in ("shoulder", "hip")
    )
    size = _diagonal(pixels)
    wide = np.minimum(np.linalg.norm(shoulders, axis=1), np.linalg.norm(hips, axis=1)) > WIDE * size
    opposite = ((shoulders * hips).sum(axis=1) < 0)[wide]
    if len(pixels) < SOME_FRAMES or wide.mean() < 0.25 or opposite.mean() < OPPOSITE:
        return None
    return Finding(
        "sides_exchanged", "warn",
        f"left and right of the shoulders are opposite to those of the hips in {opposite.mean():.0%} of the frames: "
        "the sides of the arms or of the legs seem to be exchanged",
        "check the order of the joints",
    )  # fmt: skip


# ---- the order of the joints

# The correlation of the distances between joints with those of somebody who stands, both as logarithms, the best of
# bodies whose heights are so much shorter, as they are before cameras that look down, or at the feet of people who lie.
# In its own order 0.73 at least, of a single frame 0.61, with cameras that look down by 60 to 90 degrees 0.59, of
# people who lie 0.40 (0.50 in all but 1 in 300); of shuffled joints 0.38 at most in all but 1 in 100, of random points
# 0.32.
NO_BODY, SHORTENED = 0.39, (1.0, 0.4, 0.15)
# How many times worse a track fits than another order, by the pairs of joints that are more than DIFFERENT apart in
# the two: in a wrong order 2.2 at least (a single frame 1.8), while the right one always fits best but for cameras
# that look straight down, where another fits up to 1.3 times better.
CLEAR, DIFFERENT = 1.5, 0.6
# A pose is a line where the shorter side of its box is less than this part of the longer one.
LINE = 0.005
BLUR = 0.05  # of the mean distance: joints closer than that have no order
MOST_POSES = 100  # that are compared, over the whole track
LEAST_JOINTS = 10  # of an order, that are known here
SELDOM = 0.2  # of the poses: pairs that are seen in fewer say nothing
MOST_PAIRS = 0.8  # must be seen to tell that there is no body: not of close-ups

# Ways in which arrays get out of order, and how to undo them: [T,V,2] to [T,V,2].
REARRANGED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "the x of all joints seem to come first and then their y": lambda p: p.reshape(len(p), 2, -1).swapaxes(1, 2),
    "the joints seem to be shifted by one place": lambda p: np.roll(p, -1, axis=1),
    "the joints seem to be shifted by one place, backwards": lambda p: np.roll(p, 1, axis=1),
    "the joints seem to be in reverse order": lambda p: p[:, ::-1],
}


def _order(pixels: np.ndarray, seen: np.ndarray, joints: Sequence[str], stated: bool) -> Finding | None:
    """Another order of as many joints that fits better, joints that were mixed up, or poses that are no body."""
    sides = np.sort(np.nanmax(pixels, axis=1) - np.nanmin(pixels, axis=1), axis=1)[seen.sum(axis=1) > 2]
    if len(sides) and np.median(sides[:, 0] - LINE * sides[:, 1]) <= 0:
        return Finding(
            "no_body", "refuse",
            "the joints of a pose are at one point, or on a line along x or y (box of the median pose: "
            f"{np.median(sides[:, 1]):.4g} by {np.median(sides[:, 0]):.4g})",
            "check how the array was made; expected [T, joints, 2] with x and y",
        )  # fmt: skip
    assumed = next((name for name, order in ORDERS.items() if tuple(order) == tuple(joints)), "")
    taken, named = (f" as {assumed}", f"--joints {assumed}") if assumed else ("", "the order that the model reads")
    misfits = fit_orders(pixels, seen, {**ORDERS, assumed: joints})
    if assumed not in misfits:
        return None
    best = next(iter(misfits))
    cause, undone = _rearranged(pixels, joints)
    if misfits[assumed] > CLEAR * undone and undone < misfits[best]:
        return Finding(
            "joint_order", "refuse",
            f"{cause}: undone, the distances between the {len(joints)} joints are {misfits[assumed] / undone:.1f} "
            "times nearer to a body's",
            f"check how the array was made; expected [T, joints, 2] with the joints of {named}",
        )  # fmt: skip
    times = 1.0 if best == assumed else _times_worse(pixels, seen, joints, ORDERS[best])
    if times > CLEAR:
        return Finding(
            "joint_order", "warn" if stated else "refuse",
            f"the {len(joints)} joints look like {best}, and are taken for {assumed or 'those that the model reads'}: "
            f"in that order the distances between them are {times:.1f} times farther from a body's",
            f"check {named} (joints= in Python)" if stated
            else f"say which they are with --joints {best}{f' or {assumed}' if assumed else ''} (joints= in Python; "
            "docs/data.md, Keypoint files)",
        )  # fmt: skip
    found, _ = _log_distances(pixels, seen, joints)
    known = np.isfinite(found)
    if known.sum() < MOST_PAIRS * np.isfinite(_log_body(joints)[0]).sum():
        return None
    alike = max(np.corrcoef(found[known], _log_body(joints, part)[0][known])[0, 1] for part in SHORTENED)
    if alike < NO_BODY:
        return Finding(
            "no_body", "warn",
            f"the distances between the {len(joints)} joints are not those of a body{taken} (correlation "
            f"{alike:.2f}): they seem to be in another order",
            f"check {named} (joints= in Python)",
        )  # fmt: skip
    return None


def _rearranged(pixels: np.ndarray, joints: Sequence[str]) -> tuple[str, float]:
    """The way of REARRANGED which undone fits best, and its misfit."""
    tried = []
    for cause, undo in REARRANGED.items():
        undone = undo(pixels)
        fits = fit_orders(undone, np.isfinite(undone).all(axis=-1), {"": joints})
        tried.append((fits.get("", np.inf), cause))
    misfit, cause = min(tried)
    return cause, misfit


def fit_orders(pixels: np.ndarray, seen: np.ndarray, orders: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """How badly poses [T,V,2] fit each order of V joints, {name: misfit}, the best first.

    Misfit compares the distances between joints, in the median over the poses, with those of somebody who stands: the
    mean absolute logarithm of their ratio.  Orders with fewer than 10 joints that are known here, and poses of which
    less than half of the pairs is seen, are left out; without any pose there is no misfit.
    """
    tried = {name: joints for name, joints in orders.items() if len(joints) == pixels.shape[1]}
    misfits = {name: _misfits(pixels, seen, joints) for name, joints in tried.items()}
    fits = {name: float(np.nanmean(each)) for name, each in misfits.items() if np.isfinite(each).any()}
    return dict(sorted(fits.items(), key=lambda item: item[1]))


def _times_worse(pixels: np.ndarray, seen: np.ndarray, order: Sequence[str], other: Sequence[str]) -> float:
    """How many times worse poses fit an order than another, by the distances in which the two differ."""
    apart = np.abs(_log_body(order)[0] - _log_body(other)[0]) > DIFFERENT
    worse, better = (_misfits(pixels, seen, joints) for joints in (order, other))
    decisive = apart & np.isfinite(worse) & np.isfinite(better)
    return float(worse[decisive].mean() / better[decisive].mean()) if decisive.any() else 1.0


def _misfits(pixels: np.ndarray, seen: np.ndarray, joints: Sequence[str]) -> np.ndarray:
    """[P] of all pairs of joints, as `fit_orders` has them; NaN where nothing can be said."""
    found, expected = _log_distances(pixels, seen, joints)
    return np.abs(found - expected)


def _log_distances(pixels: np.ndarray, seen: np.ndarray, joints: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """[P] blurred logarithms of the median distances of all pairs, in the size of a body; and those of the body.

    NaN where a joint of a pair is not known here, or seldom seen together with the other.
    """
    expected, body = _log_body(joints)
    known = np.flatnonzero(np.isfinite(expected))
    found = np.full(len(expected), np.nan)
    if len(known) < LEAST_JOINTS * (LEAST_JOINTS - 1) // 2:
        return found, expected
    one, other = (each[known] for each in np.triu_indices(len(joints), 1))
    step = -(-len(pixels) // MOST_POSES)
    pixels, together, body = pixels[::step], seen[::step, one] & seen[::step, other], body[known]
    lengths = np.where(together, np.linalg.norm(pixels[:, one] - pixels[:, other], axis=2), 0)
    used = (together.mean(axis=1) > 0.5) & (lengths > 0).any(axis=1)
    lengths, together = lengths[used], together[used]
    sizes = lengths.sum(axis=1) / np.where(together, body, 0).sum(axis=1)
    pairs = np.flatnonzero(together.mean(axis=0) > SELDOM) if len(lengths) else known[:0]
    middle = np.nanmedian(np.where(together, lengths / sizes[:, None], np.nan)[:, pairs], axis=0)
    found[known[pairs]] = np.log(middle + BLUR * body.mean())
    return found, expected


def _log_body(joints: Sequence[str], height: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """[P] blurred logarithms of the distances of all pairs of joints in somebody who stands, and the distances.

    height  the part that is seen of each height.
    """
    places = np.array([STANDING.get(joint, (np.nan,) * 3) for joint in joints]) * (1, height, 1)
    one, other = np.triu_indices(len(joints), 1)
    body = np.linalg.norm(places[one] - places[other], axis=1)
    known = np.isfinite(body)
    return np.log(body + BLUR * (body[known].mean() if known.any() else 1.0)), body


# ---- small statistics


def _pair(pixels: np.ndarray, joints: Sequence[str], part: str) -> np.ndarray:
    """[T,2]: the middle of both sides of a part; NaN where one is missing."""
    return (_middle(pixels, joints, (f"left_{part}",)) + _middle(pixels, joints, (f"right_{part}",))) / 2


def _middle(pixels: np.ndarray, joints: Sequence[str], wanted: Sequence[str]) -> np.ndarray:
    """[T,2]: the mean of those wanted joints that are there; NaN without any."""
    points = pixels[:, [place for place, joint in enumerate(joints) if joint in wanted]]
    there = np.isfinite(points)
    return np.where(there, points, 0).sum(axis=1) / np.where(there.any(axis=1), there.sum(axis=1), np.nan)


def _diagonal(pixels: np.ndarray) -> np.ndarray:
    """[T]: the diagonal of the box around each pose, which has a joint."""
    return np.linalg.norm(np.nanmax(pixels, axis=1) - np.nanmin(pixels, axis=1), axis=-1)


def _inside(pixels: np.ndarray, size: np.ndarray, over: Callable = np.median) -> float:
    """The part of a frame's joints that is inside the image, in the median (or mean) frame."""
    inside = ((pixels >= 0) & (pixels <= size)).all(axis=-1).sum(axis=1)
    return float(over(inside / np.isfinite(pixels[..., 0]).sum(axis=1)))


ORDERS = {convention.name: convention.points for convention in CONVENTIONS.values()}  # by the names of --joints
