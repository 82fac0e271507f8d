"""docs/extending.md, followed literally in a copy of the package."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).parents[1]
BLOCK = re.compile(r"```python\n# in (\S+?)(?:, (before|in) (.+?))?\n(.*?)```", re.DOTALL)
SMALL = ["--frames", "9", "--batch_size", "32", "--max_steps", "2", "--log_steps", "1", "--workers", "1"]


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy of the package with all that the page adds."""
    root = tmp_path_factory.mktemp("extended")
    shutil.copytree(REPOSITORY / "glagcn", root / "glagcn", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "main_sagcn_gpus.py", root)
    blocks = BLOCK.findall((REPOSITORY / "docs/extending.md").read_text(encoding="utf-8"))
    assert len(blocks) == 9
    for name, where, place, code in blocks:
        path = root / name
        if not where:
            path.write_text(code, encoding="utf-8")
            continue
        text = path.read_text(encoding="utf-8")
        if where == "before":
            (line,) = re.findall(rf"^{re.escape(place)}.*$", text, re.MULTILINE)[:1]
            text = text.replace(line, code + line, 1)
        else:  # the last entry of a table
            begin = re.search(rf"^{place}\b.*[\[({{]\n", text, re.MULTILINE).end()
            end = begin + re.search(r"^[\])}]", text[begin:], re.MULTILINE).start()
            text = text[:end] + code + text[end:]
        path.write_text(text, encoding="utf-8")
    table = root / "glagcn/data/datasets.py"
    table.write_text(table.read_text().replace("PEOPLE, DEMO)", "PEOPLE, DEMO, CSV)"))
    return root


def run(extended, folder, *flags):
    """A run of the copy; -> the records of its metrics, its result, and what it printed."""
    command = [sys.executable, str(extended / "main_sagcn_gpus.py"), *SMALL, "-c", str(folder), "--run", "r", *flags]
    done = subprocess.run(command, cwd=extended, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    lines = (folder / "r/metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines], json.loads((folder / "r/result.json").read_text()), done.stdout


def test_a_data_set_a_loss_term_a_metric_and_a_model(extended, tmp_path):
    draw = np.random.default_rng(0)
    for name in ("train_ann", "train_bob", "test_cid"):
        poses = draw.normal(0, 300, (60, 17, 3)) + np.array([0, 0, 4000])
        np.savetxt(tmp_path / f"{name}.csv", poses.reshape(60, 51), delimiter=",")
    flags = ["--dataset", "csv", "--root_path", str(tmp_path)]
    records, result, _ = run(extended, tmp_path / "gcn", *flags, "--channel", "4")
    assert (result["dataset"], result["frames"]) == ("csv", 60)
    first = next(record for record in records if record["kind"] == "train")
    assert first["velocity_mm"] > 0
    weighted = (first["mpjpe_mm"] + first["sequence_mpjpe_mm"] + 0.5 * first["velocity_mm"]) / 1000
    assert first["loss"] == pytest.approx(weighted, rel=1e-6)
    assert result["worst_joint_mm"] > result["mpjpe_mm"]
    assert any("worst_joint_mm" in record for record in records if record["kind"] == "test")
    records, result, printed = run(extended, tmp_path / "linear", *flags, "--model", "linear")
    assert "Model: 1,785 parameters" in printed
    assert np.isfinite(result["mpjpe_mm"])
    assert "velocity_mm" not in next(record for record in records if record["kind"] == "train")
