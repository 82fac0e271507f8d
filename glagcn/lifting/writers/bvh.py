"""Lifted people as BVH, a format of animation programs: a joint hierarchy, then joint angles for each frame."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from glagcn.files import write_text
from glagcn.lifting.person import CAMERA, Z_UP, LiftedPerson, filled
from glagcn.lifting.writers.rig import ORDER, Rig, euler_angles, rig_for, turns

MM_PER_UNIT = 10.0  # BVH does not define a unit; centimetres are usual
END_CM = 5.0  # length of the end site of a joint without children; only for display
TO_Y_UP = {  # to the axes x right, y up, z towards the camera
    CAMERA: np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]]),
    Z_UP: np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
}
ROOT_CHANNELS = "Xposition Yposition Zposition"
CHANNELS = " ".join(f"{axis}rotation" for axis in ORDER)


def write_bvh(path: Path, people: Sequence[LiftedPerson]) -> list[Path]:
    """Write one BVH file per person: `path` for one person, else NAME_personN.bvh, where N is the person's number.

    Units and axes: centimetres and degrees; x right, y up, z towards the camera.  A root path that is unknown is 0.
    Rest pose: arms out, facing z, with the median length of each bone.  Bone lengths are constant, so joints differ
    from the poses by as much as the lengths in the poses vary.  A joint with several children has an additional joint
    of length 0 for each child (see rig.py).
    Frames: all files have the frames from the first to the last of all people, so that they stay synchronous.  Gaps are
    interpolated; before and after its own frames a person does not move.
    BVH cannot hold confidence, pixels, frame numbers and image size.
    """
    first = min(int(person.frames[0]) for person in people)
    last = max(int(person.frames[-1]) for person in people)
    paths = []
    for person in people:
        own = path if len(people) == 1 else path.with_name(f"{path.stem}_person{person.person}{path.suffix}")
        write_text(own, bvh_text(person, first, last))
        paths.append(own)
    return paths


def bvh_text(person: LiftedPerson, first: int, last: int) -> str:
    """The content of the BVH file of one person, for the frames `first`..`last` of the video (both included)."""
    turn = TO_Y_UP[person.axes].T / MM_PER_UNIT
    # Bone lengths come from the person's own frames: interpolated poses have shorter bones.
    rig = rig_for(person.skeleton, person.poses.astype(np.float64) / MM_PER_UNIT)
    whole = filled(person, first, last)
    root = np.zeros((len(whole.frames), 3)) if whole.root is None else whole.root @ turn
    angles = euler_angles(turns(rig, whole.poses.astype(np.float64) @ turn))
    rows = np.concatenate([root, angles.reshape(len(angles), -1)], axis=1)
    lines = ["HIERARCHY", *_hierarchy(rig, 0, "")]
    lines += ["MOTION", f"Frames: {len(rows)}", f"Frame Time: {1 / person.fps:.8f}"]
    lines += [" ".join(f"{value:.6f}" for value in row) for row in rows]
    return "\n".join(lines) + "\n"


def _hierarchy(rig: Rig, node: int, indent: str) -> list[str]:
    """The lines of a node and its descendants."""
    is_root, inner = node == 0, indent + "\t"
    channels = f"6 {ROOT_CHANNELS} {CHANNELS}" if is_root else f"3 {CHANNELS}"
    lines = [
        f"{indent}{'ROOT' if is_root else 'JOINT'} {rig.names[node]}", indent + "{",
        f"{inner}OFFSET {_triple(rig.offsets[node])}", f"{inner}CHANNELS {channels}",
    ]  # fmt: skip
    children = rig.children(node)
    for child in children:
        lines += _hierarchy(rig, child, inner)
    if not children:
        end = rig.directions[node] * END_CM
        lines += [f"{inner}End Site", inner + "{", f"{inner}\tOFFSET {_triple(end)}", inner + "}"]
    return [*lines, indent + "}"]


def _triple(values: np.ndarray) -> str:
    return " ".join(f"{value:.6f}" for value in values)
