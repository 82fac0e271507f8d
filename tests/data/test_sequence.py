import pytest

from glagcn.data.dataset import SequenceInfo


@pytest.mark.parametrize(
    ("name", "subject", "action", "kind"),
    [
        ("S9/SittingDown 1/cam3", "S9", "SittingDown 1", "SittingDown"),
        ("Train/S1/Walking 1 chunk0/cam2", "Train/S1", "Walking 1 chunk0", "Walking"),
        ("S1/Seq1/cam0", "S1", "Seq1", "Seq1"),
        ("TS1", "TS1", "", ""),
    ],
)
def test_the_name_says_what_is_done(name, subject, action, kind):
    info = SequenceInfo(name, subject, camera=0, length=1, fps=50, width=1000, height=1002)
    assert (info.action, info.kind_of_action) == (action, kind)
