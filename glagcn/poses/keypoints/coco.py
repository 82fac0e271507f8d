"""COCO results, which most detectors can write: a list of poses.

    [{"image_id": 12, "category_id": 1, "keypoints": [x, y, v, ...], "score": 0.9}, ...]

The frame is the image's number.  A "track_id" is read where there is one.
"""

from typing import Any

from glagcn.poses.keypoints.content import Content, Format, as_pose, as_whole, person_of, score_of
from glagcn.poses.keypoints.tracks import Detections


def _is_row(row: Any) -> bool:
    return isinstance(row, dict) and "keypoints" in row and isinstance(row.get("image_id"), int)


def _fits(content: Content) -> bool:
    value = content.value
    return isinstance(value, list) and bool(value) and all(_is_row(row) for row in value)


def _read(content: Content) -> Detections:
    poses = content.poses()
    for number, row in enumerate(content.value):
        where = f"pose {number} (image {str(row['image_id'])[:40]})"
        keypoints = as_pose(content.path, f"{where}: keypoints", row["keypoints"], poses.convention)
        person = person_of(content.path, where, row, "track_id", "idx")
        score = score_of(content.path, where, row, "score")
        poses.add(as_whole(content.path, f"{where}: image_id", row["image_id"]), keypoints, person, score, where)
    return content.detections(poses)


COCO = Format("coco", "COCO results JSON", ("json",), _fits, _read)
