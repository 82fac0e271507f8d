"""People as BVH, which animation programs read: a hierarchy of joints, then angles for every frame."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from glagcn.files import write_text
from glagcn.lifting.person import CAMERA, Z_UP, LiftedPerson, filled
from glagcn.lifting.writers.rig import ORDER, Rig, euler_angles, rig_for, turns

MM_PER_UNIT = 10.0  # BVH names no unit; animation programs take it for centimetres
END_CM = 5.0  # how far a bone that ends in the air, such as a hand, is drawn; the model says nothing of it
TO_Y_UP = {  # to x right, y up, z towards the camera
    CAMERA: np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]]),
    Z_UP: np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
}
ROOT_CHANNELS = "Xposition Yposition Zposition"
CHANNELS = " ".join(f"{axis}rotation" for axis in ORDER)


def write_bvh(path: Path, people: Sequence[LiftedPerson]) -> list[Path]:
    """One file a person: `path` itself for one, "NAME_personN.bvh" for each of several; N is the person's number.

    Lengths are centimetres, angles degrees; y is up, x right and z towards the camera.  The root moves as its path
    does, and stays at 0 where that is unknown.  The rest pose has the arms out and faces z, with the median length of
    every bone; since lengths are fixed, joints are off by what the model's bones vary in length.  A joint with several
    children has a joint of length 0 for each of them (rig.py).  Every file begins with the first frame of anyone and
    ends with the last, so that people stay together in time; poses between frames are interpolated, and before and
    after its frames a person stands still.  BVH has no place for confidence, pixels, frame numbers and image size.
    """
    first = min(int(person.frames[0]) for person in people)
    last = max(int(person.frames[-1]) for person in people)
    paths = []
    for person in people:
        own = path if len(people) == 1 else path.with_name(f"{path.stem}_person{person.person}{path.suffix}")
        write_text(own, bvh_text(filled(person, first, last)))
        paths.append(own)
    return paths


def bvh_text(person: LiftedPerson) -> str:
    """The BVH file of one person, every frame of it."""
    turn = TO_Y_UP[person.axes].T / MM_PER_UNIT
    poses = person.poses.astype(np.float64) @ turn
    root = np.zeros((len(poses), 3)) if person.root is None else person.root @ turn
    rig = rig_for(person.skeleton, poses)
    angles = euler_angles(turns(rig, poses))
    rows = np.concatenate([root, angles.reshape(len(angles), -1)], axis=1)
    lines = ["HIERARCHY", *_hierarchy(rig, 0, "")]
    lines += ["MOTION", f"Frames: {len(rows)}", f"Frame Time: {1 / person.fps:.8f}"]
    lines += [" ".join(f"{value:.6f}" for value in row) for row in rows]
    return "\n".join(lines) + "\n"


def _hierarchy(rig: Rig, node: int, indent: str) -> list[str]:
    """The lines of a node and all below it."""
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
