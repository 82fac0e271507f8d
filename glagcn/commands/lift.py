"""`glagcn lift`: own 2D keypoints to 3D poses, as files of other programs and as a picture over the video."""

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glagcn.config.parse import comma_separated

if TYPE_CHECKING:
    from glagcn.poses.draw.video import Video
    from glagcn.poses.options import LiftOptions
    from glagcn.poses.recording import Recording
    from glagcn.poses.result import Poses

logger = logging.getLogger(__name__)

SMOOTH_HZ = 6.0  # the usual cut-off for human movement
SIZE_INCHES, BITRATE_KBPS = 5.4, 4000


def add_lift(verbs: Any) -> None:
    """Add the verb to the command line.  Its flags are those of LiftOptions."""
    parser = verbs.add_parser("lift", help="lift own 2D keypoints to 3D poses")
    parser.add_argument("file", type=Path, metavar="FILE", help="what a detector wrote, a folder of it, .npy or .npz")
    parser.add_argument(
        "--out", type=Path, action="append", required=True, metavar="FILE",
        help="write .npz, .json, .csv, .bvh, .mp4 or .gif, by the name; several times for several files",
    )  # fmt: skip
    parser.add_argument(
        "--checkpoint", default="centred", metavar="FILE",
        help="a trained model: a file, or centred (default) or causal, which come with the program",
    )  # fmt: skip
    parser.add_argument("--video", type=Path, metavar="FILE", help="the video in which the keypoints were detected")
    parser.add_argument(
        "--image_size", "--image-size", type=comma_separated(int), metavar="W,H",
        help="size of its images in pixels (default: of the file, else of the video)",
    )  # fmt: skip
    parser.add_argument("--fps", type=float, metavar="F", help="frames per second (default: as the image size)")
    parser.add_argument("--format", metavar="NAME", help="format of FILE (default: recognised)")
    parser.add_argument(
        "--joints", metavar="NAME", help="order of the joints, such as coco17 (default: as FILE or its format says)"
    )
    parser.add_argument(
        "--person", default="largest", metavar="WHO", help="largest (default), longest, all, or a number"
    )
    parser.add_argument("--focal", type=float, metavar="PIXELS", help="focal length (default: a view of 55 degrees)")
    parser.add_argument("--floor", action="store_true", help="find the floor, and write z-up coordinates from it")
    parser.add_argument(
        "--smooth", type=float, nargs="?", const=SMOOTH_HZ, metavar="HZ",
        help=f"low-pass filter against jitter, with this cut-off ({SMOOTH_HZ:g} without a number; default: no filter)",
    )  # fmt: skip
    parser.add_argument(
        "--min_confidence", "--min-confidence", type=float, default=0.05, metavar="C",
        help="joints of less confidence are missing (default 0.05)",
    )  # fmt: skip
    parser.add_argument(
        "--flip", action=argparse.BooleanOptionalAction, default=True,
        help="average with the prediction for the mirrored poses (default: on)",
    )  # fmt: skip
    parser.set_defaults(verb=lift)


def lift(options: dict[str, Any]) -> None:
    """Lift the people of a keypoint file and write what --out names.

    Whatever flags and input files decide is decided before PyTorch is loaded.  Raises UserError.
    """
    from glagcn.checkpoints.find import find_model
    from glagcn.files import make_folder
    from glagcn.poses.draw.video import SUFFIXES, open_video
    from glagcn.poses.options import LiftOptions, check_options
    from glagcn.poses.recording import Film, read_recording
    from glagcn.poses.root_path import check_cutoff
    from glagcn.poses.writers.tables import WRITERS

    choices = LiftOptions(**options)
    check_options(choices, (*WRITERS, *SUFFIXES))
    path = find_model(choices.checkpoint)
    video = open_video(choices.video, "--video") if choices.video else None
    film = Film(video.path, video.size, video.fps, video.stored()) if video else None
    recording = read_recording(choices, film)
    if choices.smooth is not None:
        check_cutoff(choices.smooth, recording.fps)
    for out in choices.out:
        make_folder(out.parent, "--out")
    people = _in_space(_lifted(path, recording, choices), choices)
    for out in choices.out:
        _write(out, people, video, (film.frames or 0) if film else 0)


def _lifted(path: Path, recording: "Recording", options: "LiftOptions") -> "list[Poses]":
    """The people in camera axes, by the model of a checkpoint."""
    import torch

    from glagcn.checkpoints.load import load
    from glagcn.poses.lift import lift_people

    loaded = load(path)
    for assumption in loaded.assumed:
        logger.info(f"note: {assumption}")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = loaded.model.for_prediction().to(device)
    logger.info(f"lifting with {path}, {device.type}")
    return lift_people(model, recording, options.flip)


def _in_space(people: "list[Poses]", options: "LiftOptions") -> "list[Poses]":
    """The people with their root paths, smoothed and on the floor where that is asked for."""
    from glagcn.poses.ground import find_floor, on_floor
    from glagcn.poses.root_path import LEAST_JOINTS, USUAL_VIEW_DEGREES, smoothed, usual_focal, with_root

    focal = options.focal or usual_focal(people[0].image_size)
    if options.focal is None:
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
        placed.append(person if options.smooth is None else smoothed(person, options.smooth))
    if not options.floor:
        return placed
    floor = find_floor(placed)
    if floor.doubt:
        logger.info(f"floor: uncertain ({floor.doubt}); the camera is taken as level")
    else:
        logger.info(f"floor: found, {-floor.height / 1000:.2f} m below the camera")
    return [on_floor(person, floor) for person in placed]


def _write(path: Path, people: "list[Poses]", video: "Video | None", frames: int) -> None:
    """Write one file of --out; `frames` is the length of the video."""
    from glagcn.poses.draw.animation import Animation, animate
    from glagcn.poses.writers.tables import WRITERS, write_people

    if path.suffix.lower() in WRITERS:
        for written in write_people(path, people):
            logger.info(f"Wrote {written}")
        return
    first = min(int(person.frames[0]) for person in people)
    last = max(int(person.frames[-1]) for person in people)
    numbers = range(frames) if video else range(first, last + 1)
    animate(path, Animation(people, SIZE_INCHES), numbers, people[0].fps, BITRATE_KBPS, video)
