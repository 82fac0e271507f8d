"""--viz-keypoints: 2D poses from a user's .npy or .npz file, without ground truth."""

import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from glagcn.errors import UserError
from glagcn.rendering.recording import Recording
from glagcn.rendering.video_reader import Video

FLAG = "--viz-keypoints"
DEFAULT_FPS = 25.0
KEY = "keypoints"
METADATA = ("image_size", "fps")  # optional arrays of an .npz beside the poses


@dataclass(frozen=True)
class Keypoints:
    """The content of a keypoint file.

    pixels      [T,V,2] float32.
    image_size  (width, height) in pixels; None if the file does not state it.
    fps         frames per second; None if the file does not state it.
    """

    pixels: np.ndarray
    image_size: tuple[int, int] | None
    fps: float | None


def read_keypoints(path: Path, joints: int, say: Callable[[str], None]) -> Keypoints:
    """Read an .npy [T,V,2] or [T,V,3] (with a confidence), or an .npz with such an array, "image_size" and "fps".

    joints  V, the number of joints that the model reads.
    say     logs a line.
    Does not unpickle anything.  Raises UserError, naming the file, for any other content.
    """
    arrays = _read_arrays(path)
    pixels = _poses(path, arrays, joints)
    if pixels.shape[2] == 3:
        say(f"{path}: ignoring the third value of every joint, assumed to be a confidence")
    image_size, fps = None, None
    if (found := arrays.get("image_size")) is not None:
        _expect(path, "image_size", found, found.size == 2, "width and height, in pixels")
        width, height = found.ravel()
        image_size = int(width), int(height)
    if (found := arrays.get("fps")) is not None:
        _expect(path, "fps", found, found.size == 1, "one number")
        fps = float(found.ravel()[0])
    return Keypoints(pixels[..., :2].astype(np.float32), image_size, fps)


def keypoint_recording(
    path: Path,
    joints: int,
    image_size: tuple[int, int] | None,
    fps: float | None,
    video: Video | None,
    say: Callable[[str], None],
) -> Recording:
    """Read the poses of a file.  Image size and fps are the given ones, else those of the file, else of the video.

    Raises UserError if the file is invalid or the image size is unknown.
    """
    keypoints = read_keypoints(path, joints, say)
    image_size = image_size or keypoints.image_size or (video.size if video else None)
    if image_size is None:
        raise UserError(
            f"{FLAG} {path} does not state the image size; give --viz-image-size W,H, an array image_size in an "
            ".npz, or the video with --viz-video"
        )
    fps = fps or keypoints.fps or (video.fps if video else None)
    if not fps:
        fps = DEFAULT_FPS
        say(f"{path} does not state the frame rate: assuming {DEFAULT_FPS:g} frames per second; --viz-fps sets it")
    return Recording(str(path), keypoints.pixels, None, image_size, fps)


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of the file by name; the array of an .npy is named "keypoints"."""
    if path.suffix.lower() not in (".npy", ".npz"):
        raise UserError(f"invalid {FLAG} {path}: must end in .npy or .npz")
    if not path.is_file():
        raise UserError(f"invalid {FLAG} {path}: no such file")
    try:
        with path.open("rb") as file:  # NumPy does not close a file that is not a valid archive
            content = np.load(file, allow_pickle=False)
            if isinstance(content, np.ndarray):
                return {KEY: content}
            with content:
                return {name: content[name] for name in content.files}
    except (ValueError, EOFError, OSError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(
            f"{FLAG} {path} cannot be read ({error}); give numeric arrays saved with numpy.save or numpy.savez; "
            "pickled objects are refused"
        ) from error


def _poses(path: Path, arrays: dict[str, np.ndarray], joints: int) -> np.ndarray:
    names = [name for name in arrays if name not in METADATA]
    if KEY not in names and len(names) != 1:
        raise UserError(
            f"invalid {FLAG} {path}: holds {', '.join(names) or 'no poses'}, must hold one array, or one named {KEY!r}"
        )
    poses = arrays[KEY if KEY in names else names[0]]
    shape = list(poses.shape)
    if poses.ndim != 3 or shape[2] not in (2, 3) or shape[0] == 0 or poses.dtype.kind not in "fiu":
        raise UserError(
            f"invalid {FLAG} {path}: holds {poses.dtype} {shape}, must hold pixels [T,V,2], or [T,V,3] with a "
            "confidence, of at least one frame"
        )
    if shape[1] != joints:
        raise UserError(f"invalid {FLAG} {path}: holds poses of {shape[1]} joints, and the model reads {joints}")
    return poses


def _expect(path: Path, name: str, values: np.ndarray, fits: bool, expected: str) -> None:
    if values.dtype.kind not in "fiu" or not fits or not (np.isfinite(values) & (values > 0)).all():
        raise UserError(f"invalid {FLAG} {path}: {name} is {values.tolist()}, must be {expected}, above 0")
