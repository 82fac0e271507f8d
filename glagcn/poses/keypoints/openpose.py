"""OpenPose (--write_json): a folder of JSON files, one a frame, `NAME_000000000012_keypoints.json`.

Each holds {"people": [{"person_id": [-1], "pose_keypoints_2d": [x, y, c, ...]}]} of the 25 joints of BODY_25, or the 18
of its COCO model.  Older versions say "pose_keypoints".  A joint that is not found is 0, 0, 0.
"""

from typing import Any

import numpy as np

from glagcn.errors import UserError
from glagcn.poses.gaps import mark_missing
from glagcn.poses.keypoints.content import Content, Format, as_pose, person_of, shown
from glagcn.poses.keypoints.tracks import Detections, Poses, to_pixels

SUFFIX = "_keypoints"
KEYS = ("pose_keypoints_2d", "pose_keypoints")
NORMALISED = 1.5  # --keypoint_scale 3 writes parts of the image
LOWEST = -0.1  # of such parts, a little outside the image; --keypoint_scale 4 writes -1 to 1


def add_people(poses: Poses, frame: int, people: Any, keys: tuple[str, ...] = KEYS) -> None:
    """Add the people of a frame, each an object with a flat list of numbers under one of `keys`."""
    where = f"frame {frame}"
    if not isinstance(people, list):
        raise UserError(f"{poses.path}: {where}: the people are {shown(people)}; expected a list")
    for person in people:
        key = next((key for key in keys if isinstance(person, dict) and key in person), None)
        if key is None:
            raise UserError(f"{poses.path}: {where}: a person is {shown(person)}; expected {keys[0]!r}")
        if person[key]:  # an empty list: hands or a face without a body
            keypoints = as_pose(poses.path, f"{where}: {key}", person[key], poses.convention)
            poses.add(frame, keypoints, person_of(poses.path, where, person, "person_id"))


def scaled(poses: Poses, image_size: tuple[int, int] | None) -> None:
    """Bring all poses to pixels where they are in parts of the image, 0 to 1.  Raises UserError for -1 to 1."""
    largest = max((np.nanmax(np.abs(row[1][:, :2]), initial=0) for row in poses.rows), default=0)
    if 0 < largest <= NORMALISED:
        for frame, pose, _, _ in poses.rows:
            lowest = mark_missing(pose)[:, :2].min()  # missing joints are 0
            if lowest < LOWEST:
                raise UserError(
                    f"{poses.path}: frame {frame}: a joint is at {lowest:.3g}, where coordinates are parts of the "
                    "image: they seem to be -1 to 1; expected pixels or parts from 0 to 1; write them with OpenPose's "
                    "--keypoint_scale 0 or 3"
                )
        poses.rows = [(f, to_pixels(str(poses.path), pose, image_size), p, s) for f, pose, p, s in poses.rows]


def _fits(content: Content) -> bool:
    values = content.value.values() if content.kind == "folder" else _in_file(content.value)
    return bool(values) and all(isinstance(value, dict) and isinstance(value.get("people"), list) for value in values)


def _in_file(value: Any) -> list:
    """The frames of a single file: itself, or a list of such."""
    return value if isinstance(value, list) else [value]


def _read(content: Content) -> Detections:
    poses = content.poses()
    frames = content.frames(SUFFIX) if content.kind == "folder" else list(enumerate(_in_file(content.value)))
    for frame, value in frames:
        add_people(poses, frame, value["people"])
    scaled(poses, content.size())
    return content.detections(poses, length=frames[-1][0] + 1)


OPENPOSE = Format("openpose", "OpenPose JSON", ("folder", "json"), _fits, _read)
