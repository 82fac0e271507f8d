"""The ways to start: `glagcn VERB`, `python -m glagcn`, and a launcher with the installed package, in any folder."""

import re
import shlex
import subprocess
import sys

import pytest

import glagcn
from glagcn.cli import TRAINER_VERBS
from tests.command_line import assert_refused, result
from tests.launched.conftest import REPOSITORY, launch
from tests.published_files import write_folder


def module(folder, *words) -> subprocess.CompletedProcess:
    """`python -m glagcn` in a folder without a checkout."""
    return launch([sys.executable, "-m", "glagcn", *words], folder, PYTHONPATH=str(REPOSITORY))


def test_without_a_verb_it_prints_its_help(verb):
    bare = verb("")
    assert (bare.code, bare.err) == (0, "")
    assert bare.out.startswith("usage: glagcn ")
    for name in ("train", "render", "lift", "prepare", "evaluate"):
        assert f"\n    {name} " in bare.out


def test_the_module_is_the_command(tmp_path):
    done = module(tmp_path, "--version")
    assert (done.code, done.out, done.err) == (0, f"glagcn {glagcn.__version__}\n", "")
    refused = module(tmp_path, "train", "--chanel", "9")
    assert refused.code == 2
    assert refused.err.startswith("error: unrecognized --chanel; did you mean --channel?")


def test_without_stderr_it_works_all_the_same(trained, tmp_path):
    """As in services and cron jobs: no file that is opened may take the number of stderr."""
    words = [sys.executable, "-m", "glagcn", "export", str(trained / "best.pt"), "--out", "shared.pt"]
    done = launch(["bash", "-c", '"$@" 2>&-', "-", *words], tmp_path, PYTHONPATH=str(REPOSITORY))
    assert (done.code, done.err) == (0, "")
    assert glagcn.load_model(tmp_path / "shared.pt").frames == 9


@pytest.mark.parametrize("name", TRAINER_VERBS)
def test_the_verbs_of_the_trainer_have_its_flags(name, verb, capsys):
    with pytest.raises(SystemExit) as stop:
        verb(f"{name} --help")
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: glagcn {name} [--dataset NAME] [flags]\n")
    assert ("--viz_subject" in text, "--render" in text) == (name == "render", False)
    assert ("--lr" in text) == (name == "train")  # its own flags; it takes the others too


def test_a_misspelt_verb_gets_a_hint(verb):
    assert_refused(verb("trian"), r"no command trian; did you mean train\? `glagcn --help`")
    assert_refused(verb("xyz"), r"no command xyz: must be one of train, render, .*export")


@pytest.mark.launched
def test_a_launcher_starts_the_installed_package_in_any_folder(tmp_path):
    """With a command of the table "published | here" of docs/training.md, on files in the real layouts."""
    text = (REPOSITORY / "docs/training.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\| .* \| `python main_sagcn_gpus\.py (.*)` \|$", text, re.MULTILINE)
    assert len(commands) == 8
    command = shlex.split(next(line for line in commands if "--by-subject" in line))
    torchrun = ["torchrun", "--standalone", "--nproc_per_node=2", "-m", "--", "glagcn", "train", "--run", "r"]
    flags = [*torchrun, *command, "--output", "results", "--workers", "1"]
    done = launch(flags, write_folder(tmp_path), PYTHONPATH=str(REPOSITORY))
    assert done.code == 0, done.err
    found = result(tmp_path / "results")
    assert found["processes"] == 2
    assert set(found["actions"]) == {"Walking", "Jog", "Box"}
    assert "mean over actions" in done.out
    assert "Validate/S3 " in done.out
