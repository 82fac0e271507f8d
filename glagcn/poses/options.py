"""The flags of `glagcn lift`, and the checks that need nothing but them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from glagcn.errors import UserError
from glagcn.poses.gaps import FASTEST_FPS, LEAST_CONFIDENCE
from glagcn.poses.joints import get_convention

LARGEST_SIDE = 100_000
LONGEST_FOCAL = 1e6
CHOICES = ("largest", "longest", "all")


@dataclass(frozen=True, kw_only=True)
class LiftOptions:
    """The flags of `glagcn lift`, by name.

    file            the keypoint file or folder.
    checkpoint      path or name of a trained model, as checkpoints.find.find_model takes it.
    out             the files to write, at least one.
    video           in which the keypoints were detected.
    image_size      (width, height) in pixels.
    fps             frames per second.
    format, joints  of the file, as glagcn.poses.keypoints.read.read_keypoints takes them.
    person          one of CHOICES, or the number of a person.
    focal           focal length in pixels.
    floor           write z-up coordinates, with the floor at z = 0.
    smooth          cut-off of the low-pass filter in Hz.
    min_confidence  joints below are missing.
    flip            average with the prediction for the mirrored poses.
    None where the user did not say.

    Two are no flags, and differ for `--render --viz_keypoints`, which reads the same files:
    usual_joints    joints of a file that does not say which it has; None: it is refused.
    prefix          of the flags in messages.
    """

    file: Path
    checkpoint: str = ""
    out: Sequence[Path] = ()
    video: Path | None = None
    image_size: tuple[int, int] | None = None
    fps: float | None = None
    format: str | None = None
    joints: str | None = None
    person: str = "largest"
    focal: float | None = None
    floor: bool = False
    smooth: float | None = None
    min_confidence: float = LEAST_CONFIDENCE
    flip: bool = True
    usual_joints: str | None = None
    prefix: str = "--"


def check_options(options: LiftOptions, suffixes: Sequence[str]) -> None:
    """Raise UserError, naming the flag, if a value cannot work.

    suffixes  of the files that can be written.
    """
    size, fps, focal, least = options.image_size, options.fps, options.focal, options.min_confidence
    named = options.person in CHOICES or options.person.isdecimal()
    for flag, value, valid, expected in (
        ("--fps", fps, fps is None or 0 < fps <= FASTEST_FPS, f"above 0, up to {FASTEST_FPS:g}"),
        ("--focal", focal, focal is None or 1 <= focal <= LONGEST_FOCAL, f"from 1 to {LONGEST_FOCAL:g} pixels"),
        ("--min_confidence", least, 0 <= least < 1, "in [0, 1)"),
        ("--person", options.person, named, f"{', '.join(CHOICES)} or the number of a person"),
    ):
        if not valid:
            raise UserError(f"invalid {flag} {value}: must be {expected}")
    if size is not None and (len(size) != 2 or not all(1 <= side <= LARGEST_SIDE for side in size)):
        raise UserError(f"invalid --image_size {','.join(map(str, size))}: must be width and height, such as 1920,1080")
    if options.joints is not None:
        get_convention(options.joints)
    _check_outputs(options, suffixes)


def _check_outputs(options: LiftOptions, suffixes: Sequence[str]) -> None:
    inputs = {path.resolve(): name for path, name in ((options.file, "FILE"), (options.video, "--video")) if path}
    written = set()
    for path in options.out:
        if path.suffix.lower() not in suffixes:
            raise UserError(
                f"invalid --out {path}: ends in {path.suffix or 'nothing'!r}; must end in {', '.join(suffixes)}"
            )
        if path.is_dir():
            raise UserError(f"invalid --out {path}: is a folder; give the name of a file")
        if (name := inputs.get(path.resolve())) is not None:
            raise UserError(f"invalid --out {path}: would replace {name}; give another name")
        if path.resolve() in written:
            raise UserError(f"invalid --out {path}: is given twice; give each file once")
        written.add(path.resolve())
