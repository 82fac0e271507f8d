"""The ray frame: what does not change where the person stands, through whatever lens, and how poses come back."""

import numpy as np
import pytest
import torch

import glagcn
from glagcn.data.mocap.motion import MocapSource, mocap_source
from glagcn.model.temporal_conv import TemporalConv
from glagcn.poses.ray import HISTORY, Rays, normalised_lens, turned, turned_back
from glagcn.skeletons import SKELETONS, get_skeleton

SKELETON = get_skeleton("mpi3dhp17")
SIZE, FOCAL = np.array([1920, 1080]), 1500.0
LENS = np.array([FOCAL, FOCAL, *SIZE / 2])


@pytest.fixture(scope="module")
def person() -> np.ndarray:
    """[60,17,3] millimetres in camera axes."""
    source: MocapSource = mocap_source()
    return next(iter(source.read("test"))).millimetres[:60].astype(np.float64)


def seen_by(person: np.ndarray, focal: float = FOCAL, size: np.ndarray = SIZE) -> np.ndarray:
    return person[..., :2] / person[..., 2:] * focal + size / 2


def yaw(degrees: float) -> np.ndarray:
    sine, cosine = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    return np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])


@pytest.fixture(params=[False, True], ids=["centred", "causal"])
def model(request: pytest.FixtureRequest, person: np.ndarray) -> TemporalConv:
    """An untrained model of the ray frame, whose poses depend on every number of its input."""
    torch.manual_seed(1)
    model = TemporalConv(SKELETON, (3, 3), 32, causal=request.param, input="xyc")
    model.frame = "ray"
    model.initialise("tuned", torch.from_numpy(person[0] - person[0, SKELETON.root]).float() / 1000)
    model.shrink.weight.data *= 10
    return model.eval()


def lifted(model: TemporalConv, pixels: np.ndarray, focal: float = FOCAL, size: np.ndarray = SIZE) -> np.ndarray:
    return glagcn.predict(model, pixels, size, flip=False, focal=focal).astype(np.float64)


def test_a_camera_that_turns_gives_the_same_pose(model: TemporalConv, person: np.ndarray):
    """About its vertical; the pose is the same but for that turn, to the rounding of float32."""
    ahead = lifted(model, seen_by(person))
    assert ahead.std(axis=0).max() > 10  # mm: the poses are not all the same
    for degrees in (-20, 7, 15):
        aside = lifted(model, seen_by(person @ yaw(degrees).T))
        np.testing.assert_allclose(aside, ahead @ yaw(degrees).T, atol=2e-3)
    off = lifted(model, seen_by(person @ yaw(15).T), focal=2 * FOCAL)
    assert np.abs(off - ahead @ yaw(15).T).max() > 20  # another focal length is another angle


def test_in_float64_it_is_the_same_pose_to_a_ten_thousandth_of_a_millimetre(model: TemporalConv, person: np.ndarray):
    """The equations themselves, for a camera that turns any way about its vertical, and for any lens."""
    model, rays = model.double(), Rays(SKELETON, torch.device("cpu"))

    def exact(person: np.ndarray, focal: float) -> np.ndarray:
        plane = torch.from_numpy(
            np.concatenate([focal * person[..., :2] / person[..., 2:], np.ones((60, 17, 1))], axis=-1)
        )
        window, rotations = rays(plane[None], torch.tensor([focal, focal, 0, 0], dtype=torch.float64))
        poses = model.predict_sequence(window[0])
        poses = turned_back(poses, rotations[0, model.target_frame :][: len(poses)])
        return poses.detach().numpy() * 1000

    ahead = exact(person, 1.5)
    for degrees in (-20, 7, 15):
        for focal in (1.5, 0.8):
            aside = exact(person @ yaw(degrees).T, focal)
            np.testing.assert_allclose(aside, ahead @ yaw(degrees).T, atol=1e-4)


def test_a_larger_picture_with_a_longer_focal_length_gives_the_same_pose(model: TemporalConv, person: np.ndarray):
    twice = lifted(model, seen_by(person, 2 * FOCAL, 2 * SIZE), 2 * FOCAL, 2 * SIZE)
    np.testing.assert_allclose(twice, lifted(model, seen_by(person)), atol=1e-4)
    usual = 1.92 / 2 / np.tan(np.radians(55) / 2) * 1000
    np.testing.assert_array_equal(glagcn.predict(model, seen_by(person), SIZE, focal=usual), lifted_flip(model, person))


def lifted_flip(model: TemporalConv, person: np.ndarray) -> np.ndarray:
    return glagcn.predict(model, seen_by(person), SIZE)


def test_a_taller_person_farther_away_gives_the_same_pose(model: TemporalConv, person: np.ndarray):
    np.testing.assert_allclose(lifted(model, seen_by(person * 1.5)), lifted(model, seen_by(person)), atol=1e-3)


def test_a_stream_gives_the_poses_of_the_whole_sequence(model: TemporalConv, person: np.ndarray):
    lifter = glagcn.Lifter(model, SIZE, flip=False, focal=FOCAL)
    pushed = [lifter.push(frame) for frame in seen_by(person)]
    poses = [pose for pose in pushed if pose is not None]
    np.testing.assert_allclose([*poses, *lifter.finish()], lifted(model, seen_by(person)), atol=1e-3)


def test_poses_come_back_as_they_were(person: np.ndarray):
    repeated = np.concatenate([person[:1].repeat(HISTORY - 1, axis=0), person])
    rays = Rays(SKELETON, torch.device("cpu"))
    normalised = torch.from_numpy((seen_by(repeated) * 2 - SIZE) / SIZE[0]).float()[None]
    flat, rotations = rays(normalised, normalised_lens(SIZE, LENS))
    poses = torch.from_numpy(person - person[:, [SKELETON.root]]).float()
    aligned = turned(poses, rotations[0])
    np.testing.assert_allclose(turned_back(aligned, rotations[0]), poses, atol=1e-3)
    identity = rotations[0] @ rotations[0].transpose(1, 2)
    np.testing.assert_allclose(identity, torch.eye(3).expand(60, 3, 3), atol=1e-6)
    # What the network reads is about what it is to give: x and y in metres.
    assert np.abs(flat[0].numpy() - aligned[..., :2].numpy() / 1000).mean() < 0.06
    assert (rotations[0, :, 0, 1] == 0).all()  # the new x axis stays horizontal: no roll


def test_the_size_does_not_follow_joints_that_are_missing_or_far_off(person: np.ndarray):
    rays = Rays(SKELETON, torch.device("cpu"))
    plain = np.concatenate([(seen_by(person) * 2 - SIZE) / SIZE[0], np.ones((60, 17, 1))], axis=-1)

    def scale(poses: np.ndarray) -> float:
        """How much the shoulders are apart, which these poses leave as they are."""
        flat = rays(torch.from_numpy(poses).float()[None], normalised_lens(SIZE, LENS)).poses[0]
        left, right = (SKELETON.joints.index(f"{side}_shoulder") for side in ("left", "right"))
        return float((flat[:, left] - flat[:, right])[:, :2].norm(dim=-1).mean())

    half, outlier, whole = plain.copy(), plain.copy(), scale(plain)
    legs = [SKELETON.joints.index(f"{side}_{part}") for side in ("left", "right") for part in ("knee", "ankle")]
    half[:, legs] = [3, 3, 0]  # a person cut off at the hips; the places of such joints mean nothing
    outlier[:, legs[1], :2] = 3
    assert scale(half) == pytest.approx(whole, rel=0.15)
    assert scale(outlier) == pytest.approx(whole, rel=0.15)
    unsure = plain.copy()
    unsure[..., 2] = 0  # as in a frame in which nobody was found
    assert scale(unsure) == pytest.approx(whole)


@pytest.mark.parametrize("name", list(SKELETONS))
def test_every_skeleton_has_the_joints(name: str):
    skeleton = get_skeleton(name)
    poses = torch.rand(2, HISTORY + 4, skeleton.num_input_joints, 3)
    flat, rotations = Rays(skeleton, torch.device("cpu"))(poses, normalised_lens(SIZE, LENS))
    assert flat.shape == (2, 5, skeleton.num_input_joints, 3)
    assert flat.isfinite().all()
    assert rotations.shape == (2, 5, 3, 3)


def test_a_point_of_joints_is_finite():
    """All joints at one place, as a broken detector gives them."""
    poses = torch.full((1, HISTORY, 17, 2), 0.3)
    flat, rotations = Rays(SKELETON, torch.device("cpu"))(poses, normalised_lens(SIZE, LENS))
    assert flat.isfinite().all()
    assert rotations.isfinite().all()


def test_a_wrong_focal_length_is_refused(model: TemporalConv, person: np.ndarray):
    for focal in (0, -1000, float("nan")):
        with pytest.raises(glagcn.UserError, match="focal"):
            lifted(model, seen_by(person), focal)
