from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from glagcn.errors import UserError
from glagcn.poses.draw.animation import (
    COLOURS,
    INPUT,
    PREDICTION,
    SIDES,
    TRUTH,
    Animation,
    animate,
    floor_lines,
    frame_errors,
    upright_matrix,
)  # fmt: skip
from glagcn.poses.draw.video import open_video, write_animation
from glagcn.poses.result import Z_UP, Poses
from glagcn.skeletons import SKELETONS, get_skeleton
from tests.command_line import messages
from tests.poses.people import person as somebody
from tests.poses.people import project

SKELETON, SIZE, FOCAL = get_skeleton("mpi3dhp17"), (1280, 720), 1000.0
STANDING = {  # camera coordinates, mm: a person who faces the camera has the left side at the camera's right
    "head_top": (0, -800, 0), "head": (0, -700, -30), "neck": (0, -550, 0), "spine": (0, -200, 0), "pelvis": (0, 0, 0),
    "left_shoulder": (180, -520, 0), "left_elbow": (260, -250, 0), "left_wrist": (300, 0, 0),
    "left_hip": (100, 0, 0), "left_knee": (110, 450, 0), "left_ankle": (110, 900, 0),
}  # fmt: skip
STANDING |= {n.replace("left", "right"): (-x, y, z) for n, (x, y, z) in STANDING.items() if n.startswith("left")}
STANDING_POSE = np.array([STANDING[name] for name in SKELETON.joints], dtype=float)
TO_Z_UP = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
GREEN = (0, 200, 0)


def person(number: int = 0, place: tuple[float, float] = (0, 5000), frames=(0, 1, 2), **changes) -> Poses:
    """Somebody who stands and faces the camera, `place` millimetres to its right and before it."""
    poses = np.repeat(STANDING_POSE[None], len(frames), axis=0)
    root = np.tile([place[0], 0.0, place[1]], (len(frames), 1))
    pixels = project(poses + root[:, None], FOCAL, SIZE)
    values = {"person": number, "frames": np.array(frames), "pixels": pixels, "image_size": SIZE, "root": root}
    return somebody(poses, "mpi3dhp17", **(values | changes))


def two() -> list[Poses]:
    return [person(4, (-1000, 5000)), person(7, (1000, 6000), (1, 5))]


TRUE = person(root=None, frames=(5, 15, 25))
PREDICTED = replace(TRUE, xyz=TRUE.xyz + np.float32([0, 0, 20]))  # relative to the root, 20 mm off


def coloured(animation: Animation, picture: np.ndarray, colour, title: str) -> np.ndarray:
    """(x, y) of the pixels of a panel that have a colour, y down; the legend is left out."""
    picture = picture[: int(0.93 * len(picture))].astype(float)
    y, x = np.nonzero(np.abs(picture - 255 * np.array(to_rgb(colour))).max(axis=2) < 20)
    box = animation.axes[title].get_window_extent()
    return np.stack([x, y], axis=1)[(x >= box.x0) & (x < box.x1)]


def texts(animation: Animation) -> list[str]:
    return [caption.get_text() for caption in animation._captions.values()]


def test_panels_have_even_sizes_and_room_for_images_of_any_shape():
    assert list(Animation([PREDICTED], 5.01, TRUE).axes) == [INPUT, PREDICTION, TRUTH]
    assert list(Animation(two(), 5).axes) == [INPUT, PREDICTION]
    for size in (SIZE, (200, 3000), (3000, 200), (500, 500)):
        animation = Animation([person(image_size=size)], 3)
        assert animation.draw(0).shape == (*animation.size_px[::-1], 3)
        assert [side % 2 for side in animation.size_px] == [0, 0]
        assert 0.5 <= animation.size_px[0] / animation.size_px[1] - 1 <= 2


@pytest.mark.parametrize("title", [INPUT, PREDICTION, TRUTH])
def test_the_left_of_one_who_faces_the_camera_is_at_the_right_and_up_is_up(title):
    animation = Animation([PREDICTED], 5, TRUE)
    picture = animation.draw(5)
    left, right, middle = (coloured(animation, picture, SIDES[side], title) for side in ("left", "right", "middle"))
    assert min(len(left), len(right), len(middle)) > 60
    assert left[:, 0].mean() > right[:, 0].mean() + 10
    assert middle[:, 1].mean() < min(left[:, 1].mean(), right[:, 1].mean())  # the head is above the legs
    assert max(left[:, 1].max(), right[:, 1].max()) > middle[:, 1].max() + 20


def test_everybody_is_drawn_at_the_joints_in_a_colour_of_their_own():
    animation = Animation(two(), 5)
    picture = animation.draw(1)
    for number, one in enumerate(two()):
        expected = animation.axes[INPUT].transData.transform(one.pixels[0][list(SKELETON.left)])
        found = coloured(animation, picture, COLOURS[number], INPUT)
        height = animation.size_px[1]
        np.testing.assert_allclose(found.max(axis=0), [expected[:, 0].max(), height - expected[:, 1].min()], atol=5)
    left, right = (coloured(animation, picture, colour, PREDICTION)[:, 0].mean() for colour in COLOURS[:2])
    assert left < right - 20  # one stands to the left of the other


@pytest.mark.parametrize(("frame", "there"), [(0, (True, False)), (1, (True, True)), (3, (False, False)),
                                              (5, (False, True))])  # fmt: skip
def test_a_frame_shows_those_who_are_in_it(frame, there):
    animation = Animation(two(), 5)
    animation.draw(1)
    picture = animation.draw(frame)
    for title in (INPUT, PREDICTION):
        assert tuple(len(coloured(animation, picture, colour, title)) > 0 for colour in COLOURS[:2]) == there


def test_a_joint_without_pixels_is_not_drawn_in_2d():
    pixels = person().pixels
    pixels[:, SKELETON.joints.index("left_wrist")] = np.nan
    animations = [Animation([one], 5) for one in (person(), person(pixels=pixels))]
    complete, without = (animation.draw(0) for animation in animations)
    split = round(animations[0].axes[PREDICTION].get_window_extent().x0)
    assert (complete[:, :split] != without[:, :split]).any()
    np.testing.assert_array_equal(complete[:, split:], without[:, split:])


def test_the_farthest_bones_are_drawn_first():
    near, far = person(0, (0, 3000)), person(1, (0, 6000))
    animation = Animation([far, near], 5)
    animation.draw(0)
    depths = [screen[0, :, 2].mean() for screen in animation._screen[PREDICTION]]
    assert depths[0] > depths[1] + 2000
    drawn = [tuple(np.round(colour[:3], 3)) for colour in animation._bones[PREDICTION].get_colors()[1::2]]
    assert set(drawn[:16]) == {tuple(np.round(shade, 3)) for shade in animation._tables[0][2]}


def test_3d_panels_have_equal_axes_and_show_every_pose():
    animation = Animation([replace(PREDICTED, xyz=2 * PREDICTED.xyz)], 5, TRUE)
    for axes in animation.axes.values():
        (x0, y0), (x1, y1) = axes.transData.transform([(0, 0), (100, 100)])
        assert abs(x1 - x0) == pytest.approx(abs(y1 - y0))
    one, other = (animation.axes[title] for title in (PREDICTION, TRUTH))
    assert (one.get_xlim(), one.get_ylim()) == (other.get_xlim(), other.get_ylim())
    for k, (low, high) in enumerate((one.get_xlim(), one.get_ylim())):
        assert low < animation._screen[PREDICTION][0][..., k].min()
        assert high > animation._screen[PREDICTION][0][..., k].max()


def test_a_rotation_levels_the_view():
    tilted = np.array([[1.0, 0, 0], [0, 0.3, np.sqrt(0.91)], [0, -np.sqrt(0.91), 0.3]])  # looks down at the floor
    leaning = replace(PREDICTED, xyz=PREDICTED.xyz @ TO_Z_UP.T.astype(np.float32) @ tilted.astype(np.float32))
    screens = [
        Animation([one], 5, rotation=rotation)._screen[PREDICTION][0]
        for one, rotation in ((leaning, tilted), (PREDICTED, None))
    ]
    np.testing.assert_allclose(*screens, atol=1e-3)


def test_the_floor_is_under_the_feet_and_at_zero_in_z_up_axes():
    up = person()
    turned = (up.xyz @ TO_Z_UP.T).astype(np.float32)
    assert Animation([up], 3).level == pytest.approx(-900)
    assert Animation([replace(up, xyz=turned, root=np.tile([0.0, 5000, 1500], (3, 1)), axes=Z_UP)], 3).level == 0
    far = [person(root=None), person(1, (0, 90_000))]
    assert Animation(far, 3).draw(0).any()  # without a place, and with a floor of many kilometres


def test_captions_name_the_frame_and_its_error():
    animation = Animation([PREDICTED], 5, TRUE)
    first = animation.draw(5).copy()
    assert texts(animation) == ["frame 5", "error 20.0 mm", ""]
    third = animation.draw(25)
    changed = np.nonzero((first != third).any(axis=(0, 2)))[0]
    assert changed.max() < animation.axes[PREDICTION].get_window_extent().x0  # the number of the frame alone
    assert frame_errors(PREDICTED, TRUE) == pytest.approx({5: 20, 15: 20, 25: 20})


def test_a_frame_without_a_true_pose_is_drawn_without_it():
    animation = Animation([PREDICTED], 5, person(root=None, frames=(5, 25)))
    there = [len(coloured(animation, animation.draw(frame), SIDES["left"], TRUTH)) > 0 for frame in (5, 15, 25)]
    assert there == [True, False, True]
    picture = animation.draw(15)
    assert texts(animation)[1] == "error unknown"
    assert len(coloured(animation, picture, SIDES["left"], PREDICTION)) > 0


def test_the_video_lies_behind_the_2d_poses():
    animation = Animation(two(), 5.01)
    width, height = animation.image_box
    assert width / height == pytest.approx(SIZE[0] / SIZE[1], rel=0.01)
    image = np.full((height, width, 3), 90, np.uint8)
    image[: height // 2, : width // 2] = GREEN  # the top left quarter: the joints of small x and y
    picture = animation.draw(0, image)
    hit = (picture == GREEN).all(axis=2)
    assert hit.sum() > 0.2 * width * height
    assert len(coloured(animation, picture, COLOURS[0], INPUT)) > 50
    x, y = np.nonzero(hit)[::-1]
    corners = [(x.min(), len(picture) - y.min()), (x.max() + 1, len(picture) - y.max() - 1)]
    found = animation.axes[INPUT].transData.inverted().transform(corners)
    np.testing.assert_allclose(found, [(0, 0), (SIZE[0] / 2, SIZE[1] / 2)], atol=8)
    assert not (animation.draw(1) == GREEN).all(axis=2).any()  # without a frame there is none


@pytest.mark.parametrize("name", SKELETONS)
def test_every_skeleton_can_be_drawn(name):
    skeleton = get_skeleton(name)
    poses = np.random.default_rng(0).normal(0, 300, (1, skeleton.num_joints, 3))
    one = somebody(poses, name, pixels=poses[..., :2] + 400, image_size=(800, 800))
    animation = Animation([one], 4, one)
    picture = animation.draw(0)
    for side in ("left", "right"):
        assert all(len(coloured(animation, picture, SIDES[side], title)) for title in animation.axes)


def test_a_file_has_the_wanted_frames_over_those_of_the_video(tmp_path):
    """Also where the video ends before the poses do: they go on without it."""
    video = tmp_path / "film.mp4"
    write_animation(video, (np.full((64, 64, 3), 20 * k, np.uint8) for k in range(8)), (64, 64), 25, 3000)
    one = person(frames=range(12))
    with messages() as said:
        animate(tmp_path / "a.mp4", Animation([one], 2), range(1, 12, 2), 5.0, 3000, open_video(video))
    shown = open_video(tmp_path / "a.mp4")
    levels = [np.median(picture[40:180, 30:100]) for picture in shown.frames(shown.size)]
    np.testing.assert_allclose(levels, [20, 60, 100, 140, 244, 244], atol=6)
    assert said[-1] == f"Wrote {Path(tmp_path / 'a.mp4')}: 6 frames of {shown.size[0]}x{shown.size[1]}"


# ---- the view


RIGHT, DOWN, FORWARD = np.eye(3)


def turned(axis, degrees):
    """The rotation by so much about coordinate `axis`."""
    angle, (i, j) = np.radians(degrees), [k for k in range(3) if k != axis]
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = np.cos(angle)
    matrix[i, j], matrix[j, i] = -np.sin(angle), np.sin(angle)
    return matrix


def is_rotation(matrix):
    return np.allclose(matrix @ matrix.T, np.eye(3)) and np.isclose(np.linalg.det(matrix), 1)


@pytest.mark.parametrize("pitch", [-25, 0, 40])
@pytest.mark.parametrize("heading", [0, 75, 180, -130])
def test_a_rotation_levels_the_floor_and_keeps_the_viewer_at_the_camera(pitch, heading):
    # A camera that is tilted by `pitch` and faces any way; the floor's normal in its coordinates must come out as z.
    rotation = turned(2, heading) @ upright_matrix() @ turned(0, pitch)
    matrix = upright_matrix(rotation)
    assert is_rotation(matrix)
    np.testing.assert_allclose(matrix @ (rotation.T @ [0, 0, 1]), [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(matrix @ RIGHT, [1, 0, 0], atol=1e-12)
    assert (matrix @ FORWARD)[1] > 0


def test_a_camera_that_looks_straight_down_has_the_top_of_its_image_ahead():
    rotation = turned(2, 30) @ np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]])
    np.testing.assert_allclose(upright_matrix(rotation) @ -DOWN, [0, 1, 0], atol=1e-12)


@pytest.mark.parametrize("rotation", [np.eye(2), np.zeros((3, 3)), np.full((3, 3), np.nan), 2 * np.eye(3)])
def test_what_is_no_rotation_is_refused(rotation):
    with pytest.raises(UserError, match=r"must be an orthogonal matrix \[3,3\]"):
        upright_matrix(rotation)


def test_the_floor_is_flat_of_whole_squares_and_not_too_many():
    lines = floor_lines(np.array([-390.0, -400]), np.array([350.0, 10]), -900, 200)
    assert lines.shape == (5 + 4, 2, 3)
    assert set(lines[..., 2].ravel()) == {-900}
    np.testing.assert_array_equal(lines.reshape(-1, 3).min(axis=0), [-400, -400, -900])
    np.testing.assert_array_equal(lines.reshape(-1, 3).max(axis=0), [400, 200, -900])
    assert len(floor_lines(np.zeros(2), np.full(2, 90_000), 0, 200)) < 60
