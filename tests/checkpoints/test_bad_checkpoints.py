"""What a checkpoint that is none, or of another model, gets from the commands: one message, nothing run, no file."""

import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from glagcn.checkpoints import ours as checkpoint
from glagcn.checkpoints.load import load
from glagcn.errors import UserError
from tests.command_line import assert_refused, listing

GOLDEN = Path(__file__).parents[1] / "golden"


class Hostile:
    """Unpickling this would make a file called witness in the folder beside it."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return Path.touch, (self.folder / "witness",)


def _zip_of(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


SPOILT = {  # {what is said of a file: how to make it}
    "not a checkpoint": lambda path, trained: path.write_text("epoch 3, 42.0 mm\n"),
    "the file is empty": lambda path, trained: path.write_bytes(b""),
    "the file is truncated; copy": lambda path, trained: path.write_bytes((trained / "best.pt").read_bytes()[:5000]),
    "the file is truncated": lambda path, trained: path.write_bytes((trained / "best.pt").read_bytes()[:-700]),
    "it contains .*; nothing was executed": lambda path, trained: torch.save({"model": Hostile(path.parent)}, path),
    "a checkpoint of PyTorch before 1.6": lambda path, trained: path.write_bytes(pickle.dumps(Hostile(path.parent))),
    "PyTorch before 1.6": lambda path, trained: torch.save(
        Hostile(path.parent), path, _use_new_zipfile_serialization=False
    ),
    "not one written by torch.save": lambda path, trained: _zip_of(path, {"a.txt": "b"}),
    "cannot be read as a checkpoint|no weights found": lambda path, trained: _zip_of(
        path, {"x/data.pkl": pickle.dumps([1]), "x/byteorder": "little"}
    ),
    "no weights found": lambda path, trained: torch.save(torch.zeros(3), path),
    "has checkpoint version None": lambda path, trained: torch.save({"format": checkpoint.FORMAT}, path),
    "it has no dictionary config, model_config, model": lambda path, trained: torch.save(
        {"format": checkpoint.FORMAT, "version": 1, "config": 1, "model_config": [], "model": None}, path
    ),
    "version 99; this program reads versions up to 1": lambda path, trained: torch.save(
        torch.load(trained / "best.pt", weights_only=True) | {"version": 99}, path
    ),
}


@pytest.mark.parametrize("message", SPOILT)
def test_what_is_no_checkpoint_is_refused_and_runs_nothing(trained, tmp_path, message):
    path = tmp_path / "last.pt"
    SPOILT[message](path, trained)
    with pytest.raises(UserError, match=rf"last\.pt.*({message})"):
        load(path)
    assert list(tmp_path.iterdir()) == [path]  # no witness


def test_every_command_refuses_it_and_writes_nothing(demo, verb, demo_root, trained, tmp_path):
    folder = tmp_path / "runs/r"
    folder.mkdir(parents=True)
    path = folder / "last.pt"
    SPOILT["it contains .*; nothing was executed"](path, trained)
    before = listing(tmp_path)
    assert_refused(demo("--run r --frames 9"), r"last\.pt")
    assert_refused(demo(f"--frames 9 --evaluate {path}"), r"last\.pt")
    assert_refused(verb(f"evaluate {path} --dataset demo --root_path {demo_root}"), r"last\.pt")
    assert_refused(verb(f"export {path} --out {tmp_path}/exported.pt"), r"last\.pt")
    assert listing(tmp_path) == before


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda weights: weights["head.unshared.bias"].fill_(float("nan")), "not finite"),
        (lambda weights: weights.pop("head.unshared.bias"), "head.unshared.bias.*found nothing"),
        (lambda weights: weights.update(more=torch.zeros(2)), r"more.*found \[2\], expected nothing"),
    ],
)
def test_weights_that_cannot_be_are_refused_by_every_way_in(demo, verb, trained, tmp_path, spoil, message):
    content = torch.load(trained / "best.pt", weights_only=True)
    spoil(content["model"])
    path = tmp_path / "spoilt.pt"
    torch.save(content, path)
    for ended in (
        verb(f"export {path} --out {tmp_path}/exported.pt"), demo(f"--frames 9 --evaluate {path}"),
        demo(f"--frames 9 --resume {path}"),
    ):  # fmt: skip
        assert_refused(ended, r"spoilt\.pt", message)
    assert list(tmp_path.iterdir()) == [path]


def test_a_checkpoint_that_is_not_there(demo, verb, demo_root, tmp_path):
    ended = demo("--evaluate")
    name = "demo_gt_f27_c4_unshared1_ray_tuned_seed0"
    assert_refused(ended, "best.pt: no such checkpoint", f"{tmp_path}/runs/{name}/best.pt", "Train first")
    assert_refused(demo("--evaluate nowhere.pt"), "nowhere.pt: no such checkpoint")
    assert_refused(verb(f"evaluate {tmp_path}/no.pt --dataset demo --root_path {demo_root}"), "no.pt: no such")
    assert_refused(verb(f"export {tmp_path}/no.pt --out {tmp_path}/out.pt"), "no such file")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("file", "joints"),
    [("h36m_27f.bin", r"17 joints of h36m17 to 17"), ("humaneva15_gt_27f.bin", r"15 joints of humaneva15 to 15")],
)
def test_a_model_of_another_joint_set_is_refused_with_both(train, demo_root, tmp_path, file, joints):
    ended = train(f"--dataset demo --root_path {demo_root} --evaluate {GOLDEN / file} --output {tmp_path}/results")
    assert_refused(ended, file, joints, r"17 joints of mpi3dhp17; .*\(-d\).*\(-k\)")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "both"),
    [
        ("--frames 81", "trained with frames 9, but the flag says 81"),
        ("--frames 9 --channel 8", "trained with channels 4, but the flag says 8"),
        ("--frames 9 --head shared", "trained with head unshared, but the flag says shared"),
        ("--frames 9 -arc 9", r"3.*9"),
        ("--frames 9 --graph h36m", "mpi3dhp17.*h36m"),
    ],
)
def test_a_model_of_another_shape_is_refused_with_both(demo, trained, tmp_path, flags, both):
    assert_refused(demo(f"{flags} --evaluate {trained}/best.pt --output {tmp_path}/results"), r"best\.pt", both)
    assert list(tmp_path.iterdir()) == []
