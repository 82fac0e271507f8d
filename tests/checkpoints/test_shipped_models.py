"""The models that come with the program, by their names: tiny stand-ins, and the files themselves."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import glagcn
from glagcn.checkpoints.find import MODELS, SHIPPED, find_model
from glagcn.checkpoints.load import load
from glagcn.errors import UserError
from tests.checkpoints.exported_models import a_checkpoint, a_model
from tests.command_line import TINY, assert_refused
from tests.commands.filmed import SIZE, keypoints
from tests.poses.keypoints import written

REPOSITORY = Path(__file__).parents[2]
FILES = [MODELS / f"{name}.safetensors" for name in SHIPPED]
MOST_BYTES = 12_000_000  # of both


def weights(model) -> list:
    return [tensor.tolist() for tensor in model.state_dict().values()]


def test_a_name_is_the_model_of_the_program(shipped):
    for name in SHIPPED:
        model = glagcn.load_model(name)
        assert weights(model) == weights(glagcn.load_model(shipped / f"{name}.safetensors"))
        assert (model.causal, model.input) == (name == "causal", "xyc")
    assert glagcn.Lifter("causal", SIZE).delay == 0
    assert glagcn.Lifter("centred", SIZE).delay == 4


def test_a_file_of_that_name_needs_a_path(shipped, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = a_model("temporal_conv")
    a_checkpoint(Path("centred"), own)
    for path in ("./centred", Path("centred"), tmp_path / "centred"):
        assert weights(glagcn.load_model(path)) == weights(own)
    assert find_model("centred") == shipped / "centred.safetensors"
    assert find_model("./centred") == Path("centred")


def test_an_unknown_name_lists_those_of_the_program(shipped, verb, demo):
    names = "or the name of a model of this program: centred, causal"
    with pytest.raises(UserError, match=f"center: no such file; expected a checkpoint .*{names}"):
        glagcn.load_model("center")
    assert_refused(verb("lift k.json --checkpoint center --out p.npz"), f"invalid --checkpoint center: .*{names}")
    assert_refused(demo("--frames 9 --evaluate center"), f"--evaluate center: no such checkpoint; .*{names}")


def test_a_missing_file_says_how_to_make_it(shipped, verb, demo):
    (shipped / "causal.safetensors").unlink()
    message = r"the model causal of this program is missing: no file .*; install glagcn again, or give"
    with pytest.raises(UserError, match=message):
        glagcn.Lifter("causal", SIZE)
    assert_refused(verb("lift k.json --checkpoint causal --out p.npz"), message)
    assert_refused(demo("--frames 9 --resume causal"), message)


def test_lift_takes_centred_unless_told(shipped, verb, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = written.coco(tmp_path, keypoints(12)[:, :1])
    poses = []
    for flags in ("", "--checkpoint centred", f"--checkpoint {shipped}/centred.safetensors", "--checkpoint causal"):
        ended = verb(f"lift {path} --image_size 640,480 --fps 25 --out p.npz {flags}")
        assert ended.code == 0, ended.err
        assert f"lifting with {shipped}/{'causal' if 'causal' in flags else 'centred'}.safetensors" in ended.out
        with np.load("p.npz") as file:
            poses.append(file["poses_mm"])
    assert np.array_equal(poses[0], poses[1])
    assert np.array_equal(poses[0], poses[2])
    assert not np.allclose(poses[0], poses[3], atol=1)


def test_evaluation_rendering_and_export_take_the_name(shipped, verb, train, demo_root, tmp_path):
    before = sorted(shipped.iterdir())
    data = f"--dataset demo --root_path {demo_root}"
    ended = verb(f"evaluate causal {data} --test_frames 40 --output {tmp_path}/given")
    assert ended.code == 0, ended.err
    assert json.loads((tmp_path / "given/result.json").read_text())["checkpoint"] == f"{shipped}/causal.safetensors"
    own = f"{data} -c {tmp_path}/runs"
    ended = train(f"{own} --evaluate centred --test_frames 40")  # not into the folder of the program
    assert ended.code == 0, ended.err
    assert (tmp_path / "runs/centred/result.json").is_file()
    ended = train(f"{own} --render --evaluate causal --viz-export {tmp_path}/a.csv --viz-limit 2 --viz-subject TS1")
    assert ended.code == 0, ended.err
    assert verb(f"export causal --out {tmp_path}/x.pt").code == 0
    assert weights(load(tmp_path / "x.pt").model) == weights(glagcn.load_model("causal"))
    assert sorted(shipped.iterdir()) == before


def test_the_files_are_what_the_model_card_says():
    assert sum(path.stat().st_size for path in FILES) <= MOST_BYTES
    card = (REPOSITORY / "docs/models.md").read_text(encoding="utf-8")
    for path in FILES:
        loaded = load(path)
        model, options = loaded.model, loaded.options
        kind = "Ensemble" if path.stem == "centred" else "LiftingNetwork"
        assert (type(model).__name__, model.frames, model.input) == (kind, 27, "xyc")
        assert (model.skeleton.name, model.causal) == ("mpi3dhp17", path.stem == "causal")
        assert (options["dataset"], options["detections"]) == ("people", "moderate")
        assert f"{sum(weight.numel() for weight in model.parameters()):,} parameters" in card
        for name, weight in model.named_parameters():
            assert torch.equal(weight, weight.half().float()), name


@pytest.fixture
def script(tmp_path, monkeypatch):
    """script(*flags): the commands that launch/pretrain.sh would give to python, and the program that it would pipe."""
    monkeypatch.chdir(tmp_path)
    Path("launch").mkdir()
    shutil.copy(REPOSITORY / "launch/pretrain.sh", "launch")
    Path("launch/environment.sh").write_text("environment() { :; }\n")
    Path("python").write_text('#!/usr/bin/env bash\necho "$*" >> commands\nif [ "$1" = - ]; then cat > rows.py; fi\n')
    Path("python").chmod(0o755)

    def run(*flags: str) -> list[list[str]]:
        settings = {"RUNS": "runs", "MODELS": "made", "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(
            ["bash", "launch/pretrain.sh", *flags], capture_output=True, text=True, env=os.environ | settings
        )
        assert (done.returncode, done.stderr) == (0, "")
        return [line.split() for line in Path("commands").read_text().splitlines()]

    return run


def test_the_commands_of_the_script_make_both(script, demo_root, train, verb):
    """With tiny data, length and size instead of the recipe's, one after the other in this process."""
    small = f"--dataset demo --root_path {demo_root} {TINY} --frames 9 --max_steps 2 --validation_frames 40"
    *commands, (_, *folders) = script(*small.split())
    for command in commands:
        ended = train(" ".join(command[1:])) if command[0] == "main_sagcn_gpus.py" else verb(" ".join(command[2:]))
        assert ended.code == 0, ended.err
    rows = subprocess.run([sys.executable, "rows.py", *folders], capture_output=True, text=True, check=True).stdout
    for name in SHIPPED:
        loaded = load(Path(f"made/{name}.safetensors"))
        assert (loaded.model.causal, loaded.model.input, loaded.model.frames) == (name == "causal", "xyc", 9)
        assert (loaded.options["detections"], loaded.model.frame) == ("moderate", "ray")
        assert all(torch.equal(weight, weight.half().float()) for weight in loaded.model.parameters())
        levels = ("none", "moderate", "heavy")
        results = [json.loads(Path(f"runs/{name}_{level}/result.json").read_text()) for level in levels]
        assert [result["simulated_detections"] for result in results] == list(levels)
        assert {result["checkpoint"] for result in results} == {f"made/{name}.safetensors"}
        errors = " | ".join(f"{result['mpjpe_mm']:.1f}" for result in results)
        count = sum(weight.numel() for weight in loaded.model.parameters())
        assert f"| {name} | {count:,} | {errors} | " in rows
    size = sum(path.stat().st_size for path in Path("made").glob("*.safetensors"))
    assert f"both files in made: {size / 1e6:.2f} MB" in rows
