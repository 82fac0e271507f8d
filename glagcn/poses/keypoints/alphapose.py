"""AlphaPose (alphapose-results.json): a list of poses, or with --format cmu and open one object for each image.

    [{"image_id": "12.jpg", "category_id": 1, "keypoints": [x, y, c, ...], "score": 2.9, "box": [...], "idx": 1}, ...]
    {"12.jpg": {"version": "AlphaPose v0.3", "bodies": [{"joints": [x, y, c, ...]}]}, ...}            cmu
    {"12.jpg": {"version": "AlphaPose v0.3", "people": [{"pose_keypoints_2d": [...]}]}, ...}          open

The frame is the number in the image's name.  The two others have the 18 joints of OpenPose's COCO model; they are also
written as a folder of one file for each image.  "idx" is there with tracking, as a number or in a list.
"""

from typing import Any

from glagcn.errors import UserError
from glagcn.poses.keypoints.content import Content, Format, as_pose, frames_of_names, person_of, score_of, shown
from glagcn.poses.keypoints.openpose import KEYS, add_people
from glagcn.poses.keypoints.tracks import Detections

PEOPLE = {"bodies": ("joints",), "people": KEYS}


def _fits(content: Content) -> bool:
    value = content.value
    if content.kind == "json" and isinstance(value, list):
        rows = [row for row in value if isinstance(row, dict)]
        return (
            bool(rows)
            and all("image_id" in row and "keypoints" in row for row in rows)
            and (
                any(isinstance(row["image_id"], str) for row in rows)
                or any("idx" in row or "box" in row for row in rows)
            )
        )
    return isinstance(value, dict) and bool(value) and all(_people_key(image, content.kind) for image in value.values())


def _people_key(image: Any, kind: str) -> str | None:
    """Where the people of an image are; None in what is no such image.  A folder of "people" is OpenPose's own."""
    keys = [key for key in PEOPLE if isinstance(image, dict) and isinstance(image.get(key), list)]
    return keys[0] if keys and not (kind == "folder" and keys[0] == "people") else None


def _read(content: Content) -> Detections:
    poses = content.poses()
    if isinstance(content.value, dict):
        for frame, image in content.frames():
            key = _people_key(image, content.kind)
            assert key is not None
            add_people(poses, frame, image[key], PEOPLE[key])
        return content.detections(poses)
    frames = frames_of_names(content.path, dict.fromkeys(str(row["image_id"]) for row in _rows(content)))
    for number, row in enumerate(_rows(content)):
        where = f"pose {number} (image {str(row['image_id'])[:40]})"
        keypoints = as_pose(content.path, f"{where}: keypoints", row["keypoints"], poses.convention)
        person = person_of(content.path, where, row, "idx", "track_id")
        poses.add(frames[str(row["image_id"])], keypoints, person, score_of(content.path, where, row, "score"), where)
    return content.detections(poses)


def _rows(content: Content) -> list[dict[str, Any]]:
    for number, row in enumerate(content.value):
        if not isinstance(row, dict):
            raise UserError(f"{content.path}: pose {number} is {shown(row)}; expected an object with 'keypoints'")
    return content.value


ALPHAPOSE = Format("alphapose", "AlphaPose JSON", ("json", "folder"), _fits, _read)
