"""A stretch of a sequence gives the poses of its windows, with less work: every model, both ends, both ways."""

import numpy as np
import pytest
import torch

from glagcn import dist
from glagcn.data.lenses import Lenses
from glagcn.data.windows import FrameStore
from glagcn.evaluate.evaluate import predict_frames
from glagcn.model.gla_gcn.network import LiftingNetwork
from glagcn.model.interface import Model
from glagcn.model.temporal_conv import TemporalConv
from glagcn.poses.lift import lift_frames, stretches
from glagcn.poses.ray import usual_lens
from glagcn.skeletons import get_skeleton
from tests.splits import make_split

SIZE = np.array([1000, 1000])
FORMS = {
    "gla_gcn": lambda **form: LiftingNetwork(get_skeleton("mpi3dhp17"), (3, 3), 8, sequence_layers=1, **form),
    "s_agcn": lambda **form: LiftingNetwork(
        get_skeleton("mpi3dhp17"), (9,), 8, sequence_layers=0, head="shared", input_norm=False, relative=True, **form
    ),
    "joint_map": lambda **form: LiftingNetwork(get_skeleton("humaneva15_coco17"), (3,), 4, sequence_layers=1, **form),
    "temporal_conv": lambda **form: TemporalConv(get_skeleton("mpi3dhp17"), (3, 5), 16, **form),
    "one_layer": lambda **form: TemporalConv(get_skeleton("mpi3dhp17"), (9,), 8, relative_input=True, **form),
}


def a_model(form, frame="camera", **options):
    """A model whose every weight and running statistic counts."""
    torch.manual_seed(1)
    model = FORMS[form](**options)
    for name, value in model.state_dict().items():
        if value.is_floating_point() and name not in model.constant:
            value.add_(torch.rand_like(value) * (2 if "running_var" in name else 0.03))
    model.frame = frame
    return model.eval()


def some_keypoints(frames, joints):
    """A track [T,J,3] that walks through the image, joints with gaps at the ends and between filled as they are."""
    random = np.random.default_rng(3)
    middle = 400 + np.cumsum(random.normal(0, 3, (frames, 1, 2)), axis=0)
    points = middle + random.normal(0, 80, (1, joints, 2)) + random.normal(0, 4, (frames, joints, 2))
    return np.concatenate([points, random.random((frames, joints, 1)) > 0.1], axis=-1).astype(np.float32)


@pytest.fixture
def windows_only(monkeypatch):
    """Every frame by the window around it, as `forward` has it."""

    def use():
        monkeypatch.setattr("glagcn.poses.lift.LEAST_WINDOWS", 10**9)

    return use


@pytest.mark.parametrize("frame", ["camera", "ray"])
@pytest.mark.parametrize("options", [{}, {"causal": True, "input": "xyc"}], ids=["centred", "causal"])
@pytest.mark.parametrize("form", [form for form in FORMS if form != "joint_map"])
def test_poses_are_those_of_windows_on_every_frame(form, options, frame, windows_only):
    model = a_model(form, frame, **options)
    keypoints = some_keypoints(50, model.skeleton.num_input_joints)
    # From end to end, and with frames left out: two stretches, and single frames.
    chosen = [np.arange(50), np.array([1, 4, *range(5, 25), 27, *range(30, 50)])]
    lifted = [np.concatenate([*lift_frames(model, keypoints, SIZE, None, True, torch.tensor(part))]) for part in chosen]
    windows_only()
    whole = np.concatenate([*lift_frames(model, keypoints, SIZE, None, True, torch.arange(50))])
    assert np.ptp(whole, axis=0).max() > 1  # the frames differ, and no root is compared alone
    np.testing.assert_allclose(lifted[0], whole, atol=1e-2)  # mm
    np.testing.assert_allclose(lifted[1], whole[chosen[1]], atol=1e-2)


@pytest.mark.parametrize("frame", ["camera", "ray"])
@pytest.mark.parametrize("form", FORMS)
def test_a_test_set_is_predicted_as_by_windows(form, frame, windows_only):
    """Sequences shorter than a window and longer, next to each other, with frames that are not scored."""
    if form == "joint_map" and frame == "ray":
        pytest.skip("not trained in the ray frame here")
    model = a_model(form, frame)
    split = make_split({"TS1": 7, "TS2": 40, "TS3": 30}, model.skeleton.name)
    split.pixels[:] = some_keypoints(77, split.pixels.shape[1])[..., :2]
    lenses = Lenses(np.array([usual_lens((1000, 1000))] * 3), "") if frame == "ray" else None
    store = FrameStore(split, model.skeleton, model.frames, dist.device(), lenses=lenses)
    frames = np.flatnonzero(np.arange(77) % 37)
    predicted = [predict_frames(model, store, frames, flip=True, zero_root=False)]
    windows_only()
    predicted.append(predict_frames(model, store, frames, flip=True, zero_root=False))
    np.testing.assert_allclose(*predicted, atol=1e-2)


def test_a_model_that_defines_no_sequence_is_lifted_by_windows():
    class Plain(TemporalConv):
        predict_sequence, sequence_map = Model.predict_sequence, Model.sequence_map

    plain, model = (kind(get_skeleton("mpi3dhp17"), (3, 3), 8).eval() for kind in (Plain, TemporalConv))
    plain.load_state_dict(model.state_dict())
    x = torch.randn(30, 17, 2)
    with torch.no_grad():
        torch.testing.assert_close(plain.predict_sequence(x), model.predict_sequence(x), atol=1e-5, rtol=0)


def test_neighbours_are_lifted_together_up_to_the_end_of_a_sequence_and_others_alone():
    frames = np.array([0, 2, 4, *range(10, 50), 60, 61])
    parts = [(together, part.tolist()) for together, part in stretches(frames, np.diff(frames) < 0, 25, 4)]
    assert parts == [
        (False, [0, 2, 4]), (True, [*range(10, 35)]), (True, [*range(35, 50)]), (False, [60, 61]),
    ]  # fmt: skip
    breaks = frames[1:] == 30
    assert [part[1][:1].tolist() for part in stretches(frames, breaks, 99, 99)] == [[0], [10], [30], [60]]
    assert [*stretches(frames[:0], False, 9, 9)] == []
