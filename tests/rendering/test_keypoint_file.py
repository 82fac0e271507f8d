import json
from pathlib import Path

import numpy as np
import pytest

from glagcn.commands.recording import keypoint_recording
from glagcn.errors import UserError
from glagcn.poses.draw.video import Video
from glagcn.skeletons import get_skeleton
from tests.command_line import messages
from tests.data.tiny_videopose3d import coco, world_motion

POSES = np.random.default_rng(0).uniform(0, 400, (5, 17, 2))
SKELETON = get_skeleton("mpi3dhp17")
VIDEO = Video(Path("v.mp4"), (320, 240), 30.0)


def save(path: Path, *unnamed, **arrays) -> Path:
    if path.suffix == ".npy":
        np.save(path, unnamed[0])
    else:
        np.savez(path, *unnamed, **arrays)
    return path


def read(path, image_size=None, fps=None, video=None):
    with messages() as said:
        return keypoint_recording(path, SKELETON, None, image_size, fps, video), said


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
        ((path, (800, 600), 5.0, VIDEO), ((800, 600), 5.0)),
        ((path, None, None, VIDEO), ((640, 480), 50.0)),
        ((bare, None, None, VIDEO), ((320, 240), 30.0)),
    ):
        subject, said = read(*given)
        assert ((subject.image_size, subject.fps), said) == (expected, [])
    subject, said = read(bare, image_size=(640, 480))
    assert subject.fps == 25
    assert len(said) == 1
    assert "assuming 25 frames per second; --viz-fps sets it" in said[0]


def test_a_joint_without_confidence_is_filled_aloud(tmp_path):
    keypoints = np.concatenate([POSES, np.ones((5, 17, 1))], axis=2)
    keypoints[2, 3] = 7, 7, 0.01
    path = save(tmp_path / "k.npz", anything=keypoints, fps=25)
    subject, said = read(path, image_size=(640, 480))
    expected = POSES.astype(np.float32)
    expected[2, 3] = (expected[1, 3] + expected[3, 3]) / 2
    np.testing.assert_allclose(subject.pixels, expected, atol=1e-4)
    assert said == [f"{path}: 1 missing joints: 1 interpolated"]


def people(frames: int) -> np.ndarray:
    """[T,17,2] pixels of somebody who walks, joints of MPI-INF-3DHP."""
    motion = world_motion("h36m", "S1", "Walking", frames)
    return (np.stack([motion[..., 0], -motion[..., 2]], axis=-1) * 100 + [320, 400]).astype(np.float32)


def alphapose(path: Path, poses: dict[int, np.ndarray]) -> Path:
    rows = [
        {"image_id": f"{frame}.jpg", "category_id": 1, "score": 1.0,
         "keypoints": np.concatenate([pose, np.ones((17, 1))], axis=1).ravel().tolist()}
        for frame, found in poses.items() for pose in np.atleast_3d(found).reshape(-1, 17, 2)
    ]  # fmt: skip
    path.write_text(json.dumps(rows))
    return path


def test_a_detectors_file_is_brought_to_the_models_joints_and_gaps_are_said(tmp_path):
    motion = people(30)
    face = coco(motion)
    face[:, :5] += np.random.default_rng(0).normal(0, 3, (30, 5, 2))
    path = alphapose(tmp_path / "a.json", {t: face[t] for t in range(30) if t not in (5, 6)})
    subject, said = read(path, image_size=(640, 480), fps=25.0)
    assert subject.pixels.shape == (30, 17, 2)
    limbs = slice(2, 14)
    kept = [t for t in range(30) if t not in (5, 6)]
    np.testing.assert_allclose(subject.pixels[kept, limbs], motion[kept, limbs], atol=1e-3)
    between = motion[4, limbs] + (motion[7, limbs] - motion[4, limbs]) / 3
    np.testing.assert_allclose(subject.pixels[5, limbs], between, atol=1e-3)
    np.testing.assert_allclose(subject.pixels[3, 14], (motion[3, 8] + motion[3, 11]) / 2, atol=1e-3)
    assert said == [
        f"{path}: joints coco17; made of others: head_top, neck, pelvis, spine, head",
        f"{path}: 34 missing joints: 34 interpolated",
    ]


def test_another_order_than_the_format_has_is_noticed_unless_it_is_stated(tmp_path):
    path = alphapose(tmp_path / "a.json", dict(enumerate(people(10))))
    message = r"look like joints mpi3dhp17 .*for coco17 .*--viz-joints mpi3dhp17 or --viz-joints coco17"
    with pytest.raises(UserError, match=message):
        read(path, image_size=(640, 480))
    subject = keypoint_recording(path, SKELETON, "mpi3dhp17", (640, 480), 25.0, None)
    np.testing.assert_allclose(subject.pixels, people(10), atol=1e-3)
    array = save(tmp_path / "k.npy", coco(people(10)))
    with pytest.raises(UserError, match=r"k\.npy: the poses look like joints coco17 .*for mpi3dhp17"):
        read(array, image_size=(640, 480))


def test_of_several_people_the_largest_is_shown_from_the_first_frame_on(tmp_path):
    motion = people(20)
    small = 200 + (motion - 200) / 10
    path = save(tmp_path / "k.npz", keypoints=np.stack([small, motion], axis=1))
    with np.load(path) as arrays:
        keypoints = arrays["keypoints"].copy()
    keypoints[:3, 1] = np.nan
    subject, said = read(save(path, keypoints=keypoints), image_size=(640, 480), fps=25.0)
    np.testing.assert_allclose(subject.pixels[3:], motion[3:], atol=1e-3)
    np.testing.assert_allclose(subject.pixels[:3], motion[[3, 3, 3]], atol=1e-3)
    assert "1 other people are left out" in said[0]
    assert said[1] == f"{path}: 51 missing joints: 51 held at their nearest place"


def test_parts_of_an_image_become_pixels_of_the_video(tmp_path):
    marks = [{"x": 0.5, "y": 0.25, "visibility": 1.0}] * 33
    (tmp_path / "m.json").write_text(json.dumps([marks]))
    subject, _ = read(tmp_path / "m.json", video=VIDEO)
    assert subject.pixels[0, 3].tolist() == [160, 60]
    with pytest.raises(UserError, match=r"--viz-keypoints .*m\.json holds normalised coordinates"):
        read(tmp_path / "m.json")


@pytest.mark.parametrize(
    ("name", "arrays", "message"),
    [
        ("k.npy", {"": POSES[:, :15]}, "holds poses of 15 joints, and the model reads 17"),
        ("k.npy", {"": POSES[0]}, r"holds float64 \[17, 2\]; expected pixels \[T,V,2\]"),
        ("k.npy", {"": POSES[:0]}, r"holds float64 \[0, 17, 2\].*at least one frame"),
        ("k.npy", {"": np.zeros((5, 17, 4))}, r"\[5, 17, 4\]; expected"),
        ("k.npy", {"": np.full((5, 17, 2), "x")}, r"<U1 \[5, 17, 2\]; expected"),
        ("k.npy", {"": np.full((5, 17, 2), None)}, "cannot be read.*pickled objects are refused"),
        ("k.npz", {"keypoints": np.full((5, 17, 2), None)}, "cannot be read.*pickled objects are refused"),
        ("k.npz", {"a": POSES, "b": POSES}, "holds a, b; expected one array, or one named 'keypoints'"),
        ("k.npz", {"fps": 3}, "holds no poses; expected one array"),
        ("k.npz", {"a": POSES, "image_size": np.array([640])}, r"image_size is \[640\]; expected width and height"),
        ("k.npz", {"a": POSES, "image_size": np.array([640, np.nan])}, "image_size is"),
        ("k.npz", {"a": POSES, "fps": -1}, "fps is -1; expected one number, above 0"),
        ("k.npz", {"a": POSES, "fps": "fast"}, "fps is fast; expected one number"),
    ],
)
def test_what_holds_no_poses_is_refused(tmp_path, name, arrays, message):
    path = save(tmp_path / name, *([arrays[""]] if "" in arrays else []), **{k: v for k, v in arrays.items() if k})
    with pytest.raises(UserError, match=rf"--viz-keypoints .*{name}.*{message}"):
        read(path, image_size=(640, 480))


def test_what_is_no_such_file_is_refused(tmp_path):
    for name, content, message in (
        ("none.npy", None, "no such file"),
        ("k.json", b"{}", "holds JSON of an object with nothing; expected AlphaPose JSON, "),
        ("k.npy", b"", "cannot be read"),
        ("k.npy", b"text, for instance", "cannot be read"),
        ("k.npz", b"PK\x03\x04 and no more", "cannot be read"),
        ("k.npy", save(tmp_path / "whole.npy", POSES).read_bytes()[:200], "cannot be read"),
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=rf"--viz-keypoints .*{name}.*{message}"):
            read(tmp_path / name, image_size=(640, 480))
