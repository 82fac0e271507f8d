from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from glagcn.poses.draw.people import COLOURS, PeopleAnimation
from glagcn.poses.draw.projection import PREDICTED
from glagcn.poses.result import Z_UP, Poses
from glagcn.skeletons import get_skeleton
from tests.poses.people import project
from tests.rendering.test_animation import standing

SKELETON, SIZE, FOCAL = get_skeleton("mpi3dhp17"), (1280, 720), 1000.0


def person(number: int, place: tuple[float, float], frames=(0, 1, 2)) -> Poses:
    """Somebody who stands and faces the camera, `place` millimetres to its right and before it."""
    poses = np.repeat(standing()[None], len(frames), axis=0)
    root = np.tile([place[0], 0.0, place[1]], (len(frames), 1))
    return Poses(
        person=number, skeleton=SKELETON, frames=np.array(frames), fps=25.0, xyz=poses.astype(np.float32),
        confidence=np.ones(poses.shape[:2], np.float32), pixels=project(poses + root[:, None], FOCAL, SIZE),
        image_size=SIZE, root=root,
    )  # fmt: skip


def two(**changes) -> list[Poses]:
    return [person(4, (-1000, 5000)), replace(person(7, (1000, 6000), (1, 5)), **changes)]


def places(animation, picture, number: int, panel: str) -> np.ndarray:
    """(x, y) in pixels of the picture, y down, of the left side of a person in a panel."""
    picture = picture[: int(0.93 * len(picture))].astype(float)  # without the legend
    y, x = np.nonzero(np.abs(picture - 255 * np.array(to_rgb(COLOURS[number]))).max(axis=2) < 20)
    box = animation.axes[panel].get_window_extent()
    inside = (x >= box.x0) & (x < box.x1)
    return np.stack([x, y], axis=1)[inside]


def test_everybody_is_drawn_at_the_joints_in_a_colour_of_their_own():
    animation = PeopleAnimation(two(), 5)
    picture = animation.draw(1)
    for number, one in enumerate(two()):
        expected = animation.axes["2D"].transData.transform(one.pixels[0][list(SKELETON.left)])
        found = places(animation, picture, number, "2D")
        height = animation.size_px[1]
        np.testing.assert_allclose(found.max(axis=0), [expected[:, 0].max(), height - expected[:, 1].min()], atol=5)
    left, right = (places(animation, picture, number, "3D")[:, 0].mean() for number in range(2))
    assert left < right - 20  # one stands to the left of the other


@pytest.mark.parametrize(("frame", "there"), [(0, (True, False)), (1, (True, True)), (3, (False, False)),
                                              (5, (False, True))])  # fmt: skip
def test_a_frame_shows_those_who_are_in_it(frame, there):
    animation = PeopleAnimation(two(), 5)
    animation.draw(1)
    picture = animation.draw(frame)
    for panel in ("2D", "3D"):
        assert tuple(len(places(animation, picture, number, panel)) > 0 for number in range(2)) == there


def test_a_joint_without_pixels_is_not_drawn_in_2d():
    whole = person(0, (0, 5000))
    pixels = whole.pixels.copy()
    pixels[:, SKELETON.joints.index("left_wrist")] = np.nan
    pictures = []
    for one in (whole, replace(whole, pixels=pixels)):
        animation = PeopleAnimation([one], 5)
        pictures.append((animation.draw(0), round(animation.axes["3D"].get_window_extent().x0)))
    (complete, split), (without, _) = pictures
    assert (complete[:, :split] != without[:, :split]).any()
    np.testing.assert_array_equal(complete[:, split:], without[:, split:])


def test_one_alone_has_the_colours_of_the_sides():
    picture = PeopleAnimation([person(0, (0, 5000))], 5).draw(0).astype(float)
    for side in ("left", "right", "middle"):
        near = np.abs(picture[60:460] - 255 * np.array(to_rgb(PREDICTED[side]))).max(axis=2) < 20
        assert near.sum() > 60, side


def test_who_stands_farther_is_behind():
    near, far = person(0, (0, 3000)), person(1, (0, 6000))
    animation = PeopleAnimation([far, near], 5)
    animation._set_bones(0)
    depths = [screen[0, :, 2].mean() for screen in animation._screen]
    assert depths[0] > depths[1] + 2000
    drawn = [tuple(np.round(colour[:3], 3)) for colour in animation._bones["3D"].get_colors()[1::2]]
    first = {tuple(np.round(shade, 3)) for shade in animation._tables[0][2]}
    assert set(drawn[:16]) == first  # all bones of the farther one before those of the nearer


def test_the_video_lies_behind_and_pictures_have_even_sides():
    animation = PeopleAnimation(two(), 5.01)
    width, height = animation.image_box
    assert width / height == pytest.approx(SIZE[0] / SIZE[1], rel=0.01)
    picture = animation.draw(0, np.full((height, width, 3), (0, 200, 0), np.uint8))
    assert (picture == [0, 200, 0]).all(axis=2).sum() > 0.9 * width * height
    assert [side % 2 for side in animation.size_px] == [0, 0]
    assert picture.shape == (*animation.size_px[::-1], 3)


@pytest.mark.parametrize("size", [(200, 3000), (3000, 200), (500, 500)])
def test_images_of_any_shape_have_room(size):
    animation = PeopleAnimation([replace(person(0, (0, 5000)), image_size=size)], 3)
    assert animation.draw(0).shape == (*animation.size_px[::-1], 3)
    assert 0.5 <= animation.size_px[0] / animation.size_px[1] - 1 <= 2


def test_the_floor_is_under_the_feet_and_at_zero_in_z_up_coordinates():
    up = person(0, (0, 5000))
    turned = up.xyz @ np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]).T
    high = replace(up, xyz=turned.astype(np.float32), root=np.tile([0.0, 5000, 1500], (3, 1)), axes=Z_UP)
    assert PeopleAnimation([up], 3).level == pytest.approx(-900)
    assert PeopleAnimation([high], 3).level == 0
    far = [replace(person(0, (0, 5000)), root=None), person(1, (0, 90_000))]
    assert PeopleAnimation(far, 3).draw(0).any()  # without a place, and with a floor of many kilometres
