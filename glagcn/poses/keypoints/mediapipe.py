"""MediaPipe Pose has no file format of its own; this reads what programs write of its landmarks as JSON.

A landmark is {"x": ..., "y": ..., "z": ..., "visibility": ...} or [x, y], [x, y, z] or [x, y, z, visibility]; x and y
are parts of the image.  A pose is 33 of them in a list, in an object by their names, or under "landmark".  A frame is a
pose, a list of poses or null, or an object with one of them under "landmarks", "pose_landmarks" or the like, and maybe
its number under "frame".  A file is a list of frames, an object of frames by number, or an object with such a list
under "frames" (or as a frame has its pose), and maybe "width", "height" and "fps".  A folder holds one frame a file.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from glagcn.errors import UserError
from glagcn.poses.gaps import FASTEST_FPS
from glagcn.poses.joints import MEDIAPIPE33
from glagcn.poses.keypoints.content import Content, Format, as_numbers, as_whole
from glagcn.poses.keypoints.tracks import Detections, to_pixels

POSE_KEYS = ("landmarks", "pose_landmarks", "poseLandmarks", "landmark", "pose", "keypoints", "points")
FRAME_KEYS = ("frame", "frame_id", "frame_index", "frame_idx", "frame_number", "frameNumber", "frameIndex")
LIST_KEYS = ("frames", "data", "results", *POSE_KEYS)
SURE_KEYS = ("visibility", "v", "confidence", "score", "presence")
PIXELS = 4.0  # parts of an image are smaller, also far outside it
COUNT = len(MEDIAPIPE33)


def _is_landmark(value: Any) -> bool:
    if isinstance(value, dict):
        return {"x", "y"} <= set(value)
    return isinstance(value, list) and 2 <= len(value) <= 5 and all(isinstance(v, int | float | None) for v in value)


def _pose(value: Any) -> list | None:
    """The 33 landmarks of a pose in order; None in what is none."""
    if isinstance(value, dict):
        named = {str(name).lower().replace(" ", "_"): landmark for name, landmark in value.items()}
        if set(MEDIAPIPE33) <= set(named):
            return _pose([named[name] for name in MEDIAPIPE33])
        return next((_pose(value[key]) for key in POSE_KEYS if isinstance(value.get(key), list)), None)
    fits = isinstance(value, list) and len(value) == COUNT and all(_is_landmark(part) for part in value)
    return value if fits else None


def _poses(frame: Any) -> list[list] | None:
    """The poses of a frame; None in what is no frame."""
    if isinstance(frame, dict) and _pose(frame) is None:
        keys = [key for key in POSE_KEYS if key in frame]
        frame = frame[keys[0]] if keys else 0
    if frame is None:
        return []
    if (pose := _pose(frame)) is not None:
        return [pose]
    found = [_pose(part) for part in frame] if isinstance(frame, list) and len(frame) < COUNT else [None]
    return None if any(pose is None for pose in found) else found  # type: ignore[return-value]


def _frames(content: Content) -> list[tuple[Any, Any]]:
    """(number or None, frame) of a content; empty where it is none."""
    value = content.value
    if content.kind == "folder":
        return [(None, frame) for _, frame in content.frames()]
    if isinstance(value, dict) and _pose(value) is None:
        if value and all(str(key).isdigit() for key in value):
            return list(value.items())
        value = next((value[key] for key in LIST_KEYS if isinstance(value.get(key), list)), [])
    # A list of poses is taken for frames, not for people: who writes one frame alone writes its pose.
    return [(_number_of(frame), frame) for frame in (value if _pose(value) is None else [value])]


def _number_of(frame: Any) -> Any:
    return next((frame[key] for key in FRAME_KEYS if isinstance(frame, dict) and key in frame), None)


def _fits(content: Content) -> bool:
    if not isinstance(content.value, list | dict) or not content.value:
        return False
    try:
        found = [_poses(frame) for _, frame in _frames(content)]
    except UserError:
        return False
    return any(found) and all(poses is not None for poses in found)


def _read(content: Content) -> Detections:
    poses, frames = content.poses(), _frames(content)
    if content.kind == "folder":
        numbers = [number for number, _ in content.frames()]
    elif all(number is not None for number, _ in frames):
        numbers = [as_whole(content.path, "a frame's number", number) for number, _ in frames]
    else:
        numbers = list(range(len(frames)))
    for number, (_, frame) in zip(numbers, frames, strict=True):
        for pose in _poses(frame) or ():
            poses.add(number, _points(content, f"frame {number}", pose))
    size, fps = _described(content)
    if not _in_pixels([row[1] for row in poses.rows]):
        where = str(content.path)
        used = content.size(size)
        poses.rows = [(f, to_pixels(where, keypoints, used), p, s) for f, keypoints, p, s in poses.rows]
    return content.detections(poses, image_size=size, fps=fps, length=max(numbers, default=0) + 1)


def _points(content: Content, where: str, pose: list) -> np.ndarray:
    """[33,3] of x, y and visibility."""
    rows = []
    for mark in pose:
        if isinstance(mark, dict):
            rows.append([mark["x"], mark["y"], next((mark[key] for key in SURE_KEYS if key in mark), 1.0)])
        else:
            rows.append([mark[0], mark[1], mark[3] if len(mark) > 3 else 1.0])
    return as_numbers(content.path, f"{where}: landmarks", rows).reshape(len(rows), 3)


def _in_pixels(poses: list[np.ndarray]) -> bool:
    return bool(poses) and float(np.nanmax(np.abs(np.array(poses)[..., :2]), initial=0)) > PIXELS


def _described(content: Content) -> tuple[tuple[int, int] | None, float | None]:
    """The image size and frames per second that an object around the frames tells."""
    facts = content.value if content.kind == "json" and isinstance(content.value, dict) else {}
    facts = {**facts, **next(_objects(facts), {})}
    numbers = {key: v for key, v in facts.items() if isinstance(v, int | float) and 0 < v < 1e5 and v is not True}
    size = [int(numbers[key]) for key in ("width", "height") if key in numbers]
    fps = numbers.get("fps")
    return (size[0], size[1]) if len(size) == 2 and min(size) else None, fps if fps and fps <= FASTEST_FPS else None


def _objects(facts: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from (facts[key] for key in ("metadata", "meta", "video", "info") if isinstance(facts.get(key), dict))


MEDIAPIPE = Format("mediapipe", "MediaPipe landmarks as JSON", ("json", "folder"), _fits, _read)
