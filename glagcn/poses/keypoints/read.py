"""Reads a keypoint file of any known format."""

from dataclasses import replace
from pathlib import Path

from glagcn.errors import UserError
from glagcn.poses.gaps import LEAST_CONFIDENCE
from glagcn.poses.joints import get_convention
from glagcn.poses.keypoints.alphapose import ALPHAPOSE
from glagcn.poses.keypoints.arrays import ARRAYS
from glagcn.poses.keypoints.coco import COCO
from glagcn.poses.keypoints.content import Content, load_content, shown
from glagcn.poses.keypoints.landmark_table import LANDMARK_TABLE
from glagcn.poses.keypoints.mediapipe import MEDIAPIPE
from glagcn.poses.keypoints.mmpose import MMPOSE
from glagcn.poses.keypoints.openpose import OPENPOSE
from glagcn.poses.keypoints.tracks import Detections
from glagcn.poses.keypoints.ultralytics import LABELS, ULTRALYTICS
from glagcn.poses.keypoints.videopose3d import CUSTOM, DETECTOR

# The first that fits is taken; those that say most of themselves come first.
FORMATS = {
    format.name: format
    for format in (
        ALPHAPOSE, COCO, MMPOSE, ULTRALYTICS, OPENPOSE, MEDIAPIPE, LABELS, LANDMARK_TABLE, CUSTOM, DETECTOR, ARRAYS
    )
}  # fmt: skip


def read_keypoints(
    path: Path | str,
    format: str | None = None,
    joints: str | None = None,
    image_size: tuple[int, int] | None = None,
    least_confidence: float = LEAST_CONFIDENCE,
    other_size: tuple[int, int] | None = None,
) -> Detections:
    """The poses of a keypoint file, or of a folder of them.

    format            a name of FORMATS; None: recognised from the content.
    joints            a name of CONVENTIONS; None: what the file says, else what its format usually has.
    image_size        (width, height) in pixels, where the file does not say or is wrong.
    least_confidence  joints less sure than this are missing.
    other_size        (width, height) where neither `image_size` nor the file says it, such as that of the video.
    Raises UserError, naming the file, what was found and what was expected, for anything that cannot be read.
    """
    path = Path(path)
    if format is not None and format not in FORMATS:
        raise UserError(f"unknown format {format!r}; must be one of {', '.join(FORMATS)}")
    if joints is not None:
        get_convention(joints)
    content = replace(
        load_content(path),
        joints=joints,
        image_size=image_size,
        least_confidence=least_confidence,
        other_size=other_size,
    )
    fitting = [known for known in FORMATS.values() if content.kind in known.kinds and known.fits(content)]
    if format is not None:
        if FORMATS[format] not in fitting:
            found = fitting[0].title if fitting else _looks(content)
            raise UserError(
                f"{path} is not {FORMATS[format].title}: found {found}; leave the format out, or name that one"
            )
        fitting = [FORMATS[format]]
    if not fitting:
        known = ", ".join(f.title for f in FORMATS.values() if content.kind in f.kinds)
        raise UserError(f"{path} holds {_looks(content)}; expected {known}")
    return replace(fitting[0].read(content), format=fitting[0].title)


def _looks(content: Content) -> str:
    if content.kind == "json":
        return f"JSON of {shown(content.value)}"
    named = {"folder": "JSON files of no known layout", "labels": "text that is no labels", "csv": "an empty table"}
    return named.get(content.kind, f"an .{content.kind} of other arrays")
