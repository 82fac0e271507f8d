import json
from types import SimpleNamespace

import numpy as np
import pytest

from glagcn.errors import UserError
from glagcn.poses.recording import read_recording
from tests.commands.filmed import keypoints


@pytest.mark.parametrize(("first", "fits"), [(0, True), (1, True), (2, False)])
def test_pictures_numbered_from_1_are_the_frames_of_their_video(tmp_path, caplog, first, fits):
    poses = keypoints(10)[:, 0]
    rows = [{"image_id": f"{first + n:06d}.jpg", "keypoints": p.ravel().tolist()} for n, p in enumerate(poses)]
    (tmp_path / "k.json").write_text(json.dumps(rows))
    video = SimpleNamespace(path="clip.mp4", size=(640, 480), fps=30)
    if not fits:
        with pytest.raises(UserError, match=r"poses up to frame 11, and --video clip.mp4 has the frames 0 to 9"):
            read_recording(tmp_path / "k.json", video, 10)
        return
    (track,) = read_recording(tmp_path / "k.json", video, 10).tracks
    assert (track.start, len(track.keypoints)) == (0, 10)
    np.testing.assert_allclose(track.keypoints, poses, rtol=1e-5)
    assert ("numbered from 1, so picture 1 is taken for frame 0" in caplog.text) == (first == 1)
