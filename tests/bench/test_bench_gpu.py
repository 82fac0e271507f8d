"""`glagcn bench gpu` on a CPU: one tiny case, what fails, what is left out, and what is refused."""

import json
import os
from types import SimpleNamespace

import pytest
import torch
from torch.autograd import DeviceType

from glagcn.bench.gpu import command, steps
from glagcn.config.resolve import resolve
from glagcn.model.floor import Peaks
from tests.command_line import assert_refused

TINY = command.Case("4/9 full", 4, 9, batches=(4, 8), micro_batch=4, sequence_layers=1)
PUBLIC = command.Case("4/9 public", 4, 9, batches=(4,), micro_batch=4, sequence_layers=0, head="shared")
OF_CUDA = {"host_ms", "kernels", "peak_memory_bytes"}


@pytest.fixture
def measure(monkeypatch):
    """measure(cases, file) -> the report, with short rounds and stated peaks; compiling leaves steps as they are."""
    monkeypatch.setattr(steps, "ROUND_S", 0.0)
    monkeypatch.setattr(command, "measure_peaks", lambda device, precision: Peaks(flops=1e12, bytes=1e11))
    monkeypatch.setattr("glagcn.training.step.compiled", lambda module, config, device: module)
    monkeypatch.setattr("torch.compiler.reset", lambda: None)
    config, _ = resolve({"dataset": "demo", "workers": 1})
    return lambda cases=(TINY,), file=None: command.measure_gpu(config, 1, cases, file)


def only(monkeypatch, **ways):
    monkeypatch.setattr(command, "WAYS", {name.replace("_", " "): way for name, way in ways.items()})


def test_every_way_of_a_model_is_measured_and_written(measure, tmp_path, monkeypatch):
    compiled = []
    monkeypatch.setattr(
        "glagcn.training.step.compiled", lambda module, config, device: compiled.append(config.compile) or module
    )
    file = tmp_path / "new" / "gpu.json"
    report = measure((TINY,), file)
    assert json.loads(file.read_text()) == report
    assert compiled == ["on"]  # once, for both batches
    found = [(entry["way"], entry["windows"]) for entry in report["results"]]
    steps = [("eager", 4), ("eager", 8), ("reference float32", 4), ("reference TF32", 4)]
    assert found == [*steps, ("input", 8), ("evaluation", 512), ("compiled", 4), ("compiled", 8)]
    for entry in report["results"]:
        assert entry["windows_per_second"] == pytest.approx(1000 * entry["windows"] / entry["ms"])
        assert 0 < entry["fraction_of_floor"] < 1
        assert all(entry.get(name) is None for name in OF_CUDA)
    for entry in report["results"][:4]:
        first = entry["way"] == "eager" and entry["windows"] == 8
        assert (entry["seconds_to_first_step"] is None) == first
    text = command.table(report)
    assert [line.split()[2] for line in text.splitlines()[4:]][::2] == ["compiled", "eager", "reference", "input"]
    assert "torch" in text.splitlines()[0]


def test_what_fails_is_told_and_the_others_go_on(measure, tmp_path, monkeypatch):
    file, seen = tmp_path / "gpu.json", []

    def fail(case, given):
        seen.append(len(json.loads(file.read_text())["results"]))
        raise torch.OutOfMemoryError("no room\nfor two lines")

    only(monkeypatch, eager=fail, input=lambda case, given: [{"windows": case.channels}])
    report = measure((TINY, PUBLIC), file)
    assert seen == [0, 2]  # the file holds what came before
    assert [entry.get("error") for entry in report["results"][::2]] == ["OutOfMemoryError: no room"] * 2
    assert [entry["windows"] for entry in report["results"] if entry["way"] == "input"] == [4, 4]
    assert "4/9 public, eager: OutOfMemoryError: no room" in command.table(report)


def test_a_compiler_that_fails_is_told(measure, monkeypatch):
    def broken(*batch):
        raise RuntimeError("no compiler here")

    monkeypatch.setattr("glagcn.training.step.compiled", lambda module, config, device: broken)
    monkeypatch.setattr("torch.compiler.cudagraph_mark_step_begin", lambda: None)
    only(monkeypatch, compiled=command.WAYS["compiled"])
    (entry,) = measure()["results"]
    assert "torch.compile failed (RuntimeError: no compiler here)" in entry["error"]
    assert "ms" not in entry


def test_what_does_not_fit_the_time_is_left_out(measure, monkeypatch):
    monkeypatch.setattr(command, "LIMIT_S", command.COMPILED_S - 1)
    only(monkeypatch, eager=lambda case, given: [{}], compiled=lambda case, given: [{}])
    report = measure()
    quick, compiled = report["results"]
    assert "error" not in quick
    assert compiled["error"].startswith("left out: ")


def test_compilers_begin_with_nothing_kept(measure, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "before")
    monkeypatch.delenv("TRITON_CACHE_DIR", raising=False)
    kept = []
    only(monkeypatch, eager=lambda case, given: kept.extend(os.environ[name] for name in command.CACHES) or [{}])
    measure()
    assert all("glagcn_bench_" in folder for folder in kept)
    assert len(set(kept)) == 2
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "before"
    assert "TRITON_CACHE_DIR" not in os.environ


def test_only_kernels_are_counted():
    def event(name, device=DeviceType.CUDA, span=False):
        return SimpleNamespace(name=name, device_type=device, is_user_annotation=span)

    assert steps._is_kernel(event("triton_poi_fused_0"))
    others = [event("Memcpy HtoD (Pinned -> Device)"), event("Memset (Device)"), event("Optimizer.step", span=True)]
    assert not any(map(steps._is_kernel, [*others, event("aten::mm", DeviceType.CPU)]))


def test_the_plain_step_has_what_pytorch_chooses():
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    with steps.pytorch_defaults():
        assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == (False, True)
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == before


def test_without_a_gpu_it_is_refused(verb, monkeypatch, tmp_path):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    ended = verb(f"bench gpu --json {tmp_path}/command.json")
    assert_refused(ended, "needs a CUDA device", "glagcn bench all")
    assert len(ended.err.strip().splitlines()) == 1


@pytest.mark.parametrize("flags", ["--channel 8", "--batch_size 64", "--compile off"])
def test_options_of_other_parts_are_refused(verb, flags):
    assert_refused(verb(f"bench gpu {flags}"), "no effect on glagcn bench gpu", "--precision")


def test_the_cases_are_those_of_the_papers():
    config, _ = resolve({"dataset": "demo"})
    full = command.CASES[0].config(config)
    assert (full.model.channels, full.model.frames, full.model.sequence_layers) == (256, 81, 3)
    assert (full.model.head, full.optim.micro_batch, full.optim.batch_size) == ("unshared", 150, 1200)
    assert (full.optim.optimizer, full.optim.lr) == ("muon", 4e-3)
    assert [(case.channels, case.frames) for case in command.CASES] == [(256, 81), (96, 243), (32, 27)]
