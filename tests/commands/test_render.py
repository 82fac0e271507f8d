"""`--render` from start to end with the tiny trained run, and what it reads: sequences of data sets, own keypoints."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import glagcn
from glagcn.commands.render import read_own, read_sequence
from glagcn.config.options import RenderConfig
from glagcn.config.resolve import parse_command_line
from glagcn.data.cache import open_cache
from glagcn.data.dataset import Cache, SequenceInfo, Split
from glagcn.errors import UserError
from glagcn.poses.draw.video import open_video, write_animation
from glagcn.skeletons import get_skeleton
from tests.command_line import assert_refused, listing, messages
from tests.commands.filmed import known
from tests.data.tiny_videopose3d import coco, world_motion
from tests.open_files import open_files
from tests.poses.keypoints import written


@pytest.fixture
def render(train, trained, demo_root, tmp_path, monkeypatch):
    """render("--viz-subject TS1 ..."): the command, in a folder of its own."""
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)
    return lambda flags: train(
        f"-d demo --root_path {demo_root} -c {trained.parent} --run r --workers 1 --render {flags}"
    )


@pytest.fixture
def sequence(demo_root):
    """TS1 of the demo: pixels and root-relative millimetres."""
    test = open_cache(demo_root / "demo_gt.h5").test
    poses = test.millimetres[:150]
    return test.pixels[:150], poses - poses[:, 14, None]


def film(path, count, size=(64, 64), fps=25):
    """A video whose frame k is grey of level 5 k."""
    pictures = (np.full((size[1], size[0], 3), 5 * k % 256, np.uint8) for k in range(count))
    write_animation(path, pictures, size, fps, 3000)
    return path


def load(path) -> dict:
    with np.load(path) as content:
        return {name: content[name] for name in content.files}


def test_flags_have_the_published_defaults():
    drawing = parse_command_line(["-d", "demo", "--render"])[2]
    assert (drawing.camera, drawing.skip, drawing.bitrate) == (0, 0, 3000)
    assert (drawing.limit, drawing.downsample, drawing.size, drawing.ground_truth) == (None, 1, 5, True)
    assert parse_command_line(["-d", "demo", "--render", "--viz-limit", "-1"])[2].limit is None
    assert not parse_command_line(["-d", "demo", "--render", "--viz-no-ground-truth"])[2].ground_truth


def test_a_gif_of_the_chosen_frames(render, trained, sequence):
    ended = render(
        "--viz-subject TS1 --viz-output new/a.gif --viz-export a.npz --viz-skip 20 --viz-limit 7 --viz-downsample 3 "
        "--viz-size 2"
    )
    assert ended.code == 0, ended.err
    with Image.open("new/a.gif") as image:
        assert (image.n_frames, image.size, image.info["duration"]) == (7, (572, 200), 100)
    held, frames = load("a.npz"), np.arange(20, 41, 3)
    np.testing.assert_array_equal(held["frames"], frames)
    assert held["fps"] == pytest.approx(30 / 3)
    pixels, target = sequence
    np.testing.assert_array_equal(held["pixels"], pixels[frames])
    np.testing.assert_array_equal(held["target_mm"], target[frames])
    whole = glagcn.predict(glagcn.load_model(trained / "best.pt"), pixels, (2048, 2048))
    np.testing.assert_allclose(held["predicted_mm"], whole[frames], atol=1e-2)  # amid their true neighbours
    error = np.linalg.norm(whole[frames] - target[frames], axis=-1).mean()
    assert f"MPJPE of the frames shown: {error:.1f} mm" in ended.out


def test_an_mp4_without_the_truth(render, trained):
    ended = render(
        f"--evaluate {trained}/last.pt --viz-subject S1 --viz-action Seq --viz-camera 2 --viz-output a.mp4 "
        "--viz-limit 3 --viz-no-ground-truth --viz-size 2 --viz-export a.csv --viz-fps 10 --no-test_flip"
    )
    assert ended.code == 0, ended.err
    assert f"Rendering with {trained}/last.pt" in ended.out
    assert "matches Seq1, Seq2: taking the first" in ended.out
    assert "S1/Seq1/cam2: 3 of 250 frames, 10 per second" in ended.out
    assert "MPJPE" not in ended.out
    video = open_video(Path("a.mp4"))
    assert (video.size, video.fps, video.count(0, 1, 10)) == ((496, 200), 10, 3)
    assert Path("a.csv").read_text().startswith("frame,joint,x_mm,y_mm,z_mm,u_px,v_px,time_s\n0,head_top,")


def test_the_flip_is_that_of_evaluation(render):
    for flags in ("--viz-export a.npz", "--viz-export b.npz --no-test_flip"):
        assert render(f"--viz-subject TS1 --viz-limit 2 {flags}").code == 0
    assert np.abs(load("a.npz")["predicted_mm"] - load("b.npz")["predicted_mm"]).max() > 0.1


def test_the_video_is_behind_and_ends_the_animation(render):
    film(Path("film.mp4"), 40, fps=50)
    ended = render(
        "--viz-subject TS1 --viz-video film.mp4 --viz-output a.gif --viz-export a.npz --viz-skip 10 --viz-downsample 4 "
        "--viz-size 2"
    )
    assert ended.code == 0, ended.err
    assert "film.mp4 ends before the poses do: showing 8 frames instead of 35" in ended.out
    assert "film.mp4 is 64x64, the 2D poses are for 2048x2048: scaling the video" in ended.out
    assert "WARNING: film.mp4 has 50 frames per second and the poses have 30" in ended.out
    np.testing.assert_array_equal(load("a.npz")["frames"], np.arange(10, 40, 4))
    assert load("a.npz")["pixels"].max() > 64  # what the model was given
    with Image.open("a.gif") as image:
        assert image.n_frames == 8
        for k in range(8):
            image.seek(k)
            panel = np.asarray(image.convert("RGB"))[40:180, 30:170]
            np.testing.assert_allclose(np.median(panel), 5 * (10 + 4 * k), atol=4)
            red, green, blue = np.moveaxis(panel.astype(int), 2, 0)
            assert ((red - np.maximum(green, blue)) > 60).any()  # the pose lies in the smaller image, in its colours
            assert ((blue - red) > 60).any()


def test_a_video_that_goes_on_after_the_poses_is_said(render):
    film(Path("film.mp4"), 151, fps=30)
    ended = render("--viz-subject TS1 --viz-video film.mp4 --viz-output a.gif --viz-skip 148 --viz-size 1")
    assert "WARNING: film.mp4 has more frames than the 150 of the poses" in ended.out


def test_one_s_own_keypoints_need_no_data(train, trained, sequence, tmp_path):
    np.savez(tmp_path / "k.npz", keypoints=sequence[0][:5], image_size=[2048, 2048], fps=30)
    ended = train(
        f"-d demo --root_path {tmp_path}/none -c {trained.parent} --run r --workers 1 --render --viz-size 2 "
        f"--viz-keypoints {tmp_path}/k.npz --viz-export {tmp_path}/a.npz --viz-output {tmp_path}/a.gif"
    )
    assert ended.code == 0, ended.err
    held = load(tmp_path / "a.npz")
    model = glagcn.load_model(trained / "best.pt")
    expected = glagcn.predict(model, sequence[0][:5], (2048, 2048))
    np.testing.assert_allclose(held["predicted_mm"], expected, atol=1e-2)
    assert ("target_mm" in held, held["fps"]) == (False, 30)
    with Image.open(tmp_path / "a.gif") as image:
        assert (image.n_frames, image.size) == (5, (372, 200))
    assert not (tmp_path / "none").exists()


def test_a_dry_run_writes_nothing(render):
    ended = render("--viz-subject TS1 --viz-output a.gif --viz-export a.csv --dry_run")
    assert (ended.code, "TS1: 150 of 150 frames" in ended.out) == (0, True)
    assert listing(Path()) == {}


def test_a_fast_gif_is_slowed_down_aloud(render):
    ended = render("--viz-subject TS1 --viz-output a.gif --viz-fps 100 --viz-limit 2 --viz-size 1")
    assert "at most 50 frames per second: a.gif plays slower than 100" in ended.out
    with Image.open("a.gif") as image:
        assert image.info["duration"] == 20


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--viz-subject TS1", "--render needs an output file; give --viz_output"),
        ("--viz-subject TS1 --viz-output a.avi", r"invalid --viz_output a\.avi: must end in \.gif or \.mp4"),
        ("--viz-subject TS1 --viz-export a.mat", r"invalid --viz_export a\.mat: must end in \.npz or \.csv"),
        ("--viz-output a.gif", "--viz_subject is missing: must be one of TS1, "),
        ("-O --viz-skip 150", "--viz_skip 150: must be 0 to 149"),
        ("-O --viz-limit 0", "invalid --viz_limit 0: must be at least 1"),
        ("-O --viz-size nan", "invalid --viz_size nan: must be at least 1, at most 40"),
        ("-O --viz-image-size 4,3", "--viz_image_size has no effect without --viz_keypoints"),
        ("-O --viz-joints coco17", "--viz_joints has no effect without --viz_keypoints"),
        ("--viz-output a.gif --viz-keypoints k.npy --viz-image-size 4", "--viz_image_size 4: must be .*1920,1080"),
        ("--viz-output a.gif --viz-keypoints k.npy", r"--viz_keypoints k\.npy: no such file"),
        ("-O --viz-keypoints k.npy", "--viz_keypoints excludes --viz_subject"),
        ("--viz-output a.mp4 --viz-subject TS1 --viz-video ./a.mp4", "would overwrite --viz_video"),
        ("--viz-export k.npz --viz-keypoints k.npz", "would overwrite --viz_keypoints"),
        ("-O --viz-video none.mp4", r"--viz_video none\.mp4: no such file"),
        ("-O --evaluate none.pt", r"--evaluate none\.pt: no such checkpoint"),
        ("-O --frames 27", "trained with frames 9, but the flag says 27"),
    ],
)
def test_what_cannot_work_is_refused_and_leaves_nothing(render, flags, message):
    assert_refused(render(flags.replace("-O", "--viz-subject TS1 --viz-output a.gif")), message)
    assert listing(Path()) == {}


def test_a_video_that_ends_before_the_first_frame_is_refused(render):
    film(Path("film.mp4"), 5)
    ended = render("--viz-subject TS1 --viz-video film.mp4 --viz-output a.gif --viz-skip 5")
    assert_refused(ended, r"invalid --viz_skip 5: --viz_video film\.mp4 is shorter")


def test_where_nothing_can_be_written_is_told_before_the_work(render):
    Path("file").write_text("not a folder")
    Path("a.gif").mkdir()
    for path, message in (("file/a.gif", "--viz_output file is not writable"), ("a.gif", "a.gif: is a folder")):
        ended = render(f"--viz-subject TS1 --viz-output {path}")
        assert_refused(ended, message)
        assert "frames" not in ended.out


@pytest.mark.parametrize("broken", ["write_animation", "Animation.draw"])
def test_a_failure_leaves_no_file_and_nothing_open(render, monkeypatch, broken):
    """Of the encoder, which must not leave a video half read behind, and of the drawing."""
    film(Path("film.mp4"), 40, size=(800, 800))
    opened = []

    def fail(_, pictures_or_frame, *__):
        if broken == "write_animation":
            next(pictures_or_frame)
        opened.extend(open_files(Path()))
        raise MemoryError("no room")

    monkeypatch.setattr(f"glagcn.poses.draw.animation.{broken}", fail)
    with pytest.raises(MemoryError):
        render("--viz-subject TS1 --viz-video film.mp4 --viz-output a.mp4")
    assert "film.mp4" in opened
    assert (sorted(listing(Path())), open_files(Path())) == (["film.mp4"], [])


def test_nobody_in_the_frames_shown_is_refused(render, sequence):
    pixels = sequence[0][:30].copy()
    pixels[:20] = np.nan
    np.save("k.npy", pixels)
    flags = "--viz-keypoints k.npy --viz-image-size 2048,2048 --viz-fps 30 --viz-export a.csv"
    assert_refused(render(f"{flags} --viz-limit 5"), r"k\.npy: nobody is in the frames to show; choose others")
    assert render(f"{flags} --viz-limit 22").code == 0
    assert {line.partition(",")[0] for line in Path("a.csv").read_text().splitlines()[1:]} == {"20", "21"}


# ---- own keypoints, as `glagcn lift` reads them


MODEL = get_skeleton("mpi3dhp17")
VIDEO = known(5, (640, 480), 30.0)
POSES = np.random.default_rng(0).uniform(0, 400, (5, 17, 2))


def own(path, video=None, **flags):
    with messages() as said:
        return read_own(RenderConfig(keypoints=str(path), **flags), MODEL, video), said


def walking(frames: int) -> np.ndarray:
    """[T,17,2] pixels of somebody who walks, joints of MPI-INF-3DHP."""
    motion = world_motion("h36m", "S1", "Walking", frames)
    return (np.stack([motion[..., 0], -motion[..., 2]], axis=-1) * 100 + [320, 400]).astype(np.float32)


def test_size_and_rate_come_from_flags_then_the_file_then_the_video(tmp_path):
    path, bare = tmp_path / "k.npz", tmp_path / "bare.npy"
    np.savez(path, keypoints=walking(5), image_size=np.array([640, 480]), fps=50)
    np.save(bare, walking(5))
    for (recording, _), expected in (
        (own(path, image_size=(800, 600), fps=5.0), ((800, 600), 5.0)),
        (own(path, known(5, (320, 240), 50.0)), ((640, 480), 50.0)),
        (own(bare, VIDEO), ((640, 480), 30.0)),
    ):
        assert (recording.image_size, recording.fps, recording.convention) == (*expected, "mpi3dhp17")
        np.testing.assert_array_equal(recording.tracks[0].keypoints[..., :2], walking(5))
    recording, said = own(bare, image_size=(640, 480))
    assert recording.fps == 25
    assert sum("taken for 25; --viz_fps sets" in text for text in said) == 1
    with pytest.raises(UserError, match=r"--viz_keypoints .*bare\.npy does not say .*; give --viz_image_size W,H or"):
        own(bare)


def test_joints_are_those_of_the_file_else_the_models_unless_the_poses_look_otherwise(tmp_path):
    path = written.coco(tmp_path, np.dstack([walking(10), np.ones((10, 17))])[:, None])
    message = r"look like mpi3dhp17, .*for coco17: .*--viz_joints mpi3dhp17 or coco17"
    with pytest.raises(UserError, match=message):
        own(path, image_size=(640, 480))
    assert own(path, image_size=(640, 480), joints="mpi3dhp17")[0].convention == "mpi3dhp17"
    np.save(tmp_path / "k.npy", coco(walking(10)))
    with pytest.raises(UserError, match=r"k\.npy: the 17 joints look like coco17, .*for mpi3dhp17"):
        own(tmp_path / "k.npy", image_size=(640, 480))
    np.save(tmp_path / "k.npy", POSES[:, :15])
    with pytest.raises(UserError, match="does not say which 15 joints its poses have; give --viz_joints, one of "):
        own(tmp_path / "k.npy", image_size=(640, 480))


def test_of_several_people_the_largest_is_shown_and_a_video_may_be_shorter(tmp_path):
    motion = walking(20)
    both = np.stack([200 + (motion - 200) / 10, motion], axis=1)
    both[:3, 1] = np.nan
    np.savez(tmp_path / "k.npz", keypoints=both)
    recording, said = own(tmp_path / "k.npz", known(15, (640, 480), 25.0))
    (track,) = recording.tracks
    assert track.start == 3
    np.testing.assert_array_equal(track.keypoints[..., :2], motion[3:])
    assert said[-1] == "lifting person 1, the largest"


@pytest.mark.parametrize(
    ("name", "arrays", "message"),
    [
        ("k.npy", {"": POSES[0, :16]}, r"holds float64 \[16, 2\]; expected pixels \[T,V,2\]"),
        ("k.npy", {"": POSES[:0]}, r"holds float64 \[0, 17, 2\].*at least one frame"),
        ("k.npy", {"": np.zeros((5, 17, 4))}, r"\[5, 17, 4\]; expected"),
        ("k.npy", {"": np.full((5, 17, 2), "x")}, r"<U1 \[5, 17, 2\]; expected"),
        ("k.npy", {"": np.full((5, 17, 2), None)}, "cannot be read.*pickled objects are refused"),
        ("k.npz", {"a": POSES, "b": POSES}, "holds a, b; expected one array, or one named 'keypoints'"),
        ("k.npz", {"fps": 3}, "holds no poses; expected one array"),
        ("k.npz", {"a": POSES, "image_size": np.array([640])}, r"image_size is \[640\]; expected width and height"),
        ("k.npz", {"a": POSES, "fps": -1}, "fps is -1; expected one number, above 0"),
        ("k.npy", b"", "cannot be read"),
        ("k.npz", b"PK\x03\x04 and no more", "cannot be read"),
    ],
)
def test_what_holds_no_poses_is_refused(tmp_path, name, arrays, message):
    path = tmp_path / name
    if isinstance(arrays, bytes):
        path.write_bytes(arrays)
    elif name == "k.npy":
        np.save(path, arrays[""])
    else:
        np.savez(path, **arrays)
    with pytest.raises(UserError, match=rf"--viz_keypoints .*{name}.*{message}"):
        own(path, image_size=(640, 480))


# ---- sequences of a data set


TRAIN = ["S1/Walking 1/cam0", "S1/Walking 1/cam1", "S1/Walking/cam0", "S1/WalkingDog 1/cam0", "S1/WalkingDog 2/cam0"]
TEST = ["S11/WalkingDog 1/cam0", "S11/Walking 2/cam0", "S11/Walking 1/cam0", "S11/Walking 1/cam3", "TS1"]
HUMANEVA = ["Validate/S1/Walking 1 chunk0/cam2", "Validate/S1/Walking 1 chunk4/cam2"]


def split(names, inputs=17, joints=17) -> Split:
    """Sequences of 2, 3, ... frames; every value is that of its frame."""
    infos, starts, frames = [], [], 0
    for k, name in enumerate(names):
        subject, camera = (name, -1) if "/" not in name else (name.rsplit("/", 2)[0], int(name[-1]))
        infos.append(SequenceInfo(name, subject, camera, k + 2, 50.0, 1000, 1002))
        starts.append(frames)
        frames += k + 2
    values = np.arange(frames, dtype=np.float32)[:, None, None]
    millimetres = values + np.arange(3 * joints, dtype=np.float32).reshape(-1, 3)
    return Split(
        tuple(infos), np.array(starts), np.tile(values, (1, inputs, 2)), millimetres, np.ones(frames, bool), None
    )


def cache(train=TRAIN, test=TEST, skeleton="h36m17") -> Cache:
    shape = get_skeleton(skeleton).num_input_joints, get_skeleton(skeleton).num_joints
    return Cache(Path("x.h5"), "demo", "gt", "", skeleton, split(train, *shape), split(test, *shape), {}, (), "")


def find(subject, action=None, camera=0, where=None) -> tuple[str, list[str]]:
    with messages() as said:
        return read_sequence(where or cache(), subject, action, camera)[0], said


@pytest.mark.parametrize(
    ("subject", "action", "camera", "name", "said"),
    [
        ("S11", "Walking 1", 3, "S11/Walking 1/cam3", []),
        ("S1", "Walking", 0, "S1/Walking/cam0", []),  # itself, not its takes
        ("S11", "WalkingD", 0, "S11/WalkingDog 1/cam0", []),
        ("S11", "Walking", 0, "S11/Walking 2/cam0", ["Walking matches Walking 2, Walking 1: taking the first"]),
        ("TS1", None, 0, "TS1", []),
        ("TS1", "", 0, "TS1", []),
    ],
)
def test_a_sequence_is_found_in_either_split(subject, action, camera, name, said):
    assert find(subject, action, camera) == (name, [f"--viz_action {words}" for words in said])


def test_of_the_chunks_of_a_take_the_first_is_taken_aloud():
    name, said = find("Validate/S1", "Walking 1", 2, cache(test=HUMANEVA, skeleton="humaneva15"))
    assert (name, len(said)) == (HUMANEVA[0], 1)


def test_true_poses_are_relative_to_the_root_in_the_frames_that_have_them():
    whole = cache()
    whole.test.millimetres[6, 3] = np.nan
    _, recording, truth, _ = read_sequence(whole, "S11", "Walking 1", 0)
    assert (recording.image_size, recording.fps) == ((1000, 1002), 50.0)
    np.testing.assert_array_equal(recording.tracks[0].keypoints[:, 0], [[k, k, 1] for k in (5, 6, 7, 8)])
    np.testing.assert_array_equal(truth.frames, [0, 2, 3])
    assert not truth.xyz[:, 0].any()
    np.testing.assert_array_equal(truth.xyz[0, :, 0], np.arange(17) * 3)
    assert whole.test.millimetres[5, 0, 0] == 5  # the cache is as it was
    other = cache(test=HUMANEVA, skeleton="humaneva15_coco17")  # 2D has other joints than 3D
    _, recording, truth, _ = read_sequence(other, "Validate/S1", "Walking", 2)
    assert (recording.tracks[0].keypoints.shape, truth.xyz.shape) == ((2, 17, 3), (2, 15, 3))


@pytest.mark.parametrize(
    ("subject", "action", "camera", "message"),
    [
        (None, None, 0, "--viz_subject is missing: must be one of S11, TS1, S1$"),
        ("S9", "Walking", 0, "invalid --viz_subject S9: must be one of S11, TS1, S1$"),
        ("S11", None, 0, "--viz_action is missing: must be one of WalkingDog 1, Walking 2, Walking 1 for S11$"),
        ("S11", "Eating", 0, "invalid --viz_action Eating: must be one of WalkingDog 1, Walking 2, Walking 1 for S11$"),
        ("TS1", "Eating", 0, "--viz_action Eating: TS1 has a single sequence without a name; leave the flag out"),
        ("S11", "Walking 1", 2, "invalid --viz_camera 2: must be one of 0, 3 for S11/Walking 1$"),
        ("TS1", None, 3, "invalid --viz_camera 3: must be one of 0 for TS1$"),
    ],
)
def test_what_is_not_there_is_answered_with_what_is(subject, action, camera, message):
    with pytest.raises(UserError, match=message):
        find(subject, action, camera)
