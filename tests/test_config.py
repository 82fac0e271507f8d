import json
import shlex
import subprocess
import sys
from dataclasses import fields, replace

import pytest

from glagcn.config import PRESETS, Config, from_dict, parse_command_line, to_dict, training_differences
from glagcn.errors import UserError


def parse(line):
    return parse_command_line(shlex.split(line))


def test_published_command_is_taken_unchanged():
    config, origin = parse(
        "--dataset 3dhp --root_path data/s-agcn/ --batch_size 1200 --frames 81 --channel 256 --evaluate"
    )
    assert (config.dataset, config.batch_size, config.frames, config.channels) == ("3dhp", 1200, 81, 256)
    assert config.widths == (3, 3, 3, 3)
    assert config.evaluate == "best.pt"
    assert origin["frames"] == "flag"
    assert origin["epochs"] == "preset"
    assert origin["dropout"] == "default"


def test_preset_has_the_published_shape():
    config, _ = parse("--dataset 3dhp")
    assert (config.frames, config.channels, config.batch_size, config.epochs) == (81, 256, 1200, 49)
    assert (config.flip, config.head, config.sequence_layers) == ("copy", "unshared", 3)


def test_published_recipe_starts_at_the_global_rate():
    config, _ = parse("--dataset 3dhp --recipe published")
    assert config.lr == 1e-3 / 8
    assert config.lr_final is None


@pytest.mark.parametrize("flag", ["--batch_size 7", "--batch-size 7", "-b 7"])
def test_spellings_are_one_option(flag):
    assert parse(f"-d demo {flag}")[0].batch_size == 7


def test_architecture_sets_the_frames():
    config, _ = parse("-d demo -arc 5,5")
    assert (config.frames, config.widths) == (25, (5, 5))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "--dataset is missing"),
        ("--dataset h3wb", "invalid choice: 'h3wb'"),
        ("--dataset demo --frame 81", "unrecognized arguments: --frame"),
        ("--dataset demo --frames 80", "--frames 80.*81"),
        ("--dataset demo --frames 351", "--frames 351"),
        ("--dataset demo --frames 81 -arc 3,3,3", "--frames 81 contradicts -arc 3,3,3.*27"),
        ("--dataset demo -arc 3,13", "13"),
        ("--dataset demo -arc 3,4", "4"),
        ("--dataset demo --frames x", "--frames: invalid int value: 'x'"),
        ("--dataset demo --batch_size 0", "--batch_size 0 cannot work"),
        ("--dataset demo --lr 0", "--lr 0.0 cannot work"),
        ("--dataset demo --lr -1", "--lr"),
        ("--dataset demo --dropout 1", "--dropout 1.0 cannot work"),
        ("--dataset demo --subset 0", "--subset 0.0 cannot work"),
        ("--dataset demo --channel 2", "--channel 2 is too small"),
        ("--dataset demo --max_steps 0", "--max_steps 0 cannot work"),
        ("--dataset demo --annotation univ", "--annotation univ is for --dataset 3dhp"),
        ("--dataset demo --recipe published --lr_final 1e-5", "--lr_final is for --recipe tuned"),
        ("--dataset demo --run a/b", "--run a/b must be a plain folder name"),
    ],
)
def test_bad_flags_name_flag_value_and_fix(line, message):
    with pytest.raises(UserError, match=message):
        parse(line)


def test_debug_shrinks_what_flags_ask_for():
    config, origin = parse("-d 3dhp --frames 81 --channel 256 --batch_size 1200 --debug")
    assert (config.frames, config.channels, config.batch_size, config.max_steps) == (81, 16, 64, 20)
    assert origin["channels"] == "debug"
    assert origin["frames"] == "flag"
    assert parse("-d demo --channel 8 --debug")[0].channels == 8


def test_run_name_follows_from_the_flags_that_define_the_run():
    name = parse("-d 3dhp")[0].run_name
    assert name == "3dhp_gt_univ_f81_c256_unshared3_tuned_seed0"
    for flag in (
        "--frames 27",
        "--channel 32",
        "--seed 1",
        "--recipe published",
        "--head shared",
        "--annotation annot3",
    ):
        assert parse(f"-d 3dhp {flag}")[0].run_name != name
    for flag in ("--workers 3", "--epochs 60", "--max_steps 5", "--log_steps 7"):
        assert parse(f"-d 3dhp {flag}")[0].run_name == name
    assert parse("-d 3dhp --run mine")[0].run_name == "mine"


def test_differences_that_matter_on_resume():
    config, _ = parse("-d demo")
    assert training_differences(replace(config, epochs=9, workers=3, log_steps=1, max_steps=4, run="x"), config) == []
    assert training_differences(replace(config, lr=1.0), config) == [("--lr", 1.0, config.lr)]


def test_configuration_survives_json():
    config, _ = parse("-d 3dhp --cameras 0,1 -str S1,S2 -arc 3,3,3")
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config


def test_every_option_has_help_and_presets_name_options():
    names = {f.name for f in fields(Config)}
    assert all(f.metadata["help"] for f in fields(Config))
    assert all(set(preset) <= names for preset in PRESETS.values())


def test_help_does_not_import_torch():
    code = (
        "import sys; from glagcn.cli import train_main, main\n"
        "for command in (train_main, main):\n"
        "    try: command(['--help'])\n"
        "    except SystemExit as stop: assert stop.code == 0\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--frames" in done.stdout
    assert "prepare" in done.stdout
