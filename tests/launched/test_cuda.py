"""What only a GPU can show; skipped elsewhere, and without `-m cuda`."""

import json

import numpy as np
import pytest
import torch

from glagcn.config import parse_command_line
from glagcn.data import windows
from glagcn.data.cache import open_cache
from glagcn.data.cache_writer import write_cache
from glagcn.data.plan import WindowIds
from glagcn.data.views import ViewChange
from glagcn.data.windows import FrameStore
from glagcn.engine.optimizers import build_optimizer, step_unless
from glagcn.engine.peaks import measure_peaks
from tests.data.test_streamed import RandomSource, both_stores
from tests.data.test_views import walking_split
from tests.data.test_windows import SKELETON, make_split
from tests.launched.test_runs import records, same_state

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device and -m cuda"),
]
IDS = [WindowIds(np.arange(k, k + 6), np.arange(6) % 2 == 0) for k in range(0, 54, 6)]
MOVED = [ids._replace(views=np.full((6, 4), -1 + number / 4, np.float32)) for number, ids in enumerate(IDS)]
CHANGE = ViewChange(180, 10, 5, 0.2)
homes = pytest.mark.parametrize("fits", [True, False], ids=["frames on the device", "frames on the host"])


@homes
def test_batches_on_the_device_equal_those_on_the_host(monkeypatch, fits):
    split = make_split([40, 20])
    monkeypatch.setattr(windows, "fits_device", lambda nbytes, device: fits)
    store = FrameStore(split, SKELETON, 27, torch.device("cuda"))
    assert store.home.type == ("cuda" if fits else "cpu")
    host = FrameStore(split, SKELETON, 27, torch.device("cpu"))
    for there, here in zip(store.stream(iter(IDS)), host.stream(iter(IDS)), strict=True):
        for part, expected in zip(there, here, strict=True):
            assert part.device.type == "cuda"
            torch.testing.assert_close(part.cpu(), expected, rtol=1e-6, atol=1e-6)


@homes
@pytest.mark.parametrize("reuse", [True, False])
def test_a_batch_stays_until_the_device_has_read_it(monkeypatch, fits, reuse):
    """The host asks for all batches while the device still works on the first."""
    monkeypatch.setattr(windows, "fits_device", lambda nbytes, device: fits)
    split = walking_split()
    store, host = (FrameStore(split, SKELETON, 27, torch.device(name), change=CHANGE) for name in ("cuda", "cpu"))
    read = []
    for batch in store.stream(iter(MOVED), reuse=reuse):
        torch.cuda._sleep(20_000_000)  # cycles: some 10 ms
        read.append([part.clone() for part in batch])
    for there, ids in zip(read, MOVED, strict=True):
        for part, expected in zip(there, host.windows(ids), strict=True):
            torch.testing.assert_close(part.cpu(), expected, rtol=1e-5, atol=1e-5)


@homes
def test_batches_travel_from_pinned_memory(monkeypatch, fits):
    monkeypatch.setattr(windows, "fits_device", lambda nbytes, device: fits)
    store = FrameStore(walking_split(), SKELETON, 27, torch.device("cuda"), change=CHANGE)
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        for _ in store.stream(iter(MOVED), reuse=True):
            pass
        torch.cuda.synchronize()
    copies = [event.name for event in profile.events() if event.name.startswith("Memcpy HtoD")]
    assert len(copies) == len(MOVED) * (2 if fits else 4)
    assert set(copies) == {"Memcpy HtoD (Pinned -> Device)"}


def test_streamed_batches_on_the_device_equal_resident_ones_on_the_host(tmp_path):
    write_cache(tmp_path / "cache.h5", RandomSource())
    cache = open_cache(tmp_path / "cache.h5")
    plan, store, host = both_stores(cache, device=torch.device("cuda"))
    ids = [plan.batch(epoch, index) for epoch in range(20) for index in range(plan.steps_per_epoch)]
    for item, batch in zip(ids, store.stream(iter(ids), reuse=True), strict=True):
        for part, expected in zip(batch, host.windows(item), strict=True):
            assert part.device.type == "cuda"
            torch.testing.assert_close(part.cpu(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["muon", "adam"])
def test_steps_of_a_graph_are_those_without(name):
    config, _ = parse_command_line(["-d", "h36m", "--optimizer", name])
    torch.manual_seed(0)
    models = [torch.nn.Sequential(torch.nn.Conv2d(6, 16, (1, 3)), torch.nn.Linear(16, 24)).cuda() for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    optimizers = [build_optimizer(config, model) for model in models]
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


@pytest.mark.launched
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_deterministic_runs_resume_bit_for_bit(run, tmp_path, precision):
    flags = f"--deterministic --precision {precision}"
    assert run(f"{flags} --max_steps 30 --run whole").code == 0
    assert run(f"{flags} --max_steps 13 --run parts").code == 0
    assert run(f"{flags} --max_steps 30 --run parts").code == 0
    same_state(tmp_path / "whole/last.pt", tmp_path / "parts/last.pt")
    assert records(tmp_path / "whole") == records(tmp_path / "parts")


@pytest.mark.launched
def test_evaluation_on_the_device_agrees_with_the_cpu(run, tmp_path):
    assert run("--max_steps 10 --run r").code == 0
    assert run(f"--run r --evaluate --output {tmp_path}/gpu").code == 0
    assert run(f"--run r --evaluate --output {tmp_path}/cpu", CUDA_VISIBLE_DEVICES="").code == 0
    gpu, cpu = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("gpu", "cpu"))
    assert gpu["mpjpe_mm"] == pytest.approx(cpu["mpjpe_mm"], abs=1e-2)


def test_the_memory_of_measuring_peaks_is_given_back():
    before = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    peaks = measure_peaks(torch.device("cuda"), "tf32")
    assert peaks.flops > 1e11
    assert peaks.bytes > 1e10
    assert torch.cuda.memory_allocated() - before[0] < 2**26  # cuBLAS keeps a workspace
    assert torch.cuda.memory_reserved() - before[1] < 2**27
