"""VideoPose3D's steps for videos in the wild: a detector's npz, and data_2d_custom_*.npz made of several.

    boxes [T,2] and keypoints [T,2] objects: [[], [P,5]] and [[], [P,4,17]] (x, y, a number, a heat map's peak) a frame
    positions_2d {video: {"custom": [[T,17,2]]}}, metadata {"layout_name": "coco", "video_metadata": {video: {w, h}}}

They are pickled: no object but containers of arrays is made of them (see safe_pickle).  The peak of a heat map is no
confidence between 0 and 1, so all joints of a person count as seen.
"""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from glagcn.errors import UserError
from glagcn.poses.gaps import with_confidence
from glagcn.poses.keypoints.arrays import described
from glagcn.poses.keypoints.content import Content, Format
from glagcn.poses.keypoints.tracks import Detections
from glagcn.safe_pickle import ZIP_ERRORS, load_object

LAYOUTS = {"coco": "coco17", "h36m": "h36m17", "humaneva15": "humaneva15"}
HINT = "expected positions_2d {video: {'custom': [[T,V,2]]}}"
HINT_OF_FRAME = "expected boxes and keypoints of one entry [[], [P,4,17]] for each frame"


def _members(content: Content) -> set[str]:
    try:
        with zipfile.ZipFile(content.path) as archive:
            return {name.removesuffix(".npy") for name in archive.namelist()}
    except ZIP_ERRORS:
        return set()


def _read_custom(content: Content) -> Detections:
    path = content.path
    videos = load_object(path, "positions_2d", HINT)
    views = [(f"{video}/{action}", view) for video, action, view in _views(videos)]
    if len(views) != 1:
        names = ", ".join(str(name)[:40] for name, _ in views[:4])
        raise UserError(
            f"{path}: positions_2d holds {len(views)} sequences ({names}{', ...' if len(views) > 4 else ''}); expected "
            "one. Save the array of one video [T,V,2] with numpy.save and give that"
        )
    name, view = views[0]
    if not _is_poses(view) or view.ndim != 3 or view.shape[2] not in (2, 3) or not len(view):
        raise UserError(f"{path}: positions_2d of {name[:60]} is no array [T,V,2] of numbers; {HINT}")
    has_metadata = "metadata" in _members(content)
    metadata = load_object(path, "metadata", HINT) if has_metadata else {}
    size, fps, joints = _described(content, metadata, next(iter(videos)))  # type: ignore[call-overload]
    poses = content.poses() if content.joints or not joints else Content(path, "", None, joints).poses()
    for frame, pose in enumerate(view):
        poses.add(frame, with_confidence(pose))
    return content.detections(poses, usual=False, image_size=size, fps=fps, length=len(view))


def _is_poses(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "fiu"


def _views(videos: Any) -> list[tuple[Any, Any, Any]]:
    """(video, action, poses) of all that there is; nothing of another nesting."""
    found = []
    for video, actions in videos.items() if isinstance(videos, dict) else ():
        for action, views in actions.items() if isinstance(actions, dict) else ():
            many = isinstance(views, list | tuple) or (isinstance(views, np.ndarray) and views.ndim > 3)
            found += [(video, action, view) for view in (views if many else [views])]
    return found


def _described(content: Content, metadata: Any, video: Any) -> tuple[tuple[int, int] | None, float | None, str | None]:
    """The image size, frames per second and joints that the metadata tell."""
    metadata = metadata if isinstance(metadata, dict) else {}
    layout = metadata.get("layout_name")
    videos = metadata.get("video_metadata")
    facts = videos.get(video) if isinstance(videos, dict) else None
    size, fps = _size_and_rate(content, facts)
    return size, fps, LAYOUTS.get(layout) if isinstance(layout, str) else None


def _size_and_rate(content: Content, facts: Any) -> tuple[tuple[int, int] | None, float | None]:
    """Of {"w": ..., "h": ..., "fps": ...}, each if it is there."""
    facts = facts if isinstance(facts, dict) else {}
    known = {"fps": facts.get("fps")} if facts.get("fps") is not None else {}
    if facts.get("w") is not None and facts.get("h") is not None:
        known["image_size"] = [facts["w"], facts["h"]]
    try:
        size, fps, _ = described(content, {name: np.asarray(value) for name, value in known.items()})
    except (TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{content.path}: the width, height or fps in the metadata are no numbers") from None
    return size, fps


def _read_detector(content: Content) -> Detections:
    path = content.path
    keypoints, boxes = (load_object(path, key, HINT_OF_FRAME, many=True) for key in ("keypoints", "boxes"))
    if not isinstance(keypoints, np.ndarray) or not isinstance(boxes, np.ndarray) or len(keypoints) != len(boxes):
        raise UserError(f"{path}: boxes and keypoints are no arrays of equally many frames; {HINT_OF_FRAME}")
    metadata = load_object(path, "metadata", HINT_OF_FRAME) if "metadata" in _members(content) else {}
    size, fps = _size_and_rate(content, metadata)
    poses = content.poses()
    for frame, (found, around) in enumerate(zip(keypoints, boxes, strict=True)):
        people, scores = _people(path, frame, found), _people(path, frame, around)
        if people is None:
            continue
        if people.ndim != 3 or people.shape[1] not in (2, 3, 4):
            raise UserError(f"{path}: frame {frame}: keypoints of shape {list(people.shape)}; {HINT_OF_FRAME}")
        for number, person in enumerate(people):
            known = scores is not None and scores.ndim == 2 and scores.shape[0] > number and scores.shape[1] == 5
            score = float(scores[number, 4]) if known else np.nan  # type: ignore[index]
            poses.add(frame, with_confidence(person[:2].T), score=score)
    return content.detections(poses, image_size=size, fps=fps, length=len(keypoints))


def _people(path: Path, frame: int, entry: Any) -> np.ndarray | None:
    """The array of a frame's entry, [of no class, of persons]; None where nobody is there."""
    try:
        people = np.asarray(entry[1])
    except (TypeError, ValueError, IndexError, KeyError):
        raise UserError(f"{path}: frame {frame} holds no entry of persons; {HINT_OF_FRAME}") from None
    if people.size and people.dtype.kind not in "fiu":
        raise UserError(f"{path}: frame {frame} holds {people.dtype} of persons; {HINT_OF_FRAME}")
    return people.astype(np.float64) if people.size else None


CUSTOM = Format(
    "videopose3d", "VideoPose3D's custom npz", ("npz",), lambda c: "positions_2d" in _members(c), _read_custom
)
DETECTOR = Format(
    "detectron", "a detector's npz", ("npz",), lambda c: {"boxes", "keypoints"} <= _members(c), _read_detector
)
