"""People as biomechanics reads them: joint centres as markers (.trc, .c3d), and joint angles (.mot).

One file a person, in axes x right, y up, z towards the camera.  A joint is left out (NaN) in frames without the person,
and where the detector has not seen it for GAP_SECONDS: these files have no confidence that would tell a guess.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from glagcn.errors import UserError
from glagcn.files import write_atomically, write_errors, write_text
from glagcn.poses.gaps import GAP_SECONDS
from glagcn.poses.joints import own_points
from glagcn.poses.result import TO_Y_UP, Poses, interpolated
from glagcn.skeletons import Skeleton

logger = logging.getLogger(__name__)

# Names of Pose2Sim's set-ups for OpenSim, where they have the joint; sides are L and R.
MIDDLE = {"pelvis": "Hip", "spine": "Spine", "neck": "Neck", "head": "MidHead", "head_top": "Head"}

MOST_FRAMES = 65_535  # that the header of a C3D file can count; readers stop there without a word


def one_file_each(path: Path, people: Sequence[Poses], write: Callable[[Path, Poses], Path | None]) -> list[Path]:
    """`path` for one person, else NAME_personN.SUFFIX, where N is the person's number; those that are written."""
    several = len(people) > 1
    paths = [path.with_name(f"{path.stem}_person{one.person}{path.suffix}") if several else path for one in people]
    return [done for own, one in zip(paths, people, strict=True) if (done := write(own, one))]


def marker_names(skeleton: Skeleton) -> list[str]:
    """The names of V markers, such as LKnee; one word each."""
    names = []
    for point in own_points(skeleton):
        side, _, part = point.partition("_") if point.startswith(("left_", "right_")) else ("", "", point)
        name = MIDDLE.get(part, "".join(word.capitalize() for word in part.split("_")))
        names.append("".join((side[:1].upper() + name).split()))
    return names


def markers(person: Poses, places: np.ndarray) -> np.ndarray:
    """[n,V,3] mm of the joints at `places` [n] (see Poses.places), y up; NaN for what is not known (see above).

    Where frames of a variable rate follow each other, places between them are interpolated.
    """
    own, last = person.places, len(person.frames) - 1
    space = person.xyz.astype(np.float64) + (0 if person.root is None else person.root[:, None])
    found = interpolated(own, space @ TO_Y_UP[person.axes].T, places)
    after = np.searchsorted(own, places).clip(max=last)
    before = (np.searchsorted(own, places, side="right") - 1).clip(min=0)
    between = (own[before] <= places) & (places <= own[after]) & (person.frames[after] - person.frames[before] <= 1)
    found[~between & (_distance(own, places) > 0.5)] = np.nan
    for joint in range(found.shape[1]):
        seen = own[person.confidence[:, joint] > 0]
        found[_distance(seen, places) > GAP_SECONDS * person.fps, joint] = np.nan
    return found


def _distance(own: np.ndarray, places: np.ndarray) -> np.ndarray:
    """[n] from each of `places` [n] to the nearest of `own`, which ascend; infinite if there is none."""
    if not len(own):
        return np.full(len(places), np.inf)
    after = np.searchsorted(own, places).clip(max=len(own) - 1)
    return np.minimum(np.abs(own[after] - places), np.abs(own[(after - 1).clip(min=0)] - places))


# ---- .trc


def write_trc(path: Path, people: Sequence[Poses]) -> list[Path]:
    """Write one TRC file a person, in millimetres, as OpenSim and Pose2Sim read it.

    Frame# is the number in the video, Time its seconds after the start of the video; the rows are those from the first
    frame of the person to the last.
    """
    return one_file_each(path, people, lambda own, person: write_text(own, trc_text(own.name, person)))


def trc_text(name: str, person: Poses) -> str:
    """The content of the TRC file called `name`.

    What readers agree on: six lines before the rows, the last one empty; two tabs after the last label; no tab at the
    end of a row; "NaN" where a marker is missing, since some take zeros as a place and refuse empty cells.
    """
    frames = np.arange(person.frames[0], person.frames[-1] + 1)
    seconds, places = (np.interp(frames, person.frames, of) for of in (person.seconds, person.places))
    found = markers(person, places)
    found[~np.isin(frames, person.frames)] = np.nan
    names, rate = marker_names(person.skeleton), f"{person.fps:.10g}"
    lines = [
        ["PathFileType", "4", "(X/Y/Z)", " ".join(name.split())],
        [
            "DataRate",
            "CameraRate",
            "NumFrames",
            "NumMarkers",
            "Units",
            "OrigDataRate",
            "OrigDataStartFrame",
            "OrigNumFrames",
        ],
        [rate, rate, len(frames), len(names), "mm", rate, frames[0], len(frames)],
        ["Frame#", "Time", *(cell for label in names for cell in (label, "", ""))],
        ["", "", *(f"{axis}{number}" for number in range(1, len(names) + 1) for axis in "XYZ")],
        [],
    ]
    for frame, time, row in zip(frames, seconds, found.reshape(len(frames), -1).tolist(), strict=True):
        lines.append([frame, f"{time:.6f}", *(_number(value) for value in row)])
    return "\n".join("\t".join(map(str, line)) for line in lines) + "\n"


def _number(value: float) -> str:
    return "NaN" if value != value else f"{value:.3f}"


# ---- .c3d


def write_c3d(path: Path, people: Sequence[Poses]) -> list[Path]:
    """Write one C3D file a person with `ezc3d`, in millimetres as floats, with the markers of the TRC.

    C3D has a constant rate and no times: all files have the frames from that with number 0 to the last of all people,
    as BVH files do, C3D's frame 1 being the video's frame 0.  A missing marker is NaN, with residual -1.
    Raises UserError as `load_ezc3d` does.
    """
    last = max(round(float(person.places[-1])) for person in people)
    ezc3d = load_ezc3d(last + 1)

    def write(own: Path, person: Poses) -> Path:
        """Write the file of one person."""
        found = markers(person, np.arange(last + 1, dtype=np.float64)).transpose(2, 1, 0)  # [3,V,T]
        content = ezc3d.c3d()
        point = content["parameters"]["POINT"]
        point["UNITS"]["value"], point["RATE"]["value"] = ["mm"], [float(person.fps)]
        point["LABELS"]["value"] = marker_names(person.skeleton)
        content.add_parameter("POINT", "X_SCREEN", ["+X"])
        content.add_parameter("POINT", "Y_SCREEN", ["+Y"])
        content["data"]["points"] = np.concatenate([found, np.ones_like(found[:1])])
        content["data"]["meta_points"]["residuals"] = np.where(np.isnan(found[:1]), -1.0, 0.0)
        with TemporaryDirectory() as folder, write_errors(own):  # ezc3d writes only files whose name ends in .c3d
            content.write(str(Path(folder, "a.c3d")))
            written = Path(folder, "a.c3d").read_bytes()
        return write_atomically(own, lambda file: file.write(written))

    return one_file_each(path, people, write)


def load_ezc3d(frames: int = 0) -> Any:
    """The module ezc3d, to write so many frames.  Raises UserError if it is not installed or C3D cannot hold them."""
    if frames > MOST_FRAMES:
        raise UserError(f"a .c3d file holds at most {MOST_FRAMES} frames, not {frames}; write .trc, or lift a part")
    try:
        import ezc3d
    except ImportError:
        raise UserError("a .c3d file needs ezc3d, which is not installed; pip install 'glagcn[c3d]'") from None
    return ezc3d


# ---- .mot


def write_mot(path: Path, people: Sequence[Poses]) -> list[Path]:
    """Write one MOT file a person: the angles of `joint_angles` in degrees in the frames of the person, by time.

    At NaN OpenSim's Storage stops reading, without a word.  So an angle that is not known in any frame has no column,
    and frames in which none is known have no row; others that are not known are interpolated over time, and constant at
    both ends.  Of several people those without any angle have no file, with a warning.  Raises UserError if nobody has.
    """

    def write(own: Path, person: Poses) -> Path | None:
        text = mot_text(own.name, person)
        if text is None:
            logger.warning(f"{own} is not written: no joint angle of person {person.person} is known in any frame")
        return write_text(own, text) if text else None

    if written := one_file_each(path, people, write):
        return written
    raise UserError(f"cannot write {path}: no joint angle is known in any frame")


def mot_text(title: str, person: Poses) -> str | None:
    """The content of the MOT file called `title`; None if no angle is known.

    nColumns counts the time, as OpenSim's readers do.
    """
    angles = joint_angles(person.skeleton, markers(person, person.places))
    known = {name: np.isfinite(values) for name, values in angles.items()}
    names = [name for name in angles if known[name].any()]
    if not names:
        return None
    rows = np.any([known[name] for name in names], axis=0)
    seconds = person.seconds[rows]
    columns = [np.interp(seconds, person.seconds[known[name]], angles[name][known[name]]) for name in names]
    lines = [" ".join(title.split()), "version=1", f"nRows={len(seconds)}", f"nColumns={len(names) + 1}"]
    lines += ["inDegrees=yes", "endheader", "\t".join(["time", *names])]
    for row in np.stack([seconds, *columns], axis=1).tolist():
        lines.append("\t".join([f"{row[0]:.6f}", *(_number(value) for value in row[1:])]))
    return "\n".join(lines) + "\n"


def joint_angles(skeleton: Skeleton, places: np.ndarray) -> dict[str, np.ndarray]:
    """The angles [T] in degrees of joints at places [T,V,3] of right-handed axes, by OpenSim's names of coordinates.

    From joint centres alone, in the spirit of ISB's recommendations (Wu et al. 2002, 2005): x forward, y up, z to the
    right of a segment, and the Cardan order z-x-y (flexion, adduction or bending, rotation).

    pelvis  z from the left hip to the right one, y towards the spine;  trunk  y from the spine to the neck, z from the
    left shoulder to the right one; without a spine, both use the line from the pelvis to the neck.
    knee_angle, elbow_flex        between the lines of both segments: 0 when straight, positive when bent.
    hip_flexion, hip_adduction    of the thigh in the axes of the pelvis: flexion forwards, adduction inwards.
    arm_flex, arm_add             of the upper arm in the axes of the trunk, in the same way: hanging is 0; lifted
                                  sidewards arm_add is -90, and there arm_flex is not determined.
    lumbar_extension, _bending, _rotation  of the trunk in the axes of the pelvis: backwards, to the right, to the left.
    Angles are unwrapped over time.
    """
    points = own_points(skeleton)

    def at(point: str) -> np.ndarray:
        return places[:, points.index(point)]

    middle = at("spine") if "spine" in points else None
    pelvis = _axes(at("right_hip") - at("left_hip"), (at("neck") if middle is None else middle) - at("pelvis"), "z")
    up = at("neck") - (at("pelvis") if middle is None else middle)
    trunk = _axes(at("right_shoulder") - at("left_shoulder"), up, "y")
    angles = {}
    for side, sign in (("right", 1), ("left", -1)):
        for upper, hinge, end, flexion, adduction, bent, axes in (
            ("hip", "knee", "ankle", "hip_flexion", "hip_adduction", "knee_angle", pelvis),
            ("shoulder", "elbow", "wrist", "arm_flex", "arm_add", "elbow_flex", trunk),
        ):
            first = at(f"{side}_{upper}") - at(f"{side}_{hinge}")  # y of the segment, upwards
            x, y, z = np.einsum("tij,tj->it", axes, _unit(first))
            angles[f"{flexion}_{side[0]}"] = np.arctan2(-x, y)
            angles[f"{adduction}_{side[0]}"] = sign * np.arcsin(z.clip(-1, 1))
            second = at(f"{side}_{hinge}") - at(f"{side}_{end}")
            cross, dot = np.linalg.norm(np.cross(first, second), axis=-1), (first * second).sum(axis=-1)
            angles[f"{bent}_{side[0]}"] = np.where(np.isnan(dot), np.nan, np.arctan2(cross, dot))
    turn = pelvis @ trunk.transpose(0, 2, 1)  # columns: the axes of the trunk in those of the pelvis
    angles["lumbar_extension"] = np.arctan2(-turn[:, 0, 1], turn[:, 1, 1])
    angles["lumbar_bending"] = np.arcsin(turn[:, 2, 1].clip(-1, 1))
    angles["lumbar_rotation"] = np.arctan2(-turn[:, 2, 0], turn[:, 2, 2])
    return {name: _unwrapped(np.degrees(values)) for name, values in angles.items()}


def _axes(right: np.ndarray, up: np.ndarray, first: str) -> np.ndarray:
    """[T,3,3] whose rows are x, y and z of a segment; `first` of y and z is exact, the other is made perpendicular."""
    x = _unit(np.cross(up, right))
    if first == "z":
        z = _unit(right)
        return np.stack([x, np.cross(z, x), z], axis=1)
    y = _unit(up)
    return np.stack([x, y, np.cross(x, y)], axis=1)


def _unit(vectors: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # a line between two joints at one place has no direction: NaN
        return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _unwrapped(degrees: np.ndarray) -> np.ndarray:
    """Without jumps of 360 degrees between one value and the next that is known."""
    known = np.isfinite(degrees)
    degrees[known] = np.unwrap(degrees[known], period=360)
    return degrees
