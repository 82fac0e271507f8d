"""Results of runs: reading them, and the statistics, on numbers that can be checked by hand."""

import json
import math
from dataclasses import replace

import pytest

from glagcn.errors import UserError
from glagcn.study.file import read_study
from glagcn.study.results import (
    EvaluationPoint,
    Run,
    common_budgets,
    curves_figure,
    draw_curves,
    evaluations_csv,
    mean_curve,
    read_run,
    rows_of,
    statistics_of,
    summary_csv,
    summary_md,
)
from glagcn.study.run import _notes


def run(name, seed, windows, errors, *, rate=100.0, test=50.0):
    points = zip(windows, errors, strict=True)
    return Run(name, seed, tuple(EvaluationPoint(w, w / rate, "validation", e) for w, e in points), test)


def write_run(folder, lines, result='{"mpjpe_mm": 48.5}'):
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "result.json").write_text(result)
    return folder


def line(kind, windows, error):
    return {"kind": kind, "step": 1, "windows": windows, "seconds": windows / 10, "mpjpe_mm": error}


@pytest.fixture
def study(tmp_path):
    (tmp_path / "s.toml").write_text(
        "title = 'T'\nseeds = [0, 1]\ncommon = '-d demo'\n[configurations]\nb = ''\n'a|c' = '--dropout 0'\nlate = ''"
    )
    return read_study(tmp_path / "s.toml")


@pytest.fixture
def runs():
    return [
        run("b", 0, [100, 200, 300], [90.0, 80.0, 70.0], test=60.0),
        run("a|c", 0, [102, 204, 300], [50.0, 40.0, 30.0], test=20.0),
        run("b", 1, [100, 200, 300], [92.0, 84.0, 76.0], test=64.0),
    ]


def test_a_run_is_read(tmp_path):
    lines = [{"kind": "train", "step": 1, "mpjpe_mm": 3}, line("validation", 10, 70.0), line("test", 10, 48.5)]
    found = read_run(write_run(tmp_path / "r", lines), "a", 3)
    assert found == Run(
        "a", 3, (EvaluationPoint(10, 1.0, "validation", 70.0), EvaluationPoint(10, 1.0, "test", 48.5)), 48.5
    )
    assert (found.split, [point.mpjpe_mm for point in found.curve]) == ("validation", [70.0])


def test_without_validation_the_curve_is_of_the_test_set(tmp_path):
    found = read_run(write_run(tmp_path / "r", [line("test", 10, 70.0), line("test", 20, 60.0)]), "a", 0)
    assert (found.split, len(found.curve)) == ("test", 2)


@pytest.mark.parametrize(
    ("lines", "result", "message"),
    [
        ([line("test", 1, 1.0)], "{}", "cannot read the result"),
        ([line("test", 1, 1.0)], "[", "cannot read the result"),
        ([line("test", 1, 1.0) | {"windows": None}], '{"mpjpe_mm": 1}', "lacks windows,"),
        ([line("test", 1, None)], '{"mpjpe_mm": 1}', "lacks mpjpe_mm"),
        ([], '{"mpjpe_mm": 1}', "holds no evaluation"),
    ],
)
def test_what_a_run_lacks_is_named(tmp_path, lines, result, message):
    with pytest.raises(UserError, match=message):
        read_run(write_run(tmp_path / "r", lines, result), "a", 0)


def test_the_spread_is_of_the_sample():
    assert statistics_of([1.0]).deviation is None
    found = statistics_of([1.0, 2.0, 6.0])
    assert (found.n, found.mean) == (3, 3.0)
    assert found.deviation == pytest.approx(math.sqrt(7))


def test_budgets_are_common_halve_and_leave_the_end_out():
    thousand = list(range(100, 4001, 100))
    long = run("a", 0, thousand, [1.0] * 40)
    assert common_budgets([long]) == [200, 400, 900, 1900, 3900]
    odd = run("b", 0, thousand[1::2], [1.0] * 20)
    assert common_budgets([long, odd]) == [200, 400, 800, 1800, 3800]
    assert common_budgets([run("c", 0, [150], [1.0]), odd]) == []


def test_the_end_of_the_shorter_run_is_a_budget_of_the_longer():
    assert common_budgets([run("a", 0, [10, 20, 40], [1.0] * 3), run("b", 0, [10, 20], [1.0] * 2)]) == [10, 20]


def test_the_curve_has_mean_and_range(runs):
    (first, *_, last) = mean_curve([runs[0], runs[2]])
    assert (first.windows, first.seconds, first.mean, first.low, first.high) == (100, 1.0, 91.0, 90.0, 92.0)
    assert (last.mean, last.low, last.high) == (73.0, 70.0, 76.0)


def test_the_tables(study, runs):
    rows = rows_of(study, runs)
    assert [row.configuration for row in rows] == ["b", "a|c"]  # of the file; "late" has no run yet
    csv_lines = summary_csv(rows).splitlines()
    assert csv_lines[0].startswith("configuration,n,at_100_windows_mm,at_100_windows_mm_deviation,at_200_windows_mm,")
    assert csv_lines[1] == "b,2,91.0000,1.4142,82.0000,2.8284,73.0000,4.2426,62.0000,2.8284,300,3.0,100.0"
    assert csv_lines[2] == "a|c,1,50.0000,,40.0000,,30.0000,,20.0000,,300,3.0,100.0"
    text = summary_md(study, rows, ["Mind this."])
    assert text.startswith("# T\n")
    assert "\n\nMind this.\n\n" in text
    (first,) = [given for given in text.splitlines() if given.startswith("| b ")]
    assert [cell.strip() for cell in first.split("|")[1:-1]] == [
        "b", "2", "91.00 ± 1.41", "82.00 ± 2.83", "73.00 ± 4.24", "62.00 ± 2.83", "100", "3",
    ]  # fmt: skip
    assert "| a\\|c " in text
    assert len({given.replace("\\|", "  ").count("|") for given in text.splitlines() if given.startswith("|")}) == 1


@pytest.mark.parametrize(("select_on", "split"), [("validation", "validation"), ("test", "test"), ("last", "test")])
def test_errors_are_called_what_the_study_measures_before_and_after_a_run_has_ended(tmp_path, runs, select_on, split):
    text = f"common = '-d demo --select_on {select_on}'\n[configurations]\nb = ''"
    (tmp_path / "one.toml").write_text(text)
    study = read_study(tmp_path / "one.toml")
    assert f": {split} error after" in summary_md(study, rows_of(study, []), [])
    assert curves_figure(study, runs, "windows").axes[0].get_ylabel() == f"{split} MPJPE, mm"


@pytest.mark.parametrize(("select_on", "noted"), [("validation", False), ("test", True), ("last", False)])
def test_the_summary_says_where_states_were_chosen_on_the_test_set(tmp_path, select_on, noted):
    text = f"common = '-d demo --select_on {select_on}'\n[configurations]\nb = ''"
    (tmp_path / "one.toml").write_text(text)
    notes = _notes(read_study(tmp_path / "one.toml"), [], [], [])
    assert [("the lowest test error" in note) for note in notes] == [True] * noted


def test_every_evaluation_is_a_row(runs):
    lines = evaluations_csv(runs).splitlines()
    assert lines[0] == "configuration,seed,windows,seconds,split,mpjpe_mm"
    assert len(lines) == 1 + 9
    assert lines[-1] == "b,1,300,3.0,validation,76.0"


@pytest.mark.parametrize("against", ["windows", "seconds"])
def test_pictures_differ_with_what_was_found(study, runs, against, tmp_path):
    for name, given in {"some": runs[:1], "all": runs}.items():
        draw_curves(study, given, against, tmp_path / f"{name}.png")
    pictures = [(tmp_path / f"{name}.png").read_bytes() for name in ("some", "all")]
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)
    assert len(set(pictures)) == 2


def test_without_a_curve_there_is_no_picture_and_an_earlier_one_goes(study, runs, tmp_path):
    draw_curves(study, runs, "windows", tmp_path / "curves.png")
    nothing_in_common = [run("b", 0, [100], [90.0]), run("b", 1, [200], [90.0])]
    for given in (nothing_in_common, []):
        draw_curves(study, given, "windows", tmp_path / "curves.png")
        assert not (tmp_path / "curves.png").exists()


@pytest.mark.parametrize("name", ["lr $\\eta_$", "$x$", "5 $", "_x"])
def test_pictures_show_names_and_titles_as_they_are(study, name, tmp_path):
    study = replace(study, title=name, configurations=(replace(study.configurations[0], name=name),))
    runs = [run(name, 0, [100, 200], [90.0, 80.0])]
    draw_curves(study, runs, "windows", tmp_path / "curves.png")
    figure = curves_figure(study, runs, "windows")
    shown = [figure.axes[0].title, *figure.legends[0].texts]
    assert [(text.get_text(), text.get_parse_math()) for text in shown] == [(name, False), (f"{name} (n=1)", False)]
