"""Gaps in the 2D of a data set: refused, or filled and marked up to the inputs of a model."""

import numpy as np
import pytest

from glagcn.commands.prepare import prepare
from glagcn.data.cache import open_cache
from glagcn.data.dataset import PrepareFlags
from glagcn.data.selection import select
from glagcn.errors import UserError
from tests.data import tiny_videopose3d

CPN, FRAMES = "cpn_ft_h36m_dbb", 30


def prepared(folder, mark, **flags):
    """The cache of files with a mark in place of one joint, frames 5 to 7 of one camera; and the whole 2D."""
    content = tiny_videopose3d.h36m_content(keypoints=(CPN,), frames=FRAMES)
    view = content[CPN]["positions_2d"]["S1"]["Walking 1"][2]
    whole = view.copy()
    view[5:8, 3] = mark
    tiny_videopose3d.save(folder, "h36m", content)
    return open_cache(prepare("h36m", PrepareFlags(npz=folder, keypoints=CPN, **flags))), whole


@pytest.mark.parametrize("mark", [(0, 0), (np.nan, np.nan)])
def test_gaps_are_refused(tmp_path, mark):
    message = "S1/Walking 1/cam2: joints are missing.* in 3 of 30 frames, first joint 3 .*--mark_missing"
    with pytest.raises(UserError, match=message):
        prepared(tmp_path, mark)
    assert not list(tmp_path.glob("*.h5"))


def test_marked_gaps_are_filled_on_a_line_and_have_confidence_0(tmp_path):
    cache, whole = prepared(tmp_path, (0, 0), mark_missing=True)
    row = [info.name for info in cache.train.sequences].index("S1/Walking 1/cam2")
    frames = slice(int(cache.train.starts[row]), int(cache.train.starts[row]) + FRAMES)
    pixels, confidence = cache.train.pixels[frames], cache.train.confidence[frames]
    expected = np.ones((FRAMES, 17), np.float32)
    expected[5:8, 3] = 0
    np.testing.assert_array_equal(confidence, expected)
    line = whole[4, 3] + np.arange(1, 4)[:, None] / 4 * (whole[8, 3] - whole[4, 3])
    np.testing.assert_allclose(pixels[5:8, 3], line, rtol=1e-5)
    np.testing.assert_array_equal(pixels[confidence > 0], whole[confidence > 0])
    assert (cache.test.confidence == 1).all()
    part = select(cache, "train", subjects=("S1",), downsample=2)
    assert part.confidence.shape == part.pixels.shape[:2]
    assert (part.confidence == 0).sum() == 1  # of the frames 5 to 7, every second
