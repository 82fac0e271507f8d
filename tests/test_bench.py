"""`glagcn bench`: every part at a tiny size, what it writes, and what it refuses."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from glagcn import bench
from glagcn.data.mpi_inf_3dhp.facts import TRAIN_SEQUENCES
from glagcn.train.hardware import peak_memory
from tests.command_line import assert_refused

CPU = torch.device("cpu")
TINY = "--dataset-scale demo --channel 4 --frames 9 --batch_size 8 --repeats 1 --sequence_layers 1 --workers 1"
ALWAYS = {"ours", "unit", "ms", "windows", "peak_memory_bytes"}
COUNTED = {"flops_per_second", "share_of_peak"}


def test_all_parts_are_measured_and_written(verb, tmp_path):
    file = tmp_path / "new" / "bench.json"
    ended = verb(f"bench all {TINY} --json {file}")
    assert ended.code == 0, ended.err
    report = json.loads(file.read_text())
    assert {"cpu", "cores", "threads", "memory_gb", "gpu", "torch", "numpy", "python", "date"} <= set(report["machine"])
    assert (report["options"]["frames"], report["options"]["dataset_scale"]) == (9, "demo")
    results = report["results"]
    assert {part: set(result) for part, result in results.items()} == {
        "input": ALWAYS,
        "step": ALWAYS | COUNTED,
        "eval": ALWAYS | COUNTED | {"mpjpe_mm"},
    }
    for part, result in results.items():
        assert result["ours"] == pytest.approx(1000 * result["windows"] / result["ms"]), part
        assert any(line.split()[0] == part for line in ended.out.splitlines() if line)
    for result in (results["step"], results["eval"]):
        assert result["share_of_peak"] * report["peak_flops_per_second"] == pytest.approx(result["flops_per_second"])
    assert (results["step"]["windows"], results["eval"]["windows"]) == (8, 512)


def test_the_reference_is_measured_beside_ours_and_agrees(verb, tmp_path):
    file = tmp_path / "bench.json"
    ended = verb(f"bench all {TINY} --reference --json {file}")
    assert ended.code == 0, ended.err
    results = json.loads(file.read_text())["results"]
    for result in results.values():
        assert result["ratio"] == pytest.approx(result["ours"] / result["reference"])
    assert results["eval"]["mpjpe_mm"] == pytest.approx(results["eval"]["reference_mpjpe_mm"], rel=1e-5)


def test_a_profile_lists_the_operators_of_a_step(verb):
    ended = verb(f"bench step {TINY} --profile")
    assert ended.code == 0, ended.err
    assert "Self CPU time total" in ended.out
    assert "aten::" in ended.out


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        ("bench everything", [r"everything"]),
        (f"bench step {TINY} --repeats 0", [r"--repeats 0", "at least 1"]),
        (f"bench step {TINY} --head mixed --reference", [r"--head mixed", "shared and unshared"]),
        (f"bench step {TINY} --channel 2", [r"--channel 2", "at least 4"]),
        ("bench step --lr 1", [r"--lr"]),
        (f"bench input {TINY} --profile", ["--profile", "no effect on the part input; give the part step"]),
    ],
)
def test_what_cannot_be_measured_is_refused(verb, flags, parts):
    assert_refused(verb(flags), *parts)


def test_a_launcher_is_refused(verb, monkeypatch):
    monkeypatch.setattr("glagcn.dist.world_size", lambda: 2)
    monkeypatch.setattr("glagcn.dist.leave", lambda code: None)
    assert_refused(verb(f"bench input {TINY}"), "without torchrun")


def test_the_large_training_set_has_the_official_size():
    source = bench.RepeatedMotion()
    infos = source.infos("train")
    assert len({info.name for info in infos}) == len(infos) == 8 * len(TRAIN_SEQUENCES)
    assert sum(info.length for info in infos) == 1_052_736
    assert sum(len(sequence.valid) for sequence in source.read("test")) == 900


def test_the_memory_of_a_process_is_its_own():
    """A process that is started by a large one is not large."""
    large = np.ones(600 * 2**20, dtype=np.uint8)
    code = "import torch; from glagcn.train.hardware import peak_memory; print(peak_memory(torch.device('cpu')))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) < large.nbytes < peak_memory(CPU)
