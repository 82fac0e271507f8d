"""Read the image sizes from the camera.calibration beside each annot.mat of MPI-INF-3DHP."""

from pathlib import Path

from glagcn.errors import UserError

MOST_PIXELS = 1_000_000  # of a side


def image_sizes(path: Path, cameras: tuple[int, ...]) -> dict[int, tuple[int, int]]:
    """{camera: (width, height)} in pixels.  Raises UserError if a camera or its size is missing.

    Values are split at white space, because readers of fixed columns have read 2048 as 204.
    """
    sizes: dict[int, tuple[int, int]] = {}
    camera = None
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        for line in lines:
            key, *values = line.split() or [""]
            if key == "name":
                camera = int(values[0])
            elif key == "size" and camera is not None:
                sizes[camera] = (_whole(values[0]), _whole(values[1]))
    except (OSError, ValueError, IndexError) as error:
        raise UserError(f"{path} is not a valid camera calibration ({error}); get it again or remove it") from error
    for camera in cameras:
        if camera not in sizes or not all(0 < side <= MOST_PIXELS for side in sizes[camera]):
            raise UserError(
                f"{path}: the image size of camera {camera} is {sizes.get(camera, 'missing')}; expected the lines "
                f"`name {camera}` and `size WIDTH HEIGHT`. Get the file again, or remove it to assume 2048 x 2048."
            )
    return sizes


def _whole(text: str) -> int:
    """The whole number in text such as "2048" or "2048.0"; raises ValueError for anything else."""
    if not float(text).is_integer():
        raise ValueError(f"{text} is not a whole number of pixels")
    return int(float(text))
