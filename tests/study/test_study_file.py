"""Study files: what is read from them, and what is refused before anything runs."""

from pathlib import Path

import pytest

from glagcn.config.resolve import resolve
from glagcn.errors import UserError
from glagcn.study.file import read_study

LAUNCH = Path(__file__).parents[2] / "launch"
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
    assert [(c.name, c.slug) for c in study.configurations] == [
        ("published", "published"),
        ("no dropout/1", "no_dropout_1"),
    ]
    second = study.configurations[1]
    assert second.arguments == ("--dataset", "demo", "--select_on", "test", "--dropout", "0", "--batch_size", "32")
    assert second.given == {"dataset": "demo", "select_on": "test", "dropout": 0.0, "batch_size": 32}


def test_a_study_of_another_editor_is_the_same(tmp_path):
    """With a byte order mark and the line ends of Windows."""
    (tmp_path / "other").mkdir()
    path = tmp_path / "other/study.toml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert read_study(path) == read(tmp_path, GOOD)


def test_what_may_be_left_out(tmp_path):
    study = read(tmp_path, "[configurations]\na = '--dataset demo'")
    assert (study.title, study.seeds) == ("study", (0,))


def test_a_configuration_overrides_what_is_common(tmp_path):
    study = read(tmp_path, one("--dropout 0.5", common="--dataset demo --dropout 0.2"))
    assert [c.given["dropout"] for c in study.configurations] == [0.5, 0.2]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("seeds = [", ["is not TOML", "line 1|end of document"]),
        ("[configurations]\na = ''\na = ''\n", ["line 3", "two configurations or keys have the same name"]),
        ("seed = [1]", ["unknown key seed", "title, seeds, common, configurations"]),
        ("title = 3", ["invalid title 3"]),
        ("seeds = []", ["invalid seeds \\[\\]", "such as"]),
        ("seeds = [0, 0]", ["invalid seeds \\[0, 0\\]"]),
        ("seeds = [true]", ["invalid seeds \\[True\\]"]),
        ("seeds = [-1]", ["invalid seeds \\[-1\\]"]),
        ("seeds = 1", ["invalid seeds 1"]),
        ("common = 3", ["invalid common 3"]),
        ("seeds = [0]", ["no configurations", "\\[configurations\\]"]),
        ("[configurations]", ["no configurations"]),
        ("[configurations]\na = ['--lr']", ["invalid configurations.a \\['--lr'\\]"]),
        ("[configurations]\n'' = ''", ["configurations.''", "1 to 100"]),
        ("[configurations]\n'9 frames, wide' = ''", ["configurations.'9 frames, wide'", "without commas"]),
        ("[configurations]\n' a' = ''", ["configurations.' a'", "without spaces around it"]),
        (one('"'), ["configurations.a", "close every quotation mark"]),
        (one("--lrr 1"), ["configurations.a", "--lrr"]),
        (one("--help"), ["configurations.a", "--help"]),
        (one("--dense"), ["configurations.a", "--dense has no meaning here"]),
        (one("--lr -1"), ["configurations.a", "invalid --lr -1.0: must be above 0"]),
        (one("", common="--lr fast"), ["common", "fast"]),
        (one("--seed 1"), ["configurations.a has --seed", "list the seeds"]),
        (one("--run_name x"), ["configurations.a has --run"]),
        (one("-c x"), ["has --checkpoint", "--out"]),
        (one("--output x"), ["has --output"]),
        (one("--evaluate"), ["has --evaluate"]),
        (one("--render"), ["has --render"]),
        (one("", common="--fresh"), ["common has --fresh"]),
        (one("--dry-run"), ["has --dry_run"]),
        ("[configurations]\n'a b' = '-d demo'\n'a_b' = '-d demo'", ["'a b' and 'a_b' would share"]),
        ("[configurations]\nA = '-d demo'\na = '-d demo'", ["'A' and 'a' would share"]),
        (one("--test_frames 5"), ["--test_frames is 5 in one and None in another", "in common"]),
        (one("--recipe published"), ["--select_on is test in one and validation in another"]),
    ],
)
def test_what_cannot_be_a_study_is_refused(tmp_path, text, parts):
    with pytest.raises(UserError, match=r"study\.toml") as refused:
        read(tmp_path, text)
    for part in parts:
        assert refused.match(part)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*none\.toml: No such file"):
        read_study(tmp_path / "none.toml")


def test_other_training_windows_are_noted(tmp_path):
    assert read(tmp_path, one("--stride 3 --flip none --batch_size 8")).other_windows == ("--stride", "--flip")


def test_the_example_is_a_study_and_the_one_of_the_readme():
    path = LAUNCH / "study.toml"
    assert [configuration.name for configuration in read_study(path).configurations] == ["some", "none at all"]
    assert f"```toml\n{path.read_text()}```" in (path.parents[1] / "docs/training.md").read_text()


@pytest.mark.parametrize("path", sorted(LAUNCH.glob("*.toml")), ids=lambda path: path.name)
def test_every_study_that_comes_along_can_be_run(path):
    for configuration in read_study(path).configurations:
        config, _ = resolve(configuration.given)
        assert config.optim.windows


def test_the_study_of_the_recipe_compares_published_and_tuned_on_the_same_frames():
    study = read_study(LAUNCH / "recipe_study.toml")
    configs = {one.name: resolve(one.given)[0] for one in study.configurations}
    assert (configs["published"].optim.recipe, configs["tuned"].optim.recipe) == ("published", "tuned")
    assert {config.optim.windows for config in configs.values()} == {50000}
    assert {(config.selection.select_on, config.selection.validation) for config in configs.values()} == {
        ("validation", ("S4/Seq1", "S8/Seq2"))
    }
    assert study.other_windows == ()
