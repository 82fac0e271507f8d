"""What only a GPU can show; skipped elsewhere, and without `-m cuda`."""

import json

import numpy as np
import pytest
import torch

from glagcn import dist
from glagcn.config.resolve import changed, parse_command_line
from glagcn.data import windows as store_module
from glagcn.data.camera_augmentation import CameraRange
from glagcn.data.detector_noise import DetectorNoise, with_detector_noise
from glagcn.data.noise_levels import LEVELS
from glagcn.data.plan import BatchSpec, share
from glagcn.data.windows import Batch, FrameStore
from glagcn.errors import UserError
from glagcn.model.gla_gcn.network import LiftingNetwork
from glagcn.train import hardware as precision
from glagcn.train.hardware import peak_flops
from glagcn.train.loop import Stepper
from glagcn.train.optim import build_optimizer, step_unless
from tests.data.test_camera_augmentation import walking_split
from tests.data.test_windows import SKELETON
from tests.faults.runs import assert_same, records

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device and -m cuda"),
]
compiles = pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # what torch.compile imports
IDS = [BatchSpec(np.arange(k, k + 6), np.arange(6) % 2 == 0) for k in range(0, 54, 6)]
MOVED = [ids._replace(camera_draws=np.full((6, 4), -1 + number / 4, np.float32)) for number, ids in enumerate(IDS)]
CHANGE = CameraRange(180, 10, 5, 0.2)
homes = pytest.mark.parametrize("fits", [True, False], ids=["frames on the device", "frames on the host"])


@homes
@pytest.mark.parametrize("reuse", [True, False])
def test_a_batch_stays_until_the_device_has_read_it(monkeypatch, fits, reuse):
    """The host asks for all batches while the device still works on the first."""
    monkeypatch.setattr(store_module, "fits_device", lambda nbytes, device: fits)
    split = walking_split()
    store, host = (FrameStore(split, SKELETON, 27, torch.device(name), camera_range=CHANGE) for name in ("cuda", "cpu"))
    assert store.frame_device.type == ("cuda" if fits else "cpu")
    read = []
    for batch in store.stream(iter(MOVED), reuse=reuse):
        assert {part.device.type for part in batch} == {"cuda"}
        torch.cuda._sleep(20_000_000)  # cycles: some 10 ms
        read.append([part.clone() for part in batch])
    for there, ids in zip(read, MOVED, strict=True):
        for part, expected in zip(there, host.windows(ids), strict=True):
            torch.testing.assert_close(part.cpu(), expected, rtol=1e-5, atol=1e-5)


@homes
def test_detections_on_the_device_equal_those_on_the_host(monkeypatch, fits):
    monkeypatch.setattr(store_module, "fits_device", lambda nbytes, device: fits)
    draws = np.linspace(0, 0.99, 12, dtype=np.float32).reshape(6, 2)
    split = with_detector_noise(walking_split(), SKELETON, "moderate")
    made = []
    for name in ("cuda", "cpu"):
        device = torch.device(name)
        augmentation = DetectorNoise(LEVELS["heavy"], SKELETON, 0, device)
        store = FrameStore(split, SKELETON, 27, device, channels=3, noise=augmentation)
        drawn = (ids._replace(noise_draws=draws) for ids in IDS)
        made.append([part.cpu() for batch in [*store.stream(drawn), *store.stream(iter(IDS))] for part in batch])
    for there, here in zip(*made, strict=True):
        torch.testing.assert_close(there, here, rtol=1e-5, atol=1e-5)


@homes
def test_batches_travel_from_pinned_memory(monkeypatch, fits):
    monkeypatch.setattr(store_module, "fits_device", lambda nbytes, device: fits)
    store = FrameStore(walking_split(), SKELETON, 27, torch.device("cuda"), camera_range=CHANGE)
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        for _ in store.stream(iter(MOVED), reuse=True):
            pass
        torch.cuda.synchronize()
    copies = [event.name for event in profile.events() if event.name.startswith("Memcpy HtoD")]
    assert len(copies) == len(MOVED) * (2 if fits else 4)
    assert set(copies) == {"Memcpy HtoD (Pinned -> Device)"}


@pytest.mark.parametrize("name", ["muon", "adam"])
def test_steps_of_a_graph_are_those_without(name):
    config, _, _ = parse_command_line(["-d", "h36m", "--optimizer", name])
    torch.manual_seed(0)
    models = [torch.nn.Sequential(torch.nn.Conv2d(6, 16, (1, 3)), torch.nn.Linear(16, 24)).cuda() for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    optimizers = [build_optimizer(config.optim, model) for model in models]
    rate, stopped = torch.tensor(0.1, device="cuda"), torch.zeros((), device="cuda")
    gradients = [[torch.randn_like(parameter) for parameter in models[0].parameters()] for _ in range(4)]

    def begin(number):
        for model in models:
            for parameter, gradient in zip(model.parameters(), gradients[number], strict=True):
                parameter.grad = gradient.clone() if parameter.grad is None else parameter.grad.copy_(gradient)
        rate.fill_(0.1 / (number + 1))
        for group in optimizers[0].param_groups:
            group["lr"] = 0.1 / (number + 1)

    def assert_same():
        for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)

    for group in optimizers[1].param_groups:
        group["lr"] = rate
    begin(0)
    for optimizer in optimizers:
        step_unless(stopped, optimizer)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step_unless(stopped, optimizers[1])
    for number in (1, 2):
        begin(number)
        step_unless(stopped, optimizers[0])
        graph.replay()
        assert_same()
    gradients[3] = [torch.full_like(gradient, torch.nan) for gradient in gradients[3]]
    begin(3)
    stopped.fill_(1)
    graph.replay()
    assert_same()


def cuda_stepper(*flags):
    """-> a stepper that has rehearsed, and 20 store."""
    config, _, _ = parse_command_line(["-d", "demo", *flags])
    dist.start(config.run.workers)
    config = changed(config, precision=precision.set_up(config.optim, dist.device()))
    torch.manual_seed(0)
    model = LiftingNetwork(SKELETON, (3, 3), 16, sequence_layers=1, dropout=0.0)
    stepper = Stepper(config.optim, model, frozenset({8}))
    draws = torch.Generator("cuda").manual_seed(0)
    parts = (torch.randn(20, 9, 17, axes, device="cuda", generator=draws) for axes in (2, 3))
    batch = Batch(*parts)
    assert stepper.rehearse(batch.part(slice(16)), share(16, 8, 0, 1)) is None
    stepper.set_momentum(0.1)
    return stepper, batch


def take_steps(stepper, batch, rounds=4):
    for number in range(rounds):
        for count in (16, 20):  # 20: parts of 7 and 6, which are not compiled
            stepper.gradient(batch.part(slice(count)), share(count, 8, 0, 1))
            stepper.apply(0.01 / (1 + number))
    return {name: value.clone() for name, value in stepper.model.state_dict().items()}


@compiles
@pytest.mark.parametrize("optimizer", ["muon", "adam"])
def test_compiled_steps_are_those_of_an_eager_run(optimizer):
    flags = ("--precision", "fp32", "--optimizer", optimizer, "--compile")
    eager, compiled = (take_steps(*cuda_stepper(*flags, mode)) for mode in ("off", "on"))
    for name, value in compiled.items():
        torch.testing.assert_close(value, eager[name], rtol=2e-2, atol=2e-3, msg=name)


@compiles
def test_a_smaller_last_batch_and_schedules_recompile_nothing():
    stepper, batch = cuda_stepper("--compile", "on")
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert before > 0
    for epoch in range(10):
        stepper.set_momentum(0.1 / (1 + epoch))
        take_steps(stepper, batch, 1)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == before
    assert stepper._compiles
    assert stepper._graph is not None


def test_memory_that_runs_out_ends_in_advice():
    config, _, _ = parse_command_line(["-d", "demo", "--compile", "off"])
    model = LiftingNetwork(SKELETON, (3, 3), 64, sequence_layers=1, dropout=0.0)
    stepper = Stepper(config.optim, model, frozenset({2048}))
    batch = Batch(*(torch.zeros(2048, 9, 17, axes, device="cuda") for axes in (2, 3)))
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 2**28) / total)
    try:
        with pytest.raises(UserError, match=r"out of memory: a micro-batch of 2048 windows .* --micro_batch \d+"):
            stepper.rehearse(batch, share(2048, 2048, 0, 1))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.launched
def test_bfloat16_learns_as_float32_does(run, tmp_path):
    for name in ("fp32", "bf16"):
        assert run(f"--precision {name} --max_steps 60 --run {name}").code == 0
    exact, rounded = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("fp32", "bf16"))
    assert rounded["mpjpe_mm"] == pytest.approx(exact["mpjpe_mm"], rel=0.1)


@pytest.mark.launched
@pytest.mark.parametrize("compiled", ["on", "off"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_deterministic_runs_resume_bit_for_bit(run, tmp_path, precision, compiled):
    flags = f"--deterministic --precision {precision} --compile {compiled}"
    assert run(f"{flags} --max_steps 30 --run whole").code == 0
    assert run(f"{flags} --max_steps 13 --run parts").code == 0
    assert run(f"{flags} --max_steps 30 --run parts").code == 0
    assert_same(tmp_path / "parts", tmp_path / "whole")
    assert records(tmp_path / "whole") == records(tmp_path / "parts")


@pytest.mark.launched
def test_evaluation_on_the_device_agrees_with_the_cpu(run, tmp_path):
    assert run("--max_steps 10 --run r").code == 0
    assert run(f"--run r --evaluate --output {tmp_path}/gpu").code == 0
    assert run(f"--run r --evaluate --output {tmp_path}/cpu", CUDA_VISIBLE_DEVICES="").code == 0
    gpu, cpu = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("gpu", "cpu"))
    assert gpu["mpjpe_mm"] == pytest.approx(cpu["mpjpe_mm"], abs=1e-2)


def test_the_memory_of_measuring_the_peak_is_given_back():
    before = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    assert peak_flops(torch.device("cuda"), "tf32") > 1e11
    assert torch.cuda.memory_allocated() - before[0] < 2**26  # cuBLAS keeps a workspace
    assert torch.cuda.memory_reserved() - before[1] < 2**27
