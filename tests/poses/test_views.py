"""Pixels as the detector saw them, of videos to be turned, mirrored and stretched."""

import numpy as np
import pytest

from glagcn.errors import UserError
from glagcn.poses.draw.video import open_video, write_animation
from glagcn.poses.recording import read_recording
from tests.commands.filmed import keypoints
from tests.poses.test_video import display_matrix

STORED = (160, 120)
MATRICES = {
    "as it is": (1, 0, 0, 1), "clockwise": (0, 1, -1, 0), "half": (-1, 0, 0, -1), "anticlockwise": (0, -1, 1, 0),
    "mirrored": (-1, 0, 0, 1), "upside down": (1, 0, 0, -1), "mirrored, clockwise": (0, 1, 1, 0),
}  # fmt: skip


def turned(points: np.ndarray, size: tuple[float, float], turns: int) -> np.ndarray:
    """Places [...,2] in an image of this size after quarter turns clockwise."""
    for _ in range(turns % 4):
        points, size = np.stack([size[1] - points[..., 1], points[..., 0]], axis=-1), size[::-1]
    return points


def stored_video(folder, matrix, pixel=1.0):
    """A video whose stored picture has a bright square at a quarter of its width and height."""
    image = np.zeros((STORED[1], STORED[0], 3), np.uint8)
    image[15:45, 20:60] = 250
    write_animation(folder / "film.mp4", [image] * 20, STORED, 10, 3000)
    content = (folder / "film.mp4").read_bytes()
    place = content.index(display_matrix(1, 0, 0, 1), content.index(b"tkhd"))
    (folder / "a.mp4").write_bytes(content[:place] + display_matrix(*matrix) + content[place + 36 :])
    video = open_video(folder / "a.mp4")
    vars(video)["pixel"] = pixel
    return video


def somebody(width: float, height: float) -> np.ndarray:
    """[20,17,2] an upright person whose nose is at 3/8 of the width; in the middle of an image."""
    poses = keypoints(20)[:, 0, :, :2]
    poses = (poses - poses.mean(axis=(0, 1))) / np.ptp(poses[..., 1]) * 0.8 * min(width, height)
    return poses + np.array([3 * width / 8, height / 2])


def lifted_from(folder, points, video, **flags):
    np.savez(folder / "k.npz", keypoints=points, joints="coco17")
    recording = read_recording(folder / "k.npz", video, **flags)
    assert (recording.fps, len(recording.tracks)) == (10, 1)
    return recording, recording.tracks[0].keypoints[..., :2]


# What is to be done with the stored picture until people are upright in it, and what OpenCV does, in quarter turns.
TURNS = {"as it is": (0, 0), "clockwise": (1, 1), "half": (2, 2), "anticlockwise": (3, 3), "mirrored": (0, 2),
         "upside down": (2, 0), "mirrored, clockwise": (1, 1)}  # fmt: skip


@pytest.mark.parametrize("detector", ["OpenCV", "ignores the display matrix"])
@pytest.mark.parametrize("name", MATRICES)
def test_keypoints_are_those_of_the_picture_in_which_the_person_is_upright(tmp_path, caplog, name, detector):
    upright, by_opencv = TURNS[name]
    video, seen = stored_video(tmp_path, MATRICES[name]), by_opencv if detector == "OpenCV" else 0
    size = STORED[:: -1 if upright % 2 else 1]
    points = somebody(*size)
    recording, found = lifted_from(tmp_path, turned(points, size, seen - upright), video)
    np.testing.assert_allclose(found, points, atol=1e-3)
    assert recording.image_size == size
    picture = next(recording.video.frames(size))[..., 0] > 125
    corner = np.array([(x, y) for y, x in np.argwhere(picture)]).mean(axis=0) + 0.5
    np.testing.assert_allclose(corner, turned(np.array([40.0, 30.0]), STORED, upright), atol=1)  # never mirrored
    said = [message for message in caplog.messages if "detectors differ in that" in message]
    assert len(said) == ("mirrored" in name or name == "upside down" or seen != upright)
    assert not said or f"of {size[0]}x{size[1]}, upright with square pixels" in said[0]


@pytest.mark.parametrize("matrix", ["as it is", "clockwise"])
@pytest.mark.parametrize(("square", "stated"), [(False, False), (True, False), (False, True), (True, True)])
def test_pixels_that_are_not_square_are_stretched(tmp_path, caplog, matrix, square, stated):
    """A detector that sees square pixels is known by its size, or by a person where stored pixels have no place."""
    video = stored_video(tmp_path, MATRICES[matrix], 4 / 3)
    axis = int(matrix == "clockwise")
    final = [120, 120]
    final[axis] = 213
    points = somebody(*final)
    points[..., axis] += square * (25 if axis else 90)
    given = points.copy()
    if not square:
        given[..., axis] *= STORED[0] / 213
    size = tuple(final) if square else (STORED if axis == 0 else STORED[::-1])
    recording, found = lifted_from(tmp_path, given, video, **({"image_size": size} if stated else {}))
    assert recording.image_size == tuple(final)
    np.testing.assert_allclose(found, points, atol=0.3)
    assert caplog.text.count("pixels that are not square (sample aspect ratio 1.333)") == 1
    assert (", stretched. In" in caplog.text, ", not stretched. In" in caplog.text) == (square, not square)


def test_parts_of_a_picture_on_its_side_are_turned_too(tmp_path):
    video, points = stored_video(tmp_path, MATRICES["clockwise"]), somebody(120, 160)
    recording, found = lifted_from(tmp_path, turned(points, (120, 160), -1) / STORED, video)
    assert recording.image_size == (120, 160)
    np.testing.assert_allclose(found, points, atol=1e-3)


def test_keypoints_of_another_shape_are_refused(tmp_path):
    video = stored_video(tmp_path, MATRICES["clockwise"])
    with pytest.raises(UserError, match=r"images of 300x100, and --video .*a\.mp4 has another shape, 120x160"):
        lifted_from(tmp_path, somebody(120, 160), video, image_size=(300, 100))
