"""`glagcn report`: what of a run the Markdown shows."""

import json

from tests.command_line import assert_refused


def test_a_finished_run(finished, verb, tmp_path):
    result = json.loads((finished / "result.json").read_text())
    assert verb(f"report {finished} --out {tmp_path}/r.md").code == 0
    text = (tmp_path / "r.md").read_text(encoding="utf-8")
    for part in (
        "# Run r", "data set: demo, gt", result["data_fingerprint"], "seed: 0", f"torch {result['machine']['torch']}",
        "python 3.", "held out: S1", "training: 6 steps", f"{result['mpjpe_mm']:.2f} mm", "evaluated once",
        "Protocol: official, 40 frames", "### mpii_3dhp_evaluation_sequencewise.csv", "| PCK ", "| TestSeq1 ",
    ):  # fmt: skip
        assert part in text, part
    rows = {line.split()[1]: line.split()[3::2] for line in text.splitlines() if line.startswith("| --")}
    assert rows["--frames"] == ["9", "27"]
    assert rows["--epochs"] == ["2", "2"]  # a main option, as in the preset
    assert rows["--subset"] == ["0.02", "1.0"]
    assert not {"--root_path", "--checkpoint", "--run", "--turn"} & rows.keys()


def test_a_run_without_a_result(finished, verb):
    fingerprint = json.loads((finished / "result.json").read_text())["data_fingerprint"]
    (finished / "result.json").unlink()
    out = verb(f"report {finished}").out
    assert "There is no result" in out
    assert "Training so far: 6 steps" in out
    assert "Last evaluation: " in out
    assert fingerprint in out


def test_what_is_no_run_or_is_damaged(finished, verb, tmp_path):
    assert_refused(verb(f"report {tmp_path / 'no'}"), "is no run: it does not exist")
    assert_refused(verb(f"report {finished / 'best.pt'}"), "it is a file")
    (finished / "result.json").write_text('{"mpjpe_mm": "x"}')
    assert_refused(verb(f"report {finished}"), "not of this program")
    (finished / "config.json").write_text("[]")
    assert_refused(verb(f"report {finished}"), "holds no options")
