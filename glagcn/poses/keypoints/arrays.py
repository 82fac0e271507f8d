"""Arrays, and VideoPose3D's files of them.

    .npy, .npz        pixels [T,V,2], or [T,V,3] with a confidence; [1,T,V,2 or 3] of one person; [T,P,V,2 or 3] of up
                      to P people in each frame, whose places are no ids.  An .npz holds one such array, under
                      "keypoints" where it holds others, and may hold "image_size" (width, height), "fps", "joints"
                      (the name of their convention), "confidence" [T,V] and "times" [T].
    of this program   what `glagcn lift VIDEO --keep-keypoints` writes (see glagcn.poses.detect): keypoints [D,J,3] of D
                      poses, frame [D], person [D] (-1 without an id), times [T] in seconds of all T frames (NaN where
                      the video has none), image_size, fps and joints.
    a detector's npz  boxes [T,2] and keypoints [T,2] of objects: [[], [P,5]] and [[], [P,4,17]] (x, y, a number, a heat
                      map's peak) a frame: what VideoPose3D's script for Detectron writes.
    its custom npz    positions_2d {video: {"custom": [[T,17,2]]}}, metadata {"layout_name": "coco", "video_metadata":
                      {video: {"w": ..., "h": ...}}}: data_2d_custom_*.npz, made of several of these.

The last two are pickled: no object but containers of arrays is made of them (see safe_pickle).  The peak of a heat map
is no confidence between 0 and 1, so all joints of a person count as seen.
"""

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from glagcn.errors import UserError
from glagcn.poses.checks import check_axes
from glagcn.poses.gaps import FASTEST_FPS, with_confidence, without_depth
from glagcn.poses.joints import CONVENTIONS
from glagcn.poses.keypoints.content import NO_ID, Content, Format, Found, Whole, as_numbers
from glagcn.safe_pickle import ZIP_ERRORS, load_object

KEY, CONFIDENCE = "keypoints", ("confidence", "scores", "keypoint_scores")
TIMES = ("times", "timestamps", "timestamps_ms", "timestamp_ms", "timestamp", "time")
DESCRIBING = ("image_size", "fps", "joints", *CONFIDENCE, *TIMES)
LARGEST_SIDE = 100_000
OWN = (KEY, "frame", "person", "times")


def _read(content: Content) -> Whole:
    arrays = _load(content)
    points = _points(content, arrays)
    _describe(content, arrays)
    _take_times(content, arrays, len(points))
    keypoints = with_confidence(points if points.ndim == 4 else points[:, None])
    length, people = keypoints.shape[:2]
    frames = np.repeat(np.arange(length), people)
    return Whole(frames, keypoints.reshape(-1, *keypoints.shape[2:]), np.full(len(frames), NO_ID), length)


def _read_detected(content: Content) -> Whole:
    arrays = _load(content)
    poses, frames, persons, times = (arrays[name] for name in OWN)
    length = len(times)
    whole = all(array.ndim == 1 and array.dtype.kind == "i" and len(array) == len(poses) for array in (frames, persons))
    if poses.ndim != 3 or poses.shape[2] != 3 or poses.dtype.kind != "f" or not whole or times.dtype.kind != "f":
        raise UserError(f"{content.path} is damaged: its arrays do not fit each other; detect again")
    if len(frames) and not (frames.min() >= 0 and frames.max() < length):
        raise UserError(f"{content.path} is damaged: it has {length} frames, and poses in frame {frames.max()}")
    timed = length > 1 and bool(np.isfinite(times).all())
    _describe(content, {name: arrays.get(name) for name in ("image_size", "joints") + ("fps",) * (not timed)})
    content.times, content.detected = dict(enumerate(times.tolist())) if timed else None, True
    return Whole(frames.astype(np.int64), poses, np.maximum(persons, NO_ID).astype(np.int64), length)


def _load(content: Content) -> dict[str, np.ndarray]:
    """The arrays of a file by name; that of an .npy is "keypoints".  Raises UserError; nothing pickled is read."""
    try:
        with content.open() as file:  # NumPy leaves it open where it finds no archive in it
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {KEY: loaded}
            with loaded:
                return {name: np.asarray(loaded[name]) for name in loaded.files}
    except Exception as error:  # a damaged header makes NumPy raise anything at all
        raise UserError(
            f"{content.path} cannot be read ({error}); expected an array of numbers saved with numpy.save, or several "
            "with numpy.savez; pickled objects are refused"
        ) from error


def _points(content: Content, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """[T,V,2 or 3] or [T,P,V,2 or 3] float."""
    names = [KEY] if KEY in arrays else [name for name in arrays if name not in DESCRIBING]
    if len(names) != 1:
        raise UserError(
            f"{content.path} holds {', '.join(names)[:200] or 'no poses'}; expected one array, or one named {KEY!r}"
        )
    points = without_depth(arrays[names[0]])
    if points.ndim == 2 and points.shape[1] in (2, 3) and len(points) in content.counts():
        points = points[None]  # one pose
    shape = list(points.shape)
    if points.ndim not in (3, 4) or shape[-1] not in (2, 3) or 0 in shape or points.dtype.kind not in "fiu":
        raise UserError(
            f"{content.path} holds {points.dtype} {shape}; expected pixels [T,V,2], or [T,V,3] with a confidence, of "
            "at least one frame"
        )
    if points.ndim == 4 and shape[0] > 1:
        _check_axes(content, shape[1], shape[0])
    confidence = next((arrays[name] for name in CONFIDENCE if name in arrays), None)
    if confidence is not None and shape[-1] == 2:
        if list(confidence.shape) != shape[:-1] or confidence.dtype.kind not in "fiu":
            raise UserError(
                f"{content.path}: the confidence is {confidence.dtype} {list(confidence.shape)}; expected "
                f"{shape[:-1]}, as the poses have"
            )
        points = np.concatenate([points, confidence[..., None]], axis=-1)
    return points[0] if points.ndim == 4 and len(points) == 1 else points


def _check_axes(content: Content, people: int, frames: int) -> None:
    if found := check_axes(people, frames):
        raise UserError(f"{content.path}: {found}")


def _describe(content: Content, arrays: Mapping[str, Any]) -> None:
    """Take the image size, frames per second and joints that a file states.  Raises UserError for nonsense."""
    for name, count, least, most, expected in (
        ("image_size", 2, 1, LARGEST_SIDE, "width and height, in pixels, each 1 or more"),
        ("fps", 1, 1e-3, FASTEST_FPS, f"one number, above 0 and up to {FASTEST_FPS:g}"),
    ):
        if (value := arrays.get(name)) is None:
            continue
        try:
            values = np.asarray(value)
        except ValueError:  # lists of several lengths
            values = np.array(str(value))
        numbers = values.ravel().tolist()
        if values.dtype.kind not in "fiu" or len(numbers) != count or not all(least <= n <= most for n in numbers):
            raise UserError(f"{content.path}: {name} is {str(values.tolist())[:60]}; expected {expected}")
        if name == "fps":
            content.fps = float(numbers[0])
        else:
            content.image_size = int(numbers[0]), int(numbers[1])
    if (found := arrays.get("joints")) is not None:
        joints = str(found)[:40]
        if joints not in CONVENTIONS:
            raise UserError(f"{content.path}: unknown joints {joints!r}; must be one of {', '.join(CONVENTIONS)}")
        content.joints = content.joints or joints


def _take_times(content: Content, arrays: Mapping[str, Any], count: int) -> None:
    """Take the times of the frames.  Raises UserError where they are not one number for each frame."""
    content.counted = True
    name = next((name for name in TIMES if arrays.get(name) is not None), None)
    if name is None:
        return
    try:
        times = np.asarray(arrays[name], np.float64).ravel()
    except (TypeError, ValueError):
        times = np.zeros(0)
    if len(times) != count:
        raise UserError(f"{content.path}: {name} holds {len(times)} numbers; expected one for each of {count} frames")
    content.times = dict(enumerate(times.tolist()))


# ---- the same in JSON: [T,V,2 or 3] or [T,P,V,2 or 3] in lists, or under "keypoints" beside the others


def _lists(content: Content) -> list:
    value = content.value
    value = value.get(KEY) if isinstance(value, dict) else value
    if not isinstance(value, list):
        return []
    one_pose = len(value) in content.counts() and all(
        isinstance(point, list) and 2 <= len(point) <= 4 and not any(isinstance(part, list) for part in point)
        for point in value
    )
    return [value] if one_pose else value


def _list_of(frame: Any) -> np.ndarray | ValueError:
    """The people [P,V,2 to 4] of a frame."""
    try:
        points = as_numbers("a frame", frame or [])
    except ValueError as problem:
        return problem
    if points.ndim not in (1, 2, 3) or without_depth(points).shape[-1] not in ((0,) if points.ndim == 1 else (2, 3)):
        return ValueError(f"a frame of shape {list(points.shape)}; expected poses [V,2] or [V,3]")
    people = points[None] if points.ndim == 2 else points.reshape(-1, 1, 2) if points.ndim == 1 else points
    return without_depth(people)


def _lists_fit(content: Content) -> bool:
    found = [_list_of(frame) for frame in _lists(content)]
    good = sum(isinstance(people, np.ndarray) and len(people) > 0 for people in found)
    return good > sum(isinstance(people, ValueError) for people in found)


def _read_lists(content: Content) -> Iterator[Found]:
    _describe(content, content.value if isinstance(content.value, dict) else {})
    found = [_list_of(frame) for frame in _lists(content)]
    _take_times(content, content.value if isinstance(content.value, dict) else {}, len(found))
    if len(counts := {len(people) for people in found if isinstance(people, np.ndarray)}) == 1:
        _check_axes(content, counts.pop(), len(found))
    for frame, people in enumerate(found):
        yield frame, None, None
        if isinstance(people, ValueError):
            yield frame, people, None
        else:
            yield from ((frame, with_confidence(keypoints), None) for keypoints in people)


# ---- VideoPose3D

LAYOUTS = {"coco": "coco17", "h36m": "h36m17", "humaneva15": "humaneva15"}
HINT = "expected positions_2d {video: {'custom': [[T,V,2]]}}"
HINT_OF_FRAME = "expected boxes and keypoints of one entry [[], [P,4,17]] for each frame"


def _members(content: Content) -> set[str]:
    try:
        with content.open() as file, zipfile.ZipFile(file) as archive:
            return {name.removesuffix(".npy") for name in archive.namelist()}
    except ZIP_ERRORS:
        return set()


def _metadata(content: Content, hint: str) -> dict:
    found = load_object(content.path, "metadata", hint) if "metadata" in _members(content) else {}
    return found if isinstance(found, dict) else {}


def _describe_video(content: Content, facts: Any) -> None:
    """Take what {"w": ..., "h": ..., "fps": ...} states."""
    facts = facts if isinstance(facts, dict) else {}
    sides = facts.get("w"), facts.get("h")
    _describe(content, {"fps": facts.get("fps"), "image_size": None if None in sides else sides})


def _read_custom(content: Content) -> Iterator[Found]:
    path = content.path
    videos = load_object(path, "positions_2d", HINT)
    views = _views(videos)
    if len(views) != 1:
        names = ", ".join(name[:40] for name in list(views)[:4])
        raise UserError(
            f"{path}: positions_2d holds {len(views)} sequences ({names}{', ...' if len(views) > 4 else ''}); expected "
            "one. Save the array of one video [T,V,2] with numpy.save and give that"
        )
    ((name, view),) = views.items()
    numbers = isinstance(view, np.ndarray) and view.dtype.kind in "fiu"
    if not numbers or view.ndim != 3 or view.shape[2] not in (2, 3) or not len(view):
        raise UserError(f"{path}: positions_2d of {name[:60]} is no array [T,V,2] of numbers; {HINT}")
    metadata = _metadata(content, HINT)
    every = metadata.get("video_metadata")
    _describe_video(content, every.get(next(iter(videos))) if isinstance(every, dict) else None)  # type: ignore[call-overload]
    layout = metadata.get("layout_name")
    content.joints = content.joints or (LAYOUTS.get(layout) if isinstance(layout, str) else None)
    yield from ((frame, keypoints, None) for frame, keypoints in enumerate(with_confidence(view)))


def _views(videos: Any) -> dict[str, Any]:
    """{name: poses} of all that there is; nothing of another nesting."""
    found = {}
    for video, actions in videos.items() if isinstance(videos, dict) else ():
        for action, views in actions.items() if isinstance(actions, dict) else ():
            many = isinstance(views, list | tuple) or (isinstance(views, np.ndarray) and views.ndim > 3)
            for number, view in enumerate(views if many else [views]):
                found[f"{video}/{action}" + (f"/{number}" if number else "")] = view
    return found


def _read_detector(content: Content) -> Iterator[Found]:
    path = content.path
    keypoints, boxes = (load_object(path, key, HINT_OF_FRAME, many=True) for key in ("keypoints", "boxes"))
    if not isinstance(keypoints, np.ndarray) or not isinstance(boxes, np.ndarray) or len(keypoints) != len(boxes):
        raise UserError(f"{path}: boxes and keypoints are no arrays of equally many frames; {HINT_OF_FRAME}")
    _describe_video(content, _metadata(content, HINT_OF_FRAME))
    for frame, found in enumerate(keypoints):
        people = _people(path, frame, found)
        yield frame, None, None
        yield from ((frame, with_confidence(person[:2].T), None) for person in people)


def _people(path: Path, frame: int, found: Any) -> np.ndarray:
    """[P,4,17] of a frame's entry, [of no class, of persons]."""
    try:
        people = np.asarray(found[1])
    except (TypeError, ValueError, IndexError, KeyError):
        raise UserError(f"{path}: frame {frame} holds no entry of persons; {HINT_OF_FRAME}") from None
    if not people.size:
        return np.empty((0, 4, 17))
    if people.dtype.kind not in "fiu":
        raise UserError(f"{path}: frame {frame} holds {people.dtype} of persons; {HINT_OF_FRAME}")
    if people.ndim != 3 or people.shape[1] not in (2, 3, 4):
        raise UserError(f"{path}: frame {frame}: keypoints of shape {list(people.shape)}; {HINT_OF_FRAME}")
    return people.astype(np.float64)


ARRAYS = (
    Format("detected", "keypoints that glagcn detected", ("npz",), lambda c: set(OWN) <= _members(c), _read_detected),
    Format("videopose3d", "VideoPose3D's custom npz", ("npz",), lambda c: "positions_2d" in _members(c), _read_custom,
           usual=False),
    Format("detectron", "a detector's npz", ("npz",), lambda c: {"boxes", "keypoints"} <= _members(c), _read_detector),
    Format("arrays", "an array of keypoints", ("npy", "npz"), lambda _: True, _read, usual=False),
    Format("lists", "an array of keypoints as JSON", ("json",), _lists_fit, _read_lists, usual=False),
)  # fmt: skip
