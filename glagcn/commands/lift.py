"""`glagcn lift` and `glagcn.lift`: a video or own 2D keypoints to 3D poses, as files and as a picture."""

import argparse
import copy
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from glagcn.config.parse import comma_separated, in_home
from glagcn.errors import UserError

if TYPE_CHECKING:
    import torch
    from numpy.typing import ArrayLike

    from glagcn.model.interface import Model
    from glagcn.poses.draw.video import Video
    from glagcn.poses.recording import Recording
    from glagcn.poses.result import Poses

logger = logging.getLogger(__name__)

LARGEST_SIDE = 100_000
LONGEST_FOCAL = 1e6
CHOICES = ("largest", "longest", "all")  # of --person, besides a number
SMOOTH_HZ = 6.0  # the usual cut-off for human movement


def add_lift(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser("lift", help="lift a video or own 2D keypoints to 3D poses")
    parser.add_argument(
        "file", type=Path, metavar="FILE",
        help="a video or a folder of pictures; or keypoints: what a detector wrote, a folder of it, .npy or .npz",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, action="append", required=True, metavar="FILE",
        help="write .npz, .json, .csv, .bvh, .trc, .mot, .c3d, .html, .mp4 or .gif, by the name; may be given several "
        "times",
    )  # fmt: skip
    parser.add_argument(
        "--checkpoint", type=in_home, default="centred", metavar="FILE",
        help="a trained model: a file, or centred (default) or causal, which come with the program",
    )  # fmt: skip
    add_detector(parser)
    parser.add_argument(
        "--keep_keypoints", "--keep-keypoints", action="store_true",
        help="keep what is detected in a video, beside the first --out as NAME.keypoints.npz, to lift it again",
    )  # fmt: skip
    parser.add_argument("--video", type=Path, metavar="FILE", help="the video in which the keypoints were detected")
    parser.add_argument(
        "--image_size", "--image-size", type=comma_separated(int), metavar="W,H",
        help="size of the images in pixels (default: of FILE, else of the video)",
    )  # fmt: skip
    parser.add_argument("--fps", type=float, metavar="F", help="frames per second (default: of FILE, else the video)")
    parser.add_argument("--format", metavar="NAME", help="format of FILE (default: recognised)")
    parser.add_argument(
        "--joints", metavar="NAME", help="order of the joints, such as coco17 (default: as FILE or its format says)"
    )
    parser.add_argument(
        "--person",
        default="largest",
        metavar="WHO",
        help="largest (default), longest, all, a number, or the numbers of one person, such as 1,7",
    )
    parser.add_argument("--focal", type=float, metavar="PIXELS", help="focal length (default: a view of 55 degrees)")
    parser.add_argument("--floor", action="store_true", help="find the floor, and write z-up coordinates from it")
    parser.add_argument(
        "--smooth", type=float, nargs="?", const=SMOOTH_HZ, metavar="HZ",
        help=f"low-pass filter against jitter, with this cut-off ({SMOOTH_HZ:g} without a number; default: no filter)",
    )  # fmt: skip
    parser.add_argument(
        "--min_confidence", "--min-confidence", type=float, metavar="C",
        help="joints of less confidence are missing, in the unit of FILE (default: 0.05; of scores up to 100: 5)",
    )  # fmt: skip
    parser.add_argument(
        "--flip", action=argparse.BooleanOptionalAction, default=True,
        help="average with the prediction for the mirrored poses (default: on)",
    )  # fmt: skip
    parser.add_argument("--rigid", action="store_true", help="constant bone lengths, in every file")
    parser.add_argument(
        "--names", default="glagcn", metavar="WHOSE", help="names of the joints of a .bvh: glagcn (default) or mixamo"
    )
    parser.add_argument("--wide", action="store_true", help="a row a frame in a .csv, not a row a joint")
    parser.set_defaults(verb=lambda options: lift(**options))


def add_detector(parser: argparse.ArgumentParser) -> None:
    """Add the flags that choose a detector."""
    parser.add_argument(
        "--detector", metavar="NAME",
        help="mediapipe, ultralytics or rtmlib, to find people in a video (default: the first that is installed)",
    )  # fmt: skip
    parser.add_argument(
        "--detector_model", "--detector-model", type=in_home, metavar="FILE",
        help="its model, such as pose_landmarker_full.task (default: the one that comes with it)",
    )  # fmt: skip


def lift(
    file: "str | Path | ArrayLike",
    out: "str | Path | Iterable[str | Path] | None" = None,
    *,
    checkpoint: "str | Path | Model" = "centred",
    detector: str | None = None,
    detector_model: str | Path | None = None,
    keep_keypoints: bool = False,
    video: str | Path | None = None,
    image_size: tuple[int, int] | None = None,
    fps: float | None = None,
    format: str | None = None,
    joints: str | None = None,
    person: str | int = "largest",
    focal: float | None = None,
    floor: bool = False,
    smooth: float | None = None,
    min_confidence: float | None = None,
    flip: bool = True,
    rigid: bool = False,
    names: str = "glagcn",
    wide: bool = False,
    device: "str | torch.device | None" = None,
) -> "list[Poses]":
    """Lift the people of a video or a keypoint file to 3D, as `glagcn lift` does.

    Options are named as its flags, which messages name.

    file            a video or a folder of pictures; what a detector wrote, or a folder of it; or an array: [T,V,2]
                    pixels of one person, or [T,V,3] with a confidence, or [T,P,V,2 or 3] of up to P people.
    out             files to write: a path, several, or None.  The suffix is the format, as in `Poses.save`.
    checkpoint      a model, the path of one, or "centred" or "causal", which come with the program.
    detector        that finds the people of a video, "mediapipe", "ultralytics" or "rtmlib"; None: the first installed.
    detector_model  its model file; None: the one that comes with it.
    keep_keypoints  keep what it finds beside the first file to write, as NAME.keypoints.npz, which can be lifted again.
    video           in which the keypoints were detected: gives its size, rate and times, and is drawn behind them.
    image_size      (width, height) in pixels, and
    fps             frames per second: of the file or the video, if None.
    format          of the file, and
    joints          the order of its joints, such as "coco17"; None: as it says, or recognised.  An array of 17 joints
                    needs `joints`.
    person          "largest", "longest", "all", a number, or numbers of one person such as "1,7".
    focal           focal length in pixels; None: that of a view of 55 degrees along the longer side.
    floor           find the floor, and give z-up coordinates from it.
    smooth          cut-off of a low-pass filter against jitter, in Hz, such as 6; None: no filter.
    min_confidence  joints of less are missing, in the unit of the file; None: 0.05 of what counts as 1.
    flip            average with the prediction for the mirrored poses.
    rigid           constant bone lengths: the median of each.
    names           of the joints of a .bvh: "glagcn", or "mixamo" for programs that retarget by name.
    wide            a .csv has a row a frame, not a row a joint.
    device          where to compute, such as "cpu" or "cuda:1"; None: a GPU if there is one.
    Returns the people by their numbers.  What flags and input files decide is decided before PyTorch is loaded.
    Messages go to the logger "glagcn".  Raises UserError.
    """
    from glagcn.checkpoints.find import find_model
    from glagcn.poses.draw.video import is_video, open_video
    from glagcn.poses.recording import read_recording
    from glagcn.poses.result import rigid as constant_bones
    from glagcn.poses.root_path import check_cutoff
    from glagcn.poses.writers.tables import write_people

    source = Path(in_home(file)) if isinstance(file, str | Path) else file
    outputs = [Path(in_home(path)) for path in ([out] if isinstance(out, str | Path) else out or [])]
    flags = SimpleNamespace(
        file=source if isinstance(source, Path) else None,
        out=outputs,
        detector=detector,
        detector_model=Path(in_home(detector_model)) if detector_model else None,
        keep_keypoints=keep_keypoints,
        video=Path(in_home(video)) if video else None,
        image_size=image_size,
        fps=fps,
        format=format,
        joints=joints,
        person=str(person),
        focal=focal,
        min_confidence=min_confidence,
        names=names,
    )
    filmed = flags.file is not None and is_video(flags.file)
    check_flags(flags, filmed)
    model = find_model(checkpoint) if isinstance(checkpoint, str | Path) else checkpoint
    film = open_video(flags.video, "--video") if flags.video else None
    with _detected(flags) if filmed else nullcontext((source, film)) as (keypoints, film):
        recording = read_recording(
            keypoints,
            film,
            format=format,
            joints=joints,
            image_size=image_size,
            fps=fps,
            person=flags.person,
            min_confidence=min_confidence,
        )
        if smooth is not None:
            check_cutoff(smooth, recording.fps)
        _make_ready(outputs, max(track.start + len(track.keypoints) for track in recording.tracks))
        people = _in_space(_lifted(model, recording, flip, focal, device), focal, smooth, floor)
        if rigid:
            people = [constant_bones(one) for one in people]
        length = len(film.times) if film else None
        for path in outputs:
            write_people(path, people, recording.video, recording.times, length, names=names, wide=wide)
    return people


def check_flags(flags: SimpleNamespace, filmed: bool) -> None:
    """Raise UserError, naming the flag, if a value cannot work; `filmed`: FILE is a video, not keypoints."""
    from glagcn.poses.checks import MOST_SCORE  # with NumPy, which --help does without
    from glagcn.poses.gaps import FASTEST_FPS
    from glagcn.poses.joints import get_convention
    from glagcn.poses.writers.bvh import NAMES

    size, fps, focal, least = flags.image_size, flags.fps, flags.focal, flags.min_confidence
    named = flags.person in CHOICES or all(number.isdecimal() for number in flags.person.split(","))
    for flag, value, valid, expected in (
        ("--fps", fps, fps is None or 0 < fps <= FASTEST_FPS, f"above 0, up to {FASTEST_FPS:g}"),
        ("--focal", focal, focal is None or 1 <= focal <= LONGEST_FOCAL, f"from 1 to {LONGEST_FOCAL:g} pixels"),
        ("--min_confidence", least, least is None or 0 <= least <= MOST_SCORE, f"from 0 to {MOST_SCORE:g}"),
        ("--names", flags.names, flags.names in NAMES, " or ".join(NAMES)),
        ("--person", flags.person, named, f"{', '.join(CHOICES)} or the number of a person, or numbers such as 1,7"),
    ):
        if not valid:
            raise UserError(f"invalid {flag} {value}: must be {expected}")
    if size is not None and (len(size) != 2 or not all(1 <= side <= LARGEST_SIDE for side in size)):
        raise UserError(f"invalid --image_size {','.join(map(str, size))}: must be width and height, such as 1920,1080")
    if flags.joints is not None:
        get_convention(flags.joints)
    _check_out(flags)
    why, useless = f"{flags.file} is a video itself", ("video", "image_size", "format")
    if not filmed:
        why = "people are detected in a video only, and FILE is none"
        useless = ("detector", "detector_model", "keep_keypoints")
    for name in useless:
        if vars(flags)[name]:
            raise UserError(f"invalid --{name}: {why}; leave it out")


def _check_out(flags: SimpleNamespace) -> None:
    """Raise UserError if a path to write has no known suffix, or is that of another file."""
    from glagcn.poses.draw.video import SUFFIXES
    from glagcn.poses.writers.tables import WRITERS

    suffixes = (*WRITERS, *SUFFIXES)
    taken = {path.resolve(): name for path, name in ((flags.file, "FILE"), (flags.video, "--video")) if path}
    written = set()
    for path in flags.out:
        if path.suffix.lower() not in suffixes:
            more = "; Blender makes .fbx and .glb of a .bvh" if path.suffix.lower() in (".fbx", ".glb") else ""
            raise UserError(f"invalid --out {path}: must end in {', '.join(suffixes)}{more}")
        if path.is_dir():
            raise UserError(f"invalid --out {path}: is a folder; give the name of a file")
        if (name := taken.get(path.resolve())) is not None:
            raise UserError(f"invalid --out {path}: would replace {name}; give another name")
        if path.resolve() in written:
            raise UserError(f"invalid --out {path}: is given twice; give each file once")
        written.add(path.resolve())


@contextmanager
def _detected(flags: SimpleNamespace) -> "Iterator[tuple[Path, Video]]":
    """The file of the keypoints that a detector finds in FILE, while the context lasts, and the video.

    What cannot be written is said before anything is detected.
    """
    from glagcn.poses.detect import detected, find_detector, keypoints_path
    from glagcn.poses.draw.video import open_video

    detector, film = find_detector(flags.detector, flags.detector_model), open_video(flags.file, "video")
    _make_ready(flags.out)
    path = keypoints_path(flags.out[0] if flags.out else None, flags.file, flags.keep_keypoints)
    several = flags.person != "largest"
    found = detected(film, path, detector, flags.detector_model, flags.joints, several, flags.keep_keypoints)
    with found as film:
        yield path, film


def _make_ready(outputs: list[Path], frames: int = 0) -> None:
    """Make the folders of the files to write, of so many frames.  Raises UserError if a file cannot be written."""
    from glagcn.files import make_folder
    from glagcn.poses.writers.markers import load_ezc3d

    if any(path.suffix.lower() == ".c3d" for path in outputs):
        load_ezc3d(frames)
    for path in outputs:
        make_folder(path.parent, "--out")


def _lifted(
    model: "Path | Model",
    recording: "Recording",
    flip: bool,
    focal: float | None,
    device: "str | torch.device | None",
) -> "list[Poses]":
    """The people in camera axes, by a model or that of a checkpoint."""
    import torch

    from glagcn.checkpoints.load import as_device, load
    from glagcn.poses.lift import lift_people

    chosen = as_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if isinstance(model, Path):
        path, loaded = model, load(model)
        for assumption in loaded.assumed:
            logger.info(f"note: {assumption}")
        model = loaded.model.to(chosen)
        logger.info(f"lifting with {path}, {chosen.type}")
    elif model.device != chosen:
        model = copy.deepcopy(model).to(chosen)
    return lift_people(model, recording, flip, focal=focal)


def _in_space(people: "list[Poses]", given: float | None, cutoff: float | None, floor: bool) -> "list[Poses]":
    """The people with their root paths by a focal length, smoothed and on the floor where that is asked for."""
    import numpy as np

    from glagcn.poses.ground import find_ground, on_ground
    from glagcn.poses.ray import USUAL_VIEW_DEGREES, usual_focal
    from glagcn.poses.root_path import LEAST_JOINTS, smoothed, steadied, with_root

    focal = given or usual_focal(people[0].image_size)
    if given is None:
        logger.info(
            f"focal length: {focal:.0f} pixels, guessed (a view of {USUAL_VIEW_DEGREES:g} degrees); depths are "
            "proportional to it; --focal sets it"
        )
    placed = []
    for person in people:
        person, found = with_root(person, focal)
        if not found.all():
            rest = "has no root path" if person.root is None else "is placed between the frames around"
            logger.info(f"person {person.person}: in {(~found).sum()} frames fewer than {LEAST_JOINTS} joints: {rest}")
        person, spread = steadied(person, found)
        if person.root is not None:
            away = np.median(person.root[:, 2]) / 1000
            logger.info(f"person {person.person}: {away:.1f} m away; single frames differ by {spread:.1%}")
        placed.append(person if cutoff is None else smoothed(person, cutoff))
    if not floor:
        return placed
    ground = find_ground(placed)
    if ground.pitch is not None:
        logger.info(
            f"floor: uncertain ({ground.doubt}); by how people stand, the camera looks "
            f"{abs(ground.pitch):.0f} degrees {'down' if ground.pitch >= 0 else 'up'}"
        )
    elif ground.doubt:
        logger.info(f"floor: uncertain ({ground.doubt}); the camera is taken as level")
    else:
        logger.info(f"floor: found, {-ground.height / 1000:.2f} m below the camera")
    return [on_ground(person, ground) for person in placed]
