"""New motion from recorded motion, for `--dataset people`: other bodies, and poses that the recordings lack.

The recordings hold 20 minutes of 14 people, nobody on the floor, and skeletons that were fitted to markers with short
trunks: 0.51 to 0.64 of the legs, where adults have about 0.59 (Winter, "Biomechanics and motor control of human
movement", 2009, figure 4.1) and detectors, many of whose hips are lower, find up to 0.69.  A network that expects a
short trunk takes a long one for a person who leans, and one that expects long shins sees bent knees.  Here the legs of
a trial are joined to the upper body of another, with proportions drawn for each take; some of these people bend
forward, some crouch, and a few lie.  Each part moves as it was recorded; balance, and feet that stay where they are,
are lost.
"""

from itertools import pairwise

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from glagcn.skeletons import get_skeleton

# Mean and standard deviation of lengths, in parts of the leg's.
TRUNK, HIPS, THIGH = (0.61, 0.06), (0.225, 0.04), (0.507, 0.016)
UPPER_ARM, FOREARM = (0.36, 0.018), (0.32, 0.016)
# Of the takes, how many; the largest angle in degrees, and how much of the leg the hips sink by at most.
BENDING, BEND = 0.4, (15.0, 80.0)
CROUCHING, CROUCH = 0.35, (0.1, 0.55)
LYING, LIE = 0.08, (50.0, 100.0)
SECONDS = (1.0, 4.0)  # within about which a bend or crouch comes and goes
LEG, ARM = ("hip", "knee", "ankle"), ("shoulder", "elbow", "wrist")
UP = np.array([0.0, 1.0, 0.0])


def mixed(lower: np.ndarray, upper: np.ndarray, skeleton: str, fps: float, rng: np.random.Generator) -> np.ndarray:
    """The legs of one trial and the upper body of another as one person [T,V,3], metres; T is the shorter length.

    lower, upper  [T,V,3] joints of a skeleton in the world's axes (glagcn.data.mocap.motion), metres.  The same array
                  twice: the trial as it was recorded, with other proportions only.
    """
    recorded = lower is upper
    frames = min(len(lower), len(upper))
    begins = [rng.integers(len(part) - frames + 1) for part in (lower, upper)]
    legs, trunk = (part[begin : begin + frames].copy() for part, begin in zip((lower, upper), begins, strict=True))
    names = get_skeleton(skeleton).joints
    at = {name: place for place, name in enumerate(names)}
    above = [place for place, name in enumerate(names) if name != "pelvis" and name.partition("_")[2] not in LEG]

    # The upper body about the middle of the hips, of the size of these legs, and facing as they do.
    leg = _leg(legs, at)
    trunk = (trunk - trunk[:, at["pelvis"], None]) * (leg / _leg(trunk, at))
    trunk = _spun(trunk, UP[None], _heading(legs, at) - _heading(trunk, at))
    if not recorded and rng.random() < BENDING:
        angle = np.radians(rng.uniform(*BEND)) * _now_and_then(frames, fps, rng)
        trunk = _spun(trunk, _across(legs, at), angle)
    _give_proportions(legs, trunk, at, leg, rng)
    if not recorded and rng.random() < CROUCHING:
        _crouch(legs, at, _now_and_then(frames, fps, rng) * rng.uniform(*CROUCH) * leg)
    person = legs
    person[:, above] = legs[:, at["pelvis"], None] + trunk[:, above]
    if not recorded and rng.random() < LYING:
        root, direction = person[:, at["pelvis"], None], rng.uniform(0, 2 * np.pi)
        axis = np.array([[np.cos(direction), 0, np.sin(direction)]])
        person = root + _spun(person - root, axis, np.full(frames, np.radians(rng.uniform(*LIE))))
        person[..., 1] -= person[..., 1].min()
    _move_knees(person, at, rng.normal(*THIGH))
    return person


def _give_proportions(
    legs: np.ndarray, trunk: np.ndarray, at: dict[str, int], leg: float, rng: np.random.Generator
) -> None:
    """Change the lengths of trunk, hips and arms of poses [T,V,3], in place, and move what hangs on them."""
    shoulders = (trunk[:, at["left_shoulder"]] + trunk[:, at["right_shoulder"]]) / 2
    longer = np.clip(rng.normal(*TRUNK) * leg / np.linalg.norm(shoulders, axis=-1).mean(), 0.8, 1.4)
    hips = np.linalg.norm(legs[0, at["left_hip"]] - legs[0, at["right_hip"]])
    wider = np.clip(rng.normal(*HIPS) * leg / hips, 0.8, 1.5)
    higher, spine = (longer - 1) * trunk[:, at["neck"]], trunk[:, at["spine"]] * longer
    trunk += higher[:, None]
    trunk[:, at["spine"]] = spine
    lengths = [leg * rng.normal(*length) for length in (UPPER_ARM, FOREARM)]
    recorded = [np.linalg.norm(trunk[0, at[f"left_{b}"]] - trunk[0, at[f"left_{a}"]]) for a, b in pairwise(ARM)]
    for side in ("left", "right"):
        _stretch(trunk, [at[f"{side}_{joint}"] for joint in ARM], lengths[0] / recorded[0], lengths[1] / recorded[1])
        aside = (wider - 1) * (legs[:, at[f"{side}_hip"]] - legs[:, at["pelvis"]])
        legs[:, [at[f"{side}_{joint}"] for joint in LEG]] += aside[:, None]


def _move_knees(person: np.ndarray, at: dict[str, int], thigh: float) -> None:
    """Make the thighs of poses [T,V,3] this part of the legs, in place; thighs and shins keep their directions."""
    for side in ("left", "right"):
        limb = [at[f"{side}_{joint}"] for joint in LEG]
        hip, knee, ankle = (person[:, joint] for joint in limb)
        upper, lower = (np.linalg.norm(end - knee, axis=-1, keepdims=True) for end in (hip, ankle))
        _stretch(person, limb, thigh * (upper + lower) / upper, (1 - thigh) * (upper + lower) / lower)


def _stretch(
    poses: np.ndarray, limb: list[int], first: np.ndarray | np.floating, second: np.ndarray | np.floating
) -> None:
    """Multiply the lengths of the two bones of a limb of poses [T,V,3], in place; they keep their directions."""
    begin, middle, end = (poses[:, joint].copy() for joint in limb)
    poses[:, limb[1]] = begin + (middle - begin) * first
    poses[:, limb[2]] = poses[:, limb[1]] + (end - middle) * second


def _crouch(legs: np.ndarray, at: dict[str, int], drop: np.ndarray) -> None:
    """Lower the hips of poses [T,V,3] by drop [T] metres, in place; the knees bend, mostly to the front."""
    forward = np.cross(_across(legs, at), UP)
    for side in ("left", "right"):
        hip, knee, ankle = (legs[:, at[f"{side}_{joint}"]] for joint in LEG)
        thigh, shin = (np.linalg.norm(end - knee, axis=-1, keepdims=True) for end in (hip, ankle))
        lower = hip - drop[:, None] * UP
        line = ankle - lower
        length = np.linalg.norm(line, axis=-1, keepdims=True).clip(1e-6)
        line /= length
        # The ankle follows where the leg is too short or too long to reach it.
        length = length.clip(0.35 * (thigh + shin), 0.999 * (thigh + shin))
        pole = knee - (hip + ankle) / 2 + 0.3 * forward
        pole -= line * (pole * line).sum(axis=-1, keepdims=True)
        pole /= np.linalg.norm(pole, axis=-1, keepdims=True)
        along = ((thigh**2 - shin**2 + length**2) / (2 * length)).clip(-thigh, thigh)
        legs[:, at[f"{side}_knee"]] = lower + line * along + pole * np.sqrt((thigh**2 - along**2).clip(0))
        legs[:, at[f"{side}_hip"]], legs[:, at[f"{side}_ankle"]] = lower, lower + line * length
    legs[:, at["pelvis"]] = (legs[:, at["left_hip"]] + legs[:, at["right_hip"]]) / 2


def _leg(poses: np.ndarray, at: dict[str, int]) -> float:
    """The length of the left leg in metres."""
    hip, knee, ankle = (poses[0, at[f"left_{joint}"]] for joint in LEG)
    return float(np.linalg.norm(hip - knee) + np.linalg.norm(knee - ankle))


def _across(poses: np.ndarray, at: dict[str, int]) -> np.ndarray:
    """The horizontal directions [T,3] from the right hip to the left."""
    across = (poses[:, at["left_hip"]] - poses[:, at["right_hip"]]) * (1 - UP)
    return across / np.linalg.norm(across, axis=-1, keepdims=True)


def _heading(poses: np.ndarray, at: dict[str, int]) -> np.ndarray:
    """The angles [T] about the vertical to which the hips are turned."""
    across = _across(poses, at)
    return np.arctan2(-across[:, 2], across[:, 0])


def _spun(poses: np.ndarray, axes: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Poses [T,V,3] turned about unit axes [T,3] or [1,3] by angles [T] in radians."""
    turns = Rotation.from_rotvec(axes * angles[:, None]).as_matrix()
    return poses @ turns.swapaxes(1, 2)


def _now_and_then(frames: int, fps: float, rng: np.random.Generator) -> np.ndarray:
    """Shares [T] of 0 to 1 that come and go within SECONDS."""
    width = rng.uniform(*SECONDS) * fps / 2
    noise = gaussian_filter1d(rng.normal(size=frames), width) * np.sqrt(2 * width * np.sqrt(np.pi))
    return 0.5 + 0.5 * np.tanh(1.5 * noise)
