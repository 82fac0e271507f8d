"""--input, --detections and --test_detections, from the command line to result.json and the checkpoint."""

import json

import glagcn


def result(folder):
    return json.loads((folder / "result.json").read_text())


def test_a_model_trained_on_detections_is_tested_on_every_level(demo, tmp_path):
    flags = "--frames 9 --input xyc --detections heavy"
    assert demo(f"--run r {flags}").code == 0
    best = tmp_path / "runs/r/best.pt"
    assert glagcn.load_model(best).window_shape == (9, 17, 3)
    found = {"none": result(tmp_path / "runs/r")}
    for level in ("moderate", "heavy", "none"):
        ended = demo(f"--evaluate {best} --frames 9 --test_detections {level} --output {tmp_path}/{level}")
        assert ended.code == 0, ended.err
        assert ("simulated detections" in ended.out) == (level != "none")
        again = result(tmp_path / level)
        assert again["simulated_detections"] == level
        assert again["mpjpe_mm"] == found.setdefault(level, again)["mpjpe_mm"]
    assert len({entry["mpjpe_mm"] for entry in found.values()}) == 3


def test_a_model_of_another_input_is_refused(demo, trained):
    ended = demo(f"--evaluate {trained}/best.pt --frames 9 --input xyc")
    assert ended.code == 2
    assert "was trained with input xy, but the flag says xyc" in ended.err
    ended = demo("--detections some")
    assert ended.code == 2
    assert "--detections" in ended.err
