"""Load VideoPose3D's npz files and check their structure: subjects, actions, metadata."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from glagcn.data.sources.safe_pickle import load_object
from glagcn.data.sources.videopose3d.facts import DATASETS_PAGE
from glagcn.errors import UserError
from glagcn.skeleton import get_skeleton

# Names appear in messages and in sequence names "<subject>/<action>/cam<k>", which have 64 bytes in the cache.
SUBJECT = re.compile(r"\w[\w/-]{0,31}", re.ASCII)
ACTION = re.compile(r"\w[\w .()+-]{0,35}", re.ASCII)

# The 17 joints of COCO: the nose, then left and right alternating.
COCO_LEFT, COCO_RIGHT = tuple(range(1, 17, 2)), tuple(range(2, 17, 2))

Poses = dict[str, dict[str, object]]


def load_poses(path: Path, key: str) -> Poses:
    """{subject: {action: unchecked value}} of the npz member `key`.  Raises UserError for another structure."""
    subjects = load_object(path, key, _hint(key))
    if not isinstance(subjects, dict):
        raise UserError(f"{path}: {key} is {kind(subjects)}; {_hint(key)}")
    for subject, actions in subjects.items():
        _check_name(path, "a subject", subject, SUBJECT)
        if not isinstance(actions, dict):
            raise UserError(f"{path}: {key} of {subject} is {kind(actions)}; {_hint(key)}")
        for action in actions:
            _check_name(path, f"an action of {subject}", action, ACTION)
    return subjects


def load_metadata(path: Path) -> dict:
    """The metadata of a 2D file, with at least "num_joints" and "keypoints_symmetry".  Raises UserError."""
    metadata = load_object(path, "metadata", _hint("metadata"))
    if not isinstance(metadata, dict):
        raise UserError(f"{path}: metadata is {kind(metadata)}; {_hint('metadata')}")
    missing = [name for name in ("num_joints", "keypoints_symmetry") if name not in metadata]
    if missing:
        found = ", ".join(map(str, metadata)) or "nothing"
        raise UserError(f"{path}: no {', '.join(missing)} in metadata; found {found}; {_hint('metadata')}")
    return metadata


def check_metadata(path: Path, metadata: dict, skeleton: str) -> None:
    """Raise UserError unless the metadata of a 2D file match the joints and sides of the skeleton's input."""
    joints = get_skeleton(skeleton).num_input_joints
    layout = metadata.get("layout_name")
    layout_note = f" (layout {layout!r})" if isinstance(layout, str) else ""
    if not isinstance(metadata["num_joints"], int | np.integer) or metadata["num_joints"] != joints:
        raise UserError(
            f"{path}: metadata has num_joints {metadata['num_joints']!r}{layout_note}; expected {joints} for "
            f"{skeleton}. Other joint sets are not supported; see docs/data.md."
        )
    expected = _sides_of_input(skeleton)
    found = _sides(metadata["keypoints_symmetry"])
    if found != expected:
        given = "not two lists of joints" if found is None else " and ".join(str(sorted(side)) for side in found)
        wanted = " and ".join(str(sorted(side)) for side in expected)
        raise UserError(
            f"{path}: the left and right joints in metadata are {given}{layout_note}; expected {wanted} for "
            f"{skeleton}. Other joint orders are not supported; see docs/data.md."
        )


def _sides_of_input(skeleton: str) -> tuple[set[int], set[int]]:
    """The left and the right joints of the skeleton's 2D input."""
    if skeleton == "humaneva15_coco17":
        return set(COCO_LEFT), set(COCO_RIGHT)
    return set(get_skeleton(skeleton).left), set(get_skeleton(skeleton).right)


def kind(value: object) -> str:
    """A description of a value for messages: its type, and its shape or length if it has one."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} {value.shape}"
    size = f" of {len(value)}" if isinstance(value, list | tuple | dict | set | str) else ""
    return f"{type(value).__name__}{size}"


def _sides(symmetry: Any) -> tuple[set[int], set[int]] | None:
    """The sets of left and right joints; None if `symmetry` is not two lists of whole numbers."""
    try:
        left, right = ({int(joint) for joint in side} for side in symmetry)
    except (TypeError, ValueError, OverflowError):
        return None
    return left, right


def _check_name(path: Path, what: str, name: object, pattern: re.Pattern) -> None:
    if not isinstance(name, str) or not pattern.fullmatch(name):
        raise UserError(
            f"{path}: {what} is named {name!r:.80}; expected a short name of ASCII letters, digits and spaces, such "
            f"as {'Walking 1' if pattern is ACTION else 'S1 or Train/S1'}"
        )


def _hint(key: str) -> str:
    if key == "positions_3d":
        return f"expected positions_3d as VideoPose3D writes it: {{subject: {{action: [T,V,3]}}}}, see {DATASETS_PAGE}"
    return (
        "expected positions_2d {subject: {action: [one [T,V,2] per camera]}} and metadata, as VideoPose3D writes them, "
        f"see {DATASETS_PAGE}"
    )
