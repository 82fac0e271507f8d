"""`glagcn lift` from the keypoint file to the files it writes, with a tiny model that knows little."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from PIL import Image

import glagcn
import glagcn.poses.lift
from glagcn.poses.draw.animation import COLOURS
from glagcn.poses.draw.video import open_video
from glagcn.poses.joints import CONVENTIONS, Convention
from glagcn.poses.keypoints.tracks import Track
from glagcn.poses.lift import lift_people
from glagcn.poses.recording import Recording
from tests.checkpoints.exported_models import a_model
from tests.command_line import Ended, assert_refused
from tests.commands.filmed import FOCAL, FPS, SIZE, film, in_camera, keypoints
from tests.poses.keypoints import written
from tests.poses.people import read_bvh


@pytest.fixture
def lift(verb, trained, tmp_path, monkeypatch):
    """lift("k.json --out a.npz"): the verb in tmp_path, with the tiny model."""
    monkeypatch.chdir(tmp_path)
    return lambda flags, model=trained / "best.pt": verb(f"lift {flags} --checkpoint {model}")


@pytest.fixture
def detected(tmp_path) -> Path:
    """Ultralytics JSON of two people in 40 frames, ids 1 and 2; the second is not there in the frames 10 to 29."""
    found = keypoints()
    found[10:30, 1] = np.nan
    return written.ultralytics_list(tmp_path, found)


def arrays(path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return dict(file)


def of(people: dict, person: int, name: str) -> np.ndarray:
    return people[name][people["person"] == person]


def share(picture: np.ndarray, colour: str) -> int:
    """How many pixels have about this colour."""
    return int((np.abs(picture.astype(float) - 255 * np.array(to_rgb(colour))).max(axis=2) < 40).sum())


# ---------------------------------------------------------------- what is written


def test_two_people_over_a_video(lift, detected):
    film(Path("clip.mp4"), 50)
    ended = lift(f"{detected} --video clip.mp4 --person all --focal {FOCAL} --out clip_3d.mp4 --out p.npz --out p.bvh")
    assert ended.code == 0, ended.err
    people = arrays("p.npz")
    assert of(people, 1, "frame").tolist() == list(range(40))
    assert of(people, 2, "frame").tolist() == [*range(10), *range(30, 40)]
    assert (people["fps"], people["image_size"].tolist()) == (FPS, list(SIZE))
    assert np.median(of(people, 1, "root_mm")[:, 0]) < 0 < np.median(of(people, 2, "root_mm")[:, 0])
    for number, frames in ((1, 40), (2, 40)):
        _, places, _ = read_bvh(Path(f"p_person{number}.bvh").read_text())
        assert len(places["pelvis"]) == frames
    shown = open_video(Path("clip_3d.mp4"))
    assert (shown.fps, len(shown.times)) == (FPS, 50)  # frame n is frame n of the video, also after the last pose
    pictures = list(shown.frames(shown.size))
    seen = [[share(picture[:480], colour) > 60 for colour in COLOURS[:2]] for picture in pictures]
    assert [first for first, _ in seen] == [True] * 40 + [False] * 10
    assert [second for _, second in seen] == [True] * 10 + [False] * 20 + [True] * 10 + [False] * 10
    for words in (
        "Ultralytics JSON, joints coco17 (COCO), images of 640x480, 60 poses in 40 of the frames 0 to 39",
        "WARNING: clip.mp4 has 50 frames: nobody is in those after frame 39, the last in ",
        "gaps of more than half a second, in which somebody is not lifted: 1",
        "2 people: number 1 in 40 frames, number 2 in 20 frames",
        "mpi3dhp17 from coco17: head_top, neck, pelvis, spine, head are made of other joints",
        "Wrote p_person2.bvh",
        "Wrote clip_3d.mp4: 50 frames of ",
    ):
        assert ended.out.count(words) == 1, ended.out
    assert "focal length" not in ended.out


def test_a_video_of_a_variable_rate_keeps_its_times_in_every_file(lift, detected):
    times = np.concatenate([np.arange(20) / 30, 2 / 3 + np.arange(20) / 10])
    film(Path("clip.mp4"), 40, times=times)
    outs = " ".join(f"--out p{suffix}" for suffix in (".npz", ".bvh", ".gif", ".mp4"))
    ended = lift(f"{detected} --video clip.mp4 --smooth 4 --no-flip {outs}")
    assert ended.code == 0, ended.err
    assert "clip.mp4 has a variable frame rate, its frames 0.0333 to 0.1 s apart" in ended.out
    people = arrays("p.npz")
    assert (people["frame"].tolist(), people["fps"]) == (list(range(40)), pytest.approx(30, abs=0.1))
    np.testing.assert_allclose(people["time_s"], times, atol=1e-4)
    for suffix, error in ((".gif", 6e-3), (".mp4", 1e-4)):
        np.testing.assert_allclose(open_video(Path(f"p{suffix}")).times, times, atol=error)
    seconds, places, _ = read_bvh(Path("p.bvh").read_text())
    assert seconds * (len(places["pelvis"]) - 1) == pytest.approx(times[-1], abs=seconds / 2)


def test_without_a_video_size_and_rate_come_from_flags(lift, detected):
    ended = lift(f"{detected} --image_size 640,480 --fps 30 --out person.bvh --out a.gif --person 2 --smooth 4 --floor")
    assert ended.code == 0, ended.err
    seconds, places, _ = read_bvh(Path("person.bvh").read_text())
    assert (seconds, len(places["pelvis"])) == (pytest.approx(1 / 30, abs=1e-6), 40)
    assert len(open_video(Path("a.gif")).times) == 40
    assert "focal length: 615 pixels, guessed" in ended.out
    assert "floor: " in ended.out


def test_poses_are_those_of_predict_with_the_models_joints(lift, detected, trained):
    assert lift(f"{detected} --image_size 640,480 --out p.npz --no-flip").code == 0
    people = arrays("p.npz")
    model = glagcn.load_model(trained / "best.pt")
    pose_2d = CONVENTIONS["coco17"].map_to(model.skeleton).apply(keypoints()[:, 0])
    np.testing.assert_allclose(
        people["poses_mm"], glagcn.predict(model, pose_2d[..., :2], SIZE, flip=False), atol=0.01
    )  # the largest person, the first
    np.testing.assert_allclose(people["pixels"], pose_2d[..., :2], atol=0.01)
    assert (people["confidence"] > 0).all()


def test_the_true_poses_would_be_placed_where_the_people_are(lift, detected, monkeypatch):
    """The root path and the floor, with the truth instead of the tiny model's guess."""
    true = [1000 * in_camera(number, 40) for number in range(2)]

    def lift_frames(_, keypoints, size, focal, flip, frames):
        assert focal == FOCAL
        pose = true[0] if keypoints[0, 14, 0] < SIZE[0] / 2 else true[1]
        return [(pose - pose[:, 14:15]).astype(np.float32)[frames]]

    monkeypatch.setattr("glagcn.poses.lift.lift_frames", lift_frames)
    flags = f"{detected} --image_size 640,480 --focal {FOCAL} --person all"
    assert lift(f"{flags} --out p.npz").code == 0
    people = arrays("p.npz")
    np.testing.assert_allclose(
        of(people, 1, "root_mm"), true[0][:, 14], atol=150
    )  # the joints of COCO are not those of the model
    assert lift(f"{flags} --floor --out p.json").code == 0
    told = json.loads(Path("p.json").read_text())
    assert told["axes"]["name"] == "z_up"
    ankles = [told["skeleton"]["joints"].index(f"{side}_ankle") for side in ("left", "right")]
    one = told["people"][0]
    heights = (np.array(one["poses"]) + np.array(one["root"])[:, None])[:, ankles, 2]
    assert -50 < np.median(heights.min(axis=1)) < 180


def test_a_track_is_normalised_once(monkeypatch):
    """And not for each of the parts that it is lifted in."""
    normalised, calls = glagcn.poses.lift.normalised, []
    monkeypatch.setattr("glagcn.poses.lift.normalised", lambda *given: calls.append(1) or normalised(*given))
    model, generator = a_model(), np.random.default_rng(0)
    keypoints = np.dstack([generator.uniform((0, 0), (1920, 1080), (40, 17, 2)), np.ones((40, 17))])
    tracks = [Track(person, 0, keypoints.astype(np.float32)) for person in (1, 2)]
    people = lift_people(model, Recording("mpi3dhp17", tracks, (1080, 1920), FPS), False)
    assert len(calls) == 2
    for person in people:
        expected = glagcn.predict(model, keypoints, (1080, 1920), flip=False)
        np.testing.assert_allclose(person.xyz, expected, atol=1e-3 * np.abs(expected).max())


def test_one_frame_is_enough(lift, tmp_path):
    path = written.ultralytics_list(tmp_path, keypoints(1)[:, :1])
    ended = lift(f"{path} --image_size 640,480 --fps 30 --out p.csv --out a.gif --smooth")
    assert ended.code == 0, ended.err
    assert len(Path("p.csv").read_text().splitlines()) == 18
    assert len(open_video(Path("a.gif")).times) == 1


def test_missing_joints_are_counted_and_have_no_pixels(lift, tmp_path):
    found = keypoints()[:, :1]
    found[5, 0, 9] = 0  # the left wrist
    found[7, 0, 10, 2] = 0.2
    found[9, 0, 9, :2] = 1300, 5  # far outside the image
    path = written.coco(tmp_path, found)
    path.write_text(path.read_text().replace("0.2]", "NaN]").replace(", 0.2,", ", NaN,"))
    ended = lift(f"{path} --image_size 640,480 --fps 25 --out p.npz")
    assert ended.code == 0, ended.err
    assert "3 missing joints: 3 interpolated" in ended.out
    people = arrays("p.npz")
    missing = np.argwhere(np.isnan(people["pixels"]).any(axis=2)).tolist()
    joints = people["joints"].tolist()
    assert missing == [
        [5, joints.index("left_wrist")],
        [7, joints.index("right_wrist")],
        [9, joints.index("left_wrist")],
    ]
    assert (people["confidence"][5, joints.index("left_wrist")], people["confidence"][5, 0] > 0) == (0, True)


def test_smoothing_takes_the_jitter_out_of_the_poses(lift, tmp_path):
    found = keypoints(40)[:, :1]
    found[:, :, 11:, 1] += np.random.default_rng(0).normal(0, 2, (40, 1, 6))  # the legs
    path = written.coco(tmp_path, found)
    jitter = []
    for flags in ("", "--smooth 2"):
        assert lift(f"{path} --image_size 640,480 --fps 25 --out p.npz {flags}").code == 0
        jitter.append(np.abs(np.diff(arrays("p.npz")["poses_mm"], 2, axis=0)).mean())
    assert jitter[1] < jitter[0] / 2


def test_people_without_ids_are_followed_and_images_may_be_smaller_than_the_video(lift, tmp_path):
    film(Path("clip.mp4"), 40)
    found = keypoints()
    found[:10, 0] = np.nan
    half = found * [0.5, 0.5, 1]
    ended = lift(
        f"{written.coco(tmp_path, half)} --image_size 320,240 --video clip.mp4 --person longest --out p.npz --out a.mp4"
    )
    assert ended.code == 0, ended.err
    assert "not every pose has the id of a person" in ended.out
    assert "lifting person 0, the longest; --person all lifts everybody" in ended.out
    people = arrays("p.npz")
    np.testing.assert_allclose(people["pixels"][:, 7], half[:, 1, 9, :2], atol=0.05)
    picture = list(open_video(Path("a.mp4")).frames((1132, 540)))[20]
    x = np.nonzero(np.abs(picture[:480, :590].astype(int) - [31, 119, 180]).max(axis=2) < 40)[1]  # the left side
    expected = found[20, 1, [5, 7, 9, 11, 13, 15], 0]
    assert abs(x.mean() - (18 + 573 * expected.mean() / SIZE[0])) < 25


def test_parts_of_the_image_become_pixels_of_the_video(lift, tmp_path):
    film(Path("clip.mp4"), 12)
    path = written.mediapipe_single(tmp_path, mediapipe(keypoints(12)))
    told = json.loads(path.read_text())
    path.write_text(json.dumps({"frames": told}))
    ended = lift(f"{path} --video clip.mp4 --out p.npz")
    assert ended.code == 0, ended.err
    assert "joints mediapipe33 (MediaPipe Pose), images of 640x480" in ended.out
    expected = keypoints(12)[:, 0, 9, :2]  # the left wrist
    np.testing.assert_allclose(arrays("p.npz")["pixels"][:, 7], expected, atol=0.05)


def mediapipe(coco: np.ndarray) -> np.ndarray:
    """[T,P,33,3]: the joints of COCO at their places among those of MediaPipe, the others at the nose."""
    points = np.repeat(coco[:, :, :1], 33, axis=2)
    names = list(CONVENTIONS["mediapipe33"].joints)
    for number, name in enumerate(CONVENTIONS["coco17"].joints):
        points[:, :, names.index(name)] = coco[:, :, number]
    return points


# ---------------------------------------------------------------- what is refused


def bad_inputs(folder: Path) -> dict[str, str]:
    """Files in the current folder; {flags of the verb: the message (a regular expression)}."""
    (folder / "d").mkdir()
    detected = written.ultralytics_list(folder, keypoints())
    mediapipe_file = written.mediapipe_frames(folder, mediapipe(keypoints()))  # it says 640 x 480
    film(Path("clip.mp4"), 40)
    film(Path("short.mp4"), 39)
    film(Path("upright.mp4"), 40, (480, 640))
    film(Path("wide.mp4"), 40, (800, 300))
    np.save("k.npy", keypoints()[:, 0])
    np.save("right.npy", keypoints()[:, 1] + [170, 0, 0])
    Path("huge.json").touch()
    os.truncate("huge.json", 2_000_000_000)
    Path("folder").write_text("not a folder")
    size, out = "--image_size 640,480", "--out p.npz"
    return {
        f"{detected} --format yolo {size} {out}": "unknown format 'yolo'; must be one of alphapose, ",
        f"{detected} --video short.mp4 {out}": r"poses up to frame 39, and --video short\.mp4 has the frames 0 to 38",
        f"{mediapipe_file} --video upright.mp4 {out}": r"on their side: --video upright\.mp4 is displayed as 480x640",
        f"right.npy --joints coco17 --video upright.mp4 {out}": r"on their side: --video upright\.mp4",
        f"{mediapipe_file} --video wide.mp4 {out}": r"640x480, and --video wide\.mp4 has another shape, 800x300",
        f"{detected} --video none.mp4 {out}": r"invalid --video none\.mp4: no such file",
        f"none.json {size} {out}": r"none\.json: no such file",
        f"k.npy {size} {out}": "does not say which 17 joints .* --joints, one of coco17, .* look like coco17",
        f"k.npy --joints h36m17 --checkpoint d {size} {out}": "invalid --checkpoint d: is a folder; .*d/best.pt",
        f"k.npy --joints coco17 --checkpoint none.pt {size} {out}": r"invalid --checkpoint none\.pt: no such file",
        f"huge.json {size} {out}": r"huge\.json holds more than 500 MB",
        f"{detected} {out}": "does not say how large its images are; give --image_size W,H or .* --video",
        f"{detected} {size} --person 7 {out}": "there is no person 7; expected largest, longest, all or .* 1, 2",
        f"{detected} {size} --person tallest {out}": "invalid --person tallest: must be largest, longest, all or ",
        f"{detected} {size} --out folder/p.npz": "--out folder is not writable",
        f"{detected} {size} --out p.fbx": r"invalid --out p\.fbx: must end in \.npz, \.json, .*Blender makes \.fbx",
        f"{detected} {size} --out person": r"invalid --out person: must end in \.npz",
        f"{detected} {size} --out d.npz --out ./d.npz": "invalid --out d.npz: is given twice",
        f"{detected} {size} --out {detected}": "would replace FILE",
        f"{detected} --video clip.mp4 --out clip.mp4": "would replace --video",
        f"{detected} --image_size 640 {out}": "invalid --image_size 640: must be width and height",
        f"{detected} {size} --fps 0 {out}": "invalid --fps 0.0: must be above 0",
        f"{detected} {size} --focal -1 {out}": "invalid --focal -1.0: must be from 1 to 1e.06 pixels",
        f"{detected} {size} --min_confidence -1 {out}": r"invalid --min_confidence -1\.0: must be from 0 to 300",
        f"{detected} {size} --min_confidence 0.95 {out}": "every joint of its 80 poses is missing",
        f"{detected} {size} --fps 10 --smooth {out}": "invalid --smooth 6: must be a frequency",
    }


REFUSE = """
import contextlib, io, json, sys
from glagcn.cli import main

for command in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as err:
        code = main(command.split())
    print(json.dumps([code, err.getvalue()]))
sys.exit("torch" in sys.modules)
"""


def test_what_cannot_work_is_said_once_before_torch_is_loaded_and_nothing_is_left(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bad = bad_inputs(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    model = f" --checkpoint {trained / 'best.pt'}"
    commands = json.dumps([f"lift {flags}{'' if '--checkpoint' in flags else model}" for flags in bad])
    path = os.pathsep.join([str(Path(glagcn.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    program, environment = [sys.executable, "-c", REFUSE], os.environ | {"PYTHONPATH": path}
    done = subprocess.run(program, input=commands, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    for line, message in zip(done.stdout.splitlines(), bad.values(), strict=True):
        code, err = json.loads(line)
        assert_refused(Ended(code, "", err), message)
    assert sorted(tmp_path.rglob("*")) == before


def test_joints_that_the_model_reads_and_the_file_lacks_are_one_error(lift, monkeypatch):
    arms = Convention("arms4", "an arm tracker", ("left_elbow", "left_wrist", "right_elbow", "right_wrist"))
    monkeypatch.setitem(CONVENTIONS, "arms4", arms)
    np.savez("arms.npz", keypoints=keypoints()[:, 0, 7:11], joints="arms4")
    ended = lift("arms.npz --image_size 640,480 --fps 25 --out p.npz")
    assert_refused(ended, "joints arms4 .* have nothing to make the head_top of mpi3dhp17 of")


def test_a_person_without_a_body_has_no_place(lift, tmp_path):
    found = keypoints(5)[:, :1]
    found[:, :, 5:] = 0
    found[:, :, 1:5, 1] -= 3, 3, 1, 1  # eyes and ears above the nose
    ended = lift(f"{written.coco(tmp_path, found)} --image_size 640,480 --fps 25 --out p.json --out a.gif")
    assert ended.code == 0, ended.err
    assert "never seen (head_top, neck, right_shoulder, " in ended.out
    assert "person 0: in 5 frames fewer than 4 joints: has no root path" in ended.out
    assert json.loads(Path("p.json").read_text())["people"][0]["root"] is None


# ---------------------------------------------------------------- in Python


def test_python_lifts_as_the_command_does(lift, detected, trained, tmp_path):
    flags = "--image_size 640,480 --fps 25 --person all --floor --smooth 6"
    assert lift(f"{detected} --out command.npz {flags}").code == 0
    options = {"image_size": SIZE, "fps": FPS, "person": "all", "floor": True, "smooth": 6}
    model = glagcn.load_model(trained / "best.pt")
    files = [tmp_path / "python.npz", "new/python.bvh"]
    people = glagcn.lift(detected, files, checkpoint=model, device="cpu", **options)
    command, python = arrays(tmp_path / "command.npz"), arrays(tmp_path / "python.npz")
    for name, values in command.items():
        np.testing.assert_array_equal(python[name], values)
    assert [person.person for person in people] == [1, 2]
    np.testing.assert_array_equal(people[1].xyz, of(python, 2, "poses_mm"))
    assert people[0].save("saved/one.bvh")[0].read_text().startswith("HIERARCHY")
    assert people[0].save(tmp_path / "both.npz", people[1]) == [tmp_path / "both.npz"]
    both = arrays(tmp_path / "both.npz")
    np.testing.assert_array_equal(both["root_mm"], python["root_mm"])
    assert repr(people[0]).startswith("Poses(person 1, 40 frames, 0.00 to 1.56 s at 25 fps, ")
    with pytest.raises(glagcn.UserError, match=r"people\.txt: must end in \.npz, .*\.gif"):
        people[0].save("people.txt")


def test_python_lifts_arrays(trained, tmp_path, monkeypatch):
    """As the same array in a file; without its joints it is refused like that."""
    monkeypatch.chdir(tmp_path)
    found = keypoints()[:, 0]
    np.save("k.npy", found)
    options = {"checkpoint": str(trained / "best.pt"), "image_size": SIZE, "fps": FPS}
    (of_file,), (of_array,) = (glagcn.lift(given, joints="coco17", **options) for given in ("k.npy", found))
    np.testing.assert_array_equal(of_array.xyz, of_file.xyz)
    np.testing.assert_array_equal(of_array.root, of_file.root)
    monkeypatch.setattr(os.path, "expanduser", lambda path: str(path).replace("~", str(tmp_path)))
    (of_tensor,) = glagcn.lift(torch.from_numpy(found), "~/a.npz", joints="coco17", **options)
    np.testing.assert_array_equal(of_tensor.xyz, of_file.xyz)
    assert Path("a.npz").is_file()
    of_array.save("a.gif")
    with Image.open("a.gif") as picture:
        assert picture.n_frames == len(found)
    for wrong, words in ((found, "does not say which 17 joints"), (["x"], "must be an array of numbers")):
        with pytest.raises(glagcn.UserError, match=words):
            glagcn.lift(wrong, **options)
    with pytest.raises(glagcn.UserError, match="invalid device \"?'?cuda:77"):
        glagcn.lift(found, joints="coco17", device="cuda:77", **options)
