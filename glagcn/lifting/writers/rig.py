"""A skeleton as animation programs want it, fixed bones that turn at their joints, and the turns that make its poses.

Axes: x to the left of the person, y up, z forward; the rest pose stands with the arms out.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from glagcn.skeleton import Skeleton

ORDER = "ZXY"  # of the three turns of a joint, from its parent's axes to its own
# Where the bone that ends in a joint points at rest.  Those of the left side; the right is its mirror image.
REST_DIRECTIONS = {
    **dict.fromkeys(("spine", "thorax", "neck", "head", "head_top"), (0.0, 1.0, 0.0)),
    **dict.fromkeys(("shoulder", "elbow", "wrist", "hip"), (1.0, 0.0, 0.0)),
    **dict.fromkeys(("knee", "ankle"), (0.0, -1.0, 0.0)),
}
OTHER_DIRECTION = (0.0, 0.0, 1.0)  # toes, noses and whatever else a new skeleton has
# How much the parent's turn counts against the children's directions.  It decides where those leave a turn open: more
# than the rounding of float32 poses, far less than a direction.
PARENT_WEIGHT = 1e-5
NO_LENGTH = 1e-6  # a bone shorter than this share of the unit has no direction


@dataclass(frozen=True)
class Rig:
    """B nodes, depth first; node 0 is the root.

    names       the joints' names; "PARENT_CHILD" for the node before a child of a joint with several.
    parents     B node numbers; -1 for the root.
    joints      B: the joint of the skeleton where the node is.
    directions  [B,3] where the bone to the node points at rest;  offsets  [B,3] that times its length.

    Siblings turn independently of each other in the poses that a model predicts, which one turn of their common
    parent cannot do.  The nodes between, which have no length, make up the difference.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    joints: tuple[int, ...]
    directions: np.ndarray
    offsets: np.ndarray

    def children(self, node: int) -> list[int]:
        """The numbers of the nodes that hang on a node."""
        return [child for child, parent in enumerate(self.parents) if parent == node]


def rest_direction(joint: str) -> tuple[float, float, float]:
    """Where the bone that ends in a joint points at rest, from its name; the names of the sides count."""
    x, y, z = REST_DIRECTIONS.get(joint.removeprefix("left_").removeprefix("right_"), OTHER_DIRECTION)
    return (-x if joint.startswith("right_") else x, y, z)


def rig_for(skeleton: Skeleton, poses: np.ndarray) -> Rig:
    """The rig of a skeleton with the median length of every bone in poses [T,V,3], in their unit."""
    lengths = np.median(np.linalg.norm(poses - poses[:, skeleton.parents], axis=-1), axis=0)
    nodes: list[tuple[str, int, int, tuple[float, float, float], float]] = []

    def add(name: str, parent: int, joint: int, towards: int, length: float) -> int:
        nodes.append((name, parent, joint, rest_direction(skeleton.joints[towards]), length))
        return len(nodes) - 1

    def hang(joint: int, parent: int) -> None:
        """A joint and all below it, depth first, as BVH lists them."""
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
    """The turn of every node from its parent's axes, T each, that makes the bones point as they do in poses [T,V,3].

    A node with one bone takes the smallest turn that points it the right way, so that nothing twists about its own
    axis.  One with several takes the best turn for all (Kabsch).  A bone without length keeps to its parent's axes.
    """
    count = len(poses)
    axes: list[Rotation] = []  # of every node in space
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
    """[T,B,3] degrees about the axes of ORDER, each turning in the axes that the one before left.

    From frame to frame an angle takes the short way, beyond 180 degrees too, so that pictures between frames fit.
    """
    with warnings.catch_warnings():
        # Where the middle turn is 90 degrees the others do the same thing; SciPy warns, sets one to 0, and is right.
        warnings.filterwarnings("ignore", message="Gimbal lock", category=UserWarning)
        angles = np.stack([turn.as_euler(ORDER, degrees=True) for turn in local], axis=1)
    return np.unwrap(angles, period=360, axis=0)


def _bone_end(rig: Rig, node: int, child: int) -> int:
    """The joint at the end of the bone that a child stands for: its own, or that below a node between."""
    return rig.joints[child] if rig.joints[child] != rig.joints[node] else rig.joints[rig.children(child)[0]]


def _direction(poses: np.ndarray, start: int, end: int) -> np.ndarray:
    """[T,3] unit vectors from joint to joint; zero where they coincide."""
    bone = poses[:, end] - poses[:, start]
    length = np.linalg.norm(bone, axis=-1, keepdims=True)
    return np.where(length > NO_LENGTH, bone / np.maximum(length, NO_LENGTH), 0.0)


def _smallest_turn(rest: np.ndarray, seen: np.ndarray) -> Rotation:
    """T rotations of one unit vector [3] to unit vectors [T,3]; none where that is zero, and half a turn about any
    axis at a right angle where it is opposite."""
    seen = np.where(seen.any(axis=-1, keepdims=True), seen, rest)
    between = rest + seen
    length = np.linalg.norm(between, axis=-1, keepdims=True)
    between /= np.maximum(length, NO_LENGTH)
    side = np.cross(rest, np.eye(3)[np.abs(rest).argmin()])
    turn = np.column_stack([np.cross(rest, between), between @ rest])
    return Rotation.from_quat(np.where(length > NO_LENGTH, turn, [*side, 0.0]))


def _nearest_rotation(matrices: np.ndarray) -> Rotation:
    """The rotations nearest to matrices [T,3,3]."""
    left, _, right = np.linalg.svd(matrices)
    left[:, :, 2] *= np.linalg.det(left @ right)[:, None]
    return Rotation.from_matrix(left @ right)
