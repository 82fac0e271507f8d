"""Arrays: .npy and .npz of pixels [T,V,2], or [T,V,3] with a confidence; of one person or several.

[1,T,V,2 or 3] is one person, [T,P,V,2 or 3] up to P people in each frame, whose places are no ids.  An .npz holds one
such array, under "keypoints" where it holds others, and may hold "image_size" (width, height), "fps", "joints" (the
name of their convention) and "confidence" [T,V].
"""

import numpy as np

from glagcn.errors import UserError
from glagcn.poses.gaps import FASTEST_FPS, with_confidence
from glagcn.poses.joints import CONVENTIONS
from glagcn.poses.keypoints.content import Content, Format
from glagcn.poses.keypoints.tracks import Detections

KEY = "keypoints"
DESCRIBING = ("image_size", "fps", "joints", "confidence", "scores", "keypoint_scores")
LARGEST_SIDE = 100_000


def load_arrays(content: Content) -> dict[str, np.ndarray]:
    """The arrays of a file by name; that of an .npy is "keypoints".  Raises UserError; nothing pickled is read."""
    try:
        with content.path.open("rb") as file:  # NumPy leaves it open where it finds no archive in it
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {KEY: loaded}
            with loaded:
                return {name: np.asarray(loaded[name]) for name in loaded.files}
    except Exception as error:  # a damaged header makes NumPy raise anything at all
        raise UserError(
            f"{content.path} cannot be read ({error}); expected an array of numbers saved with numpy.save, or several "
            "with numpy.savez; pickled objects are refused"
        ) from error


def _read(content: Content) -> Detections:
    arrays = load_arrays(content)
    points = _points(content, arrays)
    image_size, fps, joints = described(content, arrays)
    poses = content.poses() if content.joints or not joints else Content(content.path, "", None, joints).poses()
    keypoints = with_confidence(points if points.ndim == 4 else points[:, None])
    seen = np.isfinite(keypoints[..., :2]).all(axis=-1) & (keypoints[..., :2] != 0).any(axis=-1)
    for frame, place in np.argwhere(seen.any(axis=2)):
        poses.add(int(frame), keypoints[frame, place])
    return content.detections(poses, usual=False, image_size=image_size, fps=fps, length=len(points))


def _points(content: Content, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """[T,V,2 or 3] or [T,P,V,2 or 3] float."""
    names = [name for name in arrays if name not in DESCRIBING]
    if KEY not in names and len(names) != 1:
        raise UserError(
            f"{content.path} holds {', '.join(names)[:200] or 'no poses'}; expected one array, or one named {KEY!r}"
        )
    points = arrays[KEY if KEY in names else names[0]]
    shape = list(points.shape)
    if points.ndim not in (3, 4) or shape[-1] not in (2, 3) or 0 in shape or points.dtype.kind not in "fiu":
        raise UserError(
            f"{content.path} holds {points.dtype} {shape}; expected pixels [T,V,2], or [T,V,3] with a confidence, of "
            "at least one frame"
        )
    confidence = next((arrays[name] for name in DESCRIBING[3:] if name in arrays), None)
    if confidence is not None and shape[-1] == 2:
        if confidence.shape != points.shape[:-1] or confidence.dtype.kind not in "fiu":
            raise UserError(
                f"{content.path}: the confidence is {confidence.dtype} {list(confidence.shape)}; expected "
                f"{shape[:-1]}, as the poses have"
            )
        points = np.concatenate([points, confidence[..., None]], axis=-1)
    return points[0] if points.ndim == 4 and len(points) == 1 else points


def described(
    content: Content, arrays: dict[str, np.ndarray]
) -> tuple[tuple[int, int] | None, float | None, str | None]:
    """The image size, the frames per second and the joints that a file tells.  Raises UserError for nonsense."""
    image_size, fps, joints = None, None, None
    if (found := arrays.get("image_size")) is not None:
        _expect(content, "image_size", found, 2, LARGEST_SIDE, "width and height, in pixels, each 1 or more")
        width, height = found.ravel()
        image_size = int(width), int(height)
    if (found := arrays.get("fps")) is not None:
        _expect(content, "fps", found, 1, FASTEST_FPS, f"one number, above 0 and up to {FASTEST_FPS:g}")
        fps = float(found.ravel()[0])
    if (found := arrays.get("joints")) is not None:
        joints = str(found)[:40]
        if joints not in CONVENTIONS:
            raise UserError(f"{content.path}: unknown joints {joints!r}; must be one of {', '.join(CONVENTIONS)}")
    return image_size, fps, joints


def _expect(content: Content, name: str, values: np.ndarray, count: int, most: float, expected: str) -> None:
    least = 1 if count == 2 else 1e-3
    if values.dtype.kind not in "fiu" or values.size != count or not ((values >= least) & (values <= most)).all():
        raise UserError(f"{content.path}: {name} is {str(values.tolist())[:60]}; expected {expected}")


ARRAYS = Format("arrays", "an array of keypoints", ("npy", "npz"), lambda _: True, _read)
