from pathlib import Path

import numpy as np
import pytest

from glagcn.errors import UserError
from glagcn.rendering.keypoint_file import keypoint_recording
from glagcn.rendering.video_reader import Video

POSES = np.random.default_rng(0).uniform(0, 400, (5, 17, 2))
VIDEO = Video(Path("v.mp4"), (320, 240), 30.0)


def save(path: Path, *unnamed, **arrays) -> Path:
    if path.suffix == ".npy":
        np.save(path, unnamed[0])
    else:
        np.savez(path, *unnamed, **arrays)
    return path


def read(path, image_size=None, fps=None, video=None):
    said = []
    return keypoint_recording(path, 17, image_size, fps, video, said.append), said


def test_an_array_alone_needs_an_image_size(tmp_path):
    path = save(tmp_path / "k.npy", POSES)
    subject, said = read(path, image_size=(640, 480), fps=10.0)
    np.testing.assert_array_equal(subject.pixels, POSES.astype(np.float32))
    assert (subject.target, subject.image_size, subject.fps, said) == (None, (640, 480), 10.0, [])
    with pytest.raises(UserError, match=r"k\.npy does not state the image size; give --viz-image-size W,H"):
        read(path)


def test_size_and_rate_come_from_flags_then_the_file_then_the_video(tmp_path):
    path = save(tmp_path / "k.npz", keypoints=POSES, image_size=np.array([640, 480]), fps=50)
    bare = save(tmp_path / "bare.npz", POSES)
    for given, expected in (
        ((path, (64, 48), 5.0, VIDEO), ((64, 48), 5.0)),
        ((path, None, None, VIDEO), ((640, 480), 50.0)),
        ((bare, None, None, VIDEO), ((320, 240), 30.0)),
    ):
        subject, said = read(*given)
        assert ((subject.image_size, subject.fps), said) == (expected, [])
    subject, said = read(bare, image_size=(640, 480))
    assert subject.fps == 25
    assert len(said) == 1
    assert "assuming 25 frames per second; --viz-fps sets it" in said[0]


def test_a_confidence_is_dropped_aloud(tmp_path):
    path = save(tmp_path / "k.npz", anything=np.concatenate([POSES, np.ones((5, 17, 1))], axis=2), fps=25)
    subject, said = read(path, image_size=(640, 480))
    np.testing.assert_array_equal(subject.pixels, POSES.astype(np.float32))
    assert "ignoring the third value of every joint, assumed to be a confidence" in said[0]


@pytest.mark.parametrize(
    ("name", "arrays", "message"),
    [
        ("k.npy", {"": POSES[:, :15]}, "holds poses of 15 joints, and the model reads 17"),
        ("k.npy", {"": POSES[0]}, r"holds float64 \[17, 2\], must hold pixels \[T,V,2\]"),
        ("k.npy", {"": POSES[:0]}, r"holds float64 \[0, 17, 2\].*at least one frame"),
        ("k.npy", {"": np.zeros((5, 17, 4))}, r"\[5, 17, 4\], must hold"),
        ("k.npy", {"": np.full((5, 17, 2), "x")}, r"<U1 \[5, 17, 2\], must hold"),
        ("k.npy", {"": np.full((5, 17, 2), None)}, "cannot be read.*pickled objects are refused"),
        ("k.npz", {"keypoints": np.full((5, 17, 2), None)}, "cannot be read.*pickled objects are refused"),
        ("k.npz", {"a": POSES, "b": POSES}, "holds a, b, must hold one array, or one named 'keypoints'"),
        ("k.npz", {"fps": 3}, "holds no poses, must hold one array"),
        ("k.npz", {"a": POSES, "image_size": np.array([640])}, r"image_size is \[640\], must be width and height"),
        ("k.npz", {"a": POSES, "image_size": np.array([640, np.nan])}, "image_size is"),
        ("k.npz", {"a": POSES, "fps": -1}, "fps is -1, must be one number, above 0"),
        ("k.npz", {"a": POSES, "fps": "fast"}, "fps is fast, must be one number"),
    ],
)
def test_what_holds_no_poses_is_refused(tmp_path, name, arrays, message):
    path = save(tmp_path / name, *([arrays[""]] if "" in arrays else []), **{k: v for k, v in arrays.items() if k})
    with pytest.raises(UserError, match=rf"--viz-keypoints .*{name}.*{message}"):
        read(path, image_size=(640, 480))


def test_what_is_no_such_file_is_refused(tmp_path):
    for name, content, message in (
        ("none.npy", None, "no such file"),
        ("k.json", b"{}", r"must end in \.npy or \.npz"),
        ("k.npy", b"", "cannot be read"),
        ("k.npy", b"text, for instance", "cannot be read"),
        ("k.npz", b"PK\x03\x04 and no more", "cannot be read"),
        ("k.npy", save(tmp_path / "whole.npy", POSES).read_bytes()[:200], "cannot be read"),
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=rf"--viz-keypoints .*{name}.*{message}"):
            read(tmp_path / name, image_size=(640, 480))
