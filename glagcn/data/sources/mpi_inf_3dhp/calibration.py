"""The text file camera.calibration that lies beside every annot.mat of MPI-INF-3DHP."""

from pathlib import Path

from glagcn.errors import UserError


def image_sizes(path: Path, cameras: tuple[int, ...]) -> dict[int, tuple[int, int]]:
    """{camera: (width, height)} in pixels.  Raises UserError when a camera or its size is not there.

    Lines are found by their keys; readers that cut fixed columns have turned 2048 into 204.
    """
    sizes: dict[int, tuple[int, int]] = {}
    camera = None
    try:
        lines = path.read_text(encoding="ascii").splitlines()
        for line in lines:
            key, *values = line.split() or [""]
            if key == "name":
                camera = int(values[0])
            elif key == "size" and camera is not None:
                sizes[camera] = (_whole(values[0]), _whole(values[1]))
    except (OSError, ValueError, IndexError) as error:
        raise UserError(f"{path} is not a readable camera calibration ({error}); get it again or remove it") from error
    for camera in cameras:
        if camera not in sizes or min(sizes[camera]) <= 0:
            raise UserError(
                f"{path}: the image size of camera {camera} is {sizes.get(camera, 'not there')}; expected the lines "
                f"`name {camera}` and `size WIDTH HEIGHT`. Get the file again, or remove it to assume 2048 x 2048."
            )
    return sizes


def _whole(text: str) -> int:
    """2048 of "2048" or "2048.0"; raises ValueError for anything else."""
    if not float(text).is_integer():
        raise ValueError(f"{text} is no number of pixels")
    return int(float(text))
