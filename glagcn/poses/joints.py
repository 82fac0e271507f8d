"""Joint orders of 2D detectors and data sets, and how each gives the joints that a model reads.

The same name is not the same point everywhere: Human3.6M's "head" is the top of the head, MPI-INF-3DHP's is not.
A convention therefore has its own names and, beside them, what each joint is in common words (`anatomy`): "neck" is
the middle of the shoulders, "head" the middle of the head at the height of the nose, "head_top" its top.
"""

from dataclasses import dataclass

import numpy as np

from glagcn.errors import UserError
from glagcn.skeletons import SKELETONS, Skeleton


@dataclass(frozen=True)
class JointMap:
    """How J joints give the V input joints of a skeleton.

    convention, skeleton  their names.
    weights       V rows of {source joint: weight}; the weights of a row sum to 1.
    approximated  the target joints, by the skeleton's names, that the convention does not have as such.
    """

    convention: str
    skeleton: str
    weights: tuple[dict[int, float], ...]
    approximated: tuple[str, ...]

    def apply(self, keypoints: np.ndarray) -> np.ndarray:
        """[...,J,3] (x, y, confidence) to [...,V,3] of the same type.

        The confidence of a joint is the smallest of its sources: where one is missing (0), so is the joint, at (0, 0).
        """
        given = np.where(keypoints[..., 2:] > 0, keypoints, 0)
        mapped = np.empty((*keypoints.shape[:-2], len(self.weights), 3), keypoints.dtype)
        for joint, row in enumerate(self.weights):
            sources = list(row)
            mapped[..., joint, 2] = given[..., sources, 2].min(axis=-1)
            mapped[..., joint, :2] = np.einsum("...sc,s->...c", given[..., sources, :2], list(row.values()))
        return np.where(mapped[..., 2:] > 0, mapped, 0)


@dataclass(frozen=True)
class Convention:
    """A joint order.

    name     what --joints calls it; ends in the number of joints.
    title    whose it is, for messages.
    joints   J names, in order.
    anatomy  J names in the common words, where they differ from `joints`; else empty.
    """

    name: str
    title: str
    joints: tuple[str, ...]
    anatomy: tuple[str, ...] = ()

    @property
    def points(self) -> tuple[str, ...]:
        """What the joints are, in common words."""
        return self.anatomy or self.joints

    def map_to(self, skeleton: Skeleton) -> JointMap:
        """The map to the input joints of a skeleton.  Raises UserError where a joint cannot be made of these."""
        target = input_convention(skeleton)
        places = {point: place for place, point in enumerate(self.points)}
        rows, approximated = [], []
        for joint, point in zip(target.joints, target.points, strict=True):
            row = _combination(point, places, frozenset())
            if row is None:
                raise UserError(
                    f"joints {self.name} ({self.title}) have nothing to make the {joint} of {skeleton.name} of; "
                    "give the joints that the model reads"
                )
            rows.append(row)
            if point not in places:
                approximated.append(joint)
        return JointMap(self.name, skeleton.name, tuple(rows), tuple(approximated))


# What a joint is made of where a convention lacks it: the first row whose parts it has, or can make.  The middle of the
# shoulders to the nose is four sevenths of the way to the top of the head, upright and seen from any side.
RECIPES: dict[str, tuple[dict[str, float], ...]] = {
    "pelvis": ({"left_hip": 0.5, "right_hip": 0.5},),
    "neck": ({"left_shoulder": 0.5, "right_shoulder": 0.5},),
    "spine": ({"pelvis": 0.5, "neck": 0.5},),
    "head": ({"nose": 1.0}, {"head_top": 4 / 7, "neck": 3 / 7}),
    "head_top": ({"head": 7 / 4, "neck": -3 / 4},),
    "nose": ({"head": 1.0},),
    **{f"{side}_{part}": ({"nose": 1.0},) for side in ("left", "right") for part in ("eye", "ear")},
}


def _combination(point: str, places: dict[str, int], being_made: frozenset[str]) -> dict[int, float] | None:
    """The joints and weights that give a point; None where the recipes lead nowhere (or back to `being_made`)."""
    if point in places:
        return {places[point]: 1.0}
    if point in being_made:
        return None
    for recipe in RECIPES.get(point, ()):
        total: dict[int, float] = {}
        for part, share in recipe.items():
            found = _combination(part, places, being_made | {point})
            if found is None:
                break
            for joint, weight in found.items():
                total[joint] = total.get(joint, 0.0) + share * weight
        else:
            return total
    return None


def both_sides(*parts: str, first: str = "left") -> tuple[str, ...]:
    """Both sides of every part in turn."""
    second = "right" if first == "left" else "left"
    return tuple(f"{side}_{part}" for part in parts for side in (first, second))


def _limbs(*parts: str, first: str = "left") -> tuple[str, ...]:
    """All parts of one side, then those of the other."""
    second = "right" if first == "left" else "left"
    return tuple(f"{side}_{part}" for side in (first, second) for part in parts)


ARM, LEG, FOOT = ("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle"), ("big_toe", "small_toe", "heel")
COCO17 = ("nose", *both_sides("eye", "ear", *ARM, *LEG))
FACE_AND_HANDS = (
    *(f"face_{number}" for number in range(68)),
    *_limbs(*(f"hand_{number}" for number in range(21))),
)
HALPE26 = (*COCO17, "head", "neck", "hip", *both_sides(*FOOT))
HALPE26_ANATOMY = (*COCO17, "head_top", "neck", "pelvis", *both_sides(*FOOT))
OPENPOSE_UPPER = ("nose", "neck", *_limbs(*ARM, first="right"))
OPENPOSE_FACE = both_sides("eye", "ear", first="right")
OPENPOSE_LOWER = _limbs(*LEG, first="right")
OPENPOSE_END = (*OPENPOSE_LOWER, *OPENPOSE_FACE, *_limbs(*FOOT))
MPI15 = (*OPENPOSE_UPPER[1:], *OPENPOSE_LOWER)
KINECT_LIMBS = (*_limbs(*ARM, "hand"), *_limbs(*LEG, "foot"))
KINECT_HANDS = _limbs("hand_tip", "thumb")
MEDIAPIPE33 = (
    "nose", *_limbs("eye_inner", "eye", "eye_outer"), *both_sides("ear"), "mouth_left", "mouth_right",
    *both_sides(*ARM, "pinky", "index", "thumb", *LEG, "heel", "foot_index"),
)  # fmt: skip
H36M_POINTS = {"thorax": "neck", "neck": "head", "head": "head_top"}


def _of_skeleton(name: str, title: str, points: dict[str, str]) -> Convention:
    joints = SKELETONS[name].joints
    return Convention(name, title, joints, tuple(points.get(joint, joint) for joint in joints))


CONVENTIONS = {
    convention.name: convention
    for convention in (
        Convention("coco17", "COCO", COCO17),
        Convention("coco_wholebody133", "COCO-WholeBody", (*COCO17, *_limbs(*FOOT), *FACE_AND_HANDS)),
        Convention("halpe26", "Halpe, body", HALPE26, HALPE26_ANATOMY),
        Convention("halpe136", "Halpe, full body", (*HALPE26, *FACE_AND_HANDS), (*HALPE26_ANATOMY, *FACE_AND_HANDS)),
        Convention("openpose_body25", "OpenPose BODY_25",
                   (*OPENPOSE_UPPER, "mid_hip", *OPENPOSE_END), (*OPENPOSE_UPPER, "pelvis", *OPENPOSE_END)),
        Convention("openpose_body25b", "OpenPose BODY_25B", (*COCO17, "upper_neck", "head_top", *_limbs(*FOOT))),
        Convention("kinect25", "Kinect, NTU RGB+D",
                   ("spine_base", "spine_mid", "neck", "head", *KINECT_LIMBS, "spine_shoulder", *KINECT_HANDS),
                   ("pelvis", "spine", "upper_neck", "head", *KINECT_LIMBS, "neck", *KINECT_HANDS)),
        Convention("openpose_mpi15", "OpenPose MPI",
                   ("head", *MPI15, "chest"), ("head_top", "upper_neck", *MPI15[1:], "chest")),
        Convention("openpose_coco18", "OpenPose COCO", (*OPENPOSE_UPPER, *OPENPOSE_LOWER, *OPENPOSE_FACE)),
        Convention("coco_neck18", "COCO and the neck", (*COCO17, "neck")),
        Convention("mediapipe33", "MediaPipe Pose", MEDIAPIPE33),
        _of_skeleton("h36m17", "Human3.6M", H36M_POINTS),
        _of_skeleton("mpi3dhp17", "MPI-INF-3DHP", {}),
        _of_skeleton("humaneva15", "HumanEva-I", {"thorax": "neck"}),
    )
}  # fmt: skip

# Somebody who stands, by the common words of joints: in metres, x to the left, y up, z forward; the right side mirrors
# the left.
STANDING = {
    "head_top": (0, 1.75, 0), "head": (0, 1.60, 0.03), "nose": (0, 1.60, 0.12), "upper_neck": (0, 1.52, 0.02),
    "neck": (0, 1.45, 0), "spine": (0, 1.20, 0), "chest": (0, 1.25, 0.02), "pelvis": (0, 0.95, 0),
    "left_eye": (0.03, 1.64, 0.10),
    "left_eye_inner": (0.02, 1.64, 0.11), "left_eye_outer": (0.05, 1.64, 0.09), "left_ear": (0.075, 1.61, 0),
    "mouth_left": (0.02, 1.56, 0.11), "mouth_right": (-0.02, 1.56, 0.11), "left_shoulder": (0.18, 1.43, 0),
    "left_elbow": (0.28, 1.17, 0), "left_wrist": (0.30, 0.95, 0.08), "left_hand": (0.30, 0.88, 0.12),
    "left_hand_tip": (0.30, 0.80, 0.13), "left_index": (0.30, 0.86, 0.13), "left_pinky": (0.31, 0.87, 0.10),
    "left_thumb": (0.27, 0.88, 0.14), "left_hip": (0.11, 0.93, 0), "left_knee": (0.12, 0.50, 0.03),
    "left_ankle": (0.12, 0.09, 0), "left_heel": (0.12, 0.03, -0.05), "left_foot": (0.13, 0.03, 0.12),
    "left_big_toe": (0.12, 0.02, 0.18), "left_foot_index": (0.12, 0.02, 0.17), "left_small_toe": (0.18, 0.02, 0.14),
}  # fmt: skip
STANDING |= {f"right{point[4:]}": (-x, y, z) for point, (x, y, z) in STANDING.items() if point.startswith("left")}

# Skeletons whose input is not, or not by its name, their own joints.
INPUTS = {"humaneva15_tree": "humaneva15", "humaneva15_coco17": "coco17"}


def get_convention(name: str) -> Convention:
    """The convention called `name`.  Raises UserError naming the choices."""
    if name not in CONVENTIONS:
        raise UserError(f"unknown joints {name!r}; must be one of {', '.join(CONVENTIONS)}")
    return CONVENTIONS[name]


def conventions_of(joints: int) -> list[Convention]:
    """The conventions with so many joints, the usual one of detectors first."""
    return [convention for convention in CONVENTIONS.values() if len(convention.joints) == joints]


def own_points(skeleton: Skeleton) -> tuple[str, ...]:
    """What the V joints of a skeleton are, in common words; their own names where it is not known here."""
    known = (order.points for order in CONVENTIONS.values() if order.joints == skeleton.joints)
    return next(known, skeleton.joints)


def input_convention(skeleton: Skeleton) -> Convention:
    """The joints that models of a skeleton are fed; for one that is not known here, its own by their names."""
    name = INPUTS.get(skeleton.name, skeleton.name)
    if name in CONVENTIONS:
        return CONVENTIONS[name]
    unknown = tuple(f"input joint {number}" for number in range(skeleton.num_input_joints))
    return Convention(skeleton.name, skeleton.name, unknown if skeleton.joint_map else skeleton.joints)
