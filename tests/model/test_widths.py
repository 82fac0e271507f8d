from math import prod

import pytest

from glagcn.errors import UserError
from glagcn.model.widths import check_widths, widths_for


@pytest.mark.parametrize(
    ("frames", "widths"),
    [(3, (3,)), (9, (3, 3)), (27, (3, 3, 3)), (45, (3, 3, 5)), (81, (3,) * 4), (105, (3, 5, 7)), (243, (3,) * 5)],
)
def test_widths_are_threes_where_possible(frames, widths):
    assert widths_for(frames) == widths
    check_widths(widths, frames)
    assert prod(widths) == frames


@pytest.mark.parametrize(
    ("frames", "nearest"),
    [(80, "75 and 81"), (351, "343 and 375"), (1, "3"), (0, "3"), (-9, "3"), (4000, "3969 and 4375"), (10**12, "6561")],
)
def test_a_length_without_widths_is_refused_with_the_nearest_that_have_some(frames, nearest):
    with pytest.raises(UserError, match=rf"--frames {frames}: .* the nearest valid lengths: {nearest}$"):
        widths_for(frames)


@pytest.mark.parametrize("widths", [(3, 9, 13), (3, 4), (1, 3), (3, -3), ()])
def test_widths_that_skip_frames_or_have_no_centre_are_refused(widths):
    with pytest.raises(UserError, match="-arc"):
        check_widths(widths)


def test_a_contradiction_names_both_sides():
    with pytest.raises(UserError, match=r"--frames 81 contradicts -arc 3,3,3, whose product is 27"):
        check_widths((3, 3, 3), 81)
