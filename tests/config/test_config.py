import argparse
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from glagcn.cli import _parser
from glagcn.config.options import GROUPS, OPTIONS, RenderConfig, options_of
from glagcn.config.parse import REFUSED
from glagcn.config.recipes import PRESETS, RECIPES
from glagcn.config.resolve import (
    changed,
    from_dict,
    given_options,
    listed_differences,
    parse_command_line,
    plain_values,
    to_dict,
)
from glagcn.data.datasets import DATASETS
from glagcn.errors import UserError
from tests.command_line import assert_refused

REPOSITORY = Path(__file__).parents[2]


def parse(line):
    return parse_command_line(shlex.split(line))


def chosen(config, keys):
    return tuple(plain_values(config)[key] for key in keys.split())


def test_published_command_is_taken_unchanged():
    line = "--dataset 3dhp --root_path data/s-agcn/ --batch_size 1200 --frames 81 --channel 256 --evaluate"
    config, origin, _ = parse(line)
    assert chosen(config, "dataset batch_size frames channels") == ("3dhp", 1200, 81, 256)
    assert config.model.widths == (3, 3, 3, 3)
    assert config.run.evaluate == "best.pt"
    assert origin["frames"] == "flag"
    assert origin["epochs"] == "preset"
    assert origin["bn_momentum"] == "default"


def test_published_preset_has_the_published_shape_and_starts_at_the_global_rate():
    config, _, _ = parse("--dataset 3dhp --recipe published")
    assert chosen(config, "frames channels batch_size epochs") == (81, 256, 1200, 49)
    assert chosen(config, "flip head sequence_layers lr lr_final") == ("copy", "unshared", 3, 1e-3 / 8, None)


def test_tuned_recipe_fits_its_batch_and_its_warmup_to_the_length_of_the_run_and_its_rate_to_the_channels():
    config, _, _ = parse("--dataset 3dhp")
    assert chosen(config, "frames channels epochs batch_size warmup lr") == (81, 256, 49, None, None, 4e-3)
    assert parse("--dataset 3dhp --channel 128")[0].optim.lr == 16e-3
    given, _, _ = parse("--dataset 3dhp --channel 32 --lr 1e-3 --batch_size 7 --warmup 0")
    assert chosen(given, "lr batch_size warmup") == (1e-3, 7, 0)
    assert parse("--dataset 3dhp --debug")[0].optim.lr == 16e-3  # of the 16 channels that are trained


def test_spellings_values_and_paths():
    for flag in ("--batch_size 7", "--batch-size 7", "-b 7"):
        assert parse(f"-d demo {flag}")[0].optim.batch_size == 7
    config, _, _ = parse("-d demo -arc 5,5 --root_path=~/data")
    assert (config.model.frames, config.model.widths) == (25, (5, 5))
    assert config.data.root_path == str(Path.home() / "data")  # a shell leaves --flag=~/x as it is


PATHS = {
    "lift": "--out=~/x.bvh --checkpoint=~/x --detector_model=~/x --video=~/x",
    "prepare": "--raw=~/x --npz=~/x --out=~/x",
    "export": "--out=~/x",
    "bench": "--json=~/x",
    "study": "--out=~/x --root_path=~/x",
    "evaluate": "--root_path=~/x --cache_dir=~/x --output=~/x",
}


@pytest.mark.parametrize("verb", PATHS)
def test_every_flag_of_a_path_takes_the_home_folder(verb):
    parser = _parser()._subparsers._group_actions[0].choices[verb]
    for word in PATHS[verb].split():
        flag, _, text = word.partition("=")
        action = parser._option_string_actions[flag]
        assert str(parser._get_value(action, text)) == str(Path.home() / "x") + text.removeprefix("~/x"), flag
    flags = [action for action in parser._actions if action.metavar in ("FILE", "DIR") and action.option_strings]
    paths = {action.option_strings[0] for action in flags if action.help != argparse.SUPPRESS}
    assert paths == set(re.findall(r"--\w+", PATHS[verb]))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--dataset h3wb", "invalid choice: 'h3wb'"),
        ("-d demo --frame 81", r"^argument --frame: invalid choice: '81' .*; did you mean --frames 81\?"),
        ("--dataset demo --frames 80", "--frames 80.*81"),
        ("--dataset demo --frames 81 -arc 3,3,3", "--frames 81 contradicts -arc 3,3,3.*27"),
        ("--dataset demo -arc 3,4", "4"),
        ("--dataset demo --frames x", "--frames: invalid int value: 'x'"),
        ("--dataset demo --batch_size 0", "--batch_size 0: must be"),
        ("--dataset demo --dropout 1", "--dropout 1.0: must be"),
        ("--dataset demo --subset 0", "--subset 0.0: must be"),
        ("--dataset demo --channel 2", "--channel 2: must be at least 4"),
        ("--dataset demo --lr inf", "--lr inf: must be above 0$"),
        ("--dataset demo --turn -1", "--turn -1.0: must be 0 or more$"),
        ("--dataset demo --clip nan", "--clip nan: must be 0 or more$"),
        ("--dataset demo --bn_momentum 2", "--bn_momentum 2.0: must be above 0, at most 1$"),
        (f"--dataset demo --seed {2**63}", f"--seed {2**63}: must be 0 or more, below {2**63}$"),
        ("--dataset demo --windows 5 --epochs 1", "--windows 5 and --epochs 1 are alternatives"),
        ("--dataset demo --annotation univ", "--annotation univ has no effect on --dataset demo"),
        ("--dataset demo --recipe published --lr_final 1e-5", "--lr_final 1e-05 has no effect on --schedule steps"),
        ("-lrd 0.95", "--lr_decay 0.95 has no effect on --schedule cosine, which --recipe published uses on h36m"),
        ("--schedule steps", "--schedule steps needs --lr_decay"),
        ("-d demo -k cpn_ft_h36m_dbb", "invalid --keypoints cpn_ft_h36m_dbb: must be one of gt for --dataset demo"),
        ("-tt", "-tt is not a flag; did you mean -tta?"),
        ("--batchSize=3", r"unrecognized --batchSize; did you mean --batch_size\?"),
        ("--dryrun", r"unrecognized --dryrun; did you mean --dry_run\?"),
        ("--qqqqq", "^unrecognized --qqqqq; `main_sagcn_gpus.py --help`"),
        ("-d demo what", "unrecognized arguments: what"),
        ("--dataset demo --run a/b", "--run a/b: must be a plain folder name"),
    ],
)
def test_bad_flags_name_flag_value_and_fix(line, message):
    with pytest.raises(UserError, match=message):
        parse(line)


@pytest.mark.parametrize("command", ["main_sagcn_gpus.py", "-m glagcn.cli evaluate best.pt"])
def test_the_real_command_line_takes_no_abbreviated_flag(command):
    """As a process: there the words come from sys.argv and not as a list."""
    done = subprocess.run([sys.executable, *command.split(), "-tt"], cwd=REPOSITORY, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: -tt is not a flag; did you mean -tta?")


@pytest.mark.parametrize("flag", " ".join(REFUSED).split())
def test_what_has_no_meaning_is_refused_by_name_with_a_reason(flag):
    for spelling in (flag, flag.replace("_", "-")):
        with pytest.raises(UserError, match=rf"^{re.escape(spelling)} has no meaning here: \w.{{15}}"):
            parse(f"{spelling} 1")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("lift k.json --outt a.npz", r"unrecognized --outt; did you mean --out\? `glagcn lift --help` lists the flags"),
        ("evaluate best.pt --batchsize 3", "unrecognized --batchsize; `glagcn evaluate --help`"),
        ("prepare demo --npzz x", r"unrecognized --npzz; did you mean --npz\?"),
        ("export best.pt --layuot onnx --out x", r"unrecognized --layuot; did you mean --layout\?"),
        ("study a.toml --gpus 4", "--gpus has no meaning here: a process uses one GPU; set CUDA_VISIBLE_DEVICES"),
        ("--versoin", r"unrecognized --versoin; did you mean --version\? `glagcn --help`"),
        ("train --chanel 9", r"unrecognized --chanel; did you mean --channel\? `glagcn train --help`"),
        ("render --viz-actoin x", r"unrecognized --viz-actoin; did you mean --viz_action\? `glagcn render --help`"),
    ],
)
def test_every_verb_names_the_nearest_flag(line, message, verb):
    assert_refused(verb(line), message)


def test_without_a_data_set_it_is_human36m_as_published():
    config, origin, _ = parse("-da -tta")
    assert chosen(config, "dataset keypoints flip test_flip") == ("h36m", "gt", "copy", True)
    assert (origin["dataset"], config.model.widths) == ("default", (3,) * 5)
    assert chosen(config, "channels batch_size epochs lr dropout") == (96, 512, 80, 0.01, 0.1)
    assert chosen(config, "optimizer schedule recipe head sequence_layers") == (
        "ranger", "cosine", "published", "shared", 0,
    )  # fmt: skip
    plain, _, _ = parse("-k cpn_ft_h36m_dbb -arc 3,3,3,3,3")
    assert chosen(plain, "flip test_flip distort_targets") == ("none", False, False)
    assert parse("--data_augmentation -d 3dhp --flip none")[0].data.flip == "none"  # the last one counts
    other = parse("-d 3dhp --recipe published --schedule cosine --lr_final 1e-6")[0]
    assert chosen(other, "lr_decay lr_final") == (None, 1e-6)  # of another schedule


def test_the_published_humaneva_command():
    config, _, _ = parse(
        "-da -tta -d humaneva15 -k detectron_pt_coco -str Train/S1,Train/S2,Train/S3 -ste Validate/S1,Validate/S2 "
        "-c checkpoint/humaneva -a Walk,Jog,Box -arc 3,3,3 -b 1024 "
        "--evaluate 96_detectron_pt_coco_27_supervised_epoch_990.bin --by-subject"
    )
    assert config.data.subjects_test == ("Validate/S1", "Validate/S2")
    assert config.data.actions == ("Walk", "Jog", "Box")
    assert (config.run.by_subject, config.model.frames, config.model.graph) == (True, 27, "humaneva15_tree")
    assert parse("-d humaneva15")[0].run.by_subject is False
    assert parse("-d humaneva15 -a *")[0].data.actions == ("*",)
    assert parse("-d humaneva15 -a 'Walk, Jog'")[0].data.actions == ("Walk", "Jog")


def test_a_configuration_survives_json_and_one_of_an_older_version_takes_the_presets_of_what_it_lacks():
    config, _, _ = parse("-d 3dhp --cameras 0,1 -str S1,S2 -arc 3,3,3")
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config
    old = {name: value for name, value in to_dict(config).items() if name not in ("optimizer", "schedule", "causal")}
    assert from_dict(old) == config


def test_debug_shrinks_what_flags_ask_for():
    config, origin, _ = parse("-d 3dhp --frames 81 --channel 256 --batch_size 1200 --debug")
    assert chosen(config, "frames channels batch_size max_steps") == (81, 16, 64, 20)
    assert origin["channels"] == "debug"
    assert origin["frames"] == "flag"
    assert parse("-d demo --channel 8 --debug")[0].model.channels == 8


def test_run_name_follows_from_the_flags_that_define_the_run():
    name = parse("-d 3dhp")[0].run_name
    assert name == "3dhp_gt_univ_f81_c256_unshared3_ray_tuned_seed0"
    for flag in ("frames 27", "channel 32", "seed 1", "recipe published", "head shared", "annotation annot3"):
        assert parse(f"-d 3dhp --{flag}")[0].run_name != name
    for flag in ("workers 3", "epochs 60", "max_steps 5", "log_steps 7"):
        assert parse(f"-d 3dhp --{flag}")[0].run_name == name
    assert parse("-d 3dhp --run mine")[0].run_name == "mine"


def test_differences_that_matter_on_resume():
    config, _, _ = parse("-d demo")
    content = {"config": to_dict(config)}
    assert listed_differences(changed(config, epochs=9, workers=3, log_steps=1, max_steps=4, run="x"), content) == ""
    assert listed_differences(changed(config, lr=1.0), content) == f"--lr is 1.0 now and was {config.optim.lr}"


def test_every_option_has_help_and_presets_name_options():
    own = [part for preset in PRESETS.values() for part in (preset.options, *preset.recipes.values())]
    assert all(option.help for option in options_of(*GROUPS.values(), RenderConfig))
    assert all(set(preset) <= set(OPTIONS) for preset in [*own, *RECIPES.values()])
    assert {option.instead_of for option in OPTIONS.values()} <= {None, *OPTIONS}
    assert set(PRESETS) == set(DATASETS)


def test_a_value_that_means_off_is_none():
    config, _, _ = parse("-d demo --clip 0 --save_steps 0 --save_minutes 0 --workers 0 --eval_epochs 0")
    assert (config.optim.clip, config.selection.eval_epochs, config.run.workers) == (None, None, None)
    assert (config.run.save_steps, config.run.save_minutes) == (None, None)
    old = to_dict(config) | {"clip": 0.0, "save_steps": 0, "save_minutes": 0.0, "workers": 0, "eval_epochs": 0}
    assert from_dict(old) == config


def helped(flag, capsys):
    with pytest.raises(SystemExit) as stop:
        parse_command_line([flag])
    assert stop.value.code == 0
    return capsys.readouterr().out


def test_help_has_the_common_flags_and_help_all_has_all(capsys):
    short, whole = helped("--help", capsys), helped("--help-all", capsys)
    flags = {option.flag for option in options_of(*GROUPS.values(), RenderConfig)}
    assert set(re.findall(r"^  (--\w+)", whole, re.MULTILINE)) & flags == flags
    assert 30 <= len(set(re.findall(r"^  (--\w+)", short, re.MULTILINE)) & flags) <= 40
    for text in (short, whole):
        assert text.startswith("usage: main_sagcn_gpus.py [--dataset NAME] [flags]\n\n")
        assert "-tta --test_augmentation --test_time_augmentation = --test_flip" in " ".join(text.split())


def test_flags_from_a_file(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        'dataset = "3dhp"\nframes = 27\nsubjects-train = ["S1", "S2"]\n[optim]\nepochs = 7\n[more]\ncausal = true\n'
    )
    config, origin, _ = parse(f"--config {file} --frames 9")
    assert chosen(config, "dataset frames epochs causal") == ("3dhp", 9, 7, True)
    assert config.data.subjects_train == ("S1", "S2")
    assert (origin["frames"], origin["epochs"], origin["channels"]) == ("flag", "file", "preset")
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))  # saved again on Windows
    assert parse(f"--config {file}")[0].optim.epochs == 7
    assert parse(f"--config {file} --windows 5000")[0].optim.windows == 5000  # instead of the file's epochs


@pytest.mark.parametrize(
    "line",
    [
        "-d h36m -da -tta",
        "-d 3dhp --windows 9000 --causal -arc 3,5 --select_on last",
        "-d demo --no-eval --save_minutes 0 --accumulate 4",
        "-d demo --model temporal_conv",
    ],
)
def test_the_config_of_a_run_gives_that_run(tmp_path, line):
    config, _, _ = parse(f"{line} --fresh --dry_run")
    file = tmp_path / "config.json"
    file.write_text(json.dumps(to_dict(config) | {"render": False, "viz_limit": -1, "of_another_version": 3}))
    assert parse(f"--config {file}")[0] == parse(line)[0]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.toml", "chanel = 3", "a.toml: no flag --chanel; did you mean channel"),
        ("a.toml", 'frames = "x"', "a.toml: argument --frames: invalid int value: 'x'"),
        ("a.toml", "frames", "a.toml: not TOML"),
        ("a.json", "{", "a.json: not JSON"),
        ("b.toml", None, "--config .*b.toml: No such file"),
    ],
)
def test_a_bad_file_of_flags_is_named(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        parse(f"--config {tmp_path / name}")


def test_a_printed_configuration_is_read_back_and_help_has_the_values_of_the_named_preset(tmp_path, capsys):
    flags = ["--dataset", "3dhp", "--recipe", "published", "--frames", "27", "--causal"]
    with pytest.raises(SystemExit):
        parse_command_line([*flags, "--print-config"])
    (tmp_path / "c.toml").write_text(capsys.readouterr().out)
    assert parse_command_line(["--config", str(tmp_path / "c.toml")])[0] == parse_command_line(flags)[0]
    with pytest.raises(SystemExit):
        parse_command_line(["--help", "--dataset", "demo"])
    assert re.search(r"27,\s+81\s+or\s+243\s+\(default\s+27\)", capsys.readouterr().out)


def test_tensorboard_gets_the_options_that_were_given():
    config, origin, _ = parse_command_line(["--dataset", "demo", "--lr", "0.1", "--run", "x", "--root_path", "y"])
    assert given_options(config, origin) == {"dataset": "demo", "recipe": "tuned", "lr": 0.1}
