"""`glagcn bench`: every part at a tiny size, what it writes, and what it refuses."""

import json

import pytest

from glagcn.bench.launched.scaling import LAST_BUCKET, NETWORK, NVLINK, all_reduce_seconds, predict
from glagcn.cli import _parser
from tests.command_line import assert_refused

TINY = "--dataset-scale demo --channel 4 --frames 9 --batch_size 8 --repeats 1 --sequence_layers 1 --workers 1"
EVERY_RESULT = {"ours", "reference", "ratio", "unit", "fraction_of_floor", "ms"}
OF_A_PART = {
    "input": {"plan_ms", "windows_in_epoch", "floor_ms", "bytes_per_second", "peak_memory_bytes"},
    "step": {"flops_per_second", "bytes_per_second", "gradient_bytes", "peak_memory_bytes"},
    "eval": {"flops_per_second", "mpjpe_mm", "reference_mpjpe_mm"},
}


def check(report, parts):
    assert set(report) == {"machine", "peaks", "options", "results"}
    assert {"cpu", "cores", "threads", "memory_gb", "gpu", "torch", "numpy", "python", "date"} <= set(report["machine"])
    assert set(report["results"]) == parts
    for part, result in report["results"].items():
        assert set(result) >= EVERY_RESULT | OF_A_PART.get(part, set())
        assert all(result[name] > 0 for name in EVERY_RESULT - {"unit"}), part


@pytest.mark.parametrize("part", ["input", "step", "eval"])
def test_a_part_measures_and_writes(verb, tmp_path, part):
    file = tmp_path / "new" / "bench.json"
    ended = verb(f"bench {part} {TINY} --json {file}")
    assert ended.code == 0, ended.err
    report = json.loads(file.read_text())
    check(report, {part})
    assert report["options"]["frames"] == 9
    assert report["options"]["dataset_scale"] == "demo"
    assert part in ended.out
    assert "GFLOP/s" in ended.out


def test_a_profile_names_the_operators_of_both_ways(verb, tmp_path):
    file = tmp_path / "bench.json"
    ended = verb(f"bench step {TINY} --profile --json {file}")
    assert ended.code == 0, ended.err
    found = json.loads(file.read_text())["results"]["step"]["profile"]
    assert set(found) == {"ours", "reference"}
    for name, rows in found.items():
        assert f"one step, {name}: " in ended.out
        assert sum(row["share"] for row in rows) == pytest.approx(1)
        assert rows == sorted(rows, key=lambda row: row["self_ms"], reverse=True)
        assert f"  {rows[0]['operator']}\n" in ended.out
    calls = {name: {row["operator"]: row["calls"] for row in rows} for name, rows in found.items()}
    # Blocks of the model and of 9 frames: expand, sequence, head, and two for each of two widths.  The reference has
    # in each three products of features and three of graphs, and each forward product has two backward.
    assert calls["ours"]["JointRowsBackward"] == 7
    for name in found:
        assert calls[name]["Optimizer.step#Adam.step"] == 1
    assert calls["reference"]["aten::bmm"] == 3 * 6 * 7


def test_both_ways_of_evaluating_agree(verb, tmp_path):
    file = tmp_path / "bench.json"
    assert verb(f"bench eval {TINY} --json {file}").code == 0
    result = json.loads(file.read_text())["results"]["eval"]
    assert result["mpjpe_mm"] == pytest.approx(result["reference_mpjpe_mm"], rel=1e-5)


@pytest.mark.launched
def test_all_parts_with_processes_of_their_own(verb, tmp_path):
    file = tmp_path / "bench.json"
    ended = verb(f"bench all {TINY} --json {file}")
    assert ended.code == 0, ended.err
    report = json.loads(file.read_text())
    check(report, {"input", "step", "eval", "startup", "scaling"})
    assert report["results"]["input"]["share_of_step"] > 0
    scaling = report["results"]["scaling"]
    assert [row["processes"] for row in scaling["predicted"]] == [8, 64, 512]
    assert scaling["measured"][0]["efficiency"] == 1
    assert "512 GPUs" in ended.out


@pytest.mark.launched
def test_streaming_is_measured_by_name(verb, tmp_path):
    file = tmp_path / "bench.json"
    ended = verb(f"bench stream {TINY} --json {file}")
    assert ended.code == 0, ended.err
    report = json.loads(file.read_text())
    check(report, {"stream"})
    result = report["results"]["stream"]
    assert set(result["rates"]) == {"resident", "streamed", "from_disk", "more_sequences"}
    assert result["windows"] == 14_000  # the demo has 16,000, of which the recipe holds 2,000 out
    assert result["sequences"][1] == 10 * result["sequences"][0]
    assert len(result["memory_bytes"]) == 6
    assert all(now["anon"] > 0 for now in result["memory_bytes"])
    assert "the same frames as 640 sequences instead of 64" in ended.out


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        ("bench", [r"part"]),
        ("bench everything", [r"everything"]),
        (f"bench step {TINY} --repeats 0", [r"--repeats 0", "at least 1"]),
        (f"bench step {TINY} --head mixed", [r"--head mixed", "shared and unshared"]),
        (f"bench step {TINY} --channel 2", [r"--channel 2", "at least 4"]),
        (f"bench step {TINY} --frames 10", [r"10"]),
        (f"bench step {TINY} --batch_size 0", [r"--batch_size 0", "at least 1"]),
        ("bench step --dataset-scale huge", [r"huge"]),
        ("bench step --lr 1", [r"--lr"]),
        (f"bench input {TINY} --profile", ["--profile", "no effect on the part input; give the part step"]),
        (f"bench step {TINY} --precision tf32", [r"--precision tf32"]),
    ],
)
def test_what_cannot_be_measured_is_refused(verb, flags, parts):
    assert_refused(verb(flags), *parts)


def test_a_file_that_cannot_be_written_is_refused(verb, tmp_path):
    (tmp_path / "file").write_text("")
    assert_refused(verb(f"bench input {TINY} --json {tmp_path}/file/bench.json"), "cannot write")


def test_a_launcher_is_refused(verb, monkeypatch):
    monkeypatch.setattr("glagcn.distributed.launcher.world_size", lambda: 2)
    monkeypatch.setattr("glagcn.distributed.launcher.leave", lambda code: None)
    assert_refused(verb(f"bench input {TINY}"), "without torchrun")


def test_the_scale_may_be_spelled_both_ways():
    for spelling in ("--dataset-scale", "--dataset_scale"):
        assert vars(_parser().parse_args(["bench", "all", spelling, "demo"]))["dataset_scale"] == "demo"


def test_the_ring_counted_by_hand():
    # 4 processes: 6 hops, each of a quarter of the bytes.
    assert all_reduce_seconds(400e9, 4, NVLINK) == pytest.approx(6 * 100e9 / 300e9 + 6 * 3e-6)
    assert all_reduce_seconds(400e9, 1, NVLINK) == 0


def test_what_hides_behind_the_backward_pass_costs_nothing():
    small = predict(1.0, 8 * LAST_BUCKET, 64)
    last = all_reduce_seconds(LAST_BUCKET, 64, NETWORK)
    assert small["step_ms"] == pytest.approx(1000 * (1 + last))
    large = predict(1.0, 100e9, 64)
    exchange = all_reduce_seconds(100e9, 64, NETWORK)
    assert large["step_ms"] == pytest.approx(1000 * (1 + exchange - 2 / 3))
    assert large["efficiency"] == pytest.approx(1000 / large["step_ms"])
