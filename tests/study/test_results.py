"""Results of runs: reading them, and the statistics, on numbers that can be checked by hand."""

import json

import pytest

from glagcn.errors import UserError
from glagcn.study import results
from glagcn.study.results import Evaluation, Run, common_budgets, read_run, summaries, write_report

NAMES = ("b", "a|c", "late")


def run(name, seed, windows, errors, *, rate=100.0, test=50.0):
    points = zip(windows, errors, strict=True)
    return Run(name, seed, tuple(Evaluation(w, w / rate, "validation", e) for w, e in points), {"mpjpe_mm": test})


def write_run(folder, lines, result='{"mpjpe_mm": 48.5}'):
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "result.json").write_text(result)
    return folder


def line(kind, windows, error):
    return {"kind": kind, "step": 1, "windows": windows, "seconds": windows / 10, "mpjpe_mm": error}


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
        "a", 3, (Evaluation(10, 1.0, "validation", 70.0), Evaluation(10, 1.0, "test", 48.5)), {"mpjpe_mm": 48.5}
    )
    assert [point.mpjpe_mm for point in found.curve] == [70.0]
    tested = read_run(write_run(tmp_path / "t", [line("test", 10, 70.0), line("test", 20, 60.0)]), "a", 0)
    assert len(tested.curve) == 2


@pytest.mark.parametrize(
    ("lines", "result", "message"),
    [
        (
            [line("test", 1, 1.0)],
            "{}",
            "metrics.jsonl or result.json beside it lacks windows, seconds or mpjpe_mm; rem",
        ),
        ([{"kind": "test", "step": 1}], '{"mpjpe_mm": 1}', "lacks windows, seconds or mpjpe_mm; remove"),
        ([], '{"mpjpe_mm": 1}', "holds no evaluation"),
    ],
)
def test_what_a_run_lacks_is_named(tmp_path, lines, result, message):
    with pytest.raises(UserError, match=message):
        read_run(write_run(tmp_path / "r", lines, result), "a", 0)


def test_budgets_are_common_halve_and_leave_the_end_out():
    thousand = list(range(100, 4001, 100))
    long = run("a", 0, thousand, [1.0] * 40)
    assert common_budgets([long]) == [200, 400, 900, 1900, 3900]
    odd = run("b", 0, thousand[1::2], [1.0] * 20)
    assert common_budgets([long, odd]) == [200, 400, 800, 1800, 3800]
    assert common_budgets([run("c", 0, [150], [1.0]), odd]) == []
    assert common_budgets([run("a", 0, [10, 20, 40], [1.0] * 3), run("b", 0, [10, 20], [1.0] * 2)]) == [10, 20]


def test_the_tables(runs):
    full, short = summaries(NAMES, runs)
    lines = full.csv().splitlines()
    assert lines[0].startswith("configuration,n,at_100_windows_mm,at_100_windows_mm_deviation,at_200_windows_mm,")
    assert lines[1:] == [  # in the order of the names; "late" has no run yet
        "b,2,91.0000,1.4142,82.0000,2.8284,73.0000,4.2426,62.0000,2.8284,36.5876,87.4124,300,3.0,100.0",
        "a|c,1,50.0000,,40.0000,,30.0000,,20.0000,,,,300,3.0,100.0",
    ]
    headings = "configuration", "n", "100 windows", "200 windows", "end", "test", "95 %", "windows/s", "seconds"
    assert short.columns == headings
    errors = "91.00 ± 1.41", "82.00 ± 2.83", "73.00 ± 4.24", "62.00 ± 2.83", "36.59 to 87.41"  # 62 ± 2 * 12.706
    assert short.rows[0] == ("b", 2, *errors, "100", "3")


def test_configurations_are_compared_seed_by_seed(runs):
    about, table = results.paired(NAMES, [*runs, run("a|c", 1, [300], [33.0], test=30.0)])
    assert "paired t-test" in about
    # Differences -40 and -34: mean -37, standard error 3, times 12.706; p of t = -37 / 3 with one degree of freedom.
    cells = [cell.strip() for cell in table.splitlines()[2].split("|")]
    assert cells[-5:-1] == ["2", "-37.00", "-75.12 to +1.12", "0.052"]
    assert results.paired(NAMES, [run("b", 0, [300], [1.0]), run("a|c", 0, [300], [2.0])])[0].startswith("One seed: no")
    assert results.paired(NAMES, []) == []


def test_the_report(runs, tmp_path):
    text = write_report(tmp_path, "T", "validation", NAMES, runs, ["Mind this."])
    assert text.startswith("# T\n\nMPJPE in mm over n seeds, mean ± sample standard deviation: validation error after")
    assert "\n\nMind this.\n\n| configuration " in text
    assert (tmp_path / "summary.md").read_text() == text
    lines = (tmp_path / "study.csv").read_text().splitlines()
    assert (lines[0], len(lines)) == ("configuration,seed,windows,seconds,split,mpjpe_mm", 10)
    assert lines[-1] == "b,1,300,3.0,validation,76.0"
    pictures = [tmp_path / f"error_by_{axis}.png" for axis in ("windows", "seconds")]
    assert [picture.read_bytes()[:4] for picture in pictures] == [b"\x89PNG"] * 2
    for given in ([run("b", 0, [100], [90.0]), run("b", 1, [200], [90.0])], []):  # no common evaluation, no run
        write_report(tmp_path, "T", "validation", NAMES, given, [])
        assert not any(picture.exists() for picture in pictures)


@pytest.mark.parametrize("name", ["lr $\\eta_$", "_x"])
def test_pictures_show_names_and_titles_as_they_are(name, tmp_path):
    runs = [run(name, 0, [100, 200], [90.0, 80.0])]
    figure = results.curves_figure(name, "test", [name], runs, "windows")
    figure.savefig(tmp_path / "a.png")
    shown = [figure.axes[0].title, *figure.legends[0].texts]
    assert [(text.get_text(), text.get_parse_math()) for text in shown] == [(name, False), (name, False)]
    assert figure.axes[0].get_ylabel() == "test MPJPE, mm"
    figure = results.curves_figure(name, "test", [name], [*runs, run(name, 1, [100, 200], [91.0, 80.0])], "windows")
    assert figure.legends[0].texts[0].get_text() == f"{name} (n=2)"
