"""What only a GPU can show; skipped elsewhere, and without `-m cuda`."""

import json

import numpy as np
import pytest
import torch

from glagcn.data import windows
from glagcn.data.cache import open_cache
from glagcn.data.cache_writer import write_cache
from glagcn.data.plan import WindowIds
from glagcn.data.windows import FrameStore
from tests.data.test_streamed import RandomSource, both_stores
from tests.data.test_windows import SKELETON, make_split
from tests.launched.test_runs import records, same_state

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device and -m cuda"),
]
IDS = [WindowIds(np.arange(k, k + 6), np.arange(6) % 2 == 0) for k in range(0, 54, 6)]


@pytest.mark.parametrize("fits", [True, False], ids=["frames on the device", "frames on the host"])
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


def test_streamed_batches_on_the_device_equal_resident_ones_on_the_host(tmp_path):
    write_cache(tmp_path / "cache.h5", RandomSource())
    cache = open_cache(tmp_path / "cache.h5")
    plan, store, host = both_stores(cache, device=torch.device("cuda"))
    ids = [plan.batch(epoch, index) for epoch in range(20) for index in range(plan.steps_per_epoch)]
    for item, batch in zip(ids, store.stream(iter(ids), reuse=True), strict=True):
        for part, expected in zip(batch, host.windows(item), strict=True):
            assert part.device.type == "cuda"
            torch.testing.assert_close(part.cpu(), expected, rtol=1e-6, atol=1e-6)


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
