"""Holding sequences out of training: which they are, and that nothing of them is trained on."""

import numpy as np
import pytest

from glagcn.config.resolve import parse_command_line
from glagcn.data.dataset import SequenceInfo, Split
from glagcn.data.plan import select_target_frames
from glagcn.data.selection import split_validation, valid_frames
from glagcn.errors import UserError

NAMES = ("S1/Seq1/cam0", "S1/Seq1/cam1", "S1/Seq2/cam0", "S10/Seq1/cam0", "S8/Jog 1/cam0", "S8/Jogging/cam0")


@pytest.fixture
def split():
    infos = tuple(SequenceInfo(name, name.split("/")[0], int(name[-1]), 4, 25.0, 10, 10) for name in NAMES)
    valid = np.ones(24, dtype=bool)
    valid[5] = False
    zeros = np.zeros((24, 17, 3), np.float32)
    return Split(infos, np.arange(0, 24, 4), zeros[..., :2], zeros, valid, None)


@pytest.mark.parametrize(
    ("names", "held"),
    [
        (("S1/Seq1",), [0, 1]),
        (("S1",), [0, 1, 2]),
        (("S10/Seq1/cam0",), [3]),
        (("S8/Jog",), [4]),
        (("S1/Seq2", "S10"), [2, 3]),
    ],
)
def test_names_are_beginnings_of_whole_words(split, names, held):
    trained, validation = split_validation(split, names)
    assert np.flatnonzero(~trained).tolist() == held
    assert [info.name for info in validation.sequences] == [NAMES[row] for row in held]
    assert validation.pixels is split.pixels  # nothing is copied


def test_trained_and_held_out_frames_share_nothing_and_make_up_all(split):
    trained, validation = split_validation(split, ("S1/Seq1", "S10"))
    centers = select_target_frames(split, trained=trained)
    held = valid_frames(validation)
    assert 5 not in held  # not valid
    assert sorted([*centers, *held, 5]) == list(range(24))
    assert valid_frames(split).tolist() == np.flatnonzero(split.valid).tolist()
    cameras = select_target_frames(split, trained=trained, cameras=(0,), stride=4)
    assert cameras.tolist() == [8, 16, 20]


def test_names_that_fit_nothing_are_refused(split):
    for name in ("S2", "S1/Seq", "S1/Seq1/", "eq1"):
        message = f"invalid --validation {name}: must be the beginning of .*, of which the data has S1/Seq1, "
        with pytest.raises(UserError, match=message):
            split_validation(split, ("S1/Seq2", name))


def test_something_must_be_left_to_train_on(split):
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
