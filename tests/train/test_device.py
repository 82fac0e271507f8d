"""What happens on a device, without one: tensors that hold nothing lie on it, and nothing on it can be read.

PyTorch's fake tensors know shapes, types and devices, and refuse to be mixed with those of another device, or to tell a
value, for which the host would wait.  As the device that is not the CPU, the meta device takes the way of CUDA through
all code but streams, pinned memory and autocast.
"""

from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from glagcn import dist
from glagcn.config.resolve import parse_command_line
from glagcn.data.cache import open_cache
from glagcn.data.camera_augmentation import CameraRange
from glagcn.data.detector_noise import DetectorNoise
from glagcn.data.noise_levels import LEVELS
from glagcn.data.plan import BatchSpec, share
from glagcn.data.windows import Batch, FrameStore
from glagcn.evaluate import evaluate as predict
from glagcn.model.gla_gcn.network import LiftingNetwork
from glagcn.skeletons import get_skeleton
from glagcn.train import hardware as precision
from glagcn.train.loop import Stepper

SKELETON, FRAMES = get_skeleton("mpi3dhp17"), 3
DEVICE = torch.device("meta")
FORMS = {"full": {"sequence_layers": 3}, "public": {"sequence_layers": 0, "head": "shared"}}


@pytest.fixture(autouse=True)
def device(monkeypatch):
    monkeypatch.setattr(dist, "device", lambda: DEVICE)


@pytest.fixture
def fake():
    """Within it every tensor is fake; a model from outside becomes one when it goes to the device."""
    library = torch.library.Library("aten", "IMPL")
    library.impl("_fused_sgd_", lambda *args, **kwargs: None, "Meta")  # which PyTorch does not have
    yield FakeTensorMode(allow_non_fake_inputs=True)
    library._destroy()


@pytest.fixture(scope="module")
def split(demo_root):
    return open_cache(next(demo_root.glob("demo*.h5"))).train


def model_of(form):
    return LiftingNetwork(SKELETON, (FRAMES,), 4, relative=True, **FORMS[form])


class Operators(TorchDispatchMode):
    """Notes the names of the operators."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        self.names.append(operator.overloadpacket.__name__)
        return operator(*args, **(kwargs or {}))


def test_windows_are_made_on_the_device_and_without_a_matrix_product(fake, split):
    """Of a matrix product, TF32 would round the operands."""
    frames = np.array([0, 30, 79, 40])
    ids = BatchSpec(frames, frames > 30, np.arange(4), np.full((4, 4), 0.5, np.float32))
    with fake, Operators() as operators:
        store = FrameStore(split, SKELETON, FRAMES, DEVICE, camera_range=CameraRange(180, 10, 5, 0.2))
        batches = list(store.stream(iter([ids, ids.part(0, 3)]), reuse=True))
    assert [part.device for batch in batches for part in batch[:2]] == [DEVICE] * 4
    assert batches[1].targets.shape == (3, FRAMES, 17, 3)
    assert "gather" in operators.names
    assert not {"mm", "bmm", "addmm", "baddbmm", "linalg_matmul"} & set(operators.names)


@pytest.mark.parametrize("fits", [True, False], ids=["frames on the device", "frames on the host"])
def test_detections_are_made_on_the_device_and_wait_for_nothing(fake, monkeypatch, split, fits):
    monkeypatch.setattr("glagcn.data.windows.fits_device", lambda nbytes, device: fits)
    monkeypatch.setattr(torch, "empty", partial(without_pinning, torch.empty))
    frames = np.array([0, 30, 79, 40])
    ids = BatchSpec(frames, frames > 30, noise_draws=np.full((4, 2), 0.5, np.float32))
    confidence = np.ones((len(split.pixels), 17), np.float32)
    with fake:
        augmentation = DetectorNoise(LEVELS["heavy"], SKELETON, 0, DEVICE)
        form = {"channels": 3, "noise": augmentation}
        store = FrameStore(replace(split, confidence=confidence), SKELETON, FRAMES, DEVICE, **form)
        batches = [store.windows(ids), store.windows(ids._replace(noise_draws=None))]
    assert [part.device for batch in batches for part in batch[:2]] == [DEVICE] * 4
    assert batches[0].inputs.shape == (4, FRAMES, 17, 3)


def without_pinning(empty, *args, pin_memory=False, **kwargs):
    return empty(*args, **kwargs)


class Launches(TorchDispatchMode):
    """Notes the operators for which the device has to do something: they make what lies on it, and no mere view."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        made, name = operator(*args, **(kwargs or {})), operator.overloadpacket.__name__
        if isinstance(made, torch.Tensor) and made.device == DEVICE and not operator.is_view and name != "empty":
            self.names.append(name)
        return made


@pytest.mark.parametrize(
    ("views", "most", "tables"), [(None, 13, 1), (np.full((4, 4), 0.5, np.float32), 37, 2)], ids=["plain", "views"]
)
def test_windows_take_few_launches_and_one_copy_a_table(fake, split, views, most, tables):
    frames = np.array([0, 30, 79, 40])
    with fake:
        store = FrameStore(split, SKELETON, FRAMES, DEVICE, camera_range=CameraRange(180, 10, 5, 0.2))
        with Launches() as launches:
            store.windows(BatchSpec(frames, frames > 30, None, views))
    assert {"index_select", "gather"} <= set(launches.names)
    assert len(launches.names) <= most
    assert launches.names.count("_to_copy") == tables


@pytest.mark.parametrize("form", FORMS)
def test_steps_wait_for_nothing(fake, monkeypatch, form):
    monkeypatch.setattr(precision, "autocast", lambda config, device: nullcontext())  # which has no meta device
    config, _, _ = parse_command_line(["--dataset", "demo", "--clip", "1", "--micro_batch", "3"])
    model = model_of(form)
    with fake:
        stepper = Stepper(config.optim, model)
        rows = torch.zeros(2, len(stepper.loss.names), dtype=torch.float64, device=DEVICE)
        batch = Batch(*(torch.zeros(6, FRAMES, 17, axes, device=DEVICE) for axes in (2, 3)))
        for row in rows:
            row.copy_(stepper.gradient(batch, share(6, 3, 0, 1)))
            norm = stepper.apply(0.1)
        made = [value for each in stepper.optimizer.state.values() for value in each.values()]
        stepper.optimizer.load_state_dict(stepper.optimizer.state_dict())
        loaded = [value for each in stepper.optimizer.state.values() for value in each.values()]
    assert {value.device for value in (norm, *made, *loaded, *stepper.model.parameters())} == {DEVICE}


@pytest.mark.parametrize("form", FORMS)
def test_frames_are_lifted_without_waiting_until_all_are_read_back(fake, monkeypatch, split, form):
    # Fake tensors can neither be copied with all they know, nor go with inference mode, nor become arrays in the end.
    model = model_of(form).to(DEVICE).for_prediction()
    monkeypatch.setattr(type(model), "for_prediction", lambda model: model)
    lift = predict.predict_frames.__wrapped__
    with fake, torch.no_grad():
        store = FrameStore(split, SKELETON, FRAMES, DEVICE)
        with pytest.raises(RuntimeError, match=r"\.numpy\(\) is not supported"):
            lift(model, store, np.arange(20), flip=True, zero_root=True, batch_size=8)
