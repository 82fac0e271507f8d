"""Choosing from a cache: the whole is the cache itself, a part is what a mask would pick; and held-out sequences."""

from dataclasses import replace

import numpy as np
import pytest

from glagcn.commands.prepare import prepare
from glagcn.config.resolve import parse_command_line
from glagcn.data.cache import open_cache
from glagcn.data.dataset import PrepareFlags, SequenceInfo, Split
from glagcn.data.plan import select_target_frames
from glagcn.data.selection import check_selection, select, split_validation, valid_frames
from glagcn.errors import UserError
from tests.data import tiny_3dhp, tiny_videopose3d

TRAIN, TEST = ("S1", "S5", "S6", "S7", "S8"), ("S9", "S11")
ACTIONS = ("Directions", "Directions 1", "WalkDog", "Walking 1")
ARRAYS = ("pixels", "millimetres", "valid")


@pytest.fixture(scope="module")
def h36m(tmp_path_factory):
    root = tiny_videopose3d.write_h36m(tmp_path_factory.mktemp("h36m"), ("gt",), frames=11, actions=ACTIONS)
    return open_cache(prepare("h36m", PrepareFlags(npz=root)))


@pytest.fixture(scope="module")
def mpi(tmp_path_factory):
    root = tiny_3dhp.write_release(tmp_path_factory.mktemp("3dhp"), 7)
    return open_cache(prepare("3dhp", PrepareFlags(raw=root, cameras=(0, 2))))


def both(cache, subjects_train=None, subjects_test=None, actions=None, downsample=1):
    """The selected train and test splits."""
    return (
        select(cache, "train", subjects_train, actions, downsample),
        select(cache, "test", subjects_test, actions, downsample),
    )


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
        info.name: [getattr(split, key)[split.frames(row)][::downsample] for key in ARRAYS]
        for split in (cache.train, cache.test)
        for row, info in enumerate(split.sequences)
        if chosen(info)
    }


def check_equal(split, wanted):
    check_whole(split)
    assert [info.name for info in split.sequences] == list(wanted)
    for row, info in enumerate(split.sequences):
        for key, values in zip(ARRAYS, wanted[info.name], strict=True):
            np.testing.assert_array_equal(getattr(split, key)[split.frames(row)], values)


@pytest.mark.parametrize("actions", [None, ("*",), ()])
def test_nothing_or_everything_chosen_is_the_cache_itself(h36m, actions):
    for chosen in ((None, None, actions), (TRAIN[::-1], TEST, ("Walk", "Directions"))):
        train, test = both(h36m, *chosen)
        assert train is h36m.train
        assert test is h36m.test


def test_a_part_of_one_split_leaves_the_other_alone(h36m):
    train, test = both(h36m, subjects_train=("S5", "S8"))
    assert test is h36m.test
    check_equal(train, expected(h36m, lambda info: info.subject in ("S5", "S8")))
    assert not isinstance(train.pixels, np.memmap)  # but a copy, which may be changed
    assert train.pixels.dtype == train.millimetres.dtype == np.float32


def test_subjects_of_either_split(h36m):
    train, test = both(h36m, ("S1", "S9"), ("S6", "S11"))
    check_equal(train, expected(h36m, lambda info: info.subject in ("S1", "S9")))
    check_equal(test, expected(h36m, lambda info: info.subject in ("S6", "S11")))


@pytest.mark.parametrize(
    ("actions", "kept"),
    [(("Walk",), {"WalkDog", "Walking 1"}), (("Walking", "Directions 1"), {"Walking 1", "Directions 1"})],
)
def test_actions_are_prefixes_for_both_splits(h36m, actions, kept):
    for split, subjects in zip(both(h36m, actions=actions), (TRAIN, TEST), strict=True):
        check_equal(split, expected(h36m, lambda info: info.action in kept and info.subject in subjects))  # noqa: B023
        assert {info.action for info in split.sequences} == kept


@pytest.mark.parametrize("downsample", [2, 100])
def test_downsampling_slices_every_sequence(h36m, downsample):
    train, test = both(h36m, None, ("S9",), ("Dir",), downsample)
    for split, subjects in ((train, TRAIN), (test, ("S9",))):
        check_equal(
            split,
            expected(h36m, lambda i: i.subject in subjects and i.action.startswith("Dir"), downsample),  # noqa: B023
        )
        assert {info.fps for info in split.sequences} == {50 / downsample}
        assert {info.length for info in split.sequences} == {-(-11 // downsample)}


def test_3dhp_has_subjects_and_sequences(mpi):
    train, test = both(mpi, ("S1", "S2"), ("TS5",), ("Seq1",))
    check_equal(train, expected(mpi, lambda info: info.name.startswith(("S1/Seq1", "S2/Seq1"))))
    check_equal(test, expected(mpi, lambda info: info.name == "TS5"))
    assert train.activity is None
    np.testing.assert_array_equal(test.activity, mpi.test.activity[4 * 7 : 5 * 7])
    mixed = both(mpi, ("S1", "TS1"))[0]  # the training set has no activities
    np.testing.assert_array_equal(mixed.activity, [*np.zeros(4 * 7), *mpi.test.activity[:7]])
    thinned = both(mpi, downsample=3)[1]
    np.testing.assert_array_equal(thinned.activity, mpi.test.activity.reshape(6, 7)[:, ::3].ravel())


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (
            (("S1", "S2"), None, None),
            "invalid --subjects-train S2: the subjects of this data set are S1, .*S9, S11",
        ),
        ((None, ("S12", "S13"), None), "invalid --subjects-test S12,S13: the subjects of this data set are"),
        (
            (None, None, ("Walking", "walk")),
            "invalid --actions walk: the actions of this data set are Directions, W",
        ),
    ],
)
def test_what_is_not_there(h36m, choice, message):
    with pytest.raises(UserError, match=message):
        both(h36m, *choice)
    with pytest.raises(UserError, match=message):
        check_selection({"train": h36m.train.sequences, "test": h36m.test.sequences}, *choice)


def test_what_leaves_nothing_is_refused(h36m):
    jog = replace(h36m.test.sequences[0], name="S3/Jog 1/cam0", subject="S3")
    infos = {"train": h36m.train.sequences, "test": (*h36m.test.sequences, jog)}
    message = r"--actions Dir selects no test sequence; the test subjects \(S3\) have the actions Jog"
    with pytest.raises(UserError, match=message):
        check_selection(infos, None, ("S3",), ("Dir",))
    check_selection(infos, ("S3",), ("S3",), ("Jog",))


def test_nothing_scored(mpi):
    valid = np.zeros_like(mpi.test.valid)
    valid[1] = True
    cache = replace(mpi, test=replace(mpi.test, valid=valid))
    with pytest.raises(UserError, match=r"test sequences have no scored frame; .*--downsample"):
        both(cache, downsample=7)


# ---------------------------------------------------------------- validation

NAMES = ("S1/Seq1/cam0", "S1/Seq1/cam1", "S1/Seq2/cam0", "S10/Seq1/cam0", "S8/Jog 1/cam0", "S8/Jogging/cam0")


@pytest.fixture
def split():
    infos = tuple(SequenceInfo(name, name.split("/")[0], int(name[-1]), 4, 25.0, 10, 10) for name in NAMES)
    valid = np.ones(24, dtype=bool)
    valid[5] = False
    zeros = np.zeros((24, 17, 3), np.float32)
    return Split(infos, np.arange(0, 24, 4), zeros[..., :2], zeros, valid, None)


@pytest.mark.parametrize(("names", "held"), [(("S1",), [0, 1, 2]), (("S8/Jog",), [4]), (("S1/Seq2", "S10"), [2, 3])])
def test_names_are_beginnings_of_whole_words(split, names, held):
    trained, validation = split_validation(split, names)
    assert np.flatnonzero(~trained).tolist() == held
    assert [info.name for info in validation.sequences] == [NAMES[row] for row in held]
    assert validation.pixels is split.pixels  # nothing is copied


def test_trained_and_held_out_frames_share_nothing_and_make_up_all(split):
    trained, validation = split_validation(split, ("S1/Seq1", "S10"))
    centers = select_target_frames(split, trained=trained)
    validated = valid_frames(validation)
    assert 5 not in validated  # not valid
    assert sorted([*centers, *validated, 5]) == list(range(24))
    assert valid_frames(split).tolist() == np.flatnonzero(split.valid).tolist()
    cameras = select_target_frames(split, trained=trained, cameras=(0,), stride=4)
    assert cameras.tolist() == [8, 16, 20]


def test_names_that_fit_nothing_or_leave_nothing_are_refused(split):
    for name in ("S2", "S1/Seq", "S1/Seq1/", "eq1"):
        message = f"invalid --validation {name}: must be the beginning of .*, of which the data has S1/Seq1, "
        with pytest.raises(UserError, match=message):
            split_validation(split, ("S1/Seq2", name))
    with pytest.raises(UserError, match="leaves no sequence to train on"):
        split_validation(split, ("S1", "S10", "S8"))
    trained, _ = split_validation(split, ("S1/Seq1",))
    with pytest.raises(UserError, match="leave no sequence to train on"):
        select_target_frames(split, trained=trained, cameras=(1,))


def test_flags_of_validation_are_not_ignored():
    with pytest.raises(UserError, match="--validation has no effect with --select_on test"):
        parse_command_line(["-d", "3dhp", "--recipe", "published", "--validation", "S1"])
    with pytest.raises(UserError, match="--validation_frames has no effect with --select_on last"):
        parse_command_line(["-d", "demo", "--select_on", "last", "--validation_frames", "5"])
    published, _, _ = parse_command_line(["-d", "3dhp", "--recipe", "published"])
    tuned, _, _ = parse_command_line(["-d", "3dhp"])
    assert (published.selection.select_on, tuned.selection.select_on) == ("test", "validation")
    assert tuned.selection.validation == ("S4/Seq1", "S8/Seq2")
