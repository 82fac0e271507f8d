"""MMPose: what its inferencer and its demos write.

    [{"frame_id": 0, "instances": [INSTANCE, ...]}, ...]                             the inferencer, of a video
    {"meta_info": {...}, "instance_info": [{"frame_id": 1, "instances": [...]}]}     the demos; frames count from 1
    [INSTANCE, ...]                                                                  the inferencer, a file an image
    [[INSTANCE, ...], ...]                                                           "predictions", saved by oneself

INSTANCE is {"keypoints": [[x, y], ...], "keypoint_scores": [c, ...], "bbox": [[...]], "bbox_score": s}, with "track_id"
or "instance_id" where people were followed.  The names in meta_info decide which joints they are.
"""

from typing import Any

import numpy as np

from glagcn.errors import UserError
from glagcn.poses.joints import CONVENTIONS
from glagcn.poses.keypoints.content import Content, Format, as_numbers, as_whole, person_of, score_of, shown
from glagcn.poses.keypoints.tracks import Detections, Poses


def _is_instance(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("keypoints"), list) and "keypoint_scores" in value


def _is_frame(value: Any) -> bool:
    """Such as {"frame_id": 0, "instances": [...]}."""
    return isinstance(value, dict) and isinstance(value.get("instances"), list) and "frame_id" in value


def _is_instances(value: Any) -> bool:
    return isinstance(value, list) and all(_is_instance(part) for part in value)


def _fits(content: Content) -> bool:
    value = content.value
    if content.kind == "folder":
        return any(value.values()) and all(_is_instances(image) for image in value.values())
    if isinstance(value, dict):
        return isinstance(value.get("instance_info"), list) and all(
            _is_frame(frame) for frame in value["instance_info"]
        )
    if not isinstance(value, list) or not any(value):
        return False
    return any(all(fits(part) for part in value) for fits in (_is_frame, _is_instance, _is_instances))


def _read(content: Content) -> Detections:
    value, poses = content.value, content.poses()
    if content.kind == "folder":
        frames = content.frames()
    elif isinstance(value, dict):
        frames = _numbered(content, value["instance_info"])
        if frames and frames[0][0] > 0:
            frames = [(number - 1, instances) for number, instances in frames]
        poses.convention = poses.convention or CONVENTIONS.get(_named(value.get("meta_info")))
    elif _is_frame(value[0]):
        frames = _numbered(content, value)
    else:
        frames = [(0, value)] if _is_instance(value[0]) else list(enumerate(value))
    for frame, instances in frames:
        for instance in instances:
            _add(poses, frame, instance)
    return content.detections(poses, length=frames[-1][0] + 1 if frames else None)


def _numbered(content: Content, frames: list[dict[str, Any]]) -> list[tuple[int, Any]]:
    numbered = [(as_whole(content.path, "frame_id", frame["frame_id"]), frame["instances"]) for frame in frames]
    return sorted(numbered, key=lambda pair: pair[0])


def _add(poses: Poses, frame: int, instance: Any) -> None:
    where = f"frame {frame}"
    if not _is_instance(instance):
        raise UserError(
            f"{poses.path}: {where}: a person is {shown(instance)}; expected 'keypoints' and 'keypoint_scores'"
        )
    points = as_numbers(poses.path, f"{where}: keypoints", instance["keypoints"])
    scores = as_numbers(poses.path, f"{where}: keypoint_scores", instance["keypoint_scores"])
    if points.ndim != 2 or points.shape[1] not in (2, 3) or scores.shape != points.shape[:1] or not len(points):
        raise UserError(
            f"{poses.path}: {where}: keypoints of shape {list(points.shape)} and scores of shape {list(scores.shape)}; "
            "expected [J,2] and [J]"
        )
    keypoints = np.concatenate([points[:, :2], scores[:, None]], axis=1)
    person = person_of(poses.path, where, instance, "track_id", "instance_id")
    poses.add(frame, keypoints, person, score_of(poses.path, where, instance, "bbox_score"), where)


def _named(meta: Any) -> str:
    """The convention whose joints meta_info names; "" for none."""
    names = meta.get("keypoint_id2name") if isinstance(meta, dict) else None
    if not isinstance(names, dict):
        return ""
    joints = tuple(names.get(str(number)) for number in range(len(names)))
    return next((c.name for c in CONVENTIONS.values() if c.joints == joints), "")


MMPOSE = Format("mmpose", "MMPose JSON", ("json", "folder"), _fits, _read)
