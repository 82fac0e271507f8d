"""People as BVH, a format of animation programs: a joint hierarchy, then joint angles for each frame."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from glagcn.files import write_text
from glagcn.poses.result import CAMERA, Z_UP, Poses, filled
from glagcn.skeletons import Skeleton

MM_PER_UNIT = 10.0  # BVH does not define a unit; centimetres are usual
TO_Y_UP = {  # to the axes x right, y up, z towards the camera
    CAMERA: np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]]),
    Z_UP: np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
}
ORDER = "ZXY"  # intrinsic Euler angles of a joint
CHANNELS = " ".join(f"{axis}rotation" for axis in ORDER)
ROOT_CHANNELS = "Xposition Yposition Zposition"
END_CM = 5.0  # length of the end site of a joint without children; only for display
# The rest pose stands with the arms out, in the axes x to the person's left, y up, z forward.  Direction of the bone
# that ends in a joint, for the left side; the right side is mirrored.
REST_DIRECTIONS = {
    **dict.fromkeys(("spine", "thorax", "neck", "head", "head_top"), (0.0, 1.0, 0.0)),
    **dict.fromkeys(("shoulder", "elbow", "wrist", "hip"), (1.0, 0.0, 0.0)),
    **dict.fromkeys(("knee", "ankle"), (0.0, -1.0, 0.0)),
}
OTHER_DIRECTION = (0.0, 0.0, 1.0)  # for other joints of new skeletons, such as toes
# Weight of the parent's rotation relative to a bone direction in the Kabsch fit.  It resolves the free rotation about
# collinear bones: above the rounding of float32 poses, far below a bone.
PARENT_WEIGHT = 1e-5
NO_LENGTH = 1e-6  # a shorter vector has no direction


class Node(NamedTuple):
    """A joint of the rig, and the bone that leads to it.

    name       of the joint; "PARENT_CHILD" for an intermediate node.
    parent     number of the parent node; -1 for the root.
    joint      number of the joint in the skeleton.
    end        the joint where the bone ends: `joint`, or that of its child for an intermediate node.
    direction  [3] unit vector of the bone at rest.
    offset     [3] rest position relative to the parent node.

    In predicted poses the angles between sibling bones vary, which a single rotation of their parent cannot reproduce.
    A joint with several children therefore has an intermediate node of length 0 for each child.
    """

    name: str
    parent: int
    joint: int
    end: int
    direction: np.ndarray
    offset: np.ndarray


def write_bvh(path: Path, people: Sequence[Poses]) -> list[Path]:
    """Write one BVH file per person: `path` for one person, else NAME_personN.bvh, where N is the person's number.

    Units and axes: centimetres and degrees; x right, y up, z towards the camera.  A root path that is unknown is 0.
    Rest pose: arms out, facing z, with the median length of each bone.  Bone lengths are constant, so joints differ
    from the poses by as much as the lengths in the poses vary.  A joint with several children has an additional joint
    of length 0 for each child (see `Node`).
    Frames: all files have the frames from that with number 0 to the last of all people, so that they stay synchronous
    with each other and with the video; of a video of a variable rate, frames of a constant one at the same times.
    Gaps are interpolated; before and after its own frames a person does not move.
    BVH cannot hold confidence, pixels, frame numbers and image size.
    """
    last = max(round(float(person.places[-1])) for person in people)
    paths = []
    for person in people:
        own = path if len(people) == 1 else path.with_name(f"{path.stem}_person{person.person}{path.suffix}")
        paths.append(write_text(own, bvh_text(person, last)))
    return paths


def bvh_text(person: Poses, last: int) -> str:
    """The content of the BVH file of one person, for the frames 0..`last` of the video (both included)."""
    turn = TO_Y_UP[person.axes].T / MM_PER_UNIT
    # Bone lengths come from the person's own frames: interpolated poses have shorter bones.
    rig = rig_for(person.skeleton, person.xyz.astype(np.float64) / MM_PER_UNIT)
    first = int(person.places[0])
    whole = filled(person, first, last)
    root = np.zeros((len(whole.frames), 3)) if whole.root is None else whole.root @ turn
    angles = euler_angles(turns(rig, whole.xyz.astype(np.float64) @ turn))
    rows = np.concatenate([root, angles.reshape(len(angles), -1)], axis=1)
    lines = ["HIERARCHY", *_hierarchy(rig, 0, "")]
    lines += ["MOTION", f"Frames: {last + 1}", f"Frame Time: {1 / person.fps:.8f}"]
    lines += [_row(rows[0])] * first + [_row(row) for row in rows]
    return "\n".join(lines) + "\n"


def _hierarchy(rig: list[Node], number: int, indent: str) -> list[str]:
    """The lines of a node and its descendants."""
    node, inner = rig[number], indent + "\t"
    kind, channels = ("JOINT", f"3 {CHANNELS}") if number else ("ROOT", f"6 {ROOT_CHANNELS} {CHANNELS}")
    lines = [f"{indent}{kind} {node.name}", indent + "{"]
    lines += [f"{inner}OFFSET {_row(node.offset)}", f"{inner}CHANNELS {channels}"]
    children = _children(rig, number)
    for child in children:
        lines += _hierarchy(rig, child, inner)
    if not children:
        lines += [f"{inner}End Site", inner + "{", f"{inner}\tOFFSET {_row(node.direction * END_CM)}", inner + "}"]
    return [*lines, indent + "}"]


def _row(values: np.ndarray) -> str:
    return " ".join(f"{value:.6f}" for value in values)


def rig_for(skeleton: Skeleton, poses: np.ndarray) -> list[Node]:
    """The rig of a skeleton, depth first, with the median bone lengths of poses [T,V,3], in their unit."""
    lengths = np.median(np.linalg.norm(poses - poses[:, skeleton.parents], axis=-1), axis=0)
    rig: list[Node] = []

    def hang(joint: int, parent: int) -> None:
        """Add a joint and its descendants, in the order of BVH."""
        name, node = skeleton.joints[joint], len(rig)
        direction = np.array(rest_direction(name))
        rig.append(Node(name, parent, joint, joint, direction, direction * lengths[joint]))
        children = [child for child, above in enumerate(skeleton.parents) if above == joint != child]
        for child in children:
            if len(children) > 1:
                towards = np.array(rest_direction(skeleton.joints[child]))
                rig.append(Node(f"{name}_{skeleton.joints[child]}", node, joint, child, towards, towards * 0.0))
            hang(child, len(rig) - 1 if len(children) > 1 else node)

    hang(skeleton.root, -1)
    return rig


def rest_direction(joint: str) -> tuple[float, float, float]:
    """Rest direction of the bone that ends in the joint of this name, such as "left_knee"."""
    x, y, z = REST_DIRECTIONS.get(joint.removeprefix("left_").removeprefix("right_"), OTHER_DIRECTION)
    return (-x if joint.startswith("right_") else x, y, z)


def turns(rig: list[Node], poses: np.ndarray) -> list[Rotation]:
    """The rotation of each node relative to its parent, T each, that reproduces the bone directions of poses [T,V,3].

    With one child it is the smallest rotation, which has no twist about the bone; with several children the best fit to
    all directions (Kabsch).  A bone of length 0 does not rotate.
    """
    count = len(poses)
    axes: list[Rotation] = []  # rotations in space
    local = []
    for number, node in enumerate(rig):
        before = axes[node.parent] if number else Rotation.identity(count)
        children = [rig[child] for child in _children(rig, number)]
        seen = [_direction(poses, node.joint, child.end) for child in children]
        if len(children) == 1:
            turn = _smallest_turn(children[0].direction, before.inv().apply(seen[0]))
        elif children:
            rest = np.array([child.direction for child in children])
            matrices = np.einsum("ktx,ky->txy", np.stack(seen), rest) + PARENT_WEIGHT * before.as_matrix()
            turn = before.inv() * _nearest_rotation(matrices)
        else:
            turn = Rotation.identity(count)
        local.append(turn)
        axes.append(before * turn)
    return local


def _children(rig: list[Node], number: int) -> list[int]:
    return [child for child, node in enumerate(rig) if node.parent == number]


def _direction(poses: np.ndarray, start: int, end: int) -> np.ndarray:
    """Unit vectors [T,3] from joint `start` to joint `end`; zero if they coincide."""
    bone = poses[:, end] - poses[:, start]
    length = np.linalg.norm(bone, axis=-1, keepdims=True)
    return np.where(length > NO_LENGTH, bone / np.maximum(length, NO_LENGTH), 0.0)


def _smallest_turn(rest: np.ndarray, seen: np.ndarray) -> Rotation:
    """The smallest rotations of a unit vector [3] to unit vectors [T,3].

    Identity for a zero vector; half a turn about some perpendicular axis for the opposite vector.
    """
    seen = np.where(seen.any(axis=-1, keepdims=True), seen, rest)
    between = rest + seen
    length = np.linalg.norm(between, axis=-1, keepdims=True)
    between /= np.maximum(length, NO_LENGTH)
    side = np.cross(rest, np.eye(3)[np.abs(rest).argmin()])
    turn = np.column_stack([np.cross(rest, between), between @ rest])
    return Rotation.from_quat(np.where(length > NO_LENGTH, turn, [*side, 0.0]))


def _nearest_rotation(matrices: np.ndarray) -> Rotation:
    """The nearest rotations to matrices [T,3,3]."""
    left, _, right = np.linalg.svd(matrices)
    left[:, :, 2] *= np.linalg.det(left @ right)[:, None]
    return Rotation.from_matrix(left @ right)


def euler_angles(local: list[Rotation]) -> np.ndarray:
    """Intrinsic Euler angles [T,B,3] in degrees, in the order of ORDER.

    They are unwrapped over time (they may exceed 180), so that programs can interpolate between frames.
    """
    with warnings.catch_warnings():
        # At a middle angle of 90 degrees the solution is not unique.  SciPy warns and returns a correct one.
        warnings.filterwarnings("ignore", message="Gimbal lock", category=UserWarning)
        angles = np.stack([turn.as_euler(ORDER, degrees=True) for turn in local], axis=1)
    return np.unwrap(angles, period=360, axis=0)
