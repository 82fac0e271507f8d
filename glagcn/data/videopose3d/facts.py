"""Human3.6M and HumanEva-I in VideoPose3D's files: subjects, joints, frame rates, and names of 2D sources."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Facts:
    """Facts about one data set."""

    title: str  # name in text
    subjects: dict[str, tuple[str, ...]]  # {"train": ..., "test": ...}, the usual split
    fps: float
    joints: int  # in the 3D file
    kept: tuple[int, ...]  # the joints of the 3D file that the skeleton uses, in its order
    drops_nan: bool  # leave out takes with NaN in their 3D, a known flaw of this data set, instead of raising an error
    skeletons: dict[str, str]  # {2D source: skeleton} for 2D sources with a known name
    by_joints: dict[int, str]  # {number of 2D joints: skeleton} for other 2D sources
    example: str  # a 2D source, for messages


FACTS = {
    "h36m": Facts(
        title="Human3.6M",
        subjects={"train": ("S1", "S5", "S6", "S7", "S8"), "test": ("S9", "S11")},
        fps=50.0,
        joints=32,
        # Without feet (4, 5, 9, 10), duplicates (11, 16) and hands (20-24, 28-31), the joints are "h36m17" in order.
        kept=(0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27),
        drops_nan=False,
        skeletons={},
        by_joints={17: "h36m17"},
        example="cpn_ft_h36m_dbb",
    ),
    "humaneva15": Facts(
        title="HumanEva-I",
        subjects={
            "train": ("Train/S1", "Train/S2", "Train/S3"),
            "test": ("Validate/S1", "Validate/S2", "Validate/S3"),
        },
        fps=60.0,
        joints=15,
        kept=tuple(range(15)),
        drops_nan=True,
        skeletons={"gt": "humaneva15", "detectron_pt_coco": "humaneva15_coco17"},
        by_joints={15: "humaneva15", 17: "humaneva15_coco17"},
        example="detectron_pt_coco",
    ),
}
DATASETS_PAGE = "https://github.com/facebookresearch/VideoPose3D/blob/main/DATASETS.md"


def skeleton_name(dataset: str, keypoints: str) -> str | None:
    """The skeleton of a data set with a 2D source; None if only the metadata of the 2D file define it."""
    facts = FACTS[dataset]
    only = set(facts.by_joints.values())
    return only.pop() if len(only) == 1 else facts.skeletons.get(keypoints)
