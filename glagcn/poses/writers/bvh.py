"""People as BVH, a format of animation programs: a joint hierarchy, then joint angles for each frame."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from glagcn.errors import UserError
from glagcn.files import write_text
from glagcn.poses.joints import own_points
from glagcn.poses.result import TO_Y_UP, Poses, filled
from glagcn.poses.writers.markers import one_file_each
from glagcn.skeletons import Skeleton

if TYPE_CHECKING:  # slow to import, and the other formats do without
    from scipy.spatial.transform import Rotation

MM_PER_UNIT = 10.0  # BVH does not define a unit; centimetres are usual
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
# Where the bone of a child begins, as a part of it from a joint with several children (see Node).  Long enough for
# Blender, which reports bones below a millimetre and gives them another length; so short that it costs no millimetre.
BEGIN = 0.05
# Names of joints and of the bones that begin beside a joint, "PARENT>CHILD", for programs that retarget by name.  Sides
# are Left and Right before them.
MIXAMO = {
    "pelvis": "Hips", "pelvis>spine": "Spine", "pelvis>neck": "Spine", "spine": "Spine1", "neck": "Spine2",
    "neck>head": "Neck", "neck>head_top": "Neck", "head": "Head", "head_top": "HeadTop_End",
    "shoulder": "Arm", "neck>shoulder": "Shoulder", "elbow": "ForeArm", "wrist": "Hand",
    "hip": "UpLeg", "pelvis>hip": "HipJoint", "knee": "Leg", "ankle": "Foot",
}  # fmt: skip
NAMES = ("glagcn", "mixamo")


class Node(NamedTuple):
    """A joint of the rig, and the bone that leads to it.

    name       of the joint; "PARENT>CHILD" for an intermediate node.
    parent     number of the parent node; -1 for the root.
    joint      number of the joint in the skeleton.
    end        the joint where the bone ends: `joint`, or that of its child for an intermediate node.
    direction  [3] unit vector of the bone at rest.
    offset     [3] rest position relative to the parent node.

    In predicted poses the angles between sibling bones vary, which a single rotation of their parent cannot reproduce.
    A joint with several children therefore has an intermediate node for each child, a small part of the way towards it
    in the rest pose, which turns to where the child is.
    """

    name: str
    parent: int
    joint: int
    end: int
    direction: np.ndarray
    offset: np.ndarray


def write_bvh(path: Path, people: Sequence[Poses], names: str = "glagcn") -> list[Path]:
    """Write one BVH file per person: `path` for one person, else NAME_personN.bvh, where N is the person's number.

    Units and axes: centimetres and degrees; x right, y up, z towards the camera.  A root path that is unknown is 0.
    Rest pose: arms out, facing z, with the median length of each bone.  Bone lengths are constant, so joints differ
    from the poses by as much as the lengths in the poses vary.  A joint with several children has an additional one
    close to it for each child (see `Node`), which costs up to a millimetre.  The top of the head follows the head.
    names  of the joints, one of NAMES: the skeleton's, or those of Mixamo's characters (without "mixamorig:").
    Frames: all files have the frames from that with number 0 to the last of all people, so that they stay synchronous
    with each other and with the video; of a video of a variable rate, frames of a constant one at the same times.
    Gaps are interpolated; before and after its own frames a person does not move.
    BVH cannot hold confidence, pixels, frame numbers and image size.
    Raises UserError for other names.
    """
    if names not in NAMES:
        raise UserError(f"unknown names {names!r}; must be one of {', '.join(NAMES)}")
    last = max(round(float(person.places[-1])) for person in people)
    return one_file_each(path, people, lambda own, person: write_text(own, bvh_text(person, last, names)))


def bvh_text(person: Poses, last: int, names: str = "glagcn") -> str:
    """The content of the BVH file of one person, for the frames 0..`last` of the video (both included)."""
    turn = TO_Y_UP[person.axes].T / MM_PER_UNIT
    # Bone lengths come from the person's own frames: interpolated poses have shorter bones.
    rig = rig_for(person.skeleton, person.xyz.astype(np.float64) @ turn)
    first = int(person.places[0])
    whole = filled(person, first, last)
    root = np.zeros((len(whole.frames), 3)) if whole.root is None else whole.root @ turn
    angles = euler_angles(turns(rig, whole.xyz.astype(np.float64) @ turn)[0])
    rows = np.concatenate([root, angles.reshape(len(angles), -1)], axis=1)
    lines = ["HIERARCHY", *_hierarchy(rig, 0, "", node_names(rig, person.skeleton, names))]
    lines += ["MOTION", f"Frames: {last + 1}", f"Frame Time: {1 / person.fps:.9f}"]
    lines += [_row(rows[0])] * first + [_row(row) for row in rows]
    return "\n".join(lines) + "\n"


def node_names(rig: list[Node], skeleton: Skeleton, names: str) -> list[str]:
    """The names of the nodes in the file."""
    if names == "glagcn":
        return [node.name.replace(">", "_") for node in rig]
    points = own_points(skeleton)

    def name(node: Node) -> str:
        side, _, part = points[node.end].rpartition("_")
        side, part = (side, part) if side in ("left", "right") else ("", points[node.end])
        key = part if node.end == node.joint else f"{points[node.joint]}>{part}"
        return side.capitalize() + MIXAMO[key] if key in MIXAMO else node.name.replace(">", "_")

    return [name(node) for node in rig]


def _hierarchy(rig: list[Node], number: int, indent: str, names: list[str]) -> list[str]:
    """The lines of a node and its descendants."""
    node, inner = rig[number], indent + "\t"
    kind, channels = ("JOINT", f"3 {CHANNELS}") if number else ("ROOT", f"6 {ROOT_CHANNELS} {CHANNELS}")
    lines = [f"{indent}{kind} {names[number]}", indent + "{"]
    lines += [f"{inner}OFFSET {_row(node.offset)}", f"{inner}CHANNELS {channels}"]
    children = _children(rig, number)
    for child in children:
        lines += _hierarchy(rig, child, inner, names)
    if not children:
        lines += [f"{inner}End Site", inner + "{", f"{inner}\tOFFSET {_row(node.direction * END_CM)}", inner + "}"]
    return [*lines, indent + "}"]


def _row(values: np.ndarray) -> str:
    return " ".join(f"{value:.6f}" for value in values)


def rig_for(skeleton: Skeleton, poses: np.ndarray) -> list[Node]:
    """The rig of a skeleton, depth first, with the median bone lengths of poses [T,V,3], in their unit and axes."""
    parents = list(skeleton.parents)
    if {"head", "head_top"} <= {*skeleton.joints}:  # one chain, whatever the skeleton has
        parents[skeleton.joints.index("head_top")] = skeleton.joints.index("head")
    lengths = np.median(np.linalg.norm(poses - poses[:, parents], axis=-1), axis=0)
    rig: list[Node] = []

    def hang(joint: int, parent: int) -> None:
        """Add a joint and its descendants, in the order of BVH."""
        name, node = skeleton.joints[joint], len(rig)
        direction = np.array(rest_direction(name))
        rig.append(Node(name, parent, joint, joint, direction, direction * lengths[joint]))
        children = [child for child, above in enumerate(parents) if above == joint != child]
        for child in children:
            if len(children) > 1:
                towards = np.array(rest_direction(skeleton.joints[child]))
                begin = towards * BEGIN * lengths[child]
                rig.append(Node(f"{name}>{skeleton.joints[child]}", node, joint, child, towards, begin))
            hang(child, len(rig) - 1 if len(children) > 1 else node)

    hang(skeleton.root, -1)
    # A bone that begins beside its joint is as long as the way from there.
    _, ways = turns(rig, poses)
    for number, way in ways.items():
        end = rig[number + 1]
        rig[number + 1] = end._replace(offset=end.direction * np.median(np.linalg.norm(way, axis=-1)))
    return rig


def rest_direction(joint: str) -> tuple[float, float, float]:
    """Rest direction of the bone that ends in the joint of this name, such as "left_knee"."""
    x, y, z = REST_DIRECTIONS.get(joint.removeprefix("left_").removeprefix("right_"), OTHER_DIRECTION)
    return (-x if joint.startswith("right_") else x, y, z)


def turns(rig: list[Node], poses: np.ndarray) -> tuple[list[Rotation], dict[int, np.ndarray]]:
    """The rotation of each node relative to its parent, T each, that reproduces the bone directions of poses [T,V,3].

    With one child it is the smallest rotation, which has no twist about the bone; with several children the best fit to
    all directions (Kabsch).  A bone of length 0 does not rotate.
    The second value has for each intermediate node the way [T,3] from it to its child, the node after it.
    """
    from scipy.spatial.transform import Rotation

    count = len(poses)
    axes: list[Rotation] = []  # rotations in space
    local, ways = [], {}
    for number, node in enumerate(rig):
        before = axes[node.parent] if number else Rotation.identity(count)
        children = [rig[child] for child in _children(rig, number)]
        start = poses[:, node.joint]
        if node.end != node.joint:
            start = start + before.apply(node.offset)
            ways[number] = poses[:, node.end] - start
        seen = [_unit(poses[:, child.end] - start) for child in children]
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
    return local, ways


def _children(rig: list[Node], number: int) -> list[int]:
    return [child for child, node in enumerate(rig) if node.parent == number]


def _unit(ways: np.ndarray) -> np.ndarray:
    """Ways [T,3] as unit vectors; zero where they have no length."""
    length = np.linalg.norm(ways, axis=-1, keepdims=True)
    return np.where(length > NO_LENGTH, ways / np.maximum(length, NO_LENGTH), 0.0)


def _smallest_turn(rest: np.ndarray, seen: np.ndarray) -> Rotation:
    """The smallest rotations of a unit vector [3] to unit vectors [T,3].

    Identity for a zero vector; half a turn about some perpendicular axis for the opposite vector.
    """
    from scipy.spatial.transform import Rotation

    seen = np.where(seen.any(axis=-1, keepdims=True), seen, rest)
    between = rest + seen
    length = np.linalg.norm(between, axis=-1, keepdims=True)
    between /= np.maximum(length, NO_LENGTH)
    side = np.cross(rest, np.eye(3)[np.abs(rest).argmin()])
    turn = np.column_stack([np.cross(rest, between), between @ rest])
    return Rotation.from_quat(np.where(length > NO_LENGTH, turn, [*side, 0.0]))


def _nearest_rotation(matrices: np.ndarray) -> Rotation:
    """The nearest rotations to matrices [T,3,3]."""
    from scipy.spatial.transform import Rotation

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
