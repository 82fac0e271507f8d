"""`glagcn runs` and `glagcn compare`: two real runs, and intervals that are known beforehand."""

import base64
import json
import re
import shutil

import numpy as np
import pytest

from glagcn.compare import find_runs, interval, paired_differences, read_folder
from tests.command_line import assert_refused


@pytest.fixture
def two(demo, tmp_path):
    """The folder of two finished runs, a and b."""
    for flags in ("--run a --frames 9", "--run b --frames 9 --dropout 0.3"):
        assert demo(flags).code == 0
    return tmp_path / "runs"


def test_two_runs(two, verb, said, tmp_path):
    assert verb(f"runs {two}").code == 0
    lines = {line.split()[0]: line for line in said[-1].splitlines() if line}
    result = json.loads((two / "b/result.json").read_text())
    for part in ("finished", f"{result['mpjpe_mm']:.2f}", f"{result['validation_mm']:.2f}", "--dropout 0.3"):
        assert part in lines["b"]
    assert "--dropout 0.3" not in lines["a"]
    assert lines["Where"].endswith("--dropout 0.")  # what a has

    page, table = tmp_path / "page.html", tmp_path / "metrics.csv"
    assert verb(f"compare {two / 'a'} {two / 'b'} --csv {table} --html {page}").code == 0
    assert "NOT THE SAME" not in said[-1]
    assert re.search(r"--dropout +\S+ +0.3", said[-1])
    assert re.search(r"b +MPJPE +6 sequences +\d +[+-][\d.]+ +[+-][\d.]+ to [+-][\d.]+", said[-1])
    assert f"all,all,mpjpe_mm,{find_runs(two)[0][0].result['mpjpe_mm']}" in table.read_text()
    picture = re.search(r'src="data:image/png;base64,([^"]+)"', page.read_text())
    assert base64.b64decode(picture[1]).startswith(b"\x89PNG")
    assert not re.search(r'(src|href)="(?!data:)', page.read_text())
    assert page.read_text().count("data:image/png") == 2  # curves and skeletons

    text = (two / "b/result.json").read_text()
    (two / "b/result.json").write_text(text.replace(result["data_fingerprint"], "other"))
    assert verb(f"compare {two}").code == 0
    assert "WARNING: NOT THE SAME TEST, errors cannot be compared: data fingerprint" in said[-1]
    assert " / other (b)" in said[-1]

    shutil.copytree(two / "b", two / "c")
    for command in (f"runs {two}", f"compare {two}", f"compare {two / 'a'} {two / 'b'} {two / 'c'}"):
        for file, content in (("result.json", text[:500]), ("config.json", "[]"), ("result.json", text)):
            before = (two / "c" / file).read_text()
            (two / "c" / file).write_text(content)
            assert verb(command).code == 0
            problems = [line for line in said[-1].splitlines() if line.startswith("Left out: ")]
            assert [f"{two}/c/{file} is not" in line for line in problems] == [True] * (content != text)
            (two / "c" / file).write_text(before)
    (two / "c/result.json").write_text(text[:500])
    assert_refused(
        verb(f"compare {two / 'a'} {two / 'c'}"), "needs two results, and there is one\n.*c/result.json is not"
    )
    shutil.rmtree(two / "c")

    (two / "b/result.json").unlink()
    (two / ".a.lock").write_text("process 1 on elsewhere\n")
    assert {run.name: run.state for run in find_runs(two)[0]} == {"a": "running on elsewhere", "b": "stopped"}
    assert_refused(verb(f"compare {two / 'a'} {two / 'b'}"), "b has no result yet")
    assert_refused(verb(f"compare {two}"), "runs: comparing needs two results, and there is one")
    assert_refused(verb(f"compare {two / 'a'}"), "alone cannot be compared")
    shutil.rmtree(two / "b")
    assert verb(f"runs {two}").code == 0
    assert "One run: nothing to compare" in said[-1]


def test_folders_without_runs(verb, tmp_path):
    assert_refused(verb(f"runs {tmp_path}"), "no run in it")
    assert_refused(verb(f"runs {tmp_path / 'none'}"), "no such folder")
    assert_refused(verb(f"compare {tmp_path} {tmp_path}"), "neither a run .* nor results")
    (tmp_path / "config.json").write_text("[]")
    assert_refused(verb(f"runs {tmp_path}"), "not as this program writes it|config.json")


def results(folder, errors):
    """A folder of results with these errors of sequences, in mm."""
    folder.mkdir()
    sequences = {f"s{number}": {"frames": 1, "mpjpe_mm": error} for number, error in enumerate(errors)}
    content = {"mpjpe_mm": float(np.mean(errors)), "sequences": sequences}
    (folder / "result.json").write_text(json.dumps(content))
    return read_folder(folder)


def test_paired_differences(tmp_path):
    first, other = results(tmp_path / "a", [50.0, 60.0, 70.0]), results(tmp_path / "b", [48.0, 58.0, 68.0])
    table, notes = paired_differences([first, other])
    assert table.rows == [("b", "MPJPE", "3 sequences", 3, "-2.00", "-2.00 to -2.00")]
    assert notes == []
    one = results(tmp_path / "c", [51.0])
    table, notes = paired_differences([first, one])
    assert table.rows == [("c", "MPJPE", "1 sequence", 0, "+1.00", "-")]
    assert "no interval" in notes[0]


def test_the_interval_is_that_of_a_mean():
    values = np.random.default_rng(1).normal(3, 2, 400)
    margin = 1.96 * values.std() / 20
    assert interval(list(values)) == pytest.approx((values.mean() - margin, values.mean() + margin), abs=0.03)
    assert interval([1.0, 3.0]) == pytest.approx((1.0, 3.0))  # a quarter of the resamples are twice the same
    assert np.isnan(interval([1.0])).all()
