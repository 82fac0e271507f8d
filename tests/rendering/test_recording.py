from pathlib import Path

import numpy as np
import pytest

from glagcn.commands.recording import cached_recording
from glagcn.data.dataset import Cache, SequenceInfo, Split
from glagcn.errors import UserError
from glagcn.skeletons import get_skeleton
from tests.command_line import messages

TRAIN = ["S1/Walking 1/cam0", "S1/Walking 1/cam1", "S1/Walking/cam0", "S1/WalkingDog 1/cam0", "S1/WalkingDog 2/cam0"]
TEST = ["S11/WalkingDog 1/cam0", "S11/Walking 2/cam0", "S11/Walking 1/cam0", "S11/Walking 1/cam3", "TS1"]
HUMANEVA = ["Validate/S1/Walking 1 chunk0/cam2", "Validate/S1/Walking 1 chunk4/cam2"]


def split(names, inputs=17, joints=17) -> Split:
    """Sequences of 2, 3, ... frames; every value is that of its frame."""
    infos, starts, frames = [], [], 0
    for k, name in enumerate(names):
        subject, camera = (name, -1) if "/" not in name else (name.rsplit("/", 2)[0], int(name[-1]))
        infos.append(SequenceInfo(name, subject, camera, k + 2, 50.0, 1000, 1002))
        starts.append(frames)
        frames += k + 2
    values = np.arange(frames, dtype=np.float32)[:, None, None]
    pixels, millimetres = (
        np.tile(values, (1, inputs, 2)),
        values + np.arange(3 * joints, dtype=np.float32).reshape(-1, 3),
    )
    return Split(tuple(infos), np.array(starts), pixels, millimetres, np.ones(frames, bool), None)


def cache(train=TRAIN, test=TEST, skeleton="h36m17") -> Cache:
    shape = get_skeleton(skeleton).num_input_joints, get_skeleton(skeleton).num_joints
    return Cache(Path("x.h5"), "demo", "gt", "", skeleton, split(train, *shape), split(test, *shape), {}, (), "")


def find(subject, action=None, camera=0, where=None) -> tuple[str, list[str]]:
    with messages() as said:
        return cached_recording(where or cache(), subject, action, camera).name, said


@pytest.mark.parametrize(
    ("subject", "action", "camera", "name"),
    [
        ("S11", "Walking 1", 0, "S11/Walking 1/cam0"),
        ("S11", "Walking 1", 3, "S11/Walking 1/cam3"),
        ("S1", "Walking", 0, "S1/Walking/cam0"),  # itself, not its takes
        ("S11", "WalkingD", 0, "S11/WalkingDog 1/cam0"),
        ("TS1", None, 0, "TS1"),
        ("TS1", None, -1, "TS1"),
        ("TS1", "", 0, "TS1"),
    ],
)
def test_the_sequence_is_found_in_either_split(subject, action, camera, name):
    assert find(subject, action, camera) == (name, [])


def test_of_several_takes_the_first_is_taken_aloud():
    assert find("S11", "Walking") == (
        "S11/Walking 2/cam0", ["--viz-action Walking matches Walking 2, Walking 1: taking the first"],
    )  # fmt: skip
    name, said = find("Validate/S1", "Walking 1", 2, cache(test=HUMANEVA, skeleton="humaneva15"))
    assert (name, len(said)) == (HUMANEVA[0], 1)


def test_its_frames_are_relative_to_the_root():
    whole = cache()
    subject = cached_recording(whole, "S11", "Walking 1", 0)
    assert (subject.image_size, subject.fps) == ((1000, 1002), 50.0)
    np.testing.assert_array_equal(subject.pixels[:, 0, 0], [5, 6, 7, 8])
    assert subject.target.shape == (4, 17, 3)
    assert not subject.target[:, 0].any()
    np.testing.assert_array_equal(subject.target[0, :, 0], np.arange(17) * 3)
    assert whole.test.millimetres[5, 0, 0] == 5  # the cache is as it was


def test_2d_may_have_other_joints_than_3d():
    subject = cached_recording(cache(test=HUMANEVA, skeleton="humaneva15_coco17"), "Validate/S1", "Walking", 2)
    assert (subject.pixels.shape, subject.target.shape) == ((2, 17, 2), (2, 15, 3))


@pytest.mark.parametrize(
    ("subject", "action", "camera", "message"),
    [
        (None, None, 0, "--viz-subject is missing: must be one of S11, TS1, S1$"),
        ("S9", "Walking", 0, "invalid --viz-subject S9: must be one of S11, TS1, S1$"),
        ("S11", None, 0, "--viz-action is missing: must be one of WalkingDog 1, Walking 2, Walking 1 for S11$"),
        ("S11", "Eating", 0, "invalid --viz-action Eating: must be one of WalkingDog 1, Walking 2, Walking 1 for S11$"),
        ("S11", "", 0, "--viz-action"),
        ("TS1", "Eating", 0, "--viz-action Eating: TS1 has a single sequence without a name; leave the flag out"),
        ("S11", "Walking 1", 2, "invalid --viz-camera 2: must be one of 0, 3 for S11/Walking 1$"),
        ("TS1", None, 3, "invalid --viz-camera 3: must be one of 0 for TS1$"),
    ],
)
def test_what_is_not_there_is_answered_with_what_is(subject, action, camera, message):
    with pytest.raises(UserError, match=message):
        find(subject, action, camera)


def test_a_long_list_is_cut():
    with pytest.raises(UserError, match=r"A39 and 10 more$"):
        find("none", where=cache(train=[f"A{k}" for k in range(50)], test=[]))
