"""`glagcn study`: its file, and studies with runs of seconds, as processes where that matters, else in this process."""

import csv
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
import torch

from glagcn import cli
from glagcn.config.resolve import resolve
from glagcn.data.cache import write_cache
from glagcn.data.mocap.motion import demo_source
from glagcn.errors import UserError
from glagcn.study import run as study_run
from glagcn.study.run import read_study
from tests.command_line import TINY, assert_refused

REPOSITORY = Path(__file__).parents[2]
LAUNCH = REPOSITORY / "launch"
FILES = {"study.csv", "summary.csv", "summary.md", "error_by_windows.png", "error_by_seconds.png", "runs"}
GOOD = """
title = "Start"
seeds = [2, 0]
common = "--dataset demo --select_on test"
[configurations]
published = "--recipe published"
"no dropout/1" = "--dropout 0 --batch_size 32"
"""


def read(tmp_path, text):
    path = tmp_path / "study.toml"
    path.write_text(text)
    return read_study(path)


def one(flags, common="--dataset demo"):
    return f"common = '{common}'\n[configurations]\na = '{flags}'\nb = ''"


def test_a_study_is_read(tmp_path):
    study = read(tmp_path, GOOD)
    assert (study.title, study.seeds, study.other_windows) == ("Start", (2, 0), ())
    names = [(configuration.name, configuration.folder) for configuration in study.configurations]
    assert names == [("published", "published"), ("no dropout/1", "no_dropout_1")]
    second = study.configurations[1]
    assert second.arguments == ("--dataset", "demo", "--select_on", "test", "--dropout", "0", "--batch_size", "32")
    assert second.given == {"dataset": "demo", "select_on": "test", "dropout": 0.0, "batch_size": 32}

    (tmp_path / "other").mkdir()
    path = tmp_path / "other/study.toml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())  # of another editor
    assert read_study(path) == study


def test_what_may_be_left_out_and_overridden(tmp_path):
    study = read(tmp_path, one("--dropout 0.5 --stride 3 --flip none", common="--dataset demo --dropout 0.2"))
    assert (study.title, study.seeds, study.other_windows) == ("study", (0,), ("--stride", "--flip"))
    assert [configuration.given["dropout"] for configuration in study.configurations] == [0.5, 0.2]


def test_a_grid_is_every_combination_for_each_configuration(tmp_path):
    grid = "[grid]\ncausal = [true, false]\nlr = {from = 0.1, to = 10, count = 3, log = true}\n"
    study = read(tmp_path, f"seeds = {{from = 3, to = 5, step = 1}}\ncommon = '--dataset demo'\n{grid}")
    assert study.seeds == (3, 4, 5)
    assert [one.name for one in study.configurations][::4] == ["causal=True lr=0.1", "causal=False lr=1.0"]
    assert study.configurations[5].given == {"dataset": "demo", "causal": False, "lr": 10.0}
    study = read(tmp_path, f"common = '--dataset demo'\n{grid}[configurations]\na = '--dropout 0'\nb = ''")
    assert len(study.configurations) == 12
    assert study.configurations[0].given == {"dataset": "demo", "dropout": 0.0, "causal": True, "lr": 0.1}
    assert study_run._range("x", {"from": 0, "to": 0.3, "step": 0.1}) == [0, 0.1, 0.2, 0.3]
    assert list(map(str, study_run._range("x", {"from": 1, "to": 5, "count": 3}))) == ["1", "3", "5"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("seeds = [", ["is not TOML", "line 1|end of document"]),
        ("[configurations]\na = ''\na = ''\n", ["line 3", "use every name once"]),
        ("seed = [1]", ["unknown key seed", "title, seeds, common, configurations, grid"]),
        ("title = 3", ["invalid title 3"]),
        ("seeds = []", ["invalid seeds \\[\\]", "such as"]),
        ("seeds = [0, 0]", ["invalid seeds \\[0, 0\\]"]),
        ("common = 3", ["invalid common 3"]),
        ("seeds = [0]", ["no configurations", "\\[configurations\\]"]),
        ("[configurations]\na = ['--lr']", ["invalid configurations.a \\['--lr'\\]"]),
        ("[configurations]\n'' = ''", ["configurations.''", "1 to 100"]),
        ("[configurations]\n'9 frames, wide' = ''", ["configurations.'9 frames, wide'", "without commas"]),
        ("[grid]\nlrr = [1]", ["grid: no flag --lrr; did you mean lr"]),
        ("[grid]\nlr = {from = 1, step = 1}", ["invalid grid.lr .*: must be a list of values or a range, {from"]),
        ("[grid]\nlr = {from = 2, to = 1, step = 1}", ["invalid grid.lr .*: must be a range that goes up"]),
        ("[grid]\nlr = {from = 1, to = 9, step = 2, log = true}", ["invalid grid.lr .*: must be a range that goes up"]),
        ("[grid]\nlr = {from = 0, to = 1, step = 1e-9}", ["grid.lr has 1,000,000,001 values: must be at most 1,000"]),
        (
            "seeds = [0, 1]\n[grid]\n"
            + "\n".join(f"{key} = {{from = 1, to = 100, step = 1}}" for key in ("lr", "epochs")),
            ["20,000 runs, 100 .lr. x 100 .epochs. x 2 .seeds.: must be at most 1,000"],
        ),
        (one('"'), ["configurations.a", "close every quotation mark"]),
        (one("--lrr 1"), ["configurations.a: unrecognized --lrr; did you mean --lr"]),
        (one("--lr -1"), ["configurations.a", "invalid --lr -1.0: must be above 0"]),
        (one("--seed 1"), ["configurations.a has --seed", "list the seeds"]),
        (one("--run_name x"), ["configurations.a has --run"]),
        (one("-c x"), ["has --checkpoint", "--out"]),
        (one("", common="--fresh"), ["common has --fresh"]),
        ("[configurations]\n'a b' = '-d demo'\n'a_b' = '-d demo'", ["'a b' and 'a_b' would share"]),
        (one("--test_frames 5"), ["--test_frames is 5 in one and None in another", "in common"]),
        (one("--recipe published"), ["--select_on is test in one and validation in another"]),
    ],
)
def test_what_cannot_be_a_study_is_refused(tmp_path, text, parts):
    with pytest.raises(UserError, match=r"study\.toml") as refused:
        read(tmp_path, text)
    for part in parts:
        assert refused.match(part)

    with pytest.raises(UserError, match=r"cannot read .*none\.toml: No such file"):
        read_study(tmp_path / "none.toml")


def test_the_studies_that_come_along_can_be_run_and_the_example_is_documented():
    for path in LAUNCH.glob("*.toml"):
        assert all(resolve(one.given)[0].optim.windows for one in read_study(path).configurations)
    path = LAUNCH / "study.toml"
    assert f"```toml\n{path.read_text()}```" in (path.parents[1] / "docs/training.md").read_text()


# ---------------------------------------------------------------- running


def write(tmp_path, configurations, *, seeds="[0]", flags=""):
    lines = "\n".join(f'"{name}" = "{given}"' for name, given in configurations.items())
    common = f"--dataset demo --select_on test --frames 9 {TINY} {flags}"
    (tmp_path / "s.toml").write_text(f'seeds = {seeds}\ncommon = "{common}"\n[configurations]\n{lines}\n')
    return tmp_path / "s.toml"


@pytest.fixture
def processes(verb, demo_root, tmp_path, monkeypatch):
    """processes("--jobs 2"): the study in tmp_path/s.toml, every run as a process of its own."""
    monkeypatch.chdir(REPOSITORY)  # the processes import what this one does
    return lambda flags="": verb(f"study {tmp_path}/s.toml --out {tmp_path}/out --root_path {demo_root} {flags}")


def run_here(jobs, devices, ended):
    """As run_jobs, one run after the other in this process."""
    for job in jobs:
        with job.log.open("a") as log, redirect_stdout(log), redirect_stderr(log):
            code = cli.train_main(list(job.arguments))
        ended(job, job.log.read_text().rpartition("error: ")[2].strip() if code else None)


@pytest.fixture
def study(processes, monkeypatch):
    monkeypatch.setattr("glagcn.study.run.run_jobs", run_here)
    return processes


@pytest.mark.launched
def test_a_study_is_run_reported_and_not_run_again(processes, tmp_path):
    write(tmp_path, {"no drop": "--dropout 0"}, seeds="[1, 0]")
    ended = processes("--jobs 2")
    assert ended.code == 0, ended.err
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == FILES
    with (out / "study.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["configuration"], row["seed"]) for row in rows} == {("no drop", seed) for seed in "01"}
    for row in rows:
        folder = out / "runs" / f"no_drop_seed{row['seed']}"
        assert json.loads((folder / "config.json").read_text())["seed"] == int(row["seed"])
        assert any(
            json.loads(line).get("mpjpe_mm") == float(row["mpjpe_mm"])
            for line in (folder / "metrics.jsonl").read_text().splitlines()
        )
    with (out / "summary.csv").open() as file:
        assert [(row["configuration"], row["n"]) for row in csv.DictReader(file)] == [("no drop", "2")]
    assert (out / "summary.md").read_text() in ended.out

    logs = {path: path.read_bytes() for path in out.glob("runs/*.log")}
    again = processes()
    assert (again.code, "2 runs, 0 to do" in again.out) == (0, True)
    assert {path: path.read_bytes() for path in out.glob("runs/*.log")} == logs
    assert len(logs) == 2


def test_the_first_seed_of_all_comes_first_and_only_some_may_run(processes, tmp_path, monkeypatch):
    write(tmp_path, {"a": "", "b": "--stride 2", "c": ""}, seeds="[0, 1]")
    started = []
    monkeypatch.setattr(
        "glagcn.study.run.run_jobs", lambda jobs, *_: started.extend(job.config.run_name for job in jobs)
    )
    ended = processes("--only b,a")
    assert ended.code == 0, ended.err
    assert started == ["a_seed0", "b_seed0", "a_seed1", "b_seed1"]
    summary = (tmp_path / "out/summary.md").read_text()
    assert "0 of 6 runs have finished" in summary
    assert "NOT THE SAME WINDOWS: the configurations differ in --stride." in summary


def test_a_failing_run_stops_no_other_and_is_named(study, tmp_path):
    write(tmp_path, {"bad": "--resume nothing.pt", "good": ""})
    ended = study()
    log = tmp_path / "out/runs/bad_seed0.log"
    assert_refused(ended, "1 of 2 runs failed", "bad, seed 0: --resume nothing.pt: no such checkpoint", f"log: {log}")
    assert re.search(r"good_seed0: test MPJPE .*\(2 of 2 runs\)", ended.out)
    assert "no such checkpoint" in log.read_text()
    assert "| good " in (tmp_path / "out/summary.md").read_text()


def test_changed_options_are_refused_by_the_run_and_the_old_result_is_not_shown(study, tmp_path):
    write(tmp_path, {"a": ""})
    assert study().code == 0
    write(tmp_path, {"a": "--lr 0.5"})
    ended = study()
    advice = f"To start a run over, remove its folder in {tmp_path}/out/runs; --out DIR keeps the old ones"
    assert_refused(ended, "a, seed 0: .*options differ: --lr is 0.5 now", advice)
    assert "0 of 1 runs have finished" in (tmp_path / "out/summary.md").read_text()
    assert not list((tmp_path / "out").glob("*.png"))
    write(tmp_path, {"a": ""})
    ended = study()
    assert (ended.code, "1 runs, 0 to do" in ended.out) == (0, True)
    write(tmp_path, {"a": "--max_steps 9"})  # longer: it goes on
    assert study().code == 0
    assert "resumed at step 6 of 9" in (tmp_path / "out/runs/a_seed0.log").read_text()


@pytest.mark.launched
def test_a_stopped_study_ends_its_runs_and_goes_on(study, demo_root, tmp_path):
    write(tmp_path, {"a": "--max_steps 100000 --epochs 100000 --save_steps 5 --eval_epochs 0"})
    out = tmp_path / "out"
    command = [sys.executable, "-m", "glagcn.cli", "study", tmp_path / "s.toml", "--out", out, "--root_path", demo_root]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            while not (out / "runs/a_seed0/last.pt").exists():
                assert process.poll() is None
                time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, "the study was stopped; the same command resumes" in said[1]) == (2, True)
    assert "Traceback" not in said[1]
    assert not [link for link in Path("/proc").glob("*/fd/*") if str(out) in _target(link)]
    write(tmp_path, {"a": f"--epochs 100000 --save_steps 5 --eval_epochs 0 --max_steps {_step(out) + 5}"})
    ended = study()
    assert ended.code == 0, ended.err
    assert f"resumed at step {_step(out) - 5} of" in (out / "runs/a_seed0.log").read_text()


def _target(link):
    try:
        return str(link.readlink())
    except OSError:  # of a process that has just ended
        return ""


def _step(out):
    return torch.load(out / "runs/a_seed0/last.pt", weights_only=True)["progress"]["step"]


def test_metrics_of_one_data_set_do_not_pass_for_those_of_another(study, demo_root, tmp_path):
    """`other` has other people, in sequences as many and as long."""
    write(tmp_path, {"a": ""})
    out, other = tmp_path / "out", tmp_path / "other"
    write_cache(other / "demo_gt.h5", demo_source(seed=1))
    assert study().code == 0
    summary = (out / "summary.md").read_text()
    refusal = "a, seed 0: .* it was trained on other data than that in --root_path"
    assert_refused(study(f"--root_path {other}"), refusal, "--out DIR keeps the old ones")
    assert "0 of 1 runs have finished" in (out / "summary.md").read_text()
    moved = shutil.copytree(demo_root, tmp_path / "moved")
    assert study(f"--root_path {moved}").code == 0
    assert (out / "summary.md").read_text() == summary


@pytest.mark.parametrize(
    ("flags", "parts"),
    [("--jobs 0", ["invalid --jobs 0: must be at least 1"]), ("--only z", ["invalid --only 'z'", "'a b', 'c'$"])],
)
def test_bad_flags_are_refused_before_anything_is_written(study, tmp_path, flags, parts):
    write(tmp_path, {"a b": "", "c": ""})
    assert_refused(study(flags), *parts)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("count", "visible", "at_once", "expected"),
    [
        (0, None, 3, [None] * 3), (2, None, None, ["0", "1"]), (2, "4,7", 3, ["4", "7", "4"]),
    ],
)  # fmt: skip
def test_every_process_has_a_device(monkeypatch, count, visible, at_once, expected):
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert study_run._devices(at_once) == expected


@pytest.mark.parametrize(("select_on", "split"), [("validation", "validation"), ("test", "test"), ("last", "test")])
def test_the_summary_says_what_its_errors_are_and_where_states_were_chosen_on_the_test_set(tmp_path, select_on, split):
    found = read(tmp_path, one("", common=f"-d demo --select_on {select_on}"))
    text = study_run._report(found, [], [], tmp_path)
    assert f": {split} error after" in text
    assert ("SELECTED ON THE TEST SET" in text) == (select_on == "test")


def test_the_process_of_the_runs_starts_before_this_one_imports_pytorch(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(GOOD)
    program = f"""
import multiprocessing.forkserver, sys
from pathlib import Path
from glagcn.study import run

def started():
    print([name for name in ("torch", "matplotlib", "scipy") if name in sys.modules])
    raise SystemExit

multiprocessing.forkserver.ensure_running = started
run.run_study(Path({str(path)!r}), None, None, None, None)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.strip() == "[]", done.stderr
