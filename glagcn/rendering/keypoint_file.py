"""2D poses from a file of one's own, which has no ground truth: --viz-keypoints."""

import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from glagcn.errors import UserError
from glagcn.rendering.recording import Subject
from glagcn.rendering.video_reader import Video

FLAG = "--viz-keypoints"
USUAL_FPS = 25.0
KEY = "keypoints"
DESCRIBING = ("image_size", "fps")  # what an .npz may hold beside the poses


@dataclass(frozen=True)
class Keypoints:
    """What the file holds.

    pixels      [T,V,2] float32.
    image_size  (width, height) in pixels, and
    fps         frames per second: None where the file does not say.
    """

    pixels: np.ndarray
    image_size: tuple[int, int] | None
    fps: float | None


def read_keypoints(path: Path, joints: int, say: Callable[[str], None]) -> Keypoints:
    """Read .npy [T,V,2], or [T,V,3] with a confidence, or an .npz with one such array, "image_size" and "fps".

    joints  V, what the model reads.
    say     is told what is not used.
    Nothing pickled is read.  Raises UserError, naming the file, on anything else.
    """
    arrays = _read_arrays(path)
    pixels = _poses(path, arrays, joints)
    if pixels.shape[2] == 3:
        say(f"{path}: the third value of every joint is taken for a confidence, which is not used")
    image_size, fps = None, None
    if (found := arrays.get("image_size")) is not None:
        _expect(path, "image_size", found, found.size == 2, "width and height, in pixels")
        width, height = found.ravel()
        image_size = int(width), int(height)
    if (found := arrays.get("fps")) is not None:
        _expect(path, "fps", found, found.size == 1, "one number")
        fps = float(found.ravel()[0])
    return Keypoints(pixels[..., :2].astype(np.float32), image_size, fps)


def keypoint_subject(
    path: Path,
    joints: int,
    image_size: tuple[int, int] | None,
    fps: float | None,
    video: Video | None,
    say: Callable[[str], None],
) -> Subject:
    """The poses of a file, to be rendered; image size and fps are those given, else the file's, else the video's.

    Raises UserError where the file is not as it should be, or nothing says how large the image is.
    """
    held = read_keypoints(path, joints, say)
    image_size = image_size or held.image_size or (video.size if video else None)
    if image_size is None:
        raise UserError(
            f"{FLAG} {path} does not say how large the image is; give --viz-image-size W,H, an array image_size in an "
            ".npz, or the video with --viz-video"
        )
    fps = fps or held.fps or (video.fps if video else None)
    if not fps:
        fps = USUAL_FPS
        say(f"{path} does not say how many frames a second has: taken for {USUAL_FPS:g}; --viz-fps sets it")
    return Subject(str(path), held.pixels, None, image_size, fps)


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of the file by name; that of an .npy is called "keypoints"."""
    if path.suffix.lower() not in (".npy", ".npz"):
        raise UserError(f"{FLAG} {path} ends in {path.suffix or 'nothing'!r}; expected .npy or .npz")
    if not path.is_file():
        raise UserError(f"{FLAG} {path}: there is no such file")
    try:
        with path.open("rb") as file:  # NumPy leaves it open where it finds no archive in it
            content = np.load(file, allow_pickle=False)
            if isinstance(content, np.ndarray):
                return {KEY: content}
            with content:
                return {name: content[name] for name in content.files}
    except (ValueError, EOFError, OSError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(
            f"{FLAG} {path} cannot be read ({error}); expected an array of numbers saved with numpy.save, or several "
            "with numpy.savez; pickled objects are refused"
        ) from error


def _poses(path: Path, arrays: dict[str, np.ndarray], joints: int) -> np.ndarray:
    names = [name for name in arrays if name not in DESCRIBING]
    if KEY not in names and len(names) != 1:
        raise UserError(
            f"{FLAG} {path} holds {', '.join(names) or 'no poses'}; expected one array, or one named {KEY!r}"
        )
    poses = arrays[KEY if KEY in names else names[0]]
    shape = list(poses.shape)
    if poses.ndim != 3 or shape[2] not in (2, 3) or shape[0] == 0 or poses.dtype.kind not in "fiu":
        raise UserError(
            f"{FLAG} {path} holds {poses.dtype} {shape}; expected pixels [T,V,2], or [T,V,3] with a confidence, of at "
            "least one frame"
        )
    if shape[1] != joints:
        raise UserError(f"{FLAG} {path} holds poses of {shape[1]} joints, and the model reads {joints}")
    return poses


def _expect(path: Path, name: str, values: np.ndarray, fits: bool, expected: str) -> None:
    if values.dtype.kind not in "fiu" or not fits or not (np.isfinite(values) & (values > 0)).all():
        raise UserError(f"{FLAG} {path}: {name} is {values.tolist()}; expected {expected}, above 0")
