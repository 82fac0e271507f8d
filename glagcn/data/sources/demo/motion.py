"""Synthetic motion: people who walk, crouch, sit, lie and wave.  Joint angle curves and forward kinematics.

World and body frames: x to the left of the person, y up, z forward; metres and radians (degrees in the tables).  The
right side is the mirror image of the left.
"""

from dataclasses import dataclass

import numpy as np

from glagcn.skeleton import get_skeleton

FPS = 25.0
JOINT = {name: number for number, name in enumerate(get_skeleton("mpi3dhp17").joints)}

# Offsets of the left joints in their parents' frames, with arms and legs hanging, as fractions of the stature.
OFFSETS = {
    "spine": (0, 0.060, 0), "neck": (0, 0.235, -0.01), "head": (0, 0.075, 0.025), "head_top": (0, 0.160, 0.01),
    "shoulder": (0.105, -0.015, 0), "elbow": (0, -0.172, 0), "wrist": (0, -0.150, 0),
    "hip": (0.056, -0.020, 0), "knee": (0, -0.240, 0), "ankle": (0, -0.240, 0),
}  # fmt: skip
# Height of the lowest joint above the floor as a fraction of the stature: the ankle is above the sole.
CLEARANCE = 0.045

# Limits of the angles in degrees.  Knees and elbows bend in one direction only.
LIMITS = {
    "lean": (-90, 60), "sway": (-15, 15),  # pelvis: forward, to the right
    "bend": (-20, 60), "side": (-25, 25), "twist": (-40, 40),  # chest against pelvis
    "nod": (-30, 40), "tilt": (-25, 25), "look": (-60, 60),  # head against chest
    "arm_swing": (-45, 170), "arm_raise": (-5, 95), "arm_twist": (-30, 80), "elbow": (5, 145),  # forward, out, in
    "leg_swing": (-25, 115), "leg_spread": (-5, 40), "leg_twist": (-30, 30), "knee": (3, 140),
}  # fmt: skip
SIDED = ("arm_swing", "arm_raise", "arm_twist", "elbow", "leg_swing", "leg_spread", "leg_twist", "knee")

# (centre, spread) of every angle at rest, then the changes for each activity of MPI-INF-3DHP (1 to 7).  Two more
# quantities are in [0, 1]: "crouch" bends hips, knees and back together, "gait" is the amount of walking.
AT_EASE = {
    "lean": (3, 3), "sway": (0, 4), "bend": (4, 5), "side": (0, 6), "twist": (0, 12),
    "nod": (5, 10), "tilt": (0, 6), "look": (0, 25),
    "arm_swing": (5, 15), "arm_raise": (10, 8), "arm_twist": (20, 25), "elbow": (25, 18),
    "leg_swing": (3, 4), "leg_spread": (4, 3), "leg_twist": (-8, 6), "knee": (8, 5),
    "crouch": (0, 0), "gait": (0, 0),
}  # fmt: skip
ACTIVITIES = (
    {"gait": (0.8, 0.2)},
    {"arm_swing": (50, 60), "arm_raise": (40, 45), "elbow": (40, 40), "crouch": (0.3, 0.3), "bend": (8, 18),
     "side": (0, 18), "leg_spread": (12, 10)},
    {"leg_swing": (85, 8), "knee": (85, 12), "leg_spread": (8, 8), "bend": (8, 12), "arm_swing": (30, 25),
     "elbow": (60, 35)},
    {"crouch": (0.45, 0.45), "bend": (20, 15), "arm_swing": (70, 50), "elbow": (30, 25), "leg_spread": (10, 8)},
    {"lean": (-74, 10), "leg_swing": (45, 30), "knee": (60, 40), "arm_swing": (15, 30), "arm_raise": (40, 30),
     "nod": (15, 12)},
    {"gait": (0.4, 0.2), "twist": (0, 35), "arm_swing": (40, 70), "arm_raise": (30, 35), "elbow": (50, 45),
     "crouch": (0.2, 0.2), "leg_swing": (8, 15)},
    {"arm_swing": (30, 35), "arm_raise": (20, 20), "arm_twist": (30, 35), "elbow": (75, 45), "look": (0, 45),
     "twist": (0, 25)},
)  # fmt: skip
SEGMENTS = 3  # consecutive activities of a sequence
BLEND_SECONDS = 1.2

STRIDES_PER_SECOND = 0.95
WALKING_SPEED = 1.1  # m/s
WALKING_RADIUS = 0.8  # m: people walk in circles and so stay in the image

Angles = dict[str, np.ndarray]


@dataclass(frozen=True)
class Person:
    """A body: stature and joint offsets (see `OFFSETS`) with individual proportions, metres."""

    stature: float
    offsets: dict[str, np.ndarray]


def draw_person(rng: np.random.Generator) -> Person:
    """A random person of 1.55 to 1.92 m, with each bone up to 8 % longer or shorter than the average."""
    stature = rng.uniform(1.55, 1.92)
    offsets = {name: np.array(share) * stature * rng.uniform(0.92, 1.08) for name, share in OFFSETS.items()}
    return Person(stature, offsets)


def draw_motion(rng: np.random.Generator, person: Person, number: int, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Sequence `number` of a person: joints [T,17,3] in metres, world frame, floor at y = 0; and activities [T] uint8.

    The number determines the activities; three consecutive sequences show all seven.
    """
    order = [(SEGMENTS * number + segment) % len(ACTIVITIES) for segment in range(SEGMENTS)]
    weights = _activity_weights(order, frames)
    angles = _draw_angles(rng, weights)
    joints = pose(person, angles)
    joints[..., 1] += CLEARANCE * person.stature - joints[..., 1].min(axis=1, keepdims=True)
    joints[..., [0, 2]] += WALKING_RADIUS * _heading(angles["path"])[:, None, [0, 2]]
    return joints, (weights.argmax(axis=1) + 1).astype(np.uint8)


def pose(person: Person, angles: Angles) -> np.ndarray:
    """Forward kinematics: joints [T,17,3] in metres, pelvis at the origin, from angles [T] in radians."""
    joints = np.zeros((len(angles["yaw"]), len(JOINT), 3))
    pelvis = _turn("y", angles["yaw"]) @ _turn("x", angles["lean"]) @ _turn("z", angles["sway"])
    chest = pelvis @ _turn("y", angles["twist"]) @ _turn("x", angles["bend"]) @ _turn("z", angles["side"])
    head = chest @ _turn("y", angles["look"]) @ _turn("x", angles["nod"]) @ _turn("z", angles["tilt"])

    def attach(child: str, parent: str, frame: np.ndarray, mirror: float = 1.0) -> None:
        offset = person.offsets[child.removeprefix("left_").removeprefix("right_")] * [mirror, 1, 1]
        joints[:, JOINT[child]] = joints[:, JOINT[parent]] + frame @ offset

    attach("spine", "pelvis", pelvis)
    attach("neck", "spine", chest)
    attach("head", "neck", head)
    attach("head_top", "neck", head)
    for side, mirror in (("left", 1.0), ("right", -1.0)):
        upper_arm = chest @ _ball(angles, side, mirror, ("arm_swing", "arm_raise", "arm_twist"))
        forearm = upper_arm @ _turn("x", -angles[f"{side}_elbow"])
        thigh = pelvis @ _ball(angles, side, mirror, ("leg_swing", "leg_spread", "leg_twist"))
        shin = thigh @ _turn("x", angles[f"{side}_knee"])
        attach(f"{side}_shoulder", "neck", chest, mirror)
        attach(f"{side}_elbow", f"{side}_shoulder", upper_arm)
        attach(f"{side}_wrist", f"{side}_elbow", forearm)
        attach(f"{side}_hip", "pelvis", pelvis, mirror)
        attach(f"{side}_knee", f"{side}_hip", thigh)
        attach(f"{side}_ankle", f"{side}_knee", shin)
    return joints


def _draw_angles(rng: np.random.Generator, weights: np.ndarray) -> Angles:
    """Random angle curves [T] in radians, within LIMITS, for activities with weights [T,7]."""
    frames = len(weights)

    def curve(name: str, wave: np.ndarray) -> np.ndarray:
        table = np.array([changes.get(name, AT_EASE[name]) for changes in ACTIVITIES], dtype=np.float64)
        centre, spread = (weights @ table).T
        return centre + spread * wave

    crouch, gait = (np.clip(curve(name, _wave(rng, frames)), 0, 1) for name in ("crouch", "gait"))
    degrees = {name: curve(name, _wave(rng, frames)) for name in LIMITS if name not in SIDED}
    for name in SIDED:
        common = _wave(rng, frames)
        for side in ("left", "right"):
            degrees[f"{side}_{name}"] = curve(name, (common + _wave(rng, frames)) / 2)
    _add_crouch(degrees, crouch)
    _add_gait(degrees, gait, rng.uniform(0, 2 * np.pi) + _time(frames) * 2 * np.pi * STRIDES_PER_SECOND)

    angles = {name: np.radians(np.clip(values, *_limits(name))) for name, values in degrees.items()}
    angles["path"] = rng.uniform(0, 2 * np.pi) + np.cumsum(gait) * WALKING_SPEED / WALKING_RADIUS / FPS
    turn = np.radians(80) * (1 - 0.8 * gait) * _wave(rng, frames, fastest=0.3)
    angles["yaw"] = angles["path"] + np.pi / 2 + turn  # along the circle
    return angles


def _add_crouch(degrees: Angles, crouch: np.ndarray) -> None:
    degrees["lean"] = degrees["lean"] + 12 * crouch
    degrees["bend"] = degrees["bend"] + 20 * crouch
    for side in ("left", "right"):
        degrees[f"{side}_leg_swing"] = degrees[f"{side}_leg_swing"] + 95 * crouch
        degrees[f"{side}_knee"] = degrees[f"{side}_knee"] + 120 * crouch


def _add_gait(degrees: Angles, gait: np.ndarray, phase: np.ndarray) -> None:
    """Add leg swings, with bent knees forward and straight ones back, and opposite arm swings."""
    for side, lag in (("left", 0.0), ("right", np.pi)):
        swing = np.sin(phase + lag)
        lift = np.maximum(np.cos(phase + lag + 0.4), 0) ** 2
        degrees[f"{side}_leg_swing"] = degrees[f"{side}_leg_swing"] + gait * (4 + 27 * swing)
        degrees[f"{side}_knee"] = degrees[f"{side}_knee"] + gait * 52 * lift
        degrees[f"{side}_arm_swing"] = degrees[f"{side}_arm_swing"] - gait * 24 * swing


def _activity_weights(order: list[int], frames: int) -> np.ndarray:
    """Weights [T,7] whose rows sum to 1: the activities in order, equally long, with smooth transitions."""
    weights = np.zeros((frames, len(ACTIVITIES)))
    started = np.ones(frames)
    for segment, activity in enumerate(order):
        border = frames / FPS * (segment + 1) / len(order)
        share = np.clip((_time(frames) - border) / BLEND_SECONDS + 0.5, 0, 1)
        ends = share**2 * (3 - 2 * share) if segment + 1 < len(order) else np.zeros(frames)
        weights[:, activity] += started - ends
        started = ends
    return weights


def _wave(rng: np.random.Generator, frames: int, fastest: float = 0.7) -> np.ndarray:
    """[T] in [-1, 1]: a sum of three sinusoids with frequencies of 0.1 Hz to `fastest`."""
    shares = rng.uniform(0.3, 1, size=3)
    speeds, phases = rng.uniform(0.1, fastest, size=3), rng.uniform(0, 1, size=3)
    turns = _time(frames)[:, None] * speeds + phases
    return np.sin(2 * np.pi * turns) @ (shares / shares.sum())


def _time(frames: int) -> np.ndarray:
    return np.arange(frames) / FPS


def _limits(name: str) -> tuple[float, float]:
    return LIMITS[name.removeprefix("left_").removeprefix("right_")]


def _ball(angles: Angles, side: str, mirror: float, names: tuple[str, str, str]) -> np.ndarray:
    """The rotation [T,3,3] of a shoulder or hip: swing forward, raise outward, twist inward."""
    swing, spread, twist = (angles[f"{side}_{name}"] for name in names)
    return _turn("x", -swing) @ _turn("z", mirror * spread) @ _turn("y", -mirror * twist)


def _turn(axis: str, angle: np.ndarray) -> np.ndarray:
    """Rotations [T,3,3] by the right-hand rule."""
    first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrices = np.tile(np.eye(3), (len(angle), 1, 1))
    matrices[:, first, first] = matrices[:, second, second] = np.cos(angle)
    matrices[:, second, first] = np.sin(angle)
    matrices[:, first, second] = -np.sin(angle)
    return matrices


def _heading(angle: np.ndarray) -> np.ndarray:
    """[T,3]: the forward unit vector, rotated by `angle` about the vertical."""
    return np.stack([np.sin(angle), np.zeros_like(angle), np.cos(angle)], axis=-1)
