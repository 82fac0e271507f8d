"""Every keypoint layout, written from the recorded motion of the test people and lifted: the error in mm, as a table.

python -m tools.formats_table [MODEL]     # centred without MODEL

What a detector would see of a face, hands and feet is put near the head, wrists and ankles; the joints of the model are
exact.  Missing joints are drawn from a seed, each joint and frame alone, and written with confidence 0.
"""

import sys
import tempfile
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np

import glagcn
from glagcn import cli
from glagcn.data.cache import open_cache
from glagcn.poses.joints import CONVENTIONS
from tests.poses.keypoints import written
from tests.poses.keypoints.test_formats import LAYOUTS
from tests.prepared import prepared

FRAMES, SHARES = 150, (0.0, 0.1, 0.3)
NEAR = {"nose": ("head", (0, 4)), "eye": ("head", (2, 2)), "ear": ("head", (5, 1)), "toe": ("ankle", (3, 6)),
        "heel": ("ankle", (-2, 5)), "mouth": ("head", (2, 6)), "pinky": ("wrist", (2, 4)), "index": ("wrist", (1, 5)),
        "thumb": ("wrist", (3, 3)), "foot": ("ankle", (3, 6)), "face": ("head", (0, 4)), "hand": ("wrist", (1, 3)),
        }  # fmt: skip


def motion(root: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pixels [T,17,2] in an image of `written.SIZE`, and mm [T,17,3] relative to the root, of a test person."""
    split = open_cache(prepared("mocap", root)).test
    row = next(i for i, info in enumerate(split.sequences) if info.length >= FRAMES and info.width > info.height)
    info, start = split.sequences[row], int(split.starts[row])
    frames = slice(start, start + FRAMES)
    scale = min(written.SIZE[0] / info.width, written.SIZE[1] / info.height)
    centre = (np.array(written.SIZE) - scale * np.array((info.width, info.height))) / 2
    millimetres = np.array(split.millimetres[frames])
    return np.array(split.pixels[frames]) * scale + centre, millimetres - millimetres[:, 14:15]


def as_convention(pixels: np.ndarray, name: str) -> np.ndarray:
    """[T,J,3] with confidence 0.9 in the joints of a convention, of [T,17,2] in those of the model."""
    known = {point: place for place, point in enumerate(CONVENTIONS["mpi3dhp17"].points)}
    columns = []
    for point in CONVENTIONS[name].points:
        place, offset = known.get(point), np.zeros(2)
        if place is None:
            part, shift = next(value for key, value in NEAR.items() if key in point)
            side = "right_" if "right" in point else "left_"
            place = known[part if part in known else side + part]
            offset = np.array(shift) * (-1 if "right" in point else 1, 1)
        columns.append(pixels[:, place] + offset)
    found = np.stack(columns, axis=1)
    return np.concatenate([found, np.full((*found.shape[:2], 1), 0.9)], axis=2).round(4)


def error(layout: str, keypoints: np.ndarray, truth: np.ndarray, model: str, folder: Path) -> float:
    """MPJPE in mm of one person's keypoints [T,J,3], written in a layout and lifted by the command."""
    folder.mkdir()
    path = getattr(written, layout)(folder, keypoints[:, None])
    _, _, convention, _ = LAYOUTS[layout]
    width, height = written.SIZE
    flags = f"--checkpoint {model} --image_size {width},{height} --fps 30 --joints {convention or 'coco17'}"
    with redirect_stdout(StringIO()):
        code = cli.main(["lift", str(path), *flags.split(), "--person", "longest", "--out", str(folder / "out.npz")])
    assert not code, f"{layout}: exit {code}"
    with np.load(folder / "out.npz") as file:
        frames, poses = file["frame"] - file["frame"].min(), file["poses_mm"]
    return float(glagcn.metrics.mpjpe(poses, truth[frames]))


def main(model: str = "centred") -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        pixels, truth = motion(root)
        print("| layout | joints | " + " | ".join(f"{share:.0%} missing" for share in SHARES) + " |")
        print("|---" * (2 + len(SHARES)) + "|")
        for layout, (_, _, convention, _) in LAYOUTS.items():
            errors = []
            for share in SHARES:
                keypoints = as_convention(pixels, convention or "coco17")
                missing = np.random.default_rng(0).random(keypoints.shape[:2]) < share
                keypoints[missing] = 0
                errors.append(error(layout, keypoints, truth, model, root / f"{layout}{share}"))
            shown = " | ".join(f"{each:.1f}" for each in errors)
            print(f"| {layout} | {convention or 'coco17'} | {shown} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
