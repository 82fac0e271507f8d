"""Small splits of random poses for the tests of evaluation."""

import numpy as np

from glagcn.data.dataset import SequenceInfo, Split
from glagcn.skeletons import get_skeleton


def make_split(lengths, skeleton="h36m17", valid=None, seed=0, activity=None):
    """A split of sequences {"S9/Walking 1/cam0" or "TS1": frames} with random poses; every frame valid by default."""
    skeleton = get_skeleton(skeleton)
    infos = []
    for name, length in lengths.items():
        subject, _, rest = name.rpartition("/")[0].rpartition("/")
        assert "/" not in name or name.startswith(f"{subject}/{rest}/cam")
        infos.append(SequenceInfo(name, subject or name, int(name[-1]), length, 50.0, 1000, 1000))
    total = sum(lengths.values())
    rng = np.random.default_rng(seed)
    return Split(
        sequences=tuple(infos),
        starts=np.cumsum([0, *lengths.values()])[:-1],
        pixels=rng.uniform(0, 1000, (total, skeleton.num_input_joints, 2)).astype(np.float32),
        millimetres=rng.normal(0, 300, (total, skeleton.num_joints, 3)).astype(np.float32),
        valid=np.ones(total, bool) if valid is None else np.array(valid, bool),
        activity=None if activity is None else np.array(activity, np.uint8),
    )


def true_poses(split, frames, root=0):
    """The targets [n,V,3] mm of frames of a split, in float64."""
    target = split.millimetres[frames].astype(np.float64)
    return target - target[:, root, None]
