"""What is known about Human3.6M and HumanEva-I in VideoPose3D's files: subjects, joints, rates, 2D sources."""

import re
from dataclasses import dataclass

from glagcn.errors import UserError
from glagcn.skeleton import Skeleton, get_skeleton


@dataclass(frozen=True)
class DataSetFacts:
    """One data set.

    title            its name in prose.
    subjects         {"train": ..., "test": ...}, as everyone splits it.
    fps              frames per second.
    joints           of the poses in the 3D file, and
    kept             which of them the skeleton has, in its order.
    drops_nan        whether takes with NaN in their 3D are a known flaw, to be left out, and no damage.
    """

    title: str
    subjects: dict[str, tuple[str, ...]]
    fps: float
    joints: int
    kept: tuple[int, ...]
    drops_nan: bool


FACTS = {
    "h36m": DataSetFacts(
        title="Human3.6M",
        subjects={"train": ("S1", "S5", "S6", "S7", "S8"), "test": ("S9", "S11")},
        fps=50.0,
        joints=32,
        # Without 4, 5, 9, 10 (feet), 11, 16 (doubles), 20-24 and 28-31 (hands): what is left is "h36m17" in order.
        kept=(0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27),
        drops_nan=False,
    ),
    "humaneva15": DataSetFacts(
        title="HumanEva-I",
        subjects={
            "train": ("Train/S1", "Train/S2", "Train/S3"),
            "test": ("Validate/S1", "Validate/S2", "Validate/S3"),
        },
        fps=60.0,
        joints=15,
        kept=tuple(range(15)),
        drops_nan=True,
    ),
}
DATASETS_PAGE = "https://github.com/facebookresearch/VideoPose3D/blob/main/DATASETS.md"

# 2D sources whose joints are known by their name.
HUMANEVA_SKELETONS = {"gt": "humaneva15", "detectron_pt_coco": "humaneva15_coco17"}
HUMANEVA_BY_JOINTS = {15: "humaneva15", 17: "humaneva15_coco17"}

# The 17 joints of COCO: the nose, then left and right in turn.
COCO_LEFT, COCO_RIGHT = tuple(range(1, 17, 2)), tuple(range(2, 17, 2))


def skeleton_name(dataset: str, keypoints: str) -> str | None:
    """The skeleton of a data set with a 2D source, known without reading a file; None where the file must tell."""
    return "h36m17" if dataset == "h36m" else HUMANEVA_SKELETONS.get(keypoints)


def skeleton_of(dataset: str, keypoints: str) -> Skeleton | None:
    """The skeleton of any data set with a 2D source, where it is known without reading a file."""
    name = skeleton_name(dataset, keypoints) if dataset in FACTS else "mpi3dhp17"
    return get_skeleton(name) if name else None


def sides_of_input(skeleton: str) -> tuple[set[int], set[int]]:
    """The left and the right joints of the 2D that a skeleton is fed."""
    if skeleton == "humaneva15_coco17":
        return set(COCO_LEFT), set(COCO_RIGHT)
    return set(get_skeleton(skeleton).left), set(get_skeleton(skeleton).right)


def file_names(dataset: str, keypoints: str) -> tuple[str, str]:
    """The names of the 3D and the 2D file.  Raises UserError for a 2D source that can be no part of a file name."""
    if not re.fullmatch(r"\w[\w.-]*", keypoints, re.ASCII):
        raise UserError(
            f"--keypoints {keypoints!r}: expected NAME of a file data_2d_{dataset}_NAME.npz, such as gt or "
            + ("cpn_ft_h36m_dbb" if dataset == "h36m" else "detectron_pt_coco")
        )
    return f"data_3d_{dataset}.npz", f"data_2d_{dataset}_{keypoints}.npz"
