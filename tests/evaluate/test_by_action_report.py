import csv
import json
import re

import numpy as np
import pytest

from glagcn.errors import UserError
from glagcn.evaluate.benchmarks import ACTION_CSV, benchmark_of
from glagcn.evaluate.evaluate import scored_frames, summarise, write_results
from glagcn.skeletons import get_skeleton
from tests.splits import make_split, true_poses

BY_ACTION = benchmark_of("h36m")
NAMES = ("mpjpe_mm", "p_mpjpe_mm", "n_mpjpe_mm", "velocity_mm")
LENGTHS = {"S9/Eating/cam0": 30, "S9/SittingDown 1/cam0": 10, "S11/Eating 1/cam3": 20}


def evaluate(lengths=LENGTHS, noise=(20, 30, 40), valid=None):
    """Predictions with normal noise of so many mm in the sequences."""
    split = make_split(lengths, valid=valid)
    frames = scored_frames(split)
    owner = np.searchsorted(split.starts, frames, side="right") - 1
    draws = np.random.default_rng(5).normal(size=(len(frames), 17, 3)) * np.array(noise)[owner, None, None]
    return summarise(BY_ACTION, split, get_skeleton("h36m17"), "", frames, true_poses(split, frames) + draws)


def without_eating():
    """Eating has no scored frame, and SittingDown none that are neighbours."""
    return evaluate(valid=[0] * 30 + [1, 0] * 5 + [0] * 20)


def shown(row):
    """A row's cells on the screen."""
    return [f"{row['frames']:,}", *(f"{row[name]:.2f}" for name in NAMES)]


def rows_of(lines):
    """{first cell: other cells} of the lines of a table."""
    return {cells[0]: cells[1:] for cells in (re.split(r"\s{2,}", line) for line in lines)}


def lines_of(evaluation, by_subject):
    return evaluation.benchmark.show(evaluation, by_subject).splitlines()


# ---------------------------------------------------------------- files


def test_the_csv_holds_every_row_with_fifteen_digits(tmp_path):
    evaluation = evaluate()
    write_results(evaluation, tmp_path, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == [ACTION_CSV, "result.json"]
    rows = list(csv.reader((tmp_path / ACTION_CSV).read_text().splitlines()))
    assert rows[0] == ["subject", "action", "frames", *NAMES]
    metrics = evaluation.metrics
    expected = []
    for subject in ("all", "S9", "S11"):
        found = metrics if subject == "all" else metrics["subjects"][subject]
        expected += [(subject, action, row["frames"], row) for action, row in found["actions"].items()]
        count = sum(row["frames"] for row in found["actions"].values())
        expected.append((subject, "mean over actions", count, metrics if subject == "all" else found["mean"]))
        expected.append((subject, "all frames", count, found["frame_mean"]))
    assert len(expected) == 4 + 4 + 3
    assert [row[:3] for row in rows[1:]] == [[subject, name, str(count)] for subject, name, count, _ in expected]
    values = [[float(cell) for cell in row[3:]] for row in rows[1:]]
    np.testing.assert_allclose(values, [[row[name] for name in NAMES] for *_, row in expected], rtol=1e-14)


def test_what_there_is_nothing_of_is_nan_in_the_csv_and_null_in_json(tmp_path):
    evaluation = without_eating()
    result = write_results(evaluation, tmp_path, {"checkpoint": "best.pt"})
    rows = {tuple(row[:2]): row[2:] for row in csv.reader((tmp_path / ACTION_CSV).read_text().splitlines())}
    assert rows["all", "Eating"] == ["0", "NaN", "NaN", "NaN", "NaN"]
    assert rows["all", "SittingDown"][4] == "NaN"
    loaded = json.loads((tmp_path / "result.json").read_text(), parse_constant=pytest.fail)
    assert loaded == result
    assert loaded["actions"]["Eating"] == {"frames": 0} | dict.fromkeys(NAMES)
    assert loaded["velocity_mm"] is None
    assert loaded["mpjpe_mm"] == evaluation.metrics["actions"]["SittingDown"]["mpjpe_mm"]


def test_result_json_says_what_was_averaged(tmp_path):
    result = write_results(evaluate(), tmp_path, {"checkpoint": "best.pt"})
    assert set(result) == {
        *NAMES, "frames", "protocol", "root", "actions", "frame_mean", "subjects", "cell_mean", "sequences", "notes",
        "checkpoint",
    }  # fmt: skip
    assert result["root"] == "as predicted"
    assert set(result["subjects"]["S9"]) == {"actions", "mean", "frame_mean"}
    assert set(result["frame_mean"]) == set(result["cell_mean"]) == set(result["subjects"]["S11"]["mean"]) == set(NAMES)


def test_an_old_csv_stays_whole_where_a_new_one_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=f"cannot write .*{ACTION_CSV}"):
        write_results(evaluate(), tmp_path / "file", {})


# ---------------------------------------------------------------- screen


def test_the_screen_shows_every_action_and_the_two_means():
    evaluation = evaluate()
    lines = lines_of(evaluation, by_subject=False)
    assert lines[0] == "mean-over-actions (17 joints, root as predicted)"
    assert "protocol 1: MPJPE" in lines[1]
    assert max(map(len, lines)) <= 100
    metrics = evaluation.metrics
    rows = rows_of(lines)
    for action, row in metrics["actions"].items():
        assert rows[action] == shown(row)
    assert rows["mean over actions"] == shown(metrics)
    assert rows["all frames"] == shown({"frames": 60} | metrics["frame_mean"])
    assert not any(line.startswith(("S9", "S11", "mean over subject")) for line in lines)


def test_each_subject_has_a_table_of_its_own():
    evaluation = evaluate()
    text = evaluation.benchmark.show(evaluation, True)
    assert max(map(len, text.splitlines())) <= 100
    tables = {block.split()[0]: block.splitlines() for block in text.split("\n\n")}
    for name, subject in evaluation.metrics["subjects"].items():
        rows = rows_of(tables[name])
        count = sum(row["frames"] for row in subject["actions"].values())
        assert {action: rows[action] for action in subject["actions"]} == {
            action: shown(row) for action, row in subject["actions"].items()
        }
        assert rows["mean over actions"] == shown({"frames": count} | subject["mean"])
        assert rows["all frames"] == shown({"frames": count} | subject["frame_mean"])
    last = text.splitlines()[-1]
    assert last.startswith("mean over subject x action ")
    assert last.split()[-5:] == shown({"frames": 60} | evaluation.metrics["cell_mean"])


def test_the_longest_names_and_counts_fit_the_columns():
    evaluation = evaluate(
        {"Validate/S1/ThrowCatch 1 chunk0/cam0": 5, "Validate/S1/Walking 1 chunk10/cam2": 3}, (1e3, 1)
    )
    evaluation.metrics["actions"]["Walking"]["frames"] = 543_339
    header, *rows = evaluation.benchmark.show(evaluation, True).split("\n\n")[1].splitlines()
    assert {len(row) for row in rows} == {len(header)}
    assert rows[-1].split()[2] == "543,344"


def test_what_is_missing_is_said_below_the_table():
    lines = lines_of(without_eating(), by_subject=False)
    rows = rows_of(lines)
    assert rows["Eating"] == ["0", *["n/a"] * 4]
    assert rows["SittingDown"][-1] == "n/a"
    assert "note: no scored frames, left out of the means over actions: Eating" in lines
    assert max(map(len, lines)) <= 100


# ---------------------------------------------------------------- one line


def test_the_headline_says_what_is_averaged_over_what():
    metrics = dict.fromkeys(NAMES, 12.345) | {
        "actions": {"Eating": {"frames": 3}, "Posing": {"frames": 1234}},
        "frames": 1237, "root": "as predicted", "frame_mean": {"mpjpe_mm": 9.87},
    }  # fmt: skip
    metrics["mpjpe_mm"] = 44.4
    assert BY_ACTION.headline(metrics) == (
        "MPJPE 44.40 mm, P-MPJPE 12.35 mm, N-MPJPE 12.35 mm, velocity 12.35 mm "
        "(mean over 2 actions of 1,237 frames, root as predicted; frame-weighted MPJPE 9.87 mm)"
    )


def test_the_headline_of_a_result_file_with_nulls(tmp_path):
    evaluation = without_eating()
    text = evaluation.headline
    assert " mm (mean over 1 of 2 actions of 5 frames" in text
    assert "velocity" not in text
    assert BY_ACTION.headline(write_results(evaluation, tmp_path, {})) == text
