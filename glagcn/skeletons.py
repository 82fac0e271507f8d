"""Joint sets: names, parents, left/right pairs, root, and the graph of the model's convolutions.

Joint numbers are 0-based.  Caches and checkpoints store the name of a skeleton.
"""

from dataclasses import dataclass, replace

import numpy as np

from glagcn.errors import UserError


@dataclass(frozen=True)
class Skeleton:
    """A set of V joints.

    links      directed (from, to) pairs, the "inward" graph of the convolution: (child, parent) for every joint except
               the root, unless the published code differs.
    joint_map  for input with another joint set: V rows of input joints, whose mean is the joint; None if the input has
               the same V joints.
    """

    name: str  # stored in caches and checkpoints
    joints: tuple[str, ...]
    parents: tuple[int, ...]  # the root is its own parent
    left: tuple[int, ...]  # in the order of `right`
    right: tuple[int, ...]
    links: tuple[tuple[int, int], ...]
    joint_map: tuple[tuple[int, ...], ...] | None = None

    @property
    def num_joints(self) -> int:
        """V, the number of output joints."""
        return len(self.joints)

    @property
    def num_input_joints(self) -> int:
        """The number of joints of the 2D input; V without a joint map."""
        return self.num_joints if self.joint_map is None else 1 + max(max(row) for row in self.joint_map)

    @property
    def root(self) -> int:
        """The root joint, which is its own parent; poses are relative to it."""
        return next(j for j, parent in enumerate(self.parents) if j == parent)

    @property
    def mirror(self) -> list[int]:
        """The permutation of the V joints that swaps left and right."""
        order = list(range(self.num_joints))
        for left, right in zip(self.left, self.right, strict=True):
            order[left], order[right] = right, left
        return order

    @property
    def input_mirror(self) -> list[int]:
        """The permutation of the input joints that swaps left and right; equals `mirror` without a joint map.

        With a map, the input joint of each joint is swapped with that of its mirror joint.  Joints that average a left
        and a right input, and unused inputs, need no swap.
        """
        if self.joint_map is None:
            return self.mirror
        order = list(range(self.num_input_joints))
        for joint, mirrored in enumerate(self.mirror):
            if len(self.joint_map[joint]) == 1:
                order[self.joint_map[joint][0]] = self.joint_map[mirrored][0]
        return order

    def map_input(self, keypoints: np.ndarray) -> np.ndarray:
        """2D input [...,input joints,C] at the V joints: x and y are the means of joints, a confidence the least."""
        if self.joint_map is None:
            return keypoints
        rows = [keypoints[..., list(joints), :] for joints in self.joint_map]
        return np.stack(
            [np.append(row[..., :2].mean(axis=-2), row[..., 2:].min(axis=-2), axis=-1) for row in rows], axis=-2
        )

    def adjacency(self) -> np.ndarray:
        """The fixed graph A of Eq. 2: [3,V,V] float32 = (identity, inward, outward), columns sum to 1 or 0.

        A link (i, j) sets inward[j, i] = 1; outward is its transpose.  A column is a receiving joint.
        """
        v = self.num_joints
        inward = np.zeros((v, v))
        for i, j in self.links:
            inward[j, i] = 1
        graphs = np.stack([np.eye(v), inward, inward.T])
        return (graphs / np.maximum(1, graphs.sum(axis=1, keepdims=True))).astype(np.float32)


def tree_links(parents: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """The (child, parent) pairs of a tree whose root is its own parent."""
    return tuple((child, parent) for child, parent in enumerate(parents) if child != parent)


MPI3DHP_PARENTS = (1, 15, 1, 2, 3, 1, 5, 6, 14, 8, 9, 14, 11, 12, 14, 14, 1)
H36M_PARENTS = (0, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15)
HUMANEVA_PARENTS = (0, 0, 1, 2, 3, 1, 5, 6, 0, 8, 9, 0, 11, 12, 1)

# The published HumanEva graphs mix both directions, and the one for COCO input leaves two limbs unconnected.
# Published weights need these graphs; our own training uses the tree.
HUMANEVA_PUBLISHED_LINKS = (
    (1, 0), (14, 1), (0, 8), (0, 11), (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (8, 9), (9, 10),
    (11, 12), (12, 13),
)  # fmt: skip
HUMANEVA_COCO_LINKS = tuple(link for link in HUMANEVA_PUBLISHED_LINKS if link not in {(0, 8), (1, 5)})
COCO_TO_HUMANEVA = ((11, 12), (5, 6), *((j,) for j in (5, 7, 9, 6, 8, 10, 11, 13, 15, 12, 14, 16)), (0,))

HUMANEVA = Skeleton(
    name="humaneva15",
    joints=(
        "pelvis", "thorax",
        "left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow", "right_wrist",
        "left_hip", "left_knee", "left_ankle", "right_hip", "right_knee", "right_ankle",
        "head",
    ),
    parents=HUMANEVA_PARENTS,
    left=(2, 3, 4, 8, 9, 10),
    right=(5, 6, 7, 11, 12, 13),
    links=HUMANEVA_PUBLISHED_LINKS,
)  # fmt: skip

SKELETONS = {
    skeleton.name: skeleton
    for skeleton in (
        Skeleton(
            # The 17 relevant joints of MPI-INF-3DHP, with the parents of its MATLAB code (head_top's is the neck).
            name="mpi3dhp17",
            joints=(
                "head_top", "neck",
                "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
                "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
                "pelvis", "spine", "head",
            ),
            parents=MPI3DHP_PARENTS,
            left=(5, 6, 7, 11, 12, 13),
            right=(2, 3, 4, 8, 9, 10),
            links=tree_links(MPI3DHP_PARENTS),
        ),
        Skeleton(
            name="h36m17",
            joints=(
                "pelvis", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
                "spine", "thorax", "neck", "head",
                "left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow", "right_wrist",
            ),
            parents=H36M_PARENTS,
            left=(4, 5, 6, 11, 12, 13),
            right=(1, 2, 3, 14, 15, 16),
            links=tree_links(H36M_PARENTS),
        ),
        HUMANEVA,
        replace(HUMANEVA, name="humaneva15_coco17", links=HUMANEVA_COCO_LINKS, joint_map=COCO_TO_HUMANEVA),
        replace(HUMANEVA, name="humaneva15_tree", links=tree_links(HUMANEVA_PARENTS)),
    )
}  # fmt: skip


def graph_flag(skeleton: Skeleton) -> str:
    """The value of --graph for a skeleton: "h36m" as in the published script, else the skeleton's name."""
    return "h36m" if skeleton.name == "h36m17" else skeleton.name


def graph_skeleton(flag: str) -> Skeleton:
    """The skeleton for a value of --graph; the inverse of `graph_flag`."""
    return get_skeleton("h36m17" if flag == "h36m" else flag)


def get_skeleton(name: str) -> Skeleton:
    """The skeleton called `name`.  Raises UserError that lists the known names."""
    if name not in SKELETONS:
        raise UserError(f"unknown skeleton {name!r}; must be one of {', '.join(SKELETONS)}")
    return SKELETONS[name]
