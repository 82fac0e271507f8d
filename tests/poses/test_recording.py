import json

import numpy as np
import pytest

from glagcn.errors import UserError
from glagcn.poses.recording import read_recording
from tests.commands.filmed import SIZE, keypoints, known


@pytest.mark.parametrize(("first", "fits"), [(0, True), (1, True), (2, False)])
def test_pictures_numbered_from_1_are_the_frames_of_their_video(tmp_path, caplog, first, fits):
    poses = keypoints(10)[:, 0]
    rows = [{"image_id": f"{first + n:06d}.jpg", "keypoints": p.ravel().tolist()} for n, p in enumerate(poses)]
    (tmp_path / "k.json").write_text(json.dumps(rows))
    video = known(10, fps=30)
    if not fits:
        with pytest.raises(UserError, match=r"poses up to frame 11, and --video clip.mp4 has the frames 0 to 9"):
            read_recording(tmp_path / "k.json", video)
        return
    (track,) = read_recording(tmp_path / "k.json", video).tracks
    assert (track.start, len(track.keypoints)) == (0, 10)
    np.testing.assert_allclose(track.keypoints, poses, rtol=1e-5)
    assert ("numbered from 1, so picture 1 is taken for frame 0" in caplog.text) == (first == 1)


def scores(path, values, joints="coco17", poses=None):
    """A file of one person whose confidences are `values` [T,J]."""
    poses = keypoints(len(values))[:, 0, :, :2] if poses is None else poses
    np.savez(path, keypoints=poses, confidence=values, joints=joints, image_size=SIZE, fps=25)
    return path


@pytest.mark.parametrize(("least", "missing"), [(None, 1), (1, 0), (30, 1), (60, 2)])
def test_scores_of_a_file_are_divided_by_their_scale_and_the_least_is_in_their_unit(tmp_path, caplog, least, missing):
    values = np.full((20, 17), 90.0)
    values[:, 9], values[:, 10] = 3, 50
    (track,) = read_recording(scores(tmp_path / "k.npz", values), min_confidence=least).tracks
    assert ((track.keypoints[..., 2] == 0).sum(axis=1) == missing).all()
    assert track.keypoints[0, 0, 2] == pytest.approx(1)
    said = [message for message in caplog.messages if "the confidences reach 90, which counts as 1" in message]
    assert len(said) == 1
    assert "k.npz" in said[0]


def test_the_depth_of_mediapipe_in_a_file_is_left_out_and_others_are_refused(tmp_path, caplog):
    poses = np.repeat(keypoints(20)[:, 0, :, :2], 2, axis=1)[:, :33]
    depth = np.tile(np.linspace(-0.4, 0.3, 33), (20, 1))
    np.save(tmp_path / "k.npy", np.dstack([poses, depth]))
    (track,) = read_recording(tmp_path / "k.npy", image_size=SIZE, joints="mediapipe33").tracks
    assert (track.keypoints[..., 2] == 1).all()
    assert "k.npy: the third value of the joints is from -0.4 to 0.3: a depth and no confidence" in caplog.text
    with pytest.raises(UserError, match=r"k\.npz: the third value of the joints is from -0.4 to -0.05.*not negative"):
        read_recording(scores(tmp_path / "k.npz", depth[:, :17]))


@pytest.mark.parametrize(
    ("key", "unit"), [("timestamp_ms", 1000), ("timestamp", 1e6), ("time", 1), ("timestamp", 1000)]
)
@pytest.mark.parametrize(("fps", "begin"), [(30, 0), (None, 7000)])
def test_frames_that_have_a_time_and_no_number_are_placed_by_it(tmp_path, caplog, key, unit, fps, begin):
    kept = [n for n in range(40) if n % 4 != 1]
    poses = np.repeat(keypoints(40)[:, 0, :, :2], 2, axis=1)[:, :33].tolist()
    rows = [{key: begin + round(n / 30 * unit, 3), "landmarks": poses[n]} for n in kept]
    (tmp_path / "k.json").write_text(json.dumps(rows))
    recording = read_recording(tmp_path / "k.json", image_size=SIZE, fps=fps, joints="mediapipe33")
    (track,) = recording.tracks
    assert len(track.keypoints) == 40
    assert np.flatnonzero(track.keypoints[..., 2].any(axis=1)).tolist() == kept
    assert recording.fps == pytest.approx(30, abs=0.1)
    assert "placed by the times in the file, up to frame 39" in caplog.text
    caplog.clear()
    recording = read_recording(tmp_path / "k.json", known(len(kept), fps=30), joints="mediapipe33")
    assert len(recording.tracks[0].keypoints) == len(kept)  # as many as the frames of the video are those
    assert "they contradict each other; the frame numbers and the times of the video are used" in caplog.text
    (track,) = read_recording(tmp_path / "k.json", known(50, fps=30), joints="mediapipe33").tracks
    assert np.flatnonzero(track.keypoints[..., 2].any(axis=1)).tolist() == kept
    read_recording(tmp_path / "k.json", image_size=SIZE, fps=10, joints="mediapipe33")
    assert "do not fit 10 frames per second; the times are not used" in caplog.text
