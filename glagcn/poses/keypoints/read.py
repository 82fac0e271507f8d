"""Reads a keypoint file of any known format, and checks once what it holds."""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from glagcn.errors import UserError
from glagcn.poses.checks import are_parts, as_confidences
from glagcn.poses.gaps import LEAST_CONFIDENCE, mark_missing
from glagcn.poses.joints import CONVENTIONS, conventions_of, get_convention
from glagcn.poses.keypoints.arrays import ARRAYS
from glagcn.poses.keypoints.content import NO_ID, Content, Format, Found, Whole, array_content, load_content, shown
from glagcn.poses.keypoints.detectors import DETECTORS
from glagcn.poses.keypoints.landmarks import LANDMARKS
from glagcn.skeletons import SKELETONS

logger = logging.getLogger(__name__)

# The first that fits is taken; those that say most of themselves come first.
FORMATS = {format.name: format for format in (*DETECTORS, *LANDMARKS, *ARRAYS)}
MOST_FRAMES = 1_000_000  # more than five hours of 50 frames per second; a larger number is no frame number
# Times whose steps are shorter than this are in units of which a second has so many: hardly anybody detects one frame
# in 4 seconds, or films 250 in one.
UNITS = ((4.0, 1.0), (4e3, 1e3), (4e6, 1e6), (np.inf, 1e9))
NO_FRAMES = 15  # numbers so far apart in the median are times: of frames they would leave gaps of half a second
COINCIDE = 0.05  # of the diagonal of the smaller: joints of two poses so near in the mean are of one person


@dataclass(frozen=True)
class KeypointFile:
    """D poses of J joints, in the order of their frames.

    convention  the name of the joints (see glagcn.poses.joints); None where nothing says it.
    frames      [D] int64, the frame of each pose, from 0.
    keypoints   [D,J,3] float32: x, y in pixels and a confidence above 0; (0, 0, 0) where a joint is missing.
    persons     [D] int64, whose pose it is; -1 where the file has no id.
    image_size  (width, height) in pixels, and
    fps         frames per second: None where the file does not say.
    times       [length] ascending seconds of all frames by any clock; None where the file does not say.
    first       the number of the first frame that the file knows of, with those without a person, and
    length      1 + that of the last.
    counted     frames have a time and no number: they are counted.
    in_parts    the file has parts of the image.
    detected    by this program, in upright pictures with square pixels; the times are those of the video.
    format      the title of the file's format; "" where these are not read from a file.
    """

    convention: str | None
    frames: np.ndarray
    keypoints: np.ndarray
    persons: np.ndarray
    image_size: tuple[int, int] | None = None
    fps: float | None = None
    times: np.ndarray | None = None
    first: int = 0
    length: int = 0
    counted: bool = False
    in_parts: bool = False
    detected: bool = False
    format: str = ""


def read_keypoints(
    source: Path | str | ArrayLike,
    format: str | None = None,
    joints: str | None = None,
    image_size: tuple[int, int] | None = None,
    least_confidence: float | None = None,
    video_size: tuple[int, int] | None = None,
    video_length: int | None = None,
) -> KeypointFile:
    """The poses of a keypoint file, of a folder of them, or of an array as an .npy file holds it.

    format            a name of FORMATS; None: recognised from the content.
    joints            a name of CONVENTIONS; None: what the file says, else what its format usually has.
    image_size        (width, height) in pixels, where the file does not say or is wrong.
    least_confidence  joints less sure than this are missing, in the unit of the file; None: 0.05 of what counts as 1.
    video_size        (width, height), of which coordinates are parts where neither `image_size` nor the file says it.
    video_length      the frames of the video: numbers below it are no times.
    Raises UserError, naming the file, what was found and what was expected, for anything that cannot be read.
    """
    path = Path(source) if isinstance(source, str | Path) else Path("keypoints")  # in messages
    if format not in (None, *FORMATS):
        raise UserError(f"unknown format {format!r}; must be one of {', '.join(FORMATS)}")
    if joints is not None:
        get_convention(joints)
    content = load_content(path, joints) if isinstance(source, str | Path) else array_content(path, source, joints)
    known = _format(content, format)
    try:
        (frames, keypoints, persons), first, length = _collect(content, known.read(content), video_length)
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    size = image_size or content.image_size
    convention = content.joints or _usual_joints(path, keypoints.shape[1], known)
    keypoints, scale = as_confidences(keypoints, str(path), convention)
    least = LEAST_CONFIDENCE if least_confidence is None else least_confidence / scale
    in_pixels = _in_pixels(path, keypoints, size or video_size, least)
    in_parts, keypoints = in_pixels is not keypoints, mark_missing(in_pixels, None, least)
    seen = np.asarray((keypoints[..., 2] > 0).any(axis=1))
    if not seen.any():
        raise UserError(
            f"{path}: every joint of its {len(seen)} poses is missing: zero, not finite, of a confidence "
            f"below {least * scale:g}, or far outside the image; expected at least one"
        )
    order = np.flatnonzero(seen)
    order = order[np.argsort(frames[order], kind="stable")]
    frames, keypoints, persons = frames[order], keypoints[order], persons[order]
    once = ~_doubles(frames, keypoints, persons)
    if not once.all():
        logger.info(f"{path}: {(~once).sum()} poses that nearly coincide with another of their frame are left out")
    frames, keypoints, persons = frames[once], keypoints[once], persons[once]
    pairs, count = np.unique(np.stack([frames, persons])[:, persons != NO_ID], axis=1, return_counts=True)
    if (count > 1).any():
        frame, person = pairs[:, count > 1][:, 0]
        raise UserError(
            f"{path}: person {person} is {count.max()} times in frame {frame}; expected once. Files of several videos "
            "or without a tracker cannot be followed by their ids; remove the ids"
        )
    times = _seconds(path, content, length)
    return KeypointFile(
        convention, frames, keypoints, persons, size, content.fps, times, first, length, content.counted, in_parts,
        content.detected, known.title,
    )  # fmt: skip


def _format(content: Content, stated: str | None) -> Format:
    """The format of a content.  Raises UserError where it is none, or not the one that is stated."""
    kinds = [known for known in FORMATS.values() if content.kind in known.kinds]
    fitting = [known for known in kinds if known.fits(content)]
    looks = {"folder": "JSON files of no known layout", "labels": "text that is no labels"}
    looked = looks.get(content.kind) or f"JSON of {shown(content.value)}"
    if stated is not None and FORMATS[stated] not in fitting:
        found = fitting[0].title if fitting else looked
        raise UserError(
            f"{content.path} is not {FORMATS[stated].title}: found {found}; leave the format out, or name that one"
        )
    if not fitting:
        raise UserError(f"{content.path} holds {looked}; expected {', '.join(known.title for known in kinds)}")
    return FORMATS[stated] if stated else fitting[0]


def _collect(
    content: Content, found: Iterable[Found] | Whole, video_length: int | None
) -> tuple[Sequence[np.ndarray], int, int]:
    """Frames [D], keypoints [D,J,3] and ids [D] or NO_ID of all poses, the first frame, and the number after the last.

    Numbers that are too far apart to be those of frames become times of the content, and the frames are counted.

    What is no pose, and poses of another number of joints, are left out with a warning where they are fewer than half.
    Raises UserError where they are more, where there is no pose, or for a frame number that is none.
    """
    path, known = content.path, set()
    if isinstance(found, Whole):
        joints = len(CONVENTIONS[content.joints].joints) if content.joints else found.keypoints.shape[1]
        if len(found.frames) and found.keypoints.shape[1] == joints and found.length <= MOST_FRAMES:
            return (found.frames, found.keypoints, found.persons), 0, found.length
        each = zip(found.frames.tolist(), found.keypoints, found.persons.tolist(), strict=True)
        found = chain(((frame, None, None) for frame in range(found.length)), each)
    poses: list[tuple[int, np.ndarray, int]] = []
    problems: list[tuple[int | str, object]] = []
    for frame, pose, person in found:
        if isinstance(frame, int):
            known.add(frame)
        if isinstance(frame, str) or isinstance(pose, ValueError):
            problems.append((frame, pose))
        elif pose is not None:
            poses.append((frame, pose, NO_ID if person is None else person))
    if not poses and not problems:
        raise UserError(f"{path} holds no person in any frame; expected at least one pose")
    if content.joints:
        convention = CONVENTIONS[content.joints]
        expected, why = len(convention.joints), f"as {convention.name} ({convention.title}) has"
    else:
        counts = Counter(len(pose) for _, pose, _ in poses)
        expected, why = max(counts, key=counts.__getitem__, default=0), "as the other poses have"
    kept = [row for row in poses if len(row[1]) == expected]
    others = ((frame, len(pose)) for frame, pose, _ in poses if len(pose) != expected)
    problems += [(frame, f"{count} joints; expected {expected}, {why}") for frame, count in others]
    if problems:
        frame, problem = problems[0]
        where = f"{'frame ' if isinstance(frame, int) else ''}{frame}: {problem}"
        if len(problems) >= len(kept):
            raise UserError(f"{path}: {where}")
        total = len(kept) + len(problems)
        logger.warning(f"{path}: left out {len(problems)} of {total} entries that are no pose, first {where}")
    numbers = sorted(known)
    step = float(np.median(np.diff(numbers))) if len(numbers) > 2 else 0
    if content.times is None and step >= NO_FRAMES and numbers[0] >= 0 and numbers[-1] >= (video_length or 0):
        logger.warning(
            f"{path}: its frames are numbered {numbers[0]}, {numbers[1]}, {numbers[2]}, ...: too far apart for frame "
            f"numbers, so they are taken for times in {'milli' if step < 4e3 else 'micro' if step < 4e6 else 'nano'}"
            "seconds, and the frames are counted"
        )
        rank = {number: place for place, number in enumerate(numbers)}
        content.times, content.counted = {place: number for number, place in rank.items()}, True
        kept = [(rank[frame], pose, person) for frame, pose, person in kept]
        return [np.array(column) for column in zip(*kept, strict=True)], 0, len(numbers)
    for number in (numbers[0], numbers[-1]):
        if not 0 <= number < MOST_FRAMES:
            raise UserError(f"{path}: frame number {number}; expected 0 to {MOST_FRAMES - 1}")
    return [np.array(column) for column in zip(*kept, strict=True)], numbers[0], numbers[-1] + 1


def _in_pixels(path: Path, keypoints: np.ndarray, size: tuple[int, int] | None, least_confidence: float) -> np.ndarray:
    """Keypoints [D,J,3] in pixels, also where they are given in parts of the image.

    Raises UserError where the size of the image is needed and not known.
    """
    if not are_parts(mark_missing(keypoints, None, least_confidence), size):
        return keypoints
    if size is None:
        raise UserError(
            f"{path} holds normalised coordinates, and does not say how large the image is; give the image size"
        )
    return keypoints * [*size, 1]


def _seconds(path: Path, content: Content, length: int) -> np.ndarray | None:
    """[length] seconds of the frames, by times of some in any unit; None, with a warning, where they do not grow."""
    times = content.times
    if times is None or len(times) < 2:
        return None
    frames, known = np.array(sorted(times.items()), np.float64).T
    steps = np.diff(known) / np.diff(frames)
    if not np.isfinite(steps).all() or steps.min() < 0 or not np.median(steps):
        logger.warning(f"{path}: its times stand still, go back or are no numbers; they are not used")
        return None
    usual = 0.0 if content.detected else np.quantile(steps, 0.75)  # times may come in pairs
    unit = next(unit for longest, unit in UNITS if usual < longest)
    first = known[0] - frames[0] * np.median(steps)
    return np.interp(np.arange(length), [-1e-9, *frames], [first, *known]) / unit


def _doubles(frames: np.ndarray, keypoints: np.ndarray, persons: np.ndarray) -> np.ndarray:
    """[D] bool: poses that lie on another of the same frame that has an id or surer joints.  Two ids are two people."""
    doubles = np.zeros(len(frames), bool)
    _, begins, counts = np.unique(frames, return_index=True, return_counts=True)
    for begin, count in zip(begins[counts > 1], counts[counts > 1], strict=True):
        rows = np.arange(begin, begin + count)
        rows = rows[np.lexsort((-keypoints[rows, :, 2].mean(axis=1), persons[rows] == NO_ID))]  # the better first
        poses, ids = keypoints[rows], persons[rows]
        seen = poses[..., 2] > 0
        places = np.where(seen[..., None], poses[..., :2], np.nan)
        size = np.linalg.norm(np.nanmax(places, axis=1) - np.nanmin(places, axis=1), axis=1)
        both = seen[:, None] & seen
        apart = np.linalg.norm(poses[:, None, :, :2] - poses[..., :2], axis=-1)
        far = (apart * both).sum(axis=-1) / both.sum(axis=-1).clip(1)
        near = (far < COINCIDE * np.minimum(size[:, None], size)) & (both.sum(axis=-1) * 2 > poses.shape[1])
        near &= (ids[:, None] == ids) | (ids[:, None] == NO_ID) | (ids == NO_ID)
        doubles[rows] = np.triu(near, 1).any(axis=0)
    return doubles


def _usual_joints(path: Path, count: int, known: Format) -> str | None:
    """The convention that poses of so many joints usually have in a format; None where it may be several."""
    fitting = [c.name for c in conventions_of(count)]
    if not fitting and known.usual:
        raise UserError(f"{path} holds poses of {count} joints; expected those of {', '.join(CONVENTIONS)}")
    return fitting[0] if fitting and (known.usual or not set(fitting) & set(SKELETONS)) else None
