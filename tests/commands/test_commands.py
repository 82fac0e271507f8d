"""The commands from start to end on tiny data: prepare, train, evaluate, export."""

import json
import re
import shlex
import shutil

import h5py
import numpy as np
import pytest
import torch

import glagcn
from glagcn.checkpoints import ours as checkpoint
from glagcn.config.resolve import parse_command_line
from glagcn.data.cache import open_cache
from glagcn.model.gla_gcn.network import LiftingNetwork
from glagcn.model.registry import model_config
from glagcn.skeletons import get_skeleton
from glagcn.train import optim as schedule
from tests.command_line import TINY, assert_refused, listing, result
from tests.data import tiny_3dhp

PUBLISHED = "--dataset 3dhp --root_path data/s-agcn/ --batch_size 1200 --frames 81 --channel 256 --evaluate"
ONE_STEP = "--frames 9 --channel 4 --sequence_layers 1 --workers 1 --max_steps 1"
CURVES = {"log.txt", "metrics.jsonl", "tensorboard"}
RESULT_FILES = {
    "result.json", "inference_data.mat",
    "mpii_3dhp_evaluation_sequencewise.csv", "mpii_3dhp_evaluation_activitywise.csv",
}  # fmt: skip


@pytest.fixture
def release(tmp_path):
    """The official release, tiny, where the published command looks for it."""
    return tiny_3dhp.write_release(tmp_path / "data/s-agcn", frames=6)


def test_3d_of_unscored_frames_changes_nothing(release, train, tmp_path):
    flags = f"--dataset 3dhp --root_path {release} {ONE_STEP}"
    assert train(f"{flags} -c {tmp_path} --run whole").code == 0
    for path in release.glob("mpi_inf_3dhp_test_set/TS*/annot_data.mat"):
        with h5py.File(path, "r+") as file:
            scored = file["valid_frame"][:, 0] == 1
            file["univ_annot3"][:] = np.where(scored[:, None, None, None], file["univ_annot3"], np.nan)
    (release / "3dhp_gt_univ.h5").unlink()
    ended = train(f"{flags} -c {tmp_path} --run holes")
    assert ended.code == 0, ended.err
    assert np.isnan(open_cache(release / "3dhp_gt_univ.h5").test.millimetres).any()
    assert result(tmp_path / "holes")["mpjpe_mm"] == result(tmp_path / "whole")["mpjpe_mm"]


def test_a_cache_of_other_cameras_is_not_taken_for_the_usual_one_in_silence(release, train, verb, tmp_path):
    prepared = verb(f"prepare 3dhp --raw {release} --cameras 0,2")
    assert (prepared.code, "3dhp_gt_univ_cam0-2.h5" in prepared.out) == (0, True)
    flags = f"--dataset 3dhp --root_path {release} {ONE_STEP}"
    ended = train(f"{flags} -c {tmp_path}/usual")
    assert (ended.code, "WARNING" in ended.out) == (0, False), ended.err
    assert "3dhp_gt_univ.h5 does not exist yet" in ended.out
    (release / "3dhp_gt_univ_cam0-2.h5").replace(release / "3dhp_gt_univ.h5")
    ended = train(f"{flags} -c {tmp_path}/other")
    assert ended.code == 0, ended.err
    assert "3dhp_gt_univ.h5 has the training cameras 0,2 instead of the default 0,1,2,4,5,6,7,8" in ended.out


def test_3dhp_from_the_release_to_the_official_tables(release, train, tmp_path):
    flags = f"--dataset 3dhp --root_path {release} -c {tmp_path}/runs --frames 9 --channel 4 --sequence_layers 1 "
    flags += "--epochs 1 --log_steps 2 --subset 0.3 --workers 1"
    ended = train(flags)
    assert ended.code == 0, ended.err
    assert "3dhp_gt_univ.h5 does not exist yet: writing it to" in ended.out
    assert "graph mpi3dhp17" in ended.out
    folder = tmp_path / "runs/3dhp_gt_univ_f9_c4_unshared1_ray_tuned_seed0"
    left = {path.name for path in folder.iterdir()}
    state = {"config.json", "history.jsonl", "training_curves.png", "last.pt", "last.pt.1", "best.pt"}
    assert left == RESULT_FILES | CURVES | state
    found = result(folder)
    cache = open_cache(release / "3dhp_gt_univ.h5")
    assert found["frames"] == cache.test.valid.sum()
    assert found["protocol"] == "official-univ"
    assert found["trained_steps"] == 7  # 2 of 6 frames of 112 views, each also mirrored: 448 windows in batches of 64
    assert json.loads((folder / "config.json").read_text())["batch_size"] == 64  # what fits so few windows
    assert (found["selected_on"], found["windows"]) == ("validation", 448)
    assert (found["annotation"], found["all_frames"], found["warnings"]) == ("univ", True, [])

    stamp = (release / "3dhp_gt_univ.h5").stat().st_mtime_ns
    again = train(flags + " --run second")
    assert again.code == 0
    assert "preparing" not in again.out
    assert (release / "3dhp_gt_univ.h5").stat().st_mtime_ns == stamp
    assert result(tmp_path / "runs/second")["mpjpe_mm"] == found["mpjpe_mm"]  # the same seed, the same metrics


def test_a_run_that_is_made_longer_keeps_the_batch_that_fitted_it(release, train, tmp_path, monkeypatch):
    monkeypatch.setattr(schedule, "FITTING_STEPS", 1)
    flags = f"--dataset 3dhp --root_path {release} -c {tmp_path}/runs --run r --subset 0.3 "
    flags += "--frames 9 --channel 4 --sequence_layers 0 --workers 1 --windows"
    for windows, fresh, batch in ((100, "", 100), (300, "", 100), (300, "--fresh", 300)):
        ended = train(f"{flags} {windows} {fresh}")
        assert ended.code == 0, ended.err
        held = json.loads((tmp_path / "runs/r/config.json").read_text())
        assert (held["windows"], held["batch_size"], held["warmup"]) == (windows, batch, 16 * batch)
        found, stretched = result(tmp_path / "runs/r"), windows == 300 and not fresh
        words = r"at step 1 the schedule was stretched from 100 to 300 training windows \(learning rate \S+ instead of"
        assert bool(re.search(f"note: {words}", ended.out)) == stretched
        assert [bool(re.match(words, text)) for text in found["other_lengths"]] == [True] * stretched
        assert found["test_evaluations"] == 1 + stretched
        assert ("evaluated 2 times" in ended.out) == stretched


def test_the_published_command_evaluates_the_run_of_the_same_flags(release, train, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config, _, _ = parse_command_line(shlex.split(PUBLISHED))
    # Training it would take hours: the weights that it starts with are as good for finding and scoring it.
    model = LiftingNetwork(
        get_skeleton("mpi3dhp17"), config.model.widths, config.model.channels,
        sequence_layers=config.model.sequence_layers, head=config.model.head,
    )  # fmt: skip
    folder = tmp_path / "checkpoint/3dhp_gt_univ_f81_c256_unshared3_ray_tuned_seed0"
    content = {"config": {"dataset": "3dhp", "keypoints": "gt", "annotation": "univ"}}
    checkpoint.save(folder / "best.pt", content | {"model_config": model_config(model), "model": model.state_dict()})
    ended = train(f"{PUBLISHED} --test_frames 2 --workers 1 --no-test_flip")
    assert ended.code == 0, ended.err
    assert {path.name for path in folder.iterdir()} == RESULT_FILES | CURVES | {"best.pt"}
    assert result(folder)["checkpoint"] == "checkpoint/3dhp_gt_univ_f81_c256_unshared3_ray_tuned_seed0/best.pt"
    assert (result(folder)["dataset"], result(folder)["warnings"]) == ("3dhp", [])


def test_a_finished_run_is_left_as_it_is_and_one_without_a_result_is_concluded_again(demo, tmp_path):
    """The latter as after a run that was killed between its last checkpoint and its result."""
    ended = demo("--run r --frames 9")
    assert ended.code == 0
    for pattern in ("step 2/6, epoch 0.40/2: train [0-9.]+ mm, ", "step 6/6, epoch 1.20/2: validation MPJPE "):
        assert re.search(f"^{pattern}", ended.out, re.MULTILINE), ended.out
    progress = [line for line in ended.out.splitlines() if re.match(r"step |Speed|Training ends", line)]
    assert max(map(len, progress)) <= 80, progress
    (pose,) = re.findall(r"\nMean pose: .* of ([0-9.]+) mm \(test\) and [0-9.]+ mm \(validation\)\n", ended.out)
    assert f"  mean pose  MPJPE {pose}" in ended.out
    before = listing(tmp_path / "runs/r")
    again = demo("--run r --frames 9")
    assert (again.code, "is finished at step 6: MPJPE" in again.out) == (0, True)
    assert listing(tmp_path / "runs/r") == before
    first = result(tmp_path / "runs/r")
    (tmp_path / "runs/r/result.json").unlink()
    assert demo("--run r --frames 9").code == 0
    assert result(tmp_path / "runs/r")["test_evaluations"] == 2
    changing = {"training_seconds": 0, "machine": {}, "test_evaluations": 2}  # the machine holds the date
    assert result(tmp_path / "runs/r") | changing == first | changing


def test_sequences_without_scored_frames_are_no_obstacle(demo, tmp_path):
    ended = demo(f"--frames 9 --test_frames 3 --windows 200 --output {tmp_path}/results")
    assert ended.code == 0, ended.err
    for pattern in ("step 2/4, 128 windows: train [0-9.]+ mm, ", "step 4/4, 200 windows: validation MPJPE "):
        assert re.search(f"^{pattern}", ended.out, re.MULTILINE), ended.out
    assert {path.name for path in (tmp_path / "results").iterdir()} == RESULT_FILES
    found = result(tmp_path / "results")
    assert found["velocity_mm"] is None
    assert found["frames"] == 3
    assert found["program"]["glagcn"] == glagcn.__version__
    assert found["parameters"] > 0


def test_evaluate_gives_what_training_ended_with(demo, trained, tmp_path):
    ended = demo(f"--evaluate {trained}/best.pt --frames 9 --output {tmp_path}/results")
    assert ended.code == 0, ended.err
    assert "TestSeq6" in ended.out
    at_the_end, now = result(trained), result(tmp_path / "results")
    same = ("mpjpe_mm", "p_mpjpe_mm", "n_mpjpe_mm", "pck", "auc", "protocols", "scenes", "frames", "sequences")
    for name in same:
        assert now[name] == at_the_end[name], name
    assert now["all_frames"] is False
    for name in RESULT_FILES - {"result.json", "inference_data.mat"}:  # a .mat holds the time of writing
        assert (tmp_path / "results" / name).read_bytes() == (trained / name).read_bytes()


def test_the_verb_takes_the_dataset_from_the_checkpoint(verb, demo_root, trained, tmp_path):
    where = f"--root_path {demo_root} --output {tmp_path} --workers 1"
    ended = verb(f"evaluate {trained}/best.pt --test_frames 40 {where}")
    assert ended.code == 0, ended.err
    assert result(tmp_path)["mpjpe_mm"] == result(trained)["mpjpe_mm"]


def test_the_data_are_found_where_the_run_had_them(train, verb, demo_root, tmp_path, monkeypatch):
    first, away = tmp_path / "first", tmp_path / "away"
    away.mkdir()
    shutil.copytree(demo_root, first / "data")
    monkeypatch.chdir(first)
    assert train(f"--dataset demo {TINY} --frames 9 --run r").code == 0  # with relative folders
    monkeypatch.chdir(away)
    data, folder = f"Data where the run had it: {first}/data/demo_gt.h5", first / "checkpoint/r"
    flags = "--workers 1 --output results"
    for name in (folder, folder / "best.pt"):
        ended = verb(f"evaluate {name} --test_frames 40 {flags}")
        assert (ended.code, data in ended.out) == (0, True), ended.err
        assert result(away / "results")["mpjpe_mm"] == result(folder)["mpjpe_mm"]
    drawn = train(f"--dataset demo --render --evaluate {folder} --viz_subject TS1 --viz_export p.npz {flags}")
    assert (drawn.code, data in drawn.out) == (0, True), drawn.err
    started = train(f"--dataset demo {TINY} --frames 9 --run s --resume {folder} --max_steps 7")
    assert (started.code, data in started.out) == (0, True), started.err
    assert f"Started from the state of {folder}/last.pt" in started.out
    monkeypatch.chdir(tmp_path)
    resumed = train(f"--dataset demo {TINY} --frames 9 --run s -c away/checkpoint --max_steps 8")
    assert (resumed.code, data in resumed.out) == (0, True), resumed.err
    assert [path.parent.parent for path in tmp_path.glob("**/*.h5")] == [first]
    shutil.copytree(first / "data", tmp_path / "data")
    shutil.rmtree(first / "data")
    ended = verb(f"evaluate {folder} --test_frames 40 {flags}")
    assert f"note: the run had its data in {first}/data, where demo_gt.h5 is not any more" in ended.out


def test_data_that_were_moved_are_missed_at_both_places(verb, trained, tmp_path, monkeypatch):
    content = torch.load(trained / "best.pt", weights_only=True)
    content["config"] |= {"dataset": "3dhp", "annotation": "univ"}
    monkeypatch.chdir(tmp_path)
    checkpoint.save(tmp_path / "best.pt", content | {"data_path": "/gone/3dhp/3dhp_gt_univ.h5"})
    assert_refused(
        verb("evaluate best.pt"),
        r"found below data\.",
        "the run had its data in /gone/3dhp, where 3dhp_gt_univ.h5 is not",
    )
    assert_refused(verb("evaluate best.pt --root_path here"), r"found below here\.(?s:(?!/gone/3dhp).)*$")


def test_another_data_set_of_the_same_skeleton_is_a_loud_warning(demo, trained, tmp_path):
    content = torch.load(trained / "best.pt", weights_only=True)
    content["config"] |= {"dataset": "3dhp", "annotation": "univ"}
    checkpoint.save(tmp_path / "other.pt", content)
    ended = demo(f"--evaluate {tmp_path}/other.pt --frames 9 --output {tmp_path}/results")
    assert ended.code == 0
    assert f"WARNING: {tmp_path}/other.pt was trained with dataset 3dhp and is evaluated with dataset demo" in ended.out
    assert "trained with annotation univ and is evaluated with annotation none" in ended.out
    assert len(result(tmp_path / "results")["warnings"]) == 2


def test_exported_weights_give_the_same_poses_and_can_be_evaluated(verb, demo, trained, tmp_path):
    ended = verb(f"export {trained}/best.pt --out {tmp_path}/new/shared.pt")
    assert (ended.code, ended.err) == (0, "")
    exported = torch.load(tmp_path / "new/shared.pt", weights_only=True)
    assert set(exported) == {"format", "version", "config", "model_config", "model"}
    assert (tmp_path / "new/shared.pt").stat().st_size < (trained / "best.pt").stat().st_size / 2
    pixels = np.random.default_rng(0).uniform(0, 1000, (12, 17, 2))
    poses = [
        glagcn.predict(glagcn.load_model(path), pixels, image_size=(1920, 1080))
        for path in (trained / "best.pt", tmp_path / "new/shared.pt")
    ]
    np.testing.assert_array_equal(*poses)
    assert demo(f"--evaluate {tmp_path}/new/shared.pt --frames 9").code == 0
    assert result(tmp_path / "new")["mpjpe_mm"] == result(trained)["mpjpe_mm"]


def test_a_model_trained_on_detections_is_tested_on_every_level(demo, trained, tmp_path):
    flags = "--frames 9 --input xyc --detections heavy"
    assert demo(f"--run r {flags}").code == 0
    best = tmp_path / "runs/r/best.pt"
    assert glagcn.load_model(best).window_shape == (9, 17, 3)
    errors = {result(tmp_path / "runs/r")["mpjpe_mm"]}  # without simulated detections
    for level in ("moderate", "heavy", "none"):
        ended = demo(f"--evaluate {best} --frames 9 --test_detections {level} --output {tmp_path}/{level}")
        assert ended.code == 0, ended.err
        assert ("simulated detections" in ended.out) == (level != "none")
        assert result(tmp_path / level)["simulated_detections"] == level
        errors.add(result(tmp_path / level)["mpjpe_mm"])
    assert len(errors) == 3
    message = "was trained with input xy, but the flag says xyc"
    assert_refused(demo(f"--evaluate {trained}/best.pt --frames 9 --input xyc"), message)
