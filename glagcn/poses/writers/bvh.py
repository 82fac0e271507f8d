"""Lifted people as BVH, a format of animation programs: a joint hierarchy, then joint angles for each frame."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from glagcn.files import write_text
from glagcn.poses.result import CAMERA, Z_UP, Poses, filled
from glagcn.skeletons import Skeleton

# ---- A rig with constant bone lengths for a skeleton, and the joint rotations that reproduce poses.
#
# Axes: x to the person's left, y up, z forward. The rest pose stands with the arms out.


ORDER = "ZXY"  # intrinsic Euler angles of a joint
# Rest direction of the bone that ends in a joint, for the left side; the right side is mirrored.
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


@dataclass(frozen=True)
class Rig:
    """B nodes in depth-first order; node 0 is the root.

    names       joint names; "PARENT_CHILD" for an intermediate node.
    parents     B node numbers; -1 for the root.
    joints      B joint numbers of the skeleton.
    directions  [B,3] unit vectors of the bones at rest.
    offsets     [B,3] rest positions relative to the parent node.

    In predicted poses the angles between sibling bones vary, which a single rotation of their parent cannot reproduce.
    A joint with several children therefore has an intermediate node of length 0 for each child.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    joints: tuple[int, ...]
    directions: np.ndarray
    offsets: np.ndarray

    def children(self, node: int) -> list[int]:
        """The node numbers of the children of a node."""
        return [child for child, parent in enumerate(self.parents) if parent == node]


def rest_direction(joint: str) -> tuple[float, float, float]:
    """Rest direction of the bone that ends in the joint of this name, such as "left_knee"."""
    x, y, z = REST_DIRECTIONS.get(joint.removeprefix("left_").removeprefix("right_"), OTHER_DIRECTION)
    return (-x if joint.startswith("right_") else x, y, z)


def rig_for(skeleton: Skeleton, poses: np.ndarray) -> Rig:
    """The rig of a skeleton with the median bone lengths of poses [T,V,3], in their unit."""
    lengths = np.median(np.linalg.norm(poses - poses[:, skeleton.parents], axis=-1), axis=0)
    nodes: list[tuple[str, int, int, tuple[float, float, float], float]] = []

    def add(name: str, parent: int, joint: int, towards: int, length: float) -> int:
        nodes.append((name, parent, joint, rest_direction(skeleton.joints[towards]), length))
        return len(nodes) - 1

    def hang(joint: int, parent: int) -> None:
        """Add a joint and its descendants, depth first, in the order of BVH."""
        name = skeleton.joints[joint]
        node = add(name, parent, joint, joint, lengths[joint])
        children = [child for child, above in enumerate(skeleton.parents) if above == joint != child]
        for child in children:
            several = len(children) > 1
            hang(child, add(f"{name}_{skeleton.joints[child]}", node, joint, child, 0.0) if several else node)

    hang(skeleton.root, -1)
    names, parents, joints, directions, bones = zip(*nodes, strict=True)
    return Rig(names, parents, joints, np.array(directions), np.array(directions) * np.array(bones)[:, None])


def turns(rig: Rig, poses: np.ndarray) -> list[Rotation]:
    """The rotation of each node relative to its parent, T each, that reproduces the bone directions of poses [T,V,3].

    With one child it is the smallest rotation, which has no twist about the bone; with several children the best fit to
    all directions (Kabsch).  A bone of length 0 does not rotate.
    """
    count = len(poses)
    axes: list[Rotation] = []  # rotations in space
    local = []
    for node, parent in enumerate(rig.parents):
        before = axes[parent] if parent >= 0 else Rotation.identity(count)
        children = rig.children(node)
        rest = rig.directions[children]
        seen = [_direction(poses, rig.joints[node], _bone_end(rig, node, child)) for child in children]
        if len(children) == 1:
            turn = _smallest_turn(rest[0], before.inv().apply(seen[0]))
        elif children:
            matrices = np.einsum("ktx,ky->txy", np.stack(seen), rest) + PARENT_WEIGHT * before.as_matrix()
            turn = before.inv() * _nearest_rotation(matrices)
        else:
            turn = Rotation.identity(count)
        local.append(turn)
        axes.append(before * turn)
    return local


def euler_angles(local: list[Rotation]) -> np.ndarray:
    """Intrinsic Euler angles [T,B,3] in degrees, in the order of ORDER.

    They are unwrapped over time (they may exceed 180), so that programs can interpolate between frames.
    """
    with warnings.catch_warnings():
        # At a middle angle of 90 degrees the solution is not unique.  SciPy warns and returns a correct one.
        warnings.filterwarnings("ignore", message="Gimbal lock", category=UserWarning)
        angles = np.stack([turn.as_euler(ORDER, degrees=True) for turn in local], axis=1)
    return np.unwrap(angles, period=360, axis=0)


def _bone_end(rig: Rig, node: int, child: int) -> int:
    """The joint at the end of the bone of a child node, which may be an intermediate node."""
    return rig.joints[child] if rig.joints[child] != rig.joints[node] else rig.joints[rig.children(child)[0]]


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


# ---- Lifted people as BVH, a format of animation programs: a joint hierarchy, then joint angles for each frame.


MM_PER_UNIT = 10.0  # BVH does not define a unit; centimetres are usual
END_CM = 5.0  # length of the end site of a joint without children; only for display
TO_Y_UP = {  # to the axes x right, y up, z towards the camera
    CAMERA: np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]]),
    Z_UP: np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
}
ROOT_CHANNELS = "Xposition Yposition Zposition"
CHANNELS = " ".join(f"{axis}rotation" for axis in ORDER)


def write_bvh(path: Path, people: Sequence[Poses]) -> list[Path]:
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


def bvh_text(person: Poses, first: int, last: int) -> str:
    """The content of the BVH file of one person, for the frames `first`..`last` of the video (both included)."""
    turn = TO_Y_UP[person.axes].T / MM_PER_UNIT
    # Bone lengths come from the person's own frames: interpolated poses have shorter bones.
    rig = rig_for(person.skeleton, person.xyz.astype(np.float64) / MM_PER_UNIT)
    whole = filled(person, first, last)
    root = np.zeros((len(whole.frames), 3)) if whole.root is None else whole.root @ turn
    angles = euler_angles(turns(rig, whole.xyz.astype(np.float64) @ turn))
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
