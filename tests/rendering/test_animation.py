import numpy as np
import pytest
from matplotlib.colors import to_rgb

from glagcn.poses.draw.animation import TITLES, Animation, Clip
from glagcn.poses.draw.projection import PREDICTED
from glagcn.skeletons import get_skeleton

SKELETON = get_skeleton("mpi3dhp17")
SIZE = (1000, 800)
STANDING = {  # camera coordinates, mm: a person who faces the camera has the left side at the camera's right
    "head_top": (0, -800, 0), "head": (0, -700, -30), "neck": (0, -550, 0), "spine": (0, -200, 0), "pelvis": (0, 0, 0),
    "left_shoulder": (180, -520, 0), "left_elbow": (260, -250, 0), "left_wrist": (300, 0, 0),
    "left_hip": (100, 0, 0), "left_knee": (110, 450, 0), "left_ankle": (110, 900, 0),
}  # fmt: skip


def standing() -> np.ndarray:
    """[17,3] a person who faces the camera."""
    mirrored = {n.replace("left", "right"): (-x, y, z) for n, (x, y, z) in STANDING.items() if n.startswith("left")}
    return np.array([(STANDING | mirrored)[name] for name in SKELETON.joints], dtype=float)


def clip(count=3, **changes) -> Clip:
    """`count` frames of a standing person, 20 mm off in the prediction."""
    target = np.repeat(standing()[None], count, axis=0)
    pixels = 0.3 * target[..., :2] + [500, 400]
    values = {"predicted": target + np.array([0, 0, 20.0]), "target": target, "pixels": pixels}
    return Clip(SKELETON, 10 * np.arange(count) + 5, image_size=SIZE, **(values | changes))


def coloured(picture, side, column=None) -> np.ndarray:
    """(x, y) of the pixels that have a side's colour, from panel `column` or from all, the legend left out."""
    height = picture.shape[0]
    distance = np.abs(picture[: int(0.93 * height)].astype(float) - 255 * np.array(to_rgb(PREDICTED[side]))).max(axis=2)
    y, x = np.nonzero(distance < 20)
    places = np.stack([x, y], axis=1)
    return places if column is None else places[x // height == column]


def on_picture(animation, title, joint, pose) -> np.ndarray:
    """(x, y up) in pixels of the picture, of a joint of a pose [V,3] or [V,2] in the coordinates of the panel."""
    return animation.axes[title].transData.transform(pose[SKELETON.joints.index(joint)][:2])


def test_three_panels_or_two_of_even_size():
    assert (Animation(clip(), 5).size_px, list(Animation(clip(), 5).axes)) == ((1500, 500), list(TITLES))
    two = Animation(clip(target=None), 2.505)
    assert (two.size_px, list(two.axes)) == ((500, 250), list(TITLES[:2]))
    assert two.draw(0).shape == (250, 500, 3)


@pytest.mark.parametrize("column", [0, 1, 2])
def test_the_left_of_one_who_faces_the_camera_is_at_the_right(column):
    picture = Animation(clip(), 5).draw(0)
    left, right = (coloured(picture, side, column)[:, 0] for side in ("left", "right"))
    assert min(len(left), len(right)) > 100
    assert left.mean() > right.mean() + 10


@pytest.mark.parametrize("title", TITLES)
def test_up_is_up(title):
    animation = Animation(clip(), 5)
    pose = clip().pixels[0] if title == "2D input" else animation._project(standing())
    places = {
        name: on_picture(animation, title, name, pose) for name in ("head_top", "pelvis", "left_ankle", "right_ankle")
    }
    assert places["head_top"][1] > places["pelvis"][1] > max(places["left_ankle"][1], places["right_ankle"][1])


def test_axes_are_equal_and_the_same_in_both_3d_panels():
    predicted = clip().predicted * 2
    animation = Animation(clip(predicted=predicted), 5)
    for axes in animation.axes.values():
        (x0, y0), (x1, y1) = axes.transData.transform([(0, 0), (100, 100)])
        assert abs(x1 - x0) == pytest.approx(abs(y1 - y0))
    one, other = (animation.axes[title] for title in TITLES[1:])
    assert (one.get_xlim(), one.get_ylim()) == (other.get_xlim(), other.get_ylim())
    screen = animation._project(predicted)  # nothing is cut off
    for k, (low, high) in enumerate((one.get_xlim(), one.get_ylim())):
        assert low < screen[..., k].min()
        assert screen[..., k].max() < high


def test_a_rotation_is_for_the_view_only():
    tilted = np.array([[1.0, 0, 0], [0, 0.3, np.sqrt(0.91)], [0, -np.sqrt(0.91), 0.3]])  # looks down at the floor
    world = standing() @ np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]).T
    leaning = np.repeat((world @ tilted)[None], 3, axis=0)  # what that camera sees of one who stands
    level = Animation(clip(predicted=leaning, target=None, rotation=tilted), 5)
    np.testing.assert_allclose(level._project(leaning), Animation(clip(), 5)._project(clip().target), atol=1e-9)
    assert level.clip.predicted is leaning


def test_every_frame_is_drawn_anew():
    poses = np.repeat(standing()[None], 3, axis=0)
    poses[1, SKELETON.joints.index("left_wrist")] = (700, -700, 0)
    animation = Animation(clip(predicted=poses), 5)
    first, second, third = (animation.draw(k).copy() for k in range(3))
    assert coloured(second, "left", 1)[:, 0].max() > coloured(first, "left", 1)[:, 0].max() + 30
    changed = np.nonzero((first != third).any(axis=(0, 2)))[0]
    assert changed.max() < 500  # the number of the frame alone
    np.testing.assert_array_equal(first[:, 500:], third[:, 500:])


def test_words_name_the_frame_and_its_error():
    animation = Animation(clip(), 5)
    animation.draw(2)
    assert [word.get_text() for word in animation._captions.values()] == ["frame 25", "error 20.0 mm", ""]
    assert clip(target=None).errors is None


def test_a_frame_without_a_true_pose_is_drawn_without_it():
    target = clip().target.copy()
    target[1] = np.nan
    animation = Animation(clip(target=target), 5)
    pictures = [animation.draw(k).copy() for k in range(2)]
    assert [len(coloured(picture, "left", 2)) > 0 for picture in pictures] == [True, False]
    assert animation._captions["Prediction"].get_text() == "error unknown"
    assert len(coloured(pictures[1], "left", 1)) > 0


def test_the_video_lies_behind_the_2d_pose():
    animation = Animation(clip(), 5)
    width, height = animation.image_box
    assert width / height == pytest.approx(SIZE[0] / SIZE[1], rel=0.01)
    green = np.broadcast_to(np.array([0, 200, 0], np.uint8), (height, width, 3))
    picture = animation.draw(0, green)
    hit = (picture == [0, 200, 0]).all(axis=2)
    assert hit.sum() > 0.9 * width * height
    assert not hit[:, 500:].any()
    assert len(coloured(picture, "left", 0)) > 50
    assert not (animation.draw(1) == [0, 200, 0]).all(axis=2).any()  # without a frame there is none


def test_a_corner_of_the_image_is_where_the_pose_has_it():
    """The top left quarter of a video frame holds the joints of small x and y."""
    animation = Animation(clip(), 5)
    width, height = animation.image_box
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = (0, 200, 0)
    x, y = np.nonzero((animation.draw(0, image) == [0, 200, 0]).all(axis=2))[::-1]
    place = animation.axes["2D input"].transData.inverted()
    corners = place.transform([(x.min(), 500 - y.min()), (x.max() + 1, 500 - y.max() - 1)])
    np.testing.assert_allclose(corners, [(0, 0), (500, 400)], atol=8)


def test_a_joint_map_connects_the_limbs_of_another_input():
    skeleton = get_skeleton("humaneva15_coco17")
    pixels = np.random.default_rng(0).uniform(100, 700, (2, 17, 2))
    poses = np.zeros((2, 15, 3))
    drawn = Clip(skeleton, np.arange(2), pixels, SIZE, poses)
    pelvis, left_wrist = (skeleton.joints.index(name) for name in ("pelvis", "left_wrist"))
    np.testing.assert_allclose(drawn.drawn_pixels[:, pelvis], pixels[:, [11, 12]].mean(axis=1))
    np.testing.assert_array_equal(drawn.drawn_pixels[:, left_wrist], pixels[:, 9])
    assert Animation(drawn, 3).draw(1).shape == (300, 600, 3)


@pytest.mark.parametrize("name", ["h36m17", "humaneva15", "humaneva15_tree"])
def test_every_skeleton_can_be_drawn(name):
    skeleton = get_skeleton(name)
    poses = np.random.default_rng(0).normal(0, 300, (1, skeleton.num_joints, 3))
    picture = Animation(Clip(skeleton, np.arange(1), poses[..., :2] + 400, SIZE, poses, poses), 4).draw(0)
    assert all(len(coloured(picture, side, column)) for side in ("left", "right") for column in range(3))
