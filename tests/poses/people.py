"""Lifted people whose truth is known, and a reader of BVH that knows nothing of the writer."""

import numpy as np

from glagcn.poses.result import Poses
from glagcn.skeletons import Skeleton, get_skeleton


def order(skeleton: Skeleton) -> list[int]:
    """The joints, parents first."""
    found = [skeleton.root]
    for joint in found:
        found += [child for child, parent in enumerate(skeleton.parents) if parent == joint != child]
    return found


def from_directions(skeleton: Skeleton, directions: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Poses [T,V,3] relative to the root whose bones point along directions [T,V,3] and have lengths [V]."""
    bones = directions / np.linalg.norm(directions, axis=-1, keepdims=True) * lengths[:, None]
    poses = np.zeros_like(bones)
    for joint in order(skeleton)[1:]:
        poses[:, joint] = poses[:, skeleton.parents[joint]] + bones[:, joint]
    return poses


def random_poses(skeleton: Skeleton, frames: int, seed: int = 0) -> np.ndarray:
    """Bones of constant lengths that point anywhere."""
    rng = np.random.default_rng(seed)
    lengths = rng.uniform(80, 450, skeleton.num_joints)
    return from_directions(skeleton, rng.normal(size=(frames, skeleton.num_joints, 3)), lengths)


def person(poses: np.ndarray, name: str = "h36m17", **changes) -> Poses:
    count, joints = poses.shape[:2]
    rng = np.random.default_rng(1)
    values = {
        "person": 0, "skeleton": get_skeleton(name), "frames": np.arange(count), "fps": 25.0,
        "xyz": poses.astype(np.float32), "confidence": rng.uniform(0.3, 1, (count, joints)).astype(np.float32),
        "pixels": rng.uniform(0, 500, (count, joints, 2)), "image_size": (640, 480),
    }  # fmt: skip
    return Poses(**{**values, **changes})


def project(points: np.ndarray, focal: float, image_size: tuple[int, int]) -> np.ndarray:
    return focal * points[..., :2] / points[..., 2:] + np.asarray(image_size) / 2


def read_bvh(text: str) -> tuple[float, dict[str, np.ndarray], dict[str, str]]:
    """-> (seconds a frame, {joint: [T,3] places}, {joint: its parent, "" for the root}); ends of bones are left out."""
    hierarchy, motion = text.split("MOTION\n")
    words = iter(hierarchy.split())
    assert next(words) == "HIERARCHY"
    joints, stack = [], [""]  # (name, parent, offset, channels)
    for word in words:
        if word in ("ROOT", "JOINT"):
            assert (word == "ROOT") == (not joints)
            joints.append([next(words), stack[-1], None, []])
        elif word == "End":
            assert next(words) == "Site"
            joints.append([None, stack[-1], None, []])
        elif word == "{":
            stack.append(joints[-1][0])
        elif word == "}":
            stack.pop()
        elif word == "OFFSET":
            joints[-1][2] = np.array([float(next(words)) for _ in range(3)])
        elif word == "CHANNELS":
            joints[-1][3] = [next(words) for _ in range(int(next(words)))]
        else:
            raise AssertionError(word)
    assert stack == [""]
    frames, seconds, *rows = motion.splitlines()
    values = np.array([[float(value) for value in row.split()] for row in rows])
    assert frames == f"Frames: {len(rows)}"
    assert values.shape[1] == sum(len(channels) for *_, channels in joints)
    places, frame_axes, column = {}, {"": np.eye(3)}, 0
    for name, parent, offset, channels in joints:
        if name is None:
            continue
        moved, turned = np.tile(offset, (len(values), 1)), np.tile(np.eye(3), (len(values), 1, 1))
        for channel in channels:
            axis, numbers = "XYZ".index(channel[0]), values[:, column]
            column += 1
            if channel.endswith("position"):
                moved[:, axis] += numbers
            else:
                turned = turned @ about(axis, np.radians(numbers))
        places[name] = places.get(parent, 0.0) + (frame_axes[parent] @ moved[:, :, None])[:, :, 0]
        frame_axes[name] = frame_axes[parent] @ turned
    assert len(places) == len([name for name, *_ in joints if name])  # no name twice
    return float(seconds.split(":")[1]), places, {name: parent for name, parent, *_ in joints if name}


def about(axis: int, angle: np.ndarray) -> np.ndarray:
    """Rotations [T,3,3] about a coordinate axis, by the right-hand rule."""
    matrices = np.tile(np.eye(3), (len(angle), 1, 1))
    one, two = (axis + 1) % 3, (axis + 2) % 3
    matrices[:, one, one] = matrices[:, two, two] = np.cos(angle)
    matrices[:, two, one], matrices[:, one, two] = np.sin(angle), -np.sin(angle)
    return matrices
