"""Choosing from a cache: the whole is the cache itself, a part is what a mask would pick."""

import numpy as np
import pytest

from glagcn.data.cache import open_cache
from glagcn.data.dataset import PrepareFlags
from glagcn.data.prepare import prepare
from glagcn.data.selection import check_selection, select_test, select_train
from glagcn.errors import UserError
from tests.data import tiny_3dhp, tiny_videopose3d

TRAIN, TEST = ("S1", "S5", "S6", "S7", "S8"), ("S9", "S11")
ACTIONS = ("Directions", "Directions 1", "WalkDog", "Walking 1")
ARRAYS = ("pixels", "millimetres", "valid")


@pytest.fixture(scope="module")
def h36m(tmp_path_factory):
    root = tiny_videopose3d.write_h36m(tmp_path_factory.mktemp("h36m"), ("gt",), frames=11, actions=ACTIONS)
    return open_cache(prepare("h36m", PrepareFlags(npz=root))[0])


@pytest.fixture(scope="module")
def mpi(tmp_path_factory):
    root = tiny_3dhp.write_release(tmp_path_factory.mktemp("3dhp"), 7)
    return open_cache(prepare("3dhp", PrepareFlags(raw=root, cameras=(0, 2)))[0])


def select(cache, subjects_train=None, subjects_test=None, actions=None, downsample=1):
    """The selected train and test splits."""
    return (
        select_train(cache, subjects_train, actions, downsample),
        select_test(cache, subjects_test, actions, downsample),
    )


def frames_of(split, row):
    return slice(int(split.starts[row]), int(split.starts[row]) + split.sequences[row].length)


def check_whole(split):
    """What every split must be: sequences one after the other, arrays of equal length, plain and contiguous."""
    lengths = [info.length for info in split.sequences]
    assert split.starts.tolist() == (np.cumsum(lengths) - lengths).tolist()
    for name in ARRAYS:
        array = getattr(split, name)
        assert len(array) == sum(lengths)
        assert array.flags.c_contiguous


def expected(cache, chosen, downsample=1):
    """{name: arrays} of the sequences for which chosen(info), by plain slicing."""
    return {
        info.name: [getattr(split, key)[frames_of(split, row)][::downsample] for key in ARRAYS]
        for split in (cache.train, cache.test)
        for row, info in enumerate(split.sequences)
        if chosen(info)
    }


def check_equal(split, wanted):
    check_whole(split)
    assert [info.name for info in split.sequences] == list(wanted)
    for row, info in enumerate(split.sequences):
        for key, values in zip(ARRAYS, wanted[info.name], strict=True):
            np.testing.assert_array_equal(getattr(split, key)[frames_of(split, row)], values)


@pytest.mark.parametrize("actions", [None, ("*",), ()])
def test_nothing_chosen_is_the_cache_itself(h36m, actions):
    train, test = select(h36m, None, None, actions)
    assert train is h36m.train
    assert test is h36m.test


def test_everything_chosen_is_the_cache_itself(h36m):
    train, test = select(h36m, TRAIN[::-1], TEST, ("Walk", "Directions"))
    assert train is h36m.train
    assert test is h36m.test


def test_a_part_of_one_split_leaves_the_other_alone(h36m):
    train, test = select(h36m, subjects_train=("S5", "S8"))
    assert test is h36m.test
    check_equal(train, expected(h36m, lambda info: info.subject in ("S5", "S8")))
    assert not isinstance(train.pixels, np.memmap)
    assert train.pixels.dtype == train.millimetres.dtype == np.float32


def test_subjects_of_either_split(h36m):
    train, test = select(h36m, ("S1", "S9"), ("S6", "S11"))
    check_equal(train, expected(h36m, lambda info: info.subject in ("S1", "S9")))
    check_equal(test, expected(h36m, lambda info: info.subject in ("S6", "S11")))
    both = select(h36m, ("S1",), ("S1",))  # allowed; the caller may warn
    assert both[0].sequences == both[1].sequences


@pytest.mark.parametrize(
    ("actions", "kept"),
    [
        (("Walk",), {"WalkDog", "Walking 1"}),
        (("Walking", "Directions 1"), {"Walking 1", "Directions 1"}),
        (("Directions",), {"Directions", "Directions 1"}),
        (("WalkDog", "*"), set(ACTIONS)),
    ],
)
def test_actions_are_prefixes_for_both_splits(h36m, actions, kept):
    for split, subjects in zip(select(h36m, actions=actions), (TRAIN, TEST), strict=True):
        check_equal(split, expected(h36m, lambda info: info.action in kept and info.subject in subjects))  # noqa: B023
        assert {info.action for info in split.sequences} == kept


@pytest.mark.parametrize("downsample", [2, 5, 100])
def test_downsampling_slices_every_sequence(h36m, downsample):
    train, test = select(h36m, None, ("S9",), ("Dir",), downsample)
    for split, subjects in ((train, TRAIN), (test, ("S9",))):
        check_equal(
            split,
            expected(h36m, lambda i: i.subject in subjects and i.action.startswith("Dir"), downsample),  # noqa: B023
        )
        assert {info.fps for info in split.sequences} == {50 / downsample}
        assert {info.length for info in split.sequences} == {-(-11 // downsample)}


def test_choices_leave_the_file_and_its_splits_alone(h36m):
    before = h36m.path.read_bytes(), h36m.train.pixels[:11].copy()
    train, _ = select(h36m, ("S1",))
    train.pixels[:] = 0
    np.testing.assert_array_equal(h36m.train.pixels[:11], before[1])
    assert h36m.path.read_bytes() == before[0]


def test_3dhp_has_subjects_and_sequences(mpi):
    train, test = select(mpi, ("S1", "S2"), ("TS5",), ("Seq1",))
    check_equal(train, expected(mpi, lambda info: info.name.startswith(("S1/Seq1", "S2/Seq1"))))
    check_equal(test, expected(mpi, lambda info: info.name == "TS5"))
    assert train.activity is None
    np.testing.assert_array_equal(test.activity, mpi.test.activity[4 * 7 : 5 * 7])
    thinned = select(mpi, downsample=3)[1]
    np.testing.assert_array_equal(thinned.activity, mpi.test.activity.reshape(6, 7)[:, ::3].ravel())


def test_activities_are_zero_where_there_are_none(mpi):
    mixed = select(mpi, ("S1", "TS1"))[0]
    assert (mixed.activity[: 4 * 7] == 0).all()
    np.testing.assert_array_equal(mixed.activity[4 * 7 :], mpi.test.activity[:7])


WRONG = [
    (("S1", "S2"), None, None, r"invalid --subjects-train S2: the subjects of this data set are S1, S5, .*S9, S11"),
    (None, ("S12", "S13"), None, r"invalid --subjects-test S12,S13: the subjects of this data set are"),
    (
        None,
        None,
        ("Walking", "walk"),
        r"invalid --actions walk: the actions of this data set are Directions, WalkDog, ",
    ),
    (None, ("S11",), ("Directions 2",), r"invalid --actions Directions 2: the actions of this data set are"),
]


@pytest.mark.parametrize(("subjects_train", "subjects_test", "actions", "message"), WRONG)
def test_what_is_not_there(h36m, subjects_train, subjects_test, actions, message):
    with pytest.raises(UserError, match=message):
        select(h36m, subjects_train, subjects_test, actions)
    with pytest.raises(UserError, match=message):
        check_selection({"train": h36m.train.sequences, "test": h36m.test.sequences}, subjects_train, subjects_test, actions)


def test_an_action_of_others_leaves_nothing(tmp_path):
    content = tiny_videopose3d.h36m_content(("gt",), frames=3)
    del content["3d"]["S9"]["Directions 1"]
    root = tiny_videopose3d.save(tmp_path, "h36m", content)
    cache = open_cache(prepare("h36m", PrepareFlags(npz=root))[0])
    message = r"--actions Dir selects no test sequence; the test subjects \(S9\) have the actions Walking"
    with pytest.raises(UserError, match=message):
        select(cache, None, ("S9",), ("Dir",))
    check_selection({"train": cache.train.sequences, "test": cache.test.sequences}, None, ("S9",), ("Walk",))


def test_a_wrong_downsample(h36m):
    with pytest.raises(UserError, match="invalid --downsample 0: must be a whole number >= 1"):
        select(h36m, downsample=0)


def test_nothing_scored(mpi):
    alone = np.flatnonzero(mpi.test.valid)
    valid = mpi.test.valid.copy()
    mpi.test.valid[:] = False
    mpi.test.valid[alone[-1] // 7 * 7 + 1] = True
    with pytest.raises(UserError, match=r"test sequences have no scored frame; .*--downsample"):
        select(mpi, downsample=7)
    mpi.test.valid[:] = valid
