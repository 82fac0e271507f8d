from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat

from glagcn.errors import UserError
from glagcn.evaluate.benchmarks import format_tables, write_inference_mat, write_official_csv
from glagcn.evaluate.protocols import official_3dhp

GOLDEN = Path(__file__).parents[1] / "golden"
SEQUENCE_CSV, ACTIVITY_CSV = (f"mpii_3dhp_evaluation_{kind}.csv" for kind in ("sequencewise", "activitywise"))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def golden_tables(with_activities=True):
    with np.load(GOLDEN / "official_eval_input.npz") as file:
        predicted, target, activity = (
            [file[f"{name}{number}"] for number in range(1, 7)] for name in ("pred", "gt", "act")
        )
    return official_3dhp(predicted, target, activity if with_activities else None)


@pytest.mark.parametrize(("kind", "lines"), [("sequencewise", 22), ("activitywise", 28)])
def test_the_layout_of_matlab_with_the_official_cells(tmp_path, kind, lines):
    write_official_csv(golden_tables(), tmp_path)
    text = (tmp_path / f"mpii_3dhp_evaluation_{kind}.csv").read_text()
    assert text.endswith("\n")
    rows = [line.split(",") for line in text.splitlines()]
    assert len(rows) == lines
    assert {len(row) for row in rows} == {19}
    variable = {"sequencewise": "seq_table", "activitywise": "activity_table"}[kind]
    assert rows[0] == [f"{variable}{number}" for number in range(1, 20)]
    # The reference was printed with 10 digits, a trailing comma and without the first line.
    expected = [line.split(",")[:19] for line in (GOLDEN / f"official_eval_{kind}.csv").read_text().splitlines()]
    assert [[_shorten(cell) for cell in row] for row in rows[1:]] == expected


def _shorten(cell):
    try:
        return f"{float(cell):.10g}"
    except ValueError:
        return cell


def test_fifteen_digits_and_nan(tmp_path):
    poses = np.zeros((3, 17, 3))
    write_official_csv(official_3dhp([poses + np.array([100 / 3, 0, 0])], [poses], [[1, 1, 1]]), tmp_path)
    lines = (tmp_path / ACTIVITY_CSV).read_text().splitlines()
    assert lines[2] == "Standing/Walking" + ",33.3333333333333" * 18
    assert lines[3] == "Exercising" + ",NaN" * 18
    assert lines[11] == "Standing/Walking" + ",100" * 9 + "," * 9


def test_without_activities_there_is_no_activity_file(tmp_path):
    write_official_csv(golden_tables(), tmp_path)
    assert write_official_csv(golden_tables(with_activities=False), tmp_path) == [tmp_path / SEQUENCE_CSV]
    assert names(tmp_path) == [SEQUENCE_CSV]


def test_the_mat_that_the_official_evaluation_reads(tmp_path):
    poses = np.arange(2 * 17 * 3, dtype=np.float32).reshape(2, 17, 3)
    path = write_inference_mat({"TS1": poses, "TS2": poses[:1]}, tmp_path)
    assert path == tmp_path / "inference_data.mat"
    assert names(tmp_path) == [path.name]
    loaded = loadmat(path)
    assert loaded["TS1"].shape == (3, 17, 1, 2)
    assert loaded["TS2"].shape == (3, 17, 1, 1)
    assert loaded["TS1"][2, 14, 0, 1] == poses[1, 14, 2]


def test_a_wrong_prediction_writes_no_mat(tmp_path):
    with pytest.raises(UserError, match=r"predictions of TS2 have shape \(5, 15, 3\)"):
        write_inference_mat({"TS1": np.zeros((5, 17, 3)), "TS2": np.zeros((5, 15, 3))}, tmp_path)
    assert names(tmp_path) == []


def test_the_screen_shows_totals_groups_and_joints():
    text = format_tables(golden_tables())
    lines = {line.split("  ")[0]: line.split() for line in text.splitlines() if line}
    assert lines["All"][1:4] == ["75.16", "87.36", lines["All"][3]]
    assert lines["TestSeq1"][1:4] == ["75.59", "86.07", "52.63"]
    assert max(map(len, text.splitlines())) <= 120
    assert text.count("left_ankle") == 1


def test_without_activities_the_text_says_so():
    text = format_tables(golden_tables(with_activities=False))
    assert "TestSeq6" in text
    assert text.endswith("so there is no activity table")
