"""A data set is one DataSet value: with a line in the table, the unchanged rest prepares, trains and evaluates it."""

import json

import numpy as np
import pytest

from glagcn.config.recipes import PRESETS, Preset
from glagcn.data.cache import open_cache
from glagcn.data.dataset import DataSet, Sequence, SequenceInfo
from glagcn.data.datasets import DATASETS, get_dataset
from glagcn.errors import UserError
from glagcn.evaluate.benchmarks import BENCHMARKS, benchmark_of
from glagcn.skeletons import SKELETONS
from tests.command_line import assert_refused

FRAMES = 20
SUBJECTS = {"train": ("A", "B"), "test": ("C",)}


class PlayFiles:
    """play.npz: the 3D of three people in "h36m17", seen by a camera whose picture is 1000 pixels wide."""

    dataset, keypoints, annotation, skeleton = "play", "gt", "", "h36m17"

    def __init__(self, path):
        self.path, self.notes = path, []

    def infos(self, split):
        return [SequenceInfo(f"{who}/Dance/cam0", who, 0, FRAMES, 30.0, 1000, 1000) for who in SUBJECTS[split]]

    def read(self, split):
        with np.load(self.path) as file:
            for info in self.infos(split):
                poses = file[info.subject]
                pixels = 500 + 1000 * poses[..., :2] / poses[..., 2:]
                yield Sequence(info, pixels.astype(np.float32), poses, np.ones(FRAMES, bool))

    def provenance(self):
        return {"kind": "play", "root": str(self.path.parent)}


class Play(DataSet):
    def find(self, root, keypoints, annotation):
        path = root / "play.npz"
        if not path.is_file():
            raise UserError(f"there is no {path}")
        return PlayFiles(path)

    def source_of(self, flags):
        return self.find(flags.npz, "gt", "")

    def camera_rotation(self, info):
        return np.eye(3)


PLAY = Play(
    name="play",
    title="three dancers",
    skeletons=("h36m17",),
    benchmark="by_action",
    prepared_by=("npz",),
)
PLAY_PRESET = Preset("tuned", {
    "flip": "none", "test_flip": True, "frames": 9, "channels": 4, "sequence_layers": 0, "head": "shared", "epochs": 1,
    "batch_size": None, "micro_batch": 16, "validation": ("B",),
}, {"tuned": {"batch_size": 10, "warmup": 0}})  # fmt: skip


@pytest.fixture
def play(monkeypatch, tmp_path):
    """The data set in the table, and its file in the folder."""
    monkeypatch.setitem(DATASETS, "play", PLAY)
    monkeypatch.setitem(PRESETS, "play", PLAY_PRESET)
    rng = np.random.default_rng(0)
    people = {
        who: (rng.normal(0, 300, (FRAMES, 17, 3)) + np.array([0, 0, 4000])).astype(np.float32)
        for subjects in SUBJECTS.values()
        for who in subjects
    }
    np.savez(tmp_path / "play.npz", **people)
    return tmp_path


def test_a_new_data_set_is_prepared_trained_and_evaluated(play, train, verb):
    ended = verb(f"prepare play --npz {play}")
    assert ended.code == 0, ended.err
    assert f"Train with: accelerate launch main_sagcn_gpus.py --dataset play --root_path {play}" in ended.out
    assert open_cache(play / "play_gt.h5").skeleton == "h36m17"
    (play / "play_gt.h5").unlink()  # training prepares it too
    run = f"-d play --root_path {play} -c {play} --run r --workers 1"
    ended = train(f"{run} --max_steps 2")
    assert ended.code == 0, ended.err
    result = json.loads((play / "r/result.json").read_text())
    assert (result["dataset"], result["step"], result["frames"]) == ("play", 2, FRAMES)
    assert list(result["actions"]) == ["Dance"]
    ended = train(f"{run} --evaluate --output {play}/again")
    assert ended.code == 0, ended.err
    assert "Dance" in ended.out
    assert json.loads((play / "again/result.json").read_text())["mpjpe_mm"] == result["mpjpe_mm"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("-k cpn", "invalid --keypoints cpn: must be one of gt for --dataset play"),
        ("--annotation univ", "--annotation univ has no effect on --dataset play; leave it out"),
        ("--recipe published", "invalid --recipe published: must be tuned for --dataset play"),
    ],
)
def test_what_it_does_not_have_is_refused(play, train, flags, message):
    assert_refused(train(f"-d play --root_path {play} -c {play} {flags}"), message)


def test_an_unknown_name_is_refused_with_those_that_there_are(monkeypatch):
    with pytest.raises(UserError, match="unknown data set 'h37m': must be one of h36m, humaneva15, 3dhp, mocap, demo"):
        get_dataset("h37m")
    with pytest.raises(UserError, match="unknown data set 'h37m'"):
        benchmark_of("h37m")
    monkeypatch.setitem(DATASETS, "play", Play(**{**vars(PLAY), "benchmark": "by_hand"}))
    message = "data set play: unknown benchmark 'by_hand'; expected one of mpi_inf_3dhp, by_action"
    with pytest.raises(UserError, match=message):
        benchmark_of("play")


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=lambda dataset: dataset.name)
def test_the_table_names_what_exists(dataset):
    assert set(dataset.skeletons) <= set(SKELETONS)
    assert dataset.benchmark in BENCHMARKS
    assert PRESETS[dataset.name].recipe in PRESETS[dataset.name].recipes


@pytest.mark.parametrize(
    ("name", "keypoints", "skeleton"),
    [
        ("3dhp", "gt", "mpi3dhp17"), ("demo", "gt", "mpi3dhp17"),
        ("mocap", "gt", "mpi3dhp17"), ("mocap", "h36m17", "h36m17"),
        ("h36m", "gt", "h36m17"), ("h36m", "any", "h36m17"),
        ("humaneva15", "gt", "humaneva15"), ("humaneva15", "detectron_pt_coco", "humaneva15_coco17"),
        ("humaneva15", "any", None),
    ],
)  # fmt: skip
def test_the_skeleton_of_a_2d_source(name, keypoints, skeleton):
    assert get_dataset(name).skeleton_name(keypoints) == skeleton


@pytest.mark.parametrize(
    ("name", "subject", "action", "kind"),
    [
        ("S9/SittingDown 1/cam3", "S9", "SittingDown 1", "SittingDown"),
        ("Train/S1/Walking 1 chunk0/cam2", "Train/S1", "Walking 1 chunk0", "Walking"),
        ("S1/Seq1/cam0", "S1", "Seq1", "Seq1"),
        ("TS1", "TS1", "", ""),
    ],
)
def test_the_name_says_what_is_done(name, subject, action, kind):
    info = SequenceInfo(name, subject, camera=0, length=1, fps=50, width=1000, height=1002)
    assert (info.action, info.kind_of_action) == (action, kind)
